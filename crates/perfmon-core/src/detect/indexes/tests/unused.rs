use super::*;

fn never(oid: u32) -> Index {
    Index {
        window_scans: Some(0),
        history_scans: Some(0),
        total_scans: Some(0),
        ..index(oid, &[3])
    }
}

fn with(change: impl Fn(&mut Facts)) -> Facts {
    let mut facts = facts(vec![table()], vec![index(1, &[2]), never(2)]);
    change(&mut facts);
    facts
}

fn this(change: impl Fn(&mut Index)) -> Facts {
    with(|f| change(&mut f.indexes.as_mut().unwrap()[1]))
}

#[test]
fn an_index_that_nobody_scans_is_dropped() {
    let found = only(UNUSED, &with(|_| {}));
    assert_eq!((found.object.as_str(), found.severity), ("public.orders_2", Severity::Warning));
    assert_eq!(found.statement.as_deref(), Some("DROP INDEX CONCURRENTLY public.orders_2;"));
    assert_eq!(found.impact.saved_bytes, Some(10 * MB));
    assert_eq!(
        found.title,
        "Index public.orders_2 was not scanned once in 30 days and takes 10 MB"
    );
    assert!(found.risk.contains("To have it back: CREATE INDEX"));
    assert!(!found.risk.contains("standby"));
    for kind in ["gin", "hash", "brin"] {
        assert_eq!(of(UNUSED, &this(|i| i.method = kind.into())).len(), 1);
    }
}

#[test]
fn standbys_are_spoken_of() {
    for (standbys, said) in [(Some(2), "2 standby"), (None, "If there are standby")] {
        let found = only(UNUSED, &with(|f| f.server.standbys = standbys));
        assert!(found.risk.contains(said), "{}", found.risk);
    }
}

/// A history of so many minutes, and an index that was there for some of them.
fn young(history: i64, index: i64) -> Facts {
    with(|f| {
        f.history.covered_us = history * 60_000_000;
        f.history.since_us = NOW - f.history.covered_us;
        let i = &mut f.indexes.as_mut().unwrap()[1];
        i.history_covered_us = index * 60_000_000;
        i.first_seen_us = Some(NOW - i.history_covered_us);
    })
}

#[test]
fn a_short_history_only_notes_it() {
    let found = only(UNUSED, &young(3, 3));
    assert_eq!(found.severity, Severity::Info);
    assert!(found.title.contains("3 min"), "{}", found.title);
    assert!(found.remedy.starts_with("Wait until 7 days"), "{}", found.remedy);
    assert_eq!(found.statement, None, "nothing to run while it says to wait");
}

#[test]
fn a_burden_is_a_matter_of_size_or_writes() {
    let small = only(UNUSED, &this(|i| i.bytes = Some(100_000)));
    assert_eq!(small.severity, Severity::Info);
    let busy = only(
        UNUSED,
        &with(|f| {
            f.indexes.as_mut().unwrap()[1].bytes = Some(100_000);
            f.tables.as_mut().unwrap()[0].window.as_mut().unwrap().n_tup_ins = 20_000;
        }),
    );
    assert_eq!(busy.severity, Severity::Warning);
    let unknown = only(UNUSED, &this(|i| i.bytes = None));
    assert_eq!((unknown.severity, unknown.impact.saved_bytes), (Severity::Info, None));
}

#[test]
fn near_twins_stay() {
    type Change = fn(&mut Index);
    let twins: [(&str, Change); 19] = [
        ("scanned once", |i| i.history_scans = Some(1)),
        ("scans not known", |i| i.history_scans = None),
        ("no history of it", |i| i.history_covered_us = 0),
        ("unique", |i| i.unique = true),
        ("primary key", |i| i.primary = true),
        ("exclusion", |i| i.exclusion = true),
        ("a constraint's", |i| i.constraints = vec![constraint('u')]),
        ("referred to", |i| i.constraints = vec![constraint('f')]),
        ("replica identity", |i| i.replica_identity = true),
        ("clustered", |i| i.clustered = true),
        ("an extension's", |i| i.of_extension = true),
        ("being built", |i| i.being_built = true),
        ("invalid", |i| i.valid = false),
        ("part of a partitioned one", |i| i.parent = Some(9)),
        ("tiny", |i| i.bytes = Some(16_384)),
        ("young", |i| i.first_seen_us = Some(NOW - 2 * DAY_US)),
        ("scanned on another day", |i| i.last_scan_us = Some(NOW - 3 * DAY_US)),
        ("a short history, but scanned before it", |i| {
            (i.history_covered_us, i.total_scans) = (DAY_US, Some(3));
        }),
        ("the same as a used one", |i| i.key = index(1, &[2]).key),
    ];
    for (what, change) in twins {
        assert_eq!(of(UNUSED, &this(change)), [], "{what}");
    }
    let quiet = with(|f| {
        let table = &mut f.tables.as_mut().unwrap()[0];
        (table.window, table.history) = (Some(Activity::default()), Some(Activity::default()));
        f.indexes.as_mut().unwrap()[0].history_scans = Some(9);
    });
    assert_eq!(of(UNUSED, &quiet), [], "a table that nobody works with");
    let parent = with(|f| {
        let child = Table { oid: 200, parent: Some(TABLE), ..table() };
        f.tables.as_mut().unwrap().push(child);
    });
    assert_eq!(of(UNUSED, &parent), [], "children are scanned by indexes of their own");
    let standby = judge(&with(|f| f.server.in_recovery = true));
    assert!(standby.findings.is_empty() && standby.unjudged.contains(&UNUSED));
}

#[test]
fn scans_before_the_history_are_told() {
    let found = only(UNUSED, &this(|i| i.total_scans = Some(12)));
    assert!(found.cause.unwrap().contains("scanned 12 times"));
}

#[test]
fn an_index_that_was_just_made_is_new() {
    assert_eq!(of(UNUSED, &young(10, 2)), []);
    // One that was there before is seen with the first readings, not always with the very first.
    assert_eq!(only(UNUSED, &young(10, 9)).severity, Severity::Info);
    assert_eq!(of(UNUSED, &young(60 * 24 * 30, 60 * 24 * 6)), []);
    let old = only(UNUSED, &young(60 * 24 * 30, 60 * 24 * 8));
    assert_eq!(old.severity, Severity::Warning);
}

#[test]
fn partitions_are_judged_together() {
    let build = |second_part: u64| {
        let mut parent = table();
        (parent.partitioned, parent.window, parent.history) = (true, None, None);
        let child = |oid| Table { oid, parent: Some(TABLE), name: format!("p{oid}"), ..table() };
        let mut whole = never(2);
        (whole.partitioned, whole.bytes, whole.history_scans) = (true, None, None);
        (whole.history_covered_us, whole.total_scans, whole.first_seen_us) = (0, None, None);
        let part = |oid, table, scans| Index {
            table,
            parent: Some(2),
            history_scans: Some(scans),
            total_scans: Some(scans),
            ..never(oid)
        };
        let mut young = part(12, 201, second_part);
        // Yesterday's partition does not make the index young.
        (young.first_seen_us, young.history_covered_us) = (Some(NOW - DAY_US), DAY_US);
        facts(vec![parent, child(200), child(201)], vec![whole, part(11, 200, 0), young])
    };
    let found = only(UNUSED, &build(0));
    assert_eq!(found.object, "public.orders_2");
    assert_eq!(found.statement.as_deref(), Some("DROP INDEX public.orders_2;"));
    assert_eq!(found.impact.saved_bytes, Some(20 * MB));
    assert_eq!(of(UNUSED, &build(1)), []);
}

#[test]
fn the_only_index_of_a_foreign_key_is_kept_in_mind() {
    let key = ForeignKey {
        name: "to_customer".into(),
        table: TABLE,
        referenced_columns: vec![1],
        columns: vec![3],
        column_names: vec!["c".into()],
        referenced: 300,
        ..ForeignKey::default()
    };
    let found = only(UNUSED, &with(|f| f.foreign_keys = Some(vec![key.clone()])));
    assert_eq!((found.severity, &found.statement), (Severity::Info, &None));
    assert!(found.remedy.contains("to_customer"));
    // With another index that serves it too, it goes; with two that nobody scans, one of them stays.
    let other = with(|f| {
        f.foreign_keys = Some(vec![key.clone()]);
        f.indexes.as_mut().unwrap().push(index(3, &[3, 4]));
    });
    assert!(of(UNUSED, &other).iter().chain(&of(REDUNDANT, &other)).any(|f| f.statement.is_some()));
    let both = with(|f| {
        f.foreign_keys = Some(vec![key.clone()]);
        f.indexes.as_mut().unwrap().push(Index { key: index(3, &[3, 4]).key, ..never(3) });
    });
    let found: Vec<Finding> = [UNUSED, REDUNDANT].iter().flat_map(|k| of(k, &both)).collect();
    let gone: Vec<&str> =
        found.iter().filter(|f| f.statement.is_some()).map(|f| f.object.as_str()).collect();
    assert_eq!(gone, ["public.orders_2"], "its work is done by the other one");
}

/// So many indexes that nobody scanned, after so many minutes.
fn many(indexes: u32, minutes: i64) -> Facts {
    let mut facts = young(minutes, minutes);
    let all = facts.indexes.as_mut().unwrap();
    let one = all.pop().unwrap();
    all.extend((2..2 + indexes).map(|oid| {
        let mut index = Index { name: format!("public.orders_{oid}"), oid, ..one.clone() };
        index.key[0].opclass = oid;
        index.bytes = Some(MB * i64::from(oid));
        index
    }));
    facts
}

#[test]
fn a_young_history_of_many_indexes_is_told_in_one_line() {
    let ten = of(UNUSED, &many(10, 3));
    assert_eq!(ten.len(), 10, "each, as long as they are few");
    let mut facts = many(11, 3);
    facts.database.name = "shop".to_owned();
    let one = only(UNUSED, &facts);
    assert_eq!((one.object.as_str(), one.severity), ("database shop", Severity::Info));
    let title = "11 indexes were not scanned in the 3 min of this history and take 77 MB";
    assert_eq!(one.title, title);
    assert!(one.remedy.starts_with("Wait until 7 days"), "{}", one.remedy);
    assert_eq!((one.statement, one.impact.saved_bytes), (None, None));
    assert_eq!(one.evidence[0].threshold, Some(10.0));
    // Those that were not used for long enough are told one by one.
    let old = of(UNUSED, &many(11, 60 * 24 * 8));
    assert_eq!(old.len(), 11);
    assert!(old.iter().all(|f| f.severity == Severity::Warning));
}

#[test]
fn a_load_of_data_is_no_rate_of_index_entries() {
    let busy = |minutes: i64| {
        with(|f| {
            f.window.covered_us = minutes * 60_000_000;
            f.indexes.as_mut().unwrap()[1].bytes = Some(100_000);
            f.tables.as_mut().unwrap()[0].window.as_mut().unwrap().n_tup_ins = 20_000;
        })
    };
    let short = only(UNUSED, &busy(10));
    assert_eq!((short.severity, short.gain), (Severity::Info, None));
    let long = only(UNUSED, &busy(20));
    assert_eq!(long.severity, Severity::Warning);
    assert!(long.gain.unwrap().ends_with("fewer index entries to write per hour"));
}
