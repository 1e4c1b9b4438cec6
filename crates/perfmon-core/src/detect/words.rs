//! How numbers, names and commands are written in findings. ASCII only, which every database encoding
//! can hold. It must never decide anything.

use crate::facts::Server;

/// Three significant figures.
fn figures(value: f64) -> String {
    match value.abs() {
        v if v < 10.0 => trimmed(format!("{value:.2}")),
        v if v < 100.0 => trimmed(format!("{value:.1}")),
        _ => format!("{value:.0}"),
    }
}

fn trimmed(text: String) -> String {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn scaled(value: f64, steps: &[(f64, &str)]) -> String {
    let step = steps.iter().rev().find(|(unit, _)| value.abs() >= *unit).or(steps.first());
    let (unit, name) = step.copied().unwrap_or((1.0, ""));
    format!("{} {name}", figures(value / unit)).trim_end().to_owned()
}

/// An amount of bytes: `1.5 GB`.
pub(super) fn size(bytes: f64) -> String {
    let names = ["B", "kB", "MB", "GB", "TB", "PB"];
    let steps: Vec<_> = names.iter().zip(0..).map(|(n, i)| (1024_f64.powi(i), *n)).collect();
    scaled(bytes, &steps)
}

/// A count: `12,345`, `2.4 million`.
pub(super) fn count(value: f64) -> String {
    if value.abs() >= 1e6 {
        return scaled(value, &[(1e6, "million"), (1e9, "billion"), (1e12, "trillion")]);
    }
    let digits = format!("{:.0}", value.abs());
    let mut out = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if value < 0.0 { format!("-{out}") } else { out }
}

/// A count with its noun: `1 table`, `12 tables`.
pub(super) fn counted(value: f64, noun: &str) -> String {
    let many = if value == 1.0 { "" } else { "s" };
    format!("{} {noun}{many}", count(value))
}

/// An amount that may be a mean, with its noun: `1 row`, `0.25 rows`, `12,345 rows`.
pub(super) fn amount(value: f64, noun: &str) -> String {
    let shown = number(value);
    let many = if shown == "1" { "" } else { "s" };
    format!("{shown} {noun}{many}")
}

/// An amount that may be a mean: `3`, `0.25`, `12,345`.
pub(super) fn number(value: f64) -> String {
    if value.abs() < 100.0 { figures(value) } else { count(value) }
}

/// A share: `87.3 %`. What is not quite nothing, or not quite all, does not round to it.
pub(super) fn percent(ratio: f64) -> String {
    let hundreds = ratio * 100.0;
    match hundreds {
        h if h > 0.0 && h < 0.095 => trimmed(format!("{h:.3}")) + " %",
        h if h > 99.95 && h < 100.0 => "99.9 %".to_owned(),
        h => trimmed(format!("{h:.1}")) + " %",
    }
}

/// A number without unit, of three figures: `4.1`.
pub(super) fn times(value: f64) -> String {
    figures(value)
}

/// Milliseconds, as time: `40 us`, `12 ms`, `3.2 s`.
pub(super) fn milliseconds(value: f64) -> String {
    if value.abs() >= 1000.0 {
        return span(value / 1000.0);
    }
    let steps: &[_] = if value == 0.0 { &[(1.0, "ms")] } else { &[(0.001, "us"), (1.0, "ms")] };
    scaled(value, steps)
}

/// A length of time: `40 s`, `12 min`, `3.2 h`, `17 days`.
pub(super) fn span(seconds: f64) -> String {
    const STEPS: [(f64, &str); 4] = [(1.0, "s"), (60.0, "min"), (3600.0, "h"), (172_800.0, "days")];
    let (unit, name) =
        STEPS.iter().rev().find(|(unit, _)| seconds >= *unit).copied().unwrap_or(STEPS[0]);
    let unit = if name == "days" { 86_400.0 } else { unit };
    format!("{} {name}", figures(seconds / unit))
}

/// The day of a moment, in UTC: `2026-11-21`.
pub(super) fn date(us: i64) -> String {
    // Days are counted from 1 March of the year 0, so that the leap day is a year's last.
    let days = us.div_euclid(86_400_000_000) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", year + era * 400 + next)
}

/// A moment, in UTC: `2026-11-21 14:05 UTC`.
pub(super) fn moment(us: i64) -> String {
    let minutes = us.rem_euclid(86_400_000_000) / 60_000_000;
    format!("{} {:02}:{:02} UTC", date(us), minutes / 60, minutes % 60)
}

/// The same to the second: `2026-11-21 14:05:09 UTC`.
pub(crate) fn second(us: i64) -> String {
    let seconds = us.rem_euclid(86_400_000_000) / 1_000_000;
    let (minutes, seconds) = (seconds / 60, seconds % 60);
    format!("{} {:02}:{:02}:{seconds:02} UTC", date(us), minutes / 60, minutes % 60)
}

/// Things in a row: `a`, `a and b`, `a, b and c`; more than `most` are cut.
pub(super) fn list(items: &[String], most: usize) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        all if all.len() > most => {
            format!("{} and {} more", all[..most].join(", "), all.len() - most)
        }
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A name within a sentence: on one line, whatever is in it.
pub(crate) fn name(quoted: &str) -> String {
    quoted.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A literal.
pub(super) fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') {
        return format!("E'{}'", quoted.replace('\\', "\\\\"));
    }
    format!("'{quoted}'")
}

/// A size as a setting's value: whole GB, MB or kB, rounded up.
pub(super) fn setting_size(bytes: f64) -> String {
    const KB: f64 = 1024.0;
    let whole = |unit: f64| (bytes / unit).ceil();
    if bytes >= KB * KB * KB && (bytes / (KB * KB * KB)).fract() == 0.0 {
        format!("{:.0}GB", whole(KB * KB * KB))
    } else if bytes >= KB * KB {
        format!("{:.0}MB", whole(KB * KB))
    } else {
        format!("{:.0}kB", whole(KB))
    }
}

/// How a new value of a setting takes effect, in words.
pub(super) fn effect(server: &Server, name: &str) -> &'static str {
    if needs_restart(server, name) {
        "It takes effect at the next restart of the server."
    } else if kept_by(server, name).is_some() {
        "Sessions that begin then have it."
    } else {
        "A reload of the configuration is enough."
    }
}

/// The commands that give a setting a value, one a line. `value` is written as it is.
pub(super) fn alter_system(name: &str, value: &str, restart: bool) -> String {
    let reload = if restart { "" } else { "\nSELECT pg_catalog.pg_reload_conf();" };
    format!("ALTER SYSTEM SET {name} = {value};{reload}")
}

/// The same for a setting whose needs the server told: where it is set for the database, ALTER SYSTEM changes nothing.
pub(super) fn set(server: &Server, name: &str, value: &str) -> String {
    match kept_by(server, name) {
        Some(alter) => format!("{alter} SET {name} = {value};"),
        None => alter_system(name, value, needs_restart(server, name)),
    }
}

fn kept_by<'a>(server: &'a Server, name: &str) -> Option<&'a str> {
    server.setting(name)?.kept_by.as_deref()
}

/// Whether a setting takes effect only at a restart.
pub(super) fn needs_restart(server: &Server, name: &str) -> bool {
    server.setting(name).is_some_and(|s| s.needs_restart)
}

/// The value that adds a library to those that the server preloads. Each name is a literal of its own:
/// a list in one pair of quotes would be taken for the name of a single library.
pub(super) fn with_library(preloaded: &str, library: &str) -> String {
    let names = preloaded.split(',').map(|name| name.trim().trim_matches('"'));
    let names = names.filter(|name| !name.is_empty()).chain([library]);
    names.map(literal).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(size(1536.0), "1.5 kB");
        assert_eq!(size(0.0), "0 B");
        assert_eq!(size(268_435_456.0), "256 MB");
        assert_eq!(count(0.0), "0");
        assert_eq!(count(999.0), "999");
        assert_eq!(count(12_345.4), "12,345");
        assert_eq!(count(2_412_345.0), "2.41 million");
        assert_eq!(count(-1234.0), "-1,234");
        assert_eq!(counted(1.0, "table"), "1 table");
        assert_eq!(counted(2.0, "table"), "2 tables");
        assert_eq!(amount(1.0, "row"), "1 row");
        assert_eq!(amount(0.996, "row"), "1 row");
        assert_eq!(amount(0.5, "row"), "0.5 rows");
        assert_eq!(amount(12_345.0, "row"), "12,345 rows");
        assert_eq!(percent(0.873), "87.3 %");
        assert_eq!(percent(0.000_12), "0.012 %");
        assert_eq!(percent(0.999_99), "99.9 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(span(40.0), "40 s");
        assert_eq!(span(90_000.0), "25 h");
        assert_eq!(span(864_000.0), "10 days");
        assert_eq!(milliseconds(12.34), "12.3 ms");
        assert_eq!(milliseconds(0.0043), "4.3 us");
        assert_eq!(milliseconds(0.0), "0 ms");
        assert_eq!(milliseconds(90_000.0), "1.5 min");
        assert_eq!(setting_size(64.0 * 1_048_576.0), "64MB");
        assert_eq!(setting_size(4.0 * 1_073_741_824.0), "4GB");
        assert_eq!(setting_size(1.5 * 1_073_741_824.0), "1536MB");
        assert_eq!(setting_size(512.0 * 1024.0), "512kB");
    }

    #[test]
    fn a_setting_is_altered_where_it_is_kept() {
        let name = "pg_stat_statements.track";
        let mut setting = crate::facts::Setting { name: name.to_owned(), ..Default::default() };
        let line = |one: &crate::facts::Setting| {
            let server = Server { settings: vec![one.clone()], ..Server::default() };
            (set(&server, name, "'top'"), effect(&server, name))
        };
        let reload = "A reload of the configuration is enough.";
        assert_eq!(line(&setting), (alter_system(name, "'top'", false), reload));
        setting.kept_by = Some("ALTER ROLE ALL".to_owned());
        let there = "ALTER ROLE ALL SET pg_stat_statements.track = 'top';".to_owned();
        assert_eq!(line(&setting), (there, "Sessions that begin then have it."));
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(951_782_400_000_000), "2000-02-29");
        assert_eq!(date(1_795_219_200_000_000), "2026-11-21");
        assert_eq!(date(-1), "1969-12-31");
        assert_eq!(date(4_107_542_399_999_999), "2100-02-28");
        assert_eq!(date(4_107_542_400_000_000), "2100-03-01");
    }

    #[test]
    fn lists_and_literals() {
        let items: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        assert_eq!(list(&items[..1], 3), "a");
        assert_eq!(list(&items[..2], 3), "a and b");
        assert_eq!(list(&items[..3], 3), "a, b and c");
        assert_eq!(list(&items, 3), "a, b, c and 1 more");
        assert_eq!(literal("it's"), "'it''s'");
        assert_eq!(literal("a\\b"), "E'a\\\\b'");
        assert_eq!(with_library("", "pg_prewarm"), "'pg_prewarm'");
        assert_eq!(
            with_library("pg_stat_statements, \"pg_perfmon\"", "pg_prewarm"),
            "'pg_stat_statements', 'pg_perfmon', 'pg_prewarm'"
        );
        assert_eq!(
            alter_system("work_mem", "'64MB'", false),
            "ALTER SYSTEM SET work_mem = '64MB';\nSELECT pg_catalog.pg_reload_conf();"
        );
        assert_eq!(
            alter_system("shared_buffers", "'4GB'", true),
            "ALTER SYSTEM SET shared_buffers = '4GB';"
        );
    }
}
