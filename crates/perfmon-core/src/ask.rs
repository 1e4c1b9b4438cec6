//! What may be asked: checks of the arguments that every reading function shares, and the words in
//! which a refusal is put. It must never look at a clock: the caller says what time it is.

/// Why an argument was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, in one clause.
    pub message: String,
    /// The value that is wrong.
    pub detail: String,
    /// What would be right.
    pub hint: String,
}

fn fault(message: &str, detail: String, hint: impl Into<String>) -> Fault {
    Fault { message: message.to_owned(), detail, hint: hint.into() }
}

/// Microseconds in an hour: how far back a window goes when nothing is said.
const HOUR: i64 = 3_600_000_000;

/// Times are those of the years 1 to 9999: beyond, a step more or a time zone leaves what the server can count.
const YEARS: std::ops::Range<i64> = -62_135_596_800_000_000..253_402_300_800_000_000;

/// Longest step, a thousand years: the first one begins so much before a window at most, and the last one ends so much
/// after it.
const LONGEST_STEP: i64 = 366_000 * 24 * HOUR;
const LONGEST_MONTHS: i32 = 12_000;

/// Most points that one series may have.
pub const MAX_POINTS: i64 = 100_000;

/// A point in time as given: SQL knows infinite ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instant {
    /// Microseconds since the Unix epoch.
    At(i64),
    /// `infinity` or `-infinity`.
    Infinite,
}

/// The window asked for. What is missing takes its default: the hour up to now.
pub fn window(
    since: Option<Instant>,
    until: Option<Instant>,
    now: i64,
    show: &dyn Fn(i64) -> String,
) -> Result<(i64, i64), Fault> {
    let finite = |name: &str, given: Option<Instant>, default: i64| match given {
        None => Ok(default),
        Some(Instant::At(at)) if YEARS.contains(&at) => Ok(at),
        Some(Instant::At(at)) => Err(fault(
            &format!("\"{name}\" is too far from now"),
            format!("\"{name}\" is {}.", show(at)),
            "Name times of the years 1 to 9999.",
        )),
        Some(Instant::Infinite) => Err(fault(
            &format!("\"{name}\" must be a finite time"),
            format!("\"{name}\" is infinite."),
            "Name the times, for example since => now() - interval '1 day', until => now().",
        )),
    };
    let since = finite("since", since, now.saturating_sub(HOUR))?;
    let until = finite("until", until, now)?;
    if since >= until {
        return Err(fault(
            "\"since\" must be before \"until\"",
            format!("\"since\" is {}, \"until\" is {}.", show(since), show(until)),
            "Swap the two, or leave one out: they default to one hour ago and now.",
        ));
    }
    Ok((since, until))
}

/// How many rows are wanted; `None` is all.
pub fn max_rows(given: Option<i32>) -> Result<Option<usize>, Fault> {
    match given.map(usize::try_from) {
        None => Ok(None),
        Some(Ok(rows)) => Ok(Some(rows)),
        Some(Err(_)) => Err(fault(
            "\"max_rows\" must not be negative",
            format!("\"max_rows\" is {}.", given.unwrap_or_default()),
            "Give the number of rows wanted, or NULL for all.",
        )),
    }
}

/// The position of a word in the list of those allowed.
pub fn choice(name: &str, given: &str, allowed: &[&str]) -> Result<usize, Fault> {
    allowed.iter().position(|word| *word == given).ok_or_else(|| {
        fault(
            &format!("unknown value for \"{name}\""),
            format!("\"{name}\" is \"{given}\"."),
            format!("It is one of: {}.", allowed.join(", ")),
        )
    })
}

/// A step as SQL gives it; months and days have no fixed length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Calendar months.
    pub months: i32,
    /// Calendar days.
    pub days: i32,
    /// The rest, microseconds.
    pub micros: i64,
}

impl Step {
    /// Length, taking months for 30 days and days for 24 hours.
    pub fn rough_us(self) -> i64 {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        let total = days * 24 * i128::from(HOUR) + i128::from(self.micros);
        i64::try_from(total).unwrap_or(if total > 0 { i64::MAX } else { i64::MIN })
    }
}

/// Refuses steps that are not positive, mix calendar and clock, or make too many points.
pub fn step(step: Step, since: i64, until: i64) -> Result<Step, Fault> {
    let rough = step.rough_us();
    if rough <= 0 || step.months < 0 || step.days < 0 || step.micros < 0 {
        return Err(fault(
            "\"step\" must be positive",
            format!("\"step\" is about {} seconds long.", rough / 1_000_000),
            "Give a step such as interval '5 minutes', or NULL for one that fits the window.",
        ));
    }
    let parts = [step.months != 0, step.days != 0, step.micros != 0];
    if parts.iter().filter(|part| **part).count() > 1 {
        return Err(fault(
            "\"step\" must be of one kind",
            "It mixes months, days and hours.".to_owned(),
            "Give whole months, whole days, or a time such as interval '36 hours'.",
        ));
    }
    if rough > LONGEST_STEP || step.months > LONGEST_MONTHS {
        return Err(fault(
            "\"step\" is too long",
            format!("\"step\" is about {} days long.", rough / (24 * HOUR)),
            "Give a step of at most 1000 years, or NULL for one that fits the window.",
        ));
    }
    let points = (i128::from(until) - i128::from(since)) / i128::from(rough) + 2;
    if points > i128::from(MAX_POINTS) {
        return Err(fault(
            "\"step\" is too short for this window",
            format!("It would make {points} points, more than {MAX_POINTS}."),
            "Give a longer step or a shorter window, or NULL for a step that fits.",
        ));
    }
    Ok(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(at: i64) -> String {
        format!("<{at}>")
    }

    #[test]
    fn a_window_defaults_to_the_last_hour() {
        assert_eq!(window(None, None, 2 * HOUR, &show), Ok((HOUR, 2 * HOUR)));
        let given = window(Some(Instant::At(5)), None, 9, &show);
        assert_eq!(given, Ok((5, 9)));
    }

    #[test]
    fn a_step_is_a_thousand_years_at_most() {
        let of = |months, days| step(Step { months, days, micros: 0 }, 0, HOUR);
        assert!(of(12_000, 0).is_ok() && of(0, 366_000).is_ok());
        for long in [of(12_001, 0), of(0, 366_001), of(i32::MAX, 0), of(0, i32::MAX)] {
            assert_eq!(long.unwrap_err().message, "\"step\" is too long");
        }
    }

    #[test]
    fn a_reversed_window_is_refused_with_both_times() {
        let fault = window(Some(Instant::At(7)), Some(Instant::At(7)), 9, &show).unwrap_err();
        assert_eq!(fault.message, "\"since\" must be before \"until\"");
        assert_eq!(fault.detail, "\"since\" is <7>, \"until\" is <7>.");
        assert!(window(None, Some(Instant::At(0)), 2 * HOUR, &show).is_err());
    }

    #[test]
    fn infinite_times_are_refused_by_name() {
        let fault = window(None, Some(Instant::Infinite), 9, &show).unwrap_err();
        assert_eq!(fault.message, "\"until\" must be a finite time");
    }

    #[test]
    fn times_that_cannot_be_meant_are_refused_by_name() {
        for (at, ok) in [
            (YEARS.start - 1, false),
            (YEARS.start, true),
            (YEARS.end - 1, true),
            (YEARS.end, false),
            (i64::MAX - 1, false),
        ] {
            let asked = window(Some(Instant::At(0)), Some(Instant::At(at)), 9, &show);
            let message = asked.map_err(|fault| fault.message);
            assert_eq!(message.as_ref().is_err_and(|m| m == "\"until\" is too far from now"), !ok);
        }
        let fault = window(Some(Instant::At(YEARS.end)), None, 9, &show).unwrap_err();
        assert_eq!(fault.detail, "\"since\" is <253402300800000000>.");
    }

    #[test]
    fn rows_and_words() {
        assert_eq!(max_rows(None), Ok(None));
        assert_eq!(max_rows(Some(0)), Ok(Some(0)));
        assert_eq!(max_rows(Some(-3)).unwrap_err().detail, "\"max_rows\" is -3.");
        assert_eq!(choice("format", "b", &["a", "b"]), Ok(1));
        let fault = choice("format", "x", &["a", "b"]).unwrap_err();
        assert_eq!(fault.hint, "It is one of: a, b.");
    }

    #[test]
    fn steps_are_positive_of_one_kind_and_not_too_many() {
        let of = |months, days, micros| Step { months, days, micros };
        assert!(step(of(0, 0, 60_000_000), 0, HOUR).is_ok());
        assert!(step(of(0, 1, 0), 0, HOUR).is_ok());
        assert!(step(of(0, 0, 0), 0, HOUR).is_err());
        assert!(step(of(0, 0, -1), 0, HOUR).is_err());
        assert!(step(of(1, -1, 0), 0, HOUR).is_err());
        assert!(step(of(0, 1, HOUR), 0, HOUR).is_err());
        let fault = step(of(0, 0, 1), 0, HOUR).unwrap_err();
        assert_eq!(fault.message, "\"step\" is too short for this window");
        assert!(step(of(0, 0, 1), i64::MIN, i64::MAX).is_err());
        assert!(step(of(i32::MAX, i32::MAX, i64::MAX), 0, 1).is_err());
    }
}
