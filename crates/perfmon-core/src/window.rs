//! Which rows answer a question about a window of time, and how a series is cut into steps.
//!
//! Whatever levels are mixed, no minute may be counted twice or left out. Times are microseconds since
//! the Unix epoch; a window (since, until] takes the rows whose end lies in it.

/// One minute.
pub const MINUTE_US: i64 = 60_000_000;
/// One hour.
pub const HOUR_US: i64 = 60 * MINUTE_US;
/// One UTC day.
pub const DAY_US: i64 = 24 * HOUR_US;
/// Points that a series has at most when nobody asks for a step.
const POINTS: i64 = 400;

/// How fine the rows of a table are. Hours and days end where those of the UTC clock do, and hold
/// the finer rows whose ends lie in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// As the snapshots were taken.
    Minute,
    /// UTC hours.
    Hour,
    /// UTC days.
    Day,
}

impl Level {
    /// All of them, finest first.
    pub const ALL: [Self; 3] = [Self::Minute, Self::Hour, Self::Day];

    /// Length of its rows; of minute rows the usual one.
    pub fn step_us(self) -> i64 {
        match self {
            Self::Minute => MINUTE_US,
            Self::Hour => HOUR_US,
            Self::Day => DAY_US,
        }
    }

    /// The coarsest level whose rows fit into steps of this length.
    pub fn for_step(step_us: i64) -> Self {
        let fits = |level: &Self| step_us > 0 && step_us % level.step_us() == 0;
        [Self::Day, Self::Hour].into_iter().find(fits).unwrap_or(Self::Minute)
    }
}

/// Where the kept rows of a level begin and end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Start of the first kept row.
    pub oldest_since: Option<i64>,
    /// End of the last row.
    pub newest_until: Option<i64>,
}

/// The rows that answer a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Ascending and without overlap; each takes the rows of its level that end in (since, until].
    pub segments: Vec<(Level, i64, i64)>,
    /// The window in fact covered.
    pub since: i64,
    /// End of the window in fact covered.
    pub until: i64,
    /// The window had to be widened, because finer rows are no longer kept; say so.
    pub widened: bool,
}

/// Chooses rows for the window, none coarser than `coarsest` unless finer ones are no longer kept.
/// `kept` is that of minutes, hours and days. The tops of things take [`Level::Day`], a series
/// [`Level::for_step`] of its step.
pub fn plan(since: i64, until: i64, coarsest: Level, kept: &[Extent; 3]) -> Plan {
    let (hours_from, minutes_from) = borders(kept);
    let mut plan = Plan { segments: Vec::new(), since, until, widened: false };
    if since >= until {
        return plan;
    }
    let only = |at: i64| match at {
        _ if at < hours_from => Level::Day,
        _ if at < minutes_from => Level::Hour,
        _ => Level::Minute,
    };
    let from = match only(since) {
        Level::Minute => since,
        level => floor(since, level.step_us()),
    };
    let to = match only(until.saturating_sub(1)) {
        Level::Minute => until,
        level => ceiling(until, level.step_us()),
    };
    (plan.since, plan.until, plan.widened) = (from, to, (from, to) != (since, until));
    plan.put(Level::Day, from, to.min(hours_from));
    let from = from.max(hours_from);
    match coarsest {
        Level::Day => plan.put_days(from, to, kept),
        Level::Hour => plan.put_hours(from, to, kept),
        Level::Minute => {
            plan.put(Level::Hour, from, to.min(minutes_from));
            plan.put(Level::Minute, from.max(minutes_from), to);
        }
    }
    plan
}

/// The finest level of rows that is kept all through a window: a series cannot have shorter steps.
pub fn finest(since: i64, kept: &[Extent; 3]) -> Level {
    let (hours_from, minutes_from) = borders(kept);
    match since {
        _ if since < hours_from => Level::Day,
        _ if since < minutes_from => Level::Hour,
        _ => Level::Minute,
    }
}

/// The stretch of a window whose rows, as fine as they are kept, hold nothing of the time around it; empty at its end if
/// there is none.
pub fn inside(since: i64, until: i64, kept: &[Extent; 3]) -> (i64, i64) {
    let step = |at: i64| match finest(at, kept) {
        Level::Minute => 1,
        level => level.step_us(),
    };
    let from = ceiling(since, step(since));
    let to = floor(until, step(until.saturating_sub(1)));
    if from < to { (from, to) } else { (until, until) }
}

/// The end of the stretch where only days are left, and of that where only hours and days are: rows
/// were dropped where coarser ones reach further back than finer ones. Both lie at ends of such rows.
fn borders(kept: &[Extent; 3]) -> (i64, i64) {
    let border = |fine: &Extent, coarse: &Extent, step: i64| match (fine, coarse) {
        (_, Extent { oldest_since: None, .. } | Extent { newest_until: None, .. }) => i64::MIN,
        (Extent { oldest_since: Some(fine), .. }, Extent { oldest_since: Some(coarse), .. })
            if fine <= coarse =>
        {
            i64::MIN
        }
        (fine, Extent { newest_until: Some(last), .. }) => {
            let last = floor(*last, step);
            fine.oldest_since.map_or(last, |fine| ceiling(fine, step).min(last))
        }
    };
    let hours_from = border(&kept[1], &kept[2], DAY_US);
    let minutes_from = border(&kept[0], &kept[1], HOUR_US);
    (hours_from, minutes_from.max(hours_from))
}

impl Plan {
    fn put(&mut self, level: Level, since: i64, until: i64) {
        if since >= until {
            return;
        }
        match self.segments.last_mut() {
            Some(last) if last.0 == level && last.2 == since => last.2 = until,
            _ => self.segments.push((level, since, until)),
        }
    }

    /// Days in the middle, as far as they are made, and finer rows at the ragged ends.
    fn put_days(&mut self, since: i64, until: i64, kept: &[Extent; 3]) {
        let (first, last) = inner(since, until, DAY_US, &kept[2]);
        self.put_hours(since, first, kept);
        self.put(Level::Day, first, last);
        self.put_hours(last, until, kept);
    }

    fn put_hours(&mut self, since: i64, until: i64, kept: &[Extent; 3]) {
        let (first, last) = inner(since, until, HOUR_US, &kept[1]);
        self.put(Level::Minute, since, first);
        self.put(Level::Hour, first, last);
        self.put(Level::Minute, last, until);
    }
}

/// The stretch within the window that whole rows of a level cover; empty at its start if there is none.
fn inner(since: i64, until: i64, step: i64, kept: &Extent) -> (i64, i64) {
    let first = ceiling(since, step);
    let last = kept.newest_until.map_or(i64::MIN, |made| floor(made.min(until), step));
    if first < last { (first, last) } else { (since, since) }
}

fn floor(at: i64, step: i64) -> i64 {
    at.saturating_sub(at.rem_euclid(step))
}

fn ceiling(at: i64, step: i64) -> i64 {
    let down = floor(at, step);
    if down == at { at } else { down.saturating_add(step) }
}

/// The step of a series when nobody asks for one: at most 400 points, in steps that people know, up to four
/// weeks; then so many days as it takes.
pub fn default_step(since: i64, until: i64) -> i64 {
    let (since, until) = (i128::from(since), i128::from(until).max(i128::from(since)));
    // Of the first and the last step, the window may hold a part only.
    let points = |step: i64| {
        let step = i128::from(step);
        (until - 1).div_euclid(step) - since.div_euclid(step) + 1
    };
    [MINUTE_US, 5 * MINUTE_US, 15 * MINUTE_US, HOUR_US, 6 * HOUR_US]
        .into_iter()
        .find(|&step| points(step) <= i128::from(POINTS))
        .unwrap_or_else(|| days(until - since).saturating_mul(DAY_US))
}

/// How many days make a step. Days begin in some time zone, and one may be an hour longer than another: so much is left
/// for both ends.
fn days(us: i128) -> i64 {
    let least = (us + i128::from(DAY_US)) / i128::from((POINTS - 1) * DAY_US) + 1;
    let least = i64::try_from(least).unwrap_or(i64::MAX / DAY_US);
    [1, 2, 7, 14, 28].into_iter().find(|days| *days >= least).unwrap_or(least)
}

/// Start of the step that holds a row with this end. Steps are aligned to the UTC epoch and hold the
/// rows that end in (start, start + step].
pub fn bucket_of(until: i64, step_us: i64) -> i64 {
    floor(until.saturating_sub(1), step_us.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_longest_window_has_a_step_that_fits() {
        let (since, until) = (-210_866_803_200_000_000, i64::MAX);
        let step = default_step(since, until);
        assert_eq!(step % DAY_US, 0);
        assert!((i128::from(until) - i128::from(since)) / i128::from(step) < 399);
    }

    #[test]
    fn default_steps_are_round() {
        let step = |us: i64| default_step(0, us) / MINUTE_US;
        assert_eq!(step(0), 1);
        assert_eq!(step(HOUR_US), 1);
        assert_eq!(step(400 * MINUTE_US), 1);
        assert_eq!(step(400 * MINUTE_US + 1), 5);
        assert_eq!(step(DAY_US), 5);
        assert_eq!(step(3 * DAY_US), 15);
        assert_eq!(step(16 * DAY_US), 60);
        assert_eq!(step(30 * DAY_US), 360);
        assert_eq!(step(365 * DAY_US), 1440);
        assert_eq!(step(2 * 365 * DAY_US), 2 * 1440);
        assert_eq!(step(5 * 365 * DAY_US), 7 * 1440);
        assert_eq!(step(30 * 365 * DAY_US), 28 * 1440);
    }

    proptest! {
        /// Wherever the window begins, and in any time zone: days of a step begin up to a day beside those of UTC.
        #[test]
        fn default_steps_give_400_points_at_most(
            since in -DAY_US * 20_000..DAY_US * 40_000,
            length in prop_oneof![0..DAY_US, 0..400 * DAY_US, 0..40_000 * DAY_US],
            zone in 0..DAY_US,
        ) {
            let until = since + length;
            let step = default_step(since, until);
            let zone = if step % DAY_US == 0 { zone } else { 0 };
            let points = bucket_of(until + zone, step) - floor(since + zone, step);
            prop_assert!(points / step < POINTS, "{} steps of {}", points / step, step);
        }
    }

    #[test]
    fn a_row_belongs_to_the_step_in_which_it_ends() {
        assert_eq!(bucket_of(HOUR_US, HOUR_US), 0);
        assert_eq!(bucket_of(HOUR_US + 1, HOUR_US), HOUR_US);
        assert_eq!(bucket_of(0, HOUR_US), -HOUR_US);
        assert_eq!(bucket_of(i64::MIN, 0), i64::MIN);
    }

    #[test]
    fn levels_fit_into_steps() {
        for (step, level) in [
            (2 * DAY_US, Level::Day),
            (6 * HOUR_US, Level::Hour),
            (15 * MINUTE_US, Level::Minute),
            (1, Level::Minute),
            (0, Level::Minute),
            (-DAY_US, Level::Minute),
        ] {
            assert_eq!(Level::for_step(step), level);
        }
    }

    fn extent(since: i64, until: i64) -> Extent {
        Extent { oldest_since: Some(since), newest_until: Some(until) }
    }

    #[test]
    fn thirty_ragged_days_are_few_rows() {
        let start = 20_000 * DAY_US;
        let end = start + 40 * DAY_US;
        let kept = [extent(start, end + HOUR_US), extent(start, end), extent(start, end)];
        let made = plan(start + 90 * MINUTE_US, end - 90 * MINUTE_US, Level::Day, &kept);
        let rows = |level: Level| -> i64 {
            let of = made.segments.iter().filter(|s| s.0 == level);
            of.map(|s| (s.2 - s.1) / level.step_us()).sum()
        };
        assert_eq!((rows(Level::Minute), rows(Level::Hour), rows(Level::Day)), (60, 44, 38));
        assert!(!made.widened);
    }

    #[test]
    fn what_is_gone_is_rounded_inward_where_nothing_else_may_be_in_it() {
        let day = |n: i64| 20_000 * DAY_US + n * DAY_US;
        let kept = [extent(day(90), day(100)), extent(day(50), day(100)), extent(day(0), day(100))];
        let inside_of = |since, until| inside(since, until, &kept);
        let nothing = |until| (until, until);
        // As it was recorded.
        assert_eq!(inside_of(day(95) + 7, day(95) + 9), (day(95) + 7, day(95) + 9));
        // By the hour.
        let (since, until) = (day(60) + 7, day(60) + HOUR_US - 7);
        assert_eq!(inside_of(since, until), nothing(until));
        let whole = (day(60) + HOUR_US, day(60) + 3 * HOUR_US);
        assert_eq!(inside_of(whole.0 - 7, whole.1 + 7), whole);
        assert_eq!(inside_of(whole.0, whole.1), whole);
        // By the day, and from days into intervals.
        assert_eq!(inside_of(day(10) + 7, day(12) + 7), (day(11), day(12)));
        assert_eq!(inside_of(day(89) - 7, day(95) + 7), (day(89), day(95) + 7));
        assert_eq!(inside_of(7, 7), nothing(7));
    }

    #[test]
    fn what_is_gone_is_rounded_outward_and_told() {
        let day = |n: i64| 20_000 * DAY_US + n * DAY_US;
        let now = day(100) + 7 * HOUR_US + MINUTE_US;
        let kept = [
            extent(day(90), now),
            extent(day(50), day(100) + 7 * HOUR_US),
            extent(day(0) + HOUR_US, day(100)),
        ];
        let made = plan(day(60) + 1, day(60) + HOUR_US + 1, Level::Day, &kept);
        assert_eq!(made.segments, [(Level::Hour, day(60), day(60) + 2 * HOUR_US)]);
        assert!(made.widened);
        let made = plan(day(10) + 1, day(10) + 2, Level::Minute, &kept);
        assert_eq!(made.segments, [(Level::Day, day(10), day(11))]);
        assert!(made.widened);
        let made = plan(day(99) + 1, now, Level::Hour, &kept);
        assert!(!made.widened);
        assert_eq!((finest(day(60), &kept), finest(day(95), &kept)), (Level::Hour, Level::Minute));
        // The young history of a new server is not one that was dropped.
        let young = [extent(day(1) + 9, day(1) + HOUR_US), Extent::default(), Extent::default()];
        let made = plan(day(0), day(1) + 99, Level::Day, &young);
        assert_eq!(made.segments, [(Level::Minute, day(0), day(1) + 99)]);
        assert!(!made.widened);
        assert!(plan(5, 5, Level::Day, &young).segments.is_empty());
    }

    /// History as the store would keep it: minute rows at odd times, closed hours and days made of
    /// them, old minutes dropped by days and old hours by months (here: by four days).
    #[derive(Debug)]
    struct Store {
        minutes: Vec<i64>,
        minutes_kept_from: i64,
        hours_kept_from: i64,
        now: i64,
        behind: i64,
    }

    impl Store {
        /// Ends of coarse rows, and the minutes each of them holds.
        fn made(&self, step: i64, from: i64) -> Vec<(i64, Vec<i64>)> {
            let closed = floor(self.now, step) - self.behind * step;
            let mut rows: Vec<(i64, Vec<i64>)> = Vec::new();
            for &minute in &self.minutes {
                let end = ceiling(minute, step);
                if end > closed || end < from {
                    continue;
                }
                match rows.last_mut() {
                    Some(row) if row.0 == end => row.1.push(minute),
                    _ => rows.push((end, vec![minute])),
                }
            }
            rows
        }

        fn rows(&self, level: Level) -> Vec<(i64, Vec<i64>)> {
            match level {
                Level::Minute => self
                    .minutes
                    .iter()
                    .filter(|&&m| m >= self.minutes_kept_from)
                    .map(|&m| (m, vec![m]))
                    .collect(),
                Level::Hour => self.made(HOUR_US, self.hours_kept_from),
                Level::Day => self.made(DAY_US, i64::MIN),
            }
        }

        fn kept(&self) -> [Extent; 3] {
            Level::ALL.map(|level| {
                let rows = self.rows(level);
                Extent {
                    oldest_since: rows.first().map(|r| r.1[0] - MINUTE_US),
                    newest_until: rows.last().map(|r| r.0),
                }
            })
        }
    }

    fn store() -> impl Strategy<Value = Store> {
        let gap = prop_oneof![
            30 => Just(19 * MINUTE_US),
            3 => 1i64..HOUR_US,
            3 => Just(0),
            1 => HOUR_US..2 * DAY_US,
        ];
        (prop::collection::vec(gap, 1..900), 0i64..12, 0i64..12, 0i64..2, 0i64..DAY_US).prop_map(
            |(gaps, minute_days, hour_days, behind, start)| {
                let mut at = start;
                let minutes: Vec<i64> = gaps
                    .into_iter()
                    .map(|gap| {
                        // Zero stands for the next full hour, where mistakes by one would hide.
                        at = if gap == 0 { floor(at, HOUR_US) + HOUR_US } else { at + gap };
                        at
                    })
                    .collect();
                let now = at + 1;
                // Nothing is dropped that is not yet added up.
                let sure =
                    |days: i64, behind: i64| floor(now - behind * DAY_US, DAY_US) - days * DAY_US;
                let minutes_kept_from = sure(minute_days, 1);
                let hours_kept_from = sure(minute_days + hour_days, 1 + behind);
                Store { minutes, minutes_kept_from, hours_kept_from, now, behind }
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn every_minute_is_counted_once(
            store in store(), a in 0.0..1.1f64, b in 0.0..1.1f64, round in 0usize..4, level in 0usize..3
        ) {
            let unit = [1, MINUTE_US, HOUR_US, DAY_US][round];
            let at = |part: f64| floor((store.now as f64 * part) as i64, unit);
            let (since, until) = (at(a.min(b)), at(a.max(b)));
            let kept = store.kept();
            let made = plan(since, until, Level::ALL[level], &kept);
            let mut taken: Vec<i64> = Vec::new();
            let mut end = made.since;
            for &(level, from, to) in &made.segments {
                prop_assert!(from == end && from < to, "{:?}", made);
                end = to;
                let rows = store.rows(level);
                taken.extend(rows.into_iter().filter(|r| from < r.0 && r.0 <= to).flat_map(|r| r.1));
            }
            if since < until {
                prop_assert_eq!(end, made.until);
            }
            let meant: Vec<i64> =
                store.minutes.iter().copied().filter(|&m| made.since < m && m <= made.until).collect();
            prop_assert_eq!(taken, meant);
            prop_assert!(made.since <= since && made.until >= until);
            prop_assert!(since - made.since < DAY_US && made.until - until < DAY_US);
            prop_assert_eq!(made.widened, (made.since, made.until) != (since, until));
            let nothing_dropped = store.minutes[0] >= store.minutes_kept_from;
            prop_assert!(!made.widened || !nothing_dropped);
        }
    }
}
