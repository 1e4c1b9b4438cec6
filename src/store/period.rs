//! Names and bounds of the periods by which history is kept: UTC days for minutes, months for hours,
//! years for days. Plain arithmetic on microseconds since the Unix epoch; it must never ask the server.

pub(crate) use perfmon_core::window::{DAY_US, HOUR_US, Level};

/// How tables of this level are called.
pub(super) fn level_name(level: Level) -> &'static str {
    match level {
        Level::Minute => "minute",
        Level::Hour => "hour",
        Level::Day => "day",
    }
}

/// A stretch of time whose rows lie in one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Period {
    /// First day, counted from the Unix epoch.
    first: i64,
    /// First day of the period after it.
    next: i64,
}

impl Period {
    /// The period of a level that holds a row ending at `until`.
    pub(super) fn of(level: Level, until: i64) -> Period {
        // Years of more than four digits, or before the first, would break the names.
        let day = until.div_euclid(DAY_US).clamp(-719_162, 2_932_896);
        let (year, month, _) = civil(day);
        match level {
            Level::Minute => Period { first: day, next: day + 1 },
            Level::Hour => {
                let (y, m) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                Period { first: days(year, month, 1), next: days(y, m, 1) }
            }
            Level::Day => Period { first: days(year, 1, 1), next: days(year + 1, 1, 1) },
        }
    }

    /// The period `steps` later.
    pub(super) fn later(self, level: Level, steps: usize) -> Period {
        let mut period = self;
        for _ in 0..steps {
            period = Period::of(level, period.next * DAY_US);
        }
        period
    }

    /// The period that a table's suffix names.
    pub(super) fn parse(level: Level, suffix: &str) -> Option<Period> {
        if suffix.len() != 8 || !suffix.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let number: i64 = suffix.parse().ok()?;
        let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
        let period = Period::of(level, days(year, month, day) * DAY_US);
        (period.suffix() == suffix).then_some(period)
    }

    /// Suffix of the table's name: the period's first day.
    pub(super) fn suffix(self) -> String {
        let (year, month, day) = civil(self.first);
        format!("{year:04}{month:02}{day:02}")
    }

    /// Lowest `until` that belongs here.
    pub(super) fn start(self) -> i64 {
        self.first * DAY_US
    }

    /// Lowest `until` that no longer does.
    pub(super) fn end(self) -> i64 {
        self.next * DAY_US
    }

    /// Both bounds as literals that read the same under any TimeZone and DateStyle.
    pub(super) fn bounds(self) -> (String, String) {
        let literal = |day| {
            let (year, month, day) = civil(day);
            format!("'{year:04}-{month:02}-{day:02} 00:00:00+00'")
        };
        (literal(self.first), literal(self.next))
    }
}

/// End of the stretch of `step` microseconds that a row ending at `until` belongs to.
pub(crate) fn ceiling(until: i64, step: i64) -> i64 {
    floor(until.saturating_add(step - 1), step)
}

/// The last multiple of `step` at or before `at`.
pub(crate) fn floor(at: i64, step: i64) -> i64 {
    at.div_euclid(step) * step
}

/// Days from the Unix epoch to a date of the proleptic Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years that begin in March put the leap day last.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days`].
fn civil(day: i64) -> (i64, i64, i64) {
    let shifted = day + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted - era * 146_097;
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    (year + era * 400 + i64::from(month <= 2), month, day)
}
