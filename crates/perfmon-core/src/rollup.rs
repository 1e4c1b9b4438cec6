//! Makes one row of several: minutes become hours, hours become days.
//!
//! Sums must come out exactly, whatever is left out by name, and merging in several steps must give the
//! same as merging at once.

use crate::family::{FAILURE, Family, Merge, STATEMENT};
use crate::frame::{Frame, Quality, Span};
use std::iter::zip;

/// Id of the row's rest: statements too small to be kept by name.
pub const OTHER: u32 = 0;

/// Merges rows into one that ends at `until`; `None` if there are none.
///
/// A counter is known for the whole only if every part with activity knew it; otherwise the column still
/// holds what was counted, a lower bound. A gauge is known if any part knew it; the last value stands, and
/// of an object whose gauge was never read it is [`crate::family::UNKNOWN`]. A total is unknown only if no part knew
/// it; those of errors, if one part with executions did not.
///
/// With `keep` (say 0.999) the biggest objects that make up this share of both calls and execution time
/// keep their names; the others become [`OTHER`]. Families without these columns keep all. Of what has a name in one part,
/// and may be in the rest of another, the row holds a lower bound, as its quality says.
pub fn merge(
    family: &'static Family,
    parts: &[(Span, Frame)],
    until: i64,
    keep: Option<f64>,
) -> Option<(Span, Frame)> {
    let mut parts: Vec<&(Span, Frame)> = parts.iter().collect();
    parts.sort_by_key(|p| p.0.until);
    let span = merge_spans(parts.iter().map(|p| p.0), until)?;
    let frames: Vec<&Frame> = parts.iter().map(|p| &p.1).collect();
    let mut ids: Vec<u32> = frames.iter().flat_map(|f| f.ids.iter().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    // Where each object of each part goes.
    let places: Vec<Vec<u32>> = frames.iter().map(|f| places_of(&f.ids, &ids)).collect();
    let mut known = 0;
    let mut columns = Vec::with_capacity(family.columns.len());
    for (c, how) in family.columns.iter().enumerate() {
        let is_known = is_known(&frames, c, how.merge);
        known |= u64::from(is_known) << c;
        let nothing = if is_known { how.merge.nothing() } else { 0 };
        let mut column = vec![nothing; ids.len()];
        for (frame, places) in zip(&frames, &places) {
            add_column(&mut column, frame, places, c, how.merge);
        }
        columns.push(column);
    }
    if family.name == STATEMENT.name
        && let Some(quality) = columns.first_mut()
    {
        doubt_by_rests(quality, &ids, &frames, &places);
    }
    if let Some(keep) = keep
        && let Some(small) = small_ones(family, &ids, &columns, keep)
    {
        (ids, columns) = fold(family, &ids, &columns, &small);
    }
    let mut totals: Vec<Option<i64>> = (0..family.totals.len())
        .map(|t| {
            let known = frames.iter().filter_map(|f| f.totals.get(t).copied().flatten());
            known.reduce(i64::saturating_add)
        })
        .collect();
    // A part of what was executed is no ratio's whole.
    let is_untold = |frame: &Frame| matches!(frame.totals.first(), Some(None));
    if family.name == FAILURE.name && frames.iter().any(|frame| is_untold(frame)) {
        totals.iter_mut().take(1).for_each(|total| *total = None);
    }
    for frame in frames.iter().filter(|frame| family.name == FAILURE.name && hides_errors(frame)) {
        known &= frame.known;
        totals.iter_mut().skip(1).for_each(|total| *total = None);
    }
    let columns = columns.into_iter().map(|c| c.iter().any(|&v| v != 0).then_some(c)).collect();
    Some((span, Frame { family, ids, columns, known, totals }))
}

/// The span of several rows: from the first start, as long as all of them together.
pub fn merge_spans(spans: impl IntoIterator<Item = Span>, until: i64) -> Option<Span> {
    let joined = spans.into_iter().reduce(|a, b| Span {
        since: a.since.min(b.since),
        until: a.until.max(b.until),
        length_us: a.length_us.saturating_add(b.length_us),
        quiet_us: a.quiet_us.saturating_add(b.quiet_us),
        quality: a.quality.max(b.quality),
        flags: a.flags | b.flags,
    })?;
    Some(Span { until, ..joined })
}

/// What a part with a rest does not name may be in that rest: then the names of the others hold a lower bound of it.
fn doubt_by_rests(quality: &mut [u64], ids: &[u32], frames: &[&Frame], places: &[Vec<u32>]) {
    for (_, places) in zip(frames, places).filter(|(frame, _)| frame.ids.first() == Some(&OTHER)) {
        let mut named = places.iter().peekable();
        for (place, worst) in (0u32..).zip(quality.iter_mut()) {
            if named.next_if_eq(&&place).is_none() && ids[place as usize] != OTHER {
                *worst = (*worst).max(Quality::LowerBound as u64);
            }
        }
    }
}

/// Whether something was tried of which nobody knows what failed: errors of the rest would be a share of all that
/// was executed. What only failed has rows, though nothing was executed.
fn hides_errors(frame: &Frame) -> bool {
    let total = |t: usize| frame.totals.get(t).copied().flatten();
    let tried = total(0).is_some_and(|executions| executions > 0) || !frame.ids.is_empty();
    tried && total(1).is_none()
}

fn places_of(some: &[u32], all: &[u32]) -> Vec<u32> {
    let mut next = 0;
    some.iter()
        .map(|id| {
            while all.get(next).is_some_and(|a| a < id) {
                next += 1;
            }
            next as u32
        })
        .collect()
}

fn knows(frame: &Frame, c: usize) -> bool {
    frame.known >> c & 1 == 1
}

fn is_known(frames: &[&Frame], c: usize, how: Merge) -> bool {
    if how == Merge::Last {
        return frames.iter().any(|f| knows(f, c));
    }
    let mut active = frames.iter().filter(|f| !f.ids.is_empty()).peekable();
    if active.peek().is_none() {
        return frames.iter().all(|f| knows(f, c));
    }
    active.all(|f| knows(f, c))
}

fn add_column(into: &mut [u64], frame: &Frame, places: &[u32], c: usize, how: Merge) {
    match frame.columns.get(c).and_then(Option::as_ref) {
        Some(values) => {
            for (&place, &value) in zip(places, values) {
                how.add(&mut into[place as usize], value);
            }
        }
        // A known gauge without values has fallen to zero everywhere.
        None if how == Merge::Last && knows(frame, c) => {
            places.iter().for_each(|&place| into[place as usize] = 0);
        }
        None => {}
    }
}

/// Which objects are too small to keep their names, if any.
fn small_ones(family: &Family, ids: &[u32], columns: &[Vec<u64>], keep: f64) -> Option<Vec<bool>> {
    let measures = [family.position("exec_us")?, family.position("calls")?];
    let mut small: Vec<bool> = ids.iter().map(|&id| id != OTHER).collect();
    for c in measures {
        let column = &columns[c];
        let mut order: Vec<usize> = (0..ids.len()).filter(|&i| ids[i] != OTHER).collect();
        order.sort_unstable_by_key(|&i| column[i]);
        let total: u128 = order.iter().map(|&i| u128::from(column[i])).sum();
        let mut allowed = total as f64 * (1.0 - keep);
        for &i in &order {
            allowed -= column[i] as f64;
            if allowed < 0.0 {
                small[i] = false;
            }
        }
    }
    small.contains(&true).then_some(small)
}

/// Keeps the names of the objects with the most execution time, and adds the others up as [`OTHER`]: for
/// a store that is out of room. Families without execution time keep all.
pub fn keep_largest(frame: &mut Frame, most: usize) {
    let Some(time) = frame.family.position("exec_us") else { return };
    if frame.ids.len() <= most {
        return;
    }
    let columns: Vec<Vec<u64>> = std::mem::take(&mut frame.columns)
        .into_iter()
        .map(|column| column.unwrap_or_else(|| vec![0; frame.ids.len()]))
        .collect();
    let mut order: Vec<usize> = (0..frame.ids.len()).filter(|&i| frame.ids[i] != OTHER).collect();
    order.sort_unstable_by_key(|&i| std::cmp::Reverse(columns[time][i]));
    let mut small = vec![false; frame.ids.len()];
    order.iter().skip(most).for_each(|&i| small[i] = true);
    let (ids, columns) = fold(frame.family, &frame.ids, &columns, &small);
    frame.ids = ids;
    frame.columns = columns.into_iter().map(|c| c.iter().any(|&v| v != 0).then_some(c)).collect();
}

/// Adds the small ones up under [`OTHER`], which sorts first.
fn fold(
    family: &Family,
    ids: &[u32],
    columns: &[Vec<u64>],
    small: &[bool],
) -> (Vec<u32>, Vec<Vec<u64>>) {
    let named: Vec<usize> = (0..ids.len()).filter(|&i| !small[i] && ids[i] != OTHER).collect();
    let rest: Vec<usize> = (0..ids.len()).filter(|&i| small[i] || ids[i] == OTHER).collect();
    let kept = [OTHER].into_iter().chain(named.iter().map(|&i| ids[i])).collect();
    let columns = zip(columns, family.columns)
        .map(|(column, how)| {
            let other = rest.iter().fold(0u64, |into, &i| match how.merge {
                Merge::Sum => into.saturating_add(column[i]),
                Merge::Last => 0,
                Merge::Max => into.max(column[i]),
            });
            [other].into_iter().chain(named.iter().map(|&i| column[i])).collect()
        })
        .collect();
    (kept, columns)
}

/// The worst quality among a row's objects, for rows made elsewhere.
pub fn worst_quality(frame: &Frame) -> Quality {
    match frame.columns.first().and_then(Option::as_ref).and_then(|q| q.iter().max()) {
        None | Some(0) => Quality::Exact,
        Some(1) => Quality::LowerBound,
        Some(_) => Quality::Doubtful,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{RELATION, SERVER, UNKNOWN};
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn keeping_the_largest_loses_nothing(
            rows in proptest::collection::btree_map(1u32..200, (0u64..1000, 0u64..1_000_000), 0..60),
            most in 1usize..40,
        ) {
            let mut columns: Vec<Option<Vec<u64>>> = vec![None; STATEMENT.columns.len()];
            let (calls, time) = (STATEMENT.position("calls").unwrap(), STATEMENT.position("exec_us").unwrap());
            columns[calls] = Some(rows.values().map(|v| v.0).collect());
            columns[time] = Some(rows.values().map(|v| v.1).collect());
            let before = Frame {
                family: &STATEMENT,
                ids: rows.keys().copied().collect(),
                columns,
                known: 6,
                totals: Vec::new(),
            };
            let mut after = before.clone();
            keep_largest(&mut after, most);
            let sum = |f: &Frame, c: usize| f.columns[c].iter().flatten().sum::<u64>();
            prop_assert_eq!(sum(&before, calls), sum(&after, calls));
            prop_assert_eq!(sum(&before, time), sum(&after, time));
            prop_assert!(after.ids.len() <= most.max(before.ids.len().min(most)) + 1);
            if before.ids.len() > most {
                prop_assert_eq!(after.ids[0], OTHER);
                let kept: Vec<u64> = after.columns[time].iter().flatten().skip(1).copied().collect();
                let mut all: Vec<u64> = rows.values().map(|v| v.1).collect();
                all.sort_unstable_by(|a, b| b.cmp(a));
                prop_assert_eq!(kept.iter().sum::<u64>(), all.iter().take(most).sum::<u64>());
            }
        }
    }

    fn span(until: i64) -> Span {
        Span {
            since: until - 60,
            until,
            length_us: 59,
            quiet_us: 3,
            quality: Quality::Exact,
            flags: 0,
        }
    }

    fn frame(family: &'static Family, ids: &[u32], values: &[(&str, &[u64])]) -> Frame {
        let mut made = Frame {
            family,
            ids: ids.to_vec(),
            columns: vec![None; family.columns.len()],
            known: 1,
            totals: vec![None; family.totals.len()],
        };
        for (name, value) in values {
            let c = family.position(name).unwrap();
            made.columns[c] = (!value.is_empty()).then(|| value.to_vec());
            made.known |= 1 << c;
        }
        made
    }

    fn value(frame: &Frame, name: &str, id: u32) -> Option<u64> {
        let i = frame.ids.binary_search(&id).ok()?;
        let column = &frame.columns[frame.family.position(name).unwrap()];
        Some(column.as_ref().map_or(0, |c| c[i]))
    }

    #[test]
    fn nothing_merges_to_nothing() {
        assert!(merge(&STATEMENT, &[], 5, Some(0.999)).is_none());
    }

    #[test]
    fn spans_add_up() {
        let worse = Span { quality: Quality::Doubtful, flags: 4, ..span(200) };
        let late = Span { flags: 1, ..span(100) };
        let joined = merge_spans([worse, late], 3600).unwrap();
        assert_eq!((joined.since, joined.until, joined.length_us), (40, 3600, 118));
        assert_eq!((joined.quiet_us, joined.quality, joined.flags), (6, Quality::Doubtful, 5));
    }

    #[test]
    fn gauges_keep_the_last_known_value() {
        let parts = [
            (span(180), frame(&RELATION, &[1, 3], &[("seq_scan", &[1, 1])])),
            (span(60), frame(&RELATION, &[1, 2], &[("table_bytes", &[10, 20]), ("seq_scan", &[])])),
            (span(120), frame(&RELATION, &[2], &[("table_bytes", &[]), ("seq_scan", &[5])])),
        ];
        let (_, made) = merge(&RELATION, &parts, 200, None).unwrap();
        assert_eq!(made.ids, [1, 2, 3]);
        assert_eq!(value(&made, "table_bytes", 1), Some(10));
        assert_eq!(value(&made, "table_bytes", 2), Some(0), "it was emptied");
        assert_eq!(value(&made, "table_bytes", 3), Some(UNKNOWN), "it was never measured");
        assert_eq!(value(&made, "seq_scan", 2), Some(5));
        let bit = |name| made.known >> RELATION.position(name).unwrap() & 1;
        assert_eq!((bit("table_bytes"), bit("seq_scan"), bit("idx_scan")), (1, 1, 0));
    }

    #[test]
    fn what_may_be_in_the_rest_of_a_part_is_a_lower_bound() {
        let parts = [
            (span(60), frame(&STATEMENT, &[OTHER, 1, 3], &[("calls", &[9, 5, 5])])),
            (span(120), frame(&STATEMENT, &[1, 2, 3], &[("calls", &[4, 1, 1])])),
        ];
        let qualities = |parts: &[(Span, Frame)]| {
            let (_, made) = merge(&STATEMENT, parts, 200, None).unwrap();
            [OTHER, 1, 2, 3].map(|id| value(&made, "quality", id))
        };
        assert_eq!(qualities(&parts), [Some(0), Some(0), Some(1), Some(0)]);
        assert_eq!(qualities(&parts[1..]), [None, Some(0), Some(0), Some(0)]);
        // Hours of such a day, one by one.
        let (of_both, both) = merge(&STATEMENT, &parts, 120, None).unwrap();
        let third = (span(180), frame(&STATEMENT, &[4], &[("calls", &[1])]));
        let (_, made) = merge(&STATEMENT, &[(of_both, both), third], 200, None).unwrap();
        assert_eq!([1, 2, 3, 4].map(|id| value(&made, "quality", id)), [0, 1, 0, 1].map(Some));
    }

    #[test]
    fn a_counter_unknown_in_an_active_part_is_only_a_lower_bound() {
        let quiet = frame(&STATEMENT, &[], &[]);
        let full = frame(&STATEMENT, &[1], &[("calls", &[2]), ("plans", &[1])]);
        let bare = frame(&STATEMENT, &[1], &[("calls", &[2])]);
        let known = |parts: &[&Frame]| {
            let parts: Vec<_> = parts.iter().map(|&f| (span(60), f.clone())).collect();
            merge(&STATEMENT, &parts, 60, None).unwrap().1
        };
        let plans = STATEMENT.position("plans").unwrap();
        assert_eq!(known(&[&quiet, &full]).known >> plans & 1, 1);
        let made = known(&[&full, &bare]);
        assert_eq!((made.known >> plans & 1, value(&made, "plans", 1)), (0, Some(1)));
    }

    #[test]
    fn errors_are_unknown_where_those_of_a_part_are() {
        let part = |executions, errors| {
            let mut frame = frame(&FAILURE, &[7], &[("failures", &[2])]);
            frame.totals = vec![Some(executions), errors, errors];
            frame
        };
        let merged = |parts: &[&Frame]| {
            let parts: Vec<_> = parts.iter().map(|&f| (span(60), f.clone())).collect();
            merge(&FAILURE, &parts, 60, None).unwrap().1
        };
        let (known, apart) = (part(10, Some(2)), part(30, None));
        let mut idle = frame(&FAILURE, &[], &[("failures", &[])]);
        idle.totals = vec![Some(0), None, None];
        let failures = FAILURE.position("failures").unwrap();
        let knows = |frame: &Frame| frame.known >> failures & 1 == 1;
        let made = merged(&[&known, &idle]);
        assert_eq!((made.totals[0], made.totals[1], knows(&made)), (Some(10), Some(2), true));
        // Those of some users are known.
        let made = merged(&[&known, &apart]);
        assert_eq!((made.totals[0], made.totals[1], knows(&made)), (Some(40), None, true));
        // Nothing but errors that nobody saw.
        let mut failing = apart.clone();
        failing.totals[0] = Some(0);
        assert_eq!(merged(&[&known, &failing]).totals[1], None);
        // Those of nobody are.
        let mut hidden = frame(&FAILURE, &[], &[]);
        (hidden.known, hidden.totals) = (1, vec![Some(30), None, None]);
        let made = merged(&[&known, &hidden]);
        assert_eq!((made.totals[1], knows(&made)), (None, false));
        assert_eq!(value(&made, "failures", 7), Some(2), "still a lower bound");
        assert_eq!(merged(&[&made, &known]).totals[1], None);
    }

    #[test]
    fn totals_are_unknown_only_if_never_known() {
        let mut a = frame(&SERVER, &[0], &[]);
        a.totals[0] = Some(1);
        let mut b = a.clone();
        b.totals[1] = Some(i64::MAX);
        let mut c = b.clone();
        c.totals[1] = Some(5);
        let parts = [(span(1), a), (span(2), b), (span(3), c)];
        let (_, made) = merge(&SERVER, &parts, 3, None).unwrap();
        assert_eq!(made.totals[..3], [Some(3), Some(i64::MAX), None]);
    }

    #[test]
    fn the_small_become_other() {
        let ids: Vec<u32> = (1..=1002).collect();
        let mut us = vec![1u64; 1002];
        let mut calls = vec![1u64; 1002];
        us[0] = 2_000_000;
        calls[1] = 5_000_000;
        let made = frame(&STATEMENT, &ids, &[("exec_us", &us), ("calls", &calls)]);
        let (_, made) = merge(&STATEMENT, &[(span(60), made)], 60, Some(0.999)).unwrap();
        assert_eq!(made.ids, [0, 1, 2]);
        assert_eq!(value(&made, "exec_us", 0), Some(1000));
        let again = merge(&STATEMENT, &[(span(60), made.clone())], 60, Some(0.999)).unwrap().1;
        assert_eq!(again.ids, [0, 1, 2], "the rest of the rest stays the rest");
    }

    fn parts() -> impl Strategy<Value = Vec<(Span, Frame)>> {
        let row = prop::collection::btree_map(1u32..40, (0u64..3, 0u64..99, 0u64..9_999), 0..30);
        prop::collection::vec((row, 0i64..5, any::<bool>()), 1..9).prop_map(|rows| {
            let mut until = 0;
            let part = |(row, pause, planned): (BTreeMap<u32, (u64, u64, u64)>, i64, bool)| {
                until += 60 + pause;
                let ids: Vec<u32> = row.keys().copied().collect();
                let of =
                    |f: &dyn Fn(&(u64, u64, u64)) -> u64| row.values().map(f).collect::<Vec<_>>();
                let (q, calls, us) = (of(&|v| v.0), of(&|v| v.1), of(&|v| v.2));
                let mut values: Vec<(&str, &[u64])> =
                    vec![("quality", &q), ("calls", &calls), ("exec_us", &us)];
                if planned {
                    values.push(("plans", &calls));
                }
                let mut made = frame(&STATEMENT, &ids, &values);
                made.totals[0] = planned.then(|| calls.iter().sum::<u64>() as i64);
                (span(until), made)
            };
            rows.into_iter().map(part).collect()
        })
    }

    fn sum(frame: &Frame, name: &str) -> u64 {
        frame.columns[STATEMENT.position(name).unwrap()].iter().flatten().sum()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn rollups_add_up(parts in parts(), keep in prop_oneof![Just(None), Just(Some(0.999)), Just(Some(0.8))]) {
            let (span, made) = merge(&STATEMENT, &parts, 9999, keep).unwrap();
            prop_assert!(made.ids.windows(2).all(|w| w[0] < w[1]));
            prop_assert_eq!(span.length_us, parts.iter().map(|p| p.0.length_us).sum::<i64>());
            for name in ["calls", "exec_us", "plans"] {
                let all: u64 = parts.iter().map(|p| sum(&p.1, name)).sum();
                prop_assert_eq!(sum(&made, name), all);
                let named = all - value(&made, name, OTHER).unwrap_or(0);
                if name != "plans" {
                    prop_assert!(named as f64 >= all as f64 * keep.unwrap_or(1.0) - 1e-6);
                }
                for &id in made.ids.iter().filter(|&&id| id != OTHER) {
                    let own: u64 = parts.iter().filter_map(|p| value(&p.1, name, id)).sum();
                    prop_assert_eq!(value(&made, name, id), Some(own));
                }
            }
            let worst = parts.iter().map(|p| worst_quality(&p.1)).max().unwrap();
            prop_assert_eq!(worst_quality(&made), worst);
            let totals: Vec<i64> = parts.iter().filter_map(|p| p.1.totals[0]).collect();
            prop_assert_eq!(made.totals[0], (!totals.is_empty()).then(|| totals.iter().sum()));
        }

        #[test]
        fn steps_do_not_matter(parts in parts(), at in 0usize..9) {
            let at = at.min(parts.len());
            let whole = merge(&STATEMENT, &parts, 9999, None);
            let mut rest = parts[at..].to_vec();
            if let Some(first) = merge(&STATEMENT, &parts[..at], 1, None) {
                rest.insert(0, first);
            }
            prop_assert_eq!(merge(&STATEMENT, &rest, 9999, None), whole);
        }
    }
}
