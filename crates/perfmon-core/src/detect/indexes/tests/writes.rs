use super::*;

/// 72,000 entries an hour, 2 scans a day.
fn with(change: impl Fn(&mut Facts)) -> Facts {
    let mut rare = index(2, &[3]);
    (rare.history_scans, rare.window_scans) = (Some(60), Some(0));
    let mut busy = table();
    let activity = Activity {
        n_tup_ins: 50_000,
        n_tup_upd: 40_000,
        n_tup_hot_upd: 18_000,
        ..busy.window.unwrap()
    };
    (busy.window, busy.history) = (Some(activity), Some(activity));
    let mut facts = facts(vec![busy], vec![index(1, &[2]), rare]);
    change(&mut facts);
    facts
}

#[test]
fn an_index_that_is_mostly_written_is_told() {
    let found = only(WRITE_HEAVY, &with(|_| {}));
    assert_eq!((found.object.as_str(), found.severity), ("public.orders_2", Severity::Info));
    assert_eq!(found.statement, None, "somebody uses it");
    assert_eq!(found.title, "Index public.orders_2 is written 864,000 times for each scan");
    assert!(found.cause.unwrap().contains("45 % of all updates"));
}

#[test]
fn near_twins_are_let_be() {
    type Change = fn(&mut Facts);
    let twins: [(&str, Change); 11] = [
        ("scanned as often", |f| second(f).history_scans = Some(1_000_000)),
        ("needed in this window", |f| second(f).window_scans = Some(200)),
        ("not scanned at all", |f| second(f).history_scans = Some(0)),
        ("scans not known", |f| second(f).history_scans = None),
        ("too short a history", |f| second(f).history_covered_us = DAY_US / 2),
        ("small", |f| second(f).bytes = Some(100_000)),
        ("partial", |f| second(f).predicate = Some("(a > 0)".into())),
        ("unique", |f| second(f).unique = true),
        ("clustered", |f| second(f).clustered = true),
        ("a duplicate, to be dropped", |f| second(f).key = index(1, &[2]).key),
        ("hardly written", |f| {
            let table = &mut f.tables.as_mut().unwrap()[0];
            table.window = Some(Activity { n_tup_ins: 900, ..Activity::default() });
        }),
    ];
    for (what, change) in twins {
        assert_eq!(of(WRITE_HEAVY, &with(change)), [], "{what}");
    }
}

fn second(facts: &mut Facts) -> &mut Index {
    &mut facts.indexes.as_mut().unwrap()[1]
}
