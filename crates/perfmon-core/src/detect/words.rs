//! Numbers as findings say them. ASCII only, which every database encoding holds.

/// Three significant figures.
fn figures(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        v if v < 0.001 => "less than 0.001".to_owned(),
        v if v < 0.1 => format!("{value:.3}"),
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn scaled(value: f64, steps: &[(f64, &str)]) -> String {
    let step = steps.iter().rev().find(|(unit, _)| value.abs() >= *unit).or(steps.first());
    let (unit, name) = step.copied().unwrap_or((1.0, ""));
    let blank = if name.is_empty() { "" } else { " " };
    format!("{}{blank}{name}", figures(value / unit))
}

/// A time given in milliseconds.
pub fn ms(value: f64) -> String {
    scaled(value, &[(0.001, "us"), (1.0, "ms"), (1e3, "s"), (60e3, "min"), (3_600e3, "h")])
}

/// A size given in bytes.
pub fn bytes(value: f64) -> String {
    const STEPS: [(f64, &str); 5] = [
        (1.0, "B"),
        (1024.0, "kB"),
        (1_048_576.0, "MB"),
        (1_073_741_824.0, "GB"),
        (1_099_511_627_776.0, "TB"),
    ];
    scaled(value, &STEPS)
}

/// A plain number.
pub fn number(value: f64) -> String {
    if value.abs() < 10_000.0 {
        // Whole where it is whole.
        return if value.fract() == 0.0 { format!("{value:.0}") } else { figures(value) };
    }
    scaled(value, &[(1e3, "thousand"), (1e6, "million"), (1e9, "billion")])
}

/// A share from 0 to 1.
pub fn percent(ratio: f64) -> String {
    match ratio * 100.0 {
        p if p > 0.0 && p < 0.1 => "under 0.1 %".to_owned(),
        p if p < 10.0 => format!("{p:.1} %"),
        p => format!("{p:.0} %"),
    }
}

/// A length of time in days, as people say it.
pub fn days(value: f64) -> String {
    match value {
        d if d < 2.0 / 24.0 => format!("{} minutes", number((d * 1440.0).round())),
        d if d < 2.0 => format!("{} hours", number((d * 24.0).round())),
        d if d < 730.0 => format!("{} days", number(d.round())),
        d => format!("{} years", figures(d / 365.25)),
    }
}
