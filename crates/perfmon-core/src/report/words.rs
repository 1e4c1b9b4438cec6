//! Numbers as readers want them: three figures, a unit, and "unknown" where nothing is known.

pub(super) const UNKNOWN: &str = "unknown";

/// Three significant figures, never more than is known.
pub(super) fn figures(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 0.000_5 => "<0.001".to_owned(),
        v if v < 0.1 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn scaled(value: f64, steps: &[(f64, &str)]) -> String {
    let (unit, name) = steps
        .iter()
        .rev()
        .find(|(unit, _)| value.abs() >= *unit)
        .or(steps.first())
        .copied()
        .unwrap_or((1.0, "?"));
    format!("{} {name}", figures(value / unit))
}

pub(super) fn number(value: Option<f64>) -> String {
    let Some(v) = value else { return UNKNOWN.to_owned() };
    if v.abs() >= 1e4 { thousands(v) } else { figures(v) }
}

/// A number too long to read at a glance: 12,345 as 12.3 k.
fn thousands(value: f64) -> String {
    scaled(value, &[(1e3, "k"), (1e6, "M"), (1e9, "G")])
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn count(value: Option<i64>) -> String {
    match value {
        None => UNKNOWN.to_owned(),
        Some(n) if n.unsigned_abs() < 10_000 => n.to_string(),
        Some(n) => thousands(n as f64),
    }
}

/// All of a count: 12,345.
pub(super) fn whole(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::from(if value < 0 { "-" } else { "" });
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share within a sentence: what is not quite nothing does not round to it.
pub(super) fn some_percent(ratio: f64) -> String {
    match ratio * 100.0 {
        hundreds if hundreds > 0.0 && hundreds < 0.05 => "under 0.1 %".to_owned(),
        _ => percent(Some(ratio)),
    }
}

pub(super) fn percent(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| UNKNOWN.to_owned(), |r| format!("{:.1} %", r * 100.0))
}

pub(super) fn milliseconds(value: Option<f64>) -> String {
    const STEPS: [(f64, &str); 4] = [(1.0, "ms"), (1e3, "s"), (60e3, "min"), (3_600e3, "h")];
    value.map_or_else(|| UNKNOWN.to_owned(), |v| scaled(v, &STEPS))
}

#[allow(clippy::cast_precision_loss)]
pub(super) fn size(value: Option<i64>) -> String {
    value.map_or_else(|| UNKNOWN.to_owned(), |v| bytes(v as f64))
}

pub(super) fn bytes(value: f64) -> String {
    const STEPS: [(f64, &str); 5] = [
        (1.0, "B"),
        (1024.0, "kB"),
        (1_048_576.0, "MB"),
        (1_073_741_824.0, "GB"),
        (1_099_511_627_776.0, "TB"),
    ];
    // Nobody has parts of a byte.
    let whole = value.abs() < 1024.0 && value.fract() == 0.0;
    if whole { format!("{value:.0} B") } else { scaled(value, &STEPS) }
}

/// An amount per second.
#[allow(clippy::cast_precision_loss)]
pub(super) fn rate(amount: i64, us: i64) -> f64 {
    amount as f64 / (us as f64 / 1e6)
}

/// How often, in the smallest unit of time in which it is at least once.
#[allow(clippy::cast_precision_loss)]
pub(super) fn frequency(times: i64, us: i64) -> String {
    let per_us = times as f64 / us.max(1) as f64;
    let units = [(1e6, "second"), (60e6, "minute"), (3_600e6, "hour"), (86_400e6, "day")];
    let (unit, name) = units.into_iter().find(|(unit, _)| per_us * unit >= 1.0).unwrap_or(units[3]);
    let article = if name == "hour" { "an" } else { "a" };
    format!("{} {article} {name}", number(Some(per_us * unit)))
}

/// A length of time in its two largest units.
pub(super) fn duration(us: i64) -> String {
    let seconds = us.max(0) / 1_000_000;
    let two = |a: i64, a_name: &str, b: i64, b_name: &str| match b {
        0 => format!("{a} {a_name}"),
        b => format!("{a} {a_name} {b} {b_name}"),
    };
    match seconds {
        1..60 if us % 1_000_000 == 0 => format!("{seconds} s"),
        #[allow(clippy::cast_precision_loss)]
        0..60 => scaled(us as f64 / 1e6, &[(1.0, "s")]),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    }
}

/// One thing, or many.
pub(super) fn plural(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {many}") }
}

/// A time without fractions of a second.
pub(super) fn seconds(shown: &str) -> String {
    let Some((whole, rest)) = shown.split_once('.') else { return shown.to_owned() };
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    format!("{whole}{zone}")
}

/// A clause as a sentence.
pub(super) fn sentence(text: &str) -> String {
    // SQL ends with a mark of its own.
    let ended = text.ends_with(['.', '!', '?', ';']);
    if text.is_empty() || ended { text.to_owned() } else { format!("{text}.") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_not_nothing() {
        let shares = [0.0, 1.0 / 2783.0, 0.0005, 0.25].map(some_percent);
        assert_eq!(shares, ["0.0 %", "under 0.1 %", "0.1 %", "25.0 %"]);
    }

    #[test]
    fn numbers_are_short_and_have_units() {
        assert_eq!(milliseconds(Some(0.0)), "0 ms");
        assert_eq!(milliseconds(Some(0.3141)), "0.31 ms");
        assert_eq!(milliseconds(Some(90_000.0)), "1.50 min");
        assert_eq!(size(Some(1_536)), "1.50 kB");
        assert_eq!(size(Some(59)), "59 B");
        assert_eq!(count(Some(9_999)), "9999");
        assert_eq!(count(Some(12_345)), "12.3 k");
        assert_eq!(count(Some(i64::MIN)), "-9223372037 G");
        assert_eq!(whole(32_767), "32,767");
        assert_eq!(whole(-1_000), "-1,000");
        assert_eq!(whole(i64::MIN), "-9,223,372,036,854,775,808");
        assert_eq!(number(None), "unknown");
        assert_eq!(percent(None), "unknown");
    }

    #[test]
    fn times_are_as_exact_as_they_need_to_be() {
        assert_eq!(duration(0), "0 s");
        assert_eq!(duration(5_000_000), "5 s");
        assert_eq!(duration(43_300_000), "43.3 s");
        assert_eq!(duration(3_661_000_000), "1 h 1 min");
        assert_eq!(duration(86_400_000_000 * 30), "30 d");
        assert_eq!(seconds("2026-11-21 08:34:21.249848+00"), "2026-11-21 08:34:21+00");
        assert_eq!(seconds("2026-11-21 08:34:21-03:30"), "2026-11-21 08:34:21-03:30");
    }

    #[test]
    fn a_frequency_is_told_in_the_unit_that_fits() {
        assert_eq!(frequency(913, 60_000_000), "15.2 a second");
        assert_eq!(frequency(20, 60_000_000), "20.0 a minute");
        assert_eq!(frequency(20, 3_600_000_000), "20.0 an hour");
        assert_eq!(frequency(1, 30 * 86_400_000_000), "0.033 a day");
    }

    #[test]
    fn a_sentence_ends_once() {
        assert_eq!(sentence("Scanned whole"), "Scanned whole.");
        assert_eq!(sentence("Why?"), "Why?");
        assert_eq!(sentence(""), "");
    }
}
