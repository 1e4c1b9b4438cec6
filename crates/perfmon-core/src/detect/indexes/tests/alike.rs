use proptest::prelude::*;

use super::*;

fn pair(change: impl Fn(&mut Index, &mut Index)) -> Facts {
    let (mut one, mut other) = (index(1, &[2, 3]), index(2, &[2, 3]));
    change(&mut one, &mut other);
    facts(vec![table()], vec![one, other])
}

#[test]
fn the_way_back_is_one_line_that_means_the_same() {
    for (definition, expected) in [
        ("CREATE INDEX a ON s.t USING btree (b)", "CREATE INDEX a ON s.t USING btree (b)"),
        ("CREATE INDEX \"a\nb\" ON t (c)", "CREATE INDEX U&\"a\\000Ab\" ON t (c)"),
        ("CREATE INDEX \"a\"\"\\\t\" ON t (c)", "CREATE INDEX U&\"a\"\"\\\\\\0009\" ON t (c)"),
        ("ON t (c) WHERE (d = 'x\n''y'::text)", "ON t (c) WHERE (d = U&'x\\000A''y'::text)"),
        ("WHERE (d = E'\\\\\n')", "WHERE (d = E'\\\\\\u000A')"),
        ("ON \"t\" (c)\nWHERE d", "ON \"t\" (c) WHERE d"),
    ] {
        assert_eq!(on_one_line(definition), expected);
    }
    let unread = Index { definition: "CREATE INDEX a\u{FFFD} ON t (b)".into(), ..index(2, &[2]) };
    assert_eq!(way_back(&unread), "");
}

#[test]
fn the_same_index_again_is_dropped() {
    let found = only(DUPLICATE, &pair(|_, _| {}));
    assert_eq!((found.object.as_str(), found.severity), ("public.orders_2", Severity::Warning));
    assert_eq!(found.statement.as_deref(), Some("DROP INDEX CONCURRENTLY public.orders_2;"));
    assert_eq!(found.impact.saved_bytes, Some(10 * MB));
    assert!(found.risk.contains("CREATE INDEX orders_2"), "{}", found.risk);
    // Of three, two go.
    let three: Vec<Index> = (1..4).map(|oid| index(oid, &[2])).collect();
    assert_eq!(of(DUPLICATE, &facts(vec![table()], three)).len(), 2);
}

/// Turns every part of a key round, NULLs with it, as DESC does.
fn turn(index: &mut Index) {
    for part in &mut index.key {
        (part.descending, part.nulls_first) = (!part.descending, !part.nulls_first);
    }
}

#[test]
fn the_same_index_in_the_opposite_order_is_dropped() {
    let found = only(DUPLICATE, &pair(|_, other| turn(other)));
    assert_eq!(found.object, "public.orders_2");
    assert_eq!(
        found.title,
        "Index public.orders_2 (10 MB) is public.orders_1 in the opposite order, and does the same"
    );
    assert!(found.cause.unwrap().contains("read backwards"));
    // The one that ascends stays, whatever they are called.
    assert_eq!(only(DUPLICATE, &pair(|one, _| turn(one))).object, "public.orders_1");
    // Turned in part, they give two orders: only one that is turned whole gives the same.
    assert_eq!(of(DUPLICATE, &pair(|_, o| o.key[0].descending = true)), []);
    let nulls = |o: &mut Index| o.key.iter_mut().for_each(|part| part.descending = true);
    assert_eq!(of(DUPLICATE, &pair(|_, o| nulls(o))), [], "NULLs at the other end");
    let mixed = |i: &mut Index| (i.key[0].descending, i.key[0].nulls_first) = (true, true);
    let both = pair(|one, other| {
        mixed(one);
        mixed(other);
        turn(other);
    });
    assert_eq!(of(DUPLICATE, &both).len(), 1);
}

#[test]
fn the_beginning_of_an_index_in_the_opposite_order_is_dropped() {
    let with = |turned: bool| {
        let mut short = index(2, &[2]);
        if turned {
            turn(&mut short);
        } else {
            short.key[0].descending = true;
        }
        facts(vec![table()], vec![index(1, &[2, 3]), short])
    };
    let found = only(REDUNDANT, &with(true));
    assert_eq!(found.object, "public.orders_2");
    assert!(found.cause.unwrap().contains("opposite direction"));
    assert_eq!(of(REDUNDANT, &with(false)), [], "NULLs at the other end");
}

#[test]
fn what_enforces_or_is_needed_stays() {
    let needs: [fn(&mut Index); 6] = [
        |i| i.unique = true,
        |i| (i.unique, i.constraints) = (true, vec![constraint('u')]),
        |i| (i.unique, i.primary, i.constraints) = (true, true, vec![constraint('p')]),
        |i| (i.unique, i.constraints) = (true, vec![constraint('f')]),
        |i| i.clustered = true,
        |i| i.replica_identity = true,
    ];
    for (number, need) in needs.iter().enumerate() {
        for reverse in [false, true] {
            let facts = pair(|one, other| need(if reverse { other } else { one }));
            let found = only(DUPLICATE, &facts);
            let dropped = if reverse { "public.orders_1" } else { "public.orders_2" };
            assert_eq!(found.object, dropped, "{number}");
        }
    }
    // A unique index that no constraint is made of goes for one that is a constraint.
    let found = only(
        DUPLICATE,
        &pair(|one, other| {
            (one.unique, other.unique) = (true, true);
            other.constraints = vec![constraint('u')];
        }),
    );
    assert_eq!(found.object, "public.orders_1");
}

#[test]
fn two_constraints_are_told_without_a_statement() {
    let found = only(
        DUPLICATE,
        &pair(|one, other| {
            (one.unique, one.primary, one.constraints) = (true, true, vec![constraint('p')]);
            (other.unique, other.constraints) = (true, vec![constraint('u')]);
        }),
    );
    assert_eq!((found.severity, found.statement), (Severity::Info, None));
}

#[test]
fn what_only_looks_alike_is_no_duplicate() {
    type Change = fn(&mut Index, &mut Index);
    let twins: [(&str, Change); 20] = [
        ("another table", |_, o| o.table = 7),
        ("another method", |_, o| o.method = "gist".into()),
        ("another column", |_, o| o.key[1].attnum = 4),
        ("another operator class", |_, o| o.key[0].opclass = 4),
        ("its parameters", |_, o| o.key[0].opclass_options = "siglen=32".into()),
        ("another collation", |_, o| o.key[0].collation = 950),
        ("another order", |_, o| o.key[0].descending = true),
        ("NULLs elsewhere", |_, o| o.key[0].nulls_first = true),
        ("a condition", |_, o| o.predicate = Some("(a > 0)".into())),
        ("other included columns", |o, t| {
            (o.include, t.include) = (vec!["d".into()], vec!["e".into()]);
        }),
        ("an expression", |_, o| (o.key[0].attnum, o.key[0].expression) = (0, "lower(b)".into())),
        ("invalid", |_, o| o.valid = false),
        ("being built", |_, o| o.being_built = true),
        ("an extension's", |_, o| o.of_extension = true),
        ("expressions not known", |o, t| {
            for i in [o, t] {
                (i.unread, i.predicate) = (true, Some(String::new()));
            }
        }),
        ("parts of two partitioned ones", |o, t| (o.parent, t.parent) = (Some(8), Some(9))),
        ("checked at once, not at commit", |o, t| {
            (o.unique, o.constraints, o.immediate) = (true, vec![constraint('u')], false);
            t.unique = true;
        }),
        ("NULLs not distinct", |o, t| {
            (o.unique, o.nulls_not_distinct) = (true, true);
            (t.unique, t.constraints) = (true, vec![constraint('u')]);
        }),
        ("a unique one that includes", |o, _| (o.unique, o.include) = (true, vec!["e".into()])),
        ("one column fewer", |_, o| drop(o.key.pop())),
    ];
    for (what, change) in twins {
        assert_eq!(of(DUPLICATE, &pair(change)), [], "{what}");
    }
    let mut internal = pair(|_, _| {});
    internal.tables.as_mut().unwrap()[0].internal = true;
    assert_eq!(judge(&internal).findings, []);
}

#[test]
fn a_partitioned_index_is_dropped_as_a_whole() {
    let mut parent = table();
    (parent.partitioned, parent.window, parent.history) = (true, None, None);
    let child = Table { oid: 200, parent: Some(TABLE), name: "public.part".into(), ..table() };
    let mut all = vec![index(1, &[2]), index(2, &[2]), index(11, &[2]), index(12, &[2])];
    for i in &mut all[..2] {
        (i.partitioned, i.bytes, i.history_scans) = (true, None, None);
        i.definition = r#"CREATE INDEX "a ON ONLY b" ON ONLY public.orders USING btree (b)"#.into();
    }
    for (i, of) in all[2..].iter_mut().zip([1, 2]) {
        (i.parent, i.table) = (Some(of), 200);
    }
    let found = only(DUPLICATE, &facts(vec![parent, child], all));
    assert_eq!(found.statement.as_deref(), Some("DROP INDEX public.orders_2;"));
    let back = r#"To have it back: CREATE INDEX "a ON ONLY b" ON public.orders USING btree (b)."#;
    assert!(found.risk.ends_with(back), "{}", found.risk);
    assert_eq!(found.impact.saved_bytes, Some(10 * MB));
}

#[test]
fn an_unreadable_name_gives_no_statement() {
    let found =
        only(DUPLICATE, &pair(|k, o| (k.unique, o.name) = (true, "public.\"z\u{FFFD}\"".into())));
    assert!(found.statement.is_none());
    let mut facts = pair(|k, o| (k.unique, o.name) = (true, "public.\"z\nz\"".into()));
    facts.tables.as_mut().unwrap()[0].name = "public.\"t\nt\"".into();
    let found = only(DUPLICATE, &facts);
    assert_eq!(found.statement.as_deref(), Some("DROP INDEX CONCURRENTLY public.\"z\nz\";"));
    assert!(found.title.contains("\"z z\""));
}

fn wider(change: impl Fn(&mut Index, &mut Index)) -> Facts {
    let (mut narrow, mut wide) = (index(1, &[2]), index(2, &[2, 3]));
    wide.bytes = Some(15 * MB);
    change(&mut narrow, &mut wide);
    facts(vec![table()], vec![narrow, wide])
}

#[test]
fn the_beginning_of_another_index_is_dropped() {
    let found = only(REDUNDANT, &wider(|_, _| {}));
    assert_eq!((found.object.as_str(), found.severity), ("public.orders_1", Severity::Warning));
    assert_eq!(found.statement.as_deref(), Some("DROP INDEX CONCURRENTLY public.orders_1;"));
    for (what, change) in [
        ("a unique one", (|_, w| w.unique = true) as fn(&mut Index, &mut Index)),
        ("included columns", |n, w| (n.include, w.include) = (vec!["c".into()], vec![])),
        ("only more included", |_, w| {
            w.key.pop();
            w.include = vec!["c".into()];
        }),
        ("the same condition", |n, w| {
            (n.predicate, w.predicate) = (Some("(a > 0)".into()), Some("(a > 0)".into()));
        }),
    ] {
        assert_eq!(of(REDUNDANT, &wider(change)).len(), 1, "{what}");
    }
    let large = only(REDUNDANT, &wider(|_, w| w.bytes = Some(50 * MB)));
    assert_eq!(large.severity, Severity::Info);
    assert!(large.evidence.iter().any(|e| e.threshold == Some(SIZE_RATIO_DEFAULT)));
}

const SIZE_RATIO_DEFAULT: f64 = super::super::alike::SIZE_RATIO.default;

#[test]
fn what_another_index_cannot_do_is_not_redundant() {
    type Change = fn(&mut Index, &mut Index);
    let twins: [(&str, Change); 18] = [
        ("not the beginning", |_, w| w.key.swap(0, 1)),
        ("another order", |_, w| w.key[0].descending = true),
        ("another collation", |_, w| w.key[0].collation = 950),
        ("another operator class", |_, w| w.key[0].opclass = 4),
        ("a condition on the wider one", |_, w| w.predicate = Some("(a > 0)".into())),
        ("a condition on the narrower one", |n, _| n.predicate = Some("(a > 0)".into())),
        ("unique", |n, _| n.unique = true),
        ("the primary key", |n, _| n.primary = true),
        ("referred to", |n, _| n.constraints = vec![constraint('f')]),
        ("replica identity", |n, _| n.replica_identity = true),
        ("clustered", |n, _| n.clustered = true),
        ("part of a partitioned one", |n, _| n.parent = Some(9)),
        ("the wider one is invalid", |_, w| w.valid = false),
        ("the wider one is being built", |_, w| w.being_built = true),
        ("includes what the other lacks", |n, _| n.include = vec!["e".into()]),
        ("another method", |n, w| {
            for i in [n, w] {
                i.method = "gin".into();
            }
        }),
        ("another table", |n, _| n.table = 7),
        ("the wider one is to go as unused", |_, w| {
            (w.window_scans, w.history_scans, w.total_scans) = (Some(0), Some(0), Some(0));
        }),
    ];
    for (what, change) in twins {
        assert_eq!(of(REDUNDANT, &wider(change)), [], "{what}");
    }
}

#[test]
fn what_begins_another_index_is_redundant_whether_used_or_not() {
    let unused: fn(&mut Index, &mut Index) = |n, _| {
        (n.window_scans, n.history_scans, n.total_scans) = (Some(0), Some(0), Some(0));
    };
    let judgement = judge(&wider(unused));
    let kinds: Vec<&str> = judgement.findings.iter().map(|f| f.kind.as_str()).collect();
    assert_eq!(kinds, [REDUNDANT]);
}

#[test]
fn one_index_stands_in_for_a_chain() {
    let all = vec![index(1, &[2]), index(2, &[2, 3]), index(3, &[2, 3, 4]), index(4, &[2, 3, 4])];
    let judgement = judge(&facts(vec![table()], all));
    let kinds: Vec<_> =
        judgement.findings.iter().map(|f| (f.kind.as_str(), f.object.as_str())).collect();
    assert!(kinds.contains(&(DUPLICATE, "public.orders_4")));
    for narrow in ["public.orders_1", "public.orders_2"] {
        let found = judgement.findings.iter().find(|f| f.object == narrow).unwrap();
        assert_eq!(found.kind, REDUNDANT);
        assert!(found.title.ends_with("orders_3"), "{}", found.title);
    }
    assert_eq!(kinds.len(), 3, "{kinds:?}");
}

#[test]
fn scans_of_a_duplicate_are_scans_of_the_one_that_stays() {
    let never = |i: &mut Index| {
        (i.window_scans, i.history_scans, i.total_scans) = (Some(0), Some(0), Some(0));
    };
    let judgement = judge(&pair(|one, _| never(one)));
    let objects: Vec<_> = judgement.findings.iter().map(|f| f.object.as_str()).collect();
    assert_eq!(objects, ["public.orders_2"], "{:?}", judgement.findings);
}

prop_compose! {
    fn any_index()(
        columns in prop::collection::vec(1_i16..4, 1..4),
        include in prop::bool::weighted(0.2),
        predicate in prop::bool::weighted(0.2),
        (unique, own, referred) in (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.2)),
        (identity, clustered) in (prop::bool::weighted(0.1), prop::bool::weighted(0.1)),
        (immediate, valid, descending) in (any::<bool>(), prop::bool::weighted(0.9), prop::bool::weighted(0.2)),
        scans in prop::option::of(0_u64..3),
        days in 0_i64..20,
    ) -> Index {
        let mut i = index(0, &columns);
        i.unique = unique;
        if unique && own {
            i.constraints.push(constraint('u'));
            i.immediate = immediate;
        }
        if unique && referred {
            i.constraints.push(constraint('f'));
        }
        (i.replica_identity, i.clustered, i.valid) = (identity, clustered, valid);
        i.key[0].descending = descending;
        i.predicate = predicate.then(|| "(a > 0)".to_owned());
        i.include = if include { vec!["e".to_owned()] } else { Vec::new() };
        (i.history_scans, i.window_scans, i.total_scans) = (scans, scans, scans);
        i.history_covered_us = days * DAY_US;
        i
    }
}

/// Whether `keeper` forbids all that `lost` forbids.
fn forbids(keeper: &Index, lost: &Index) -> bool {
    let key = |i: &Index| {
        let mut columns: Vec<i16> = i.key.iter().map(|part| part.attnum).collect();
        columns.sort_unstable();
        columns
    };
    keeper.unique
        && keeper.valid
        && key(keeper) == key(lost)
        && keeper.predicate == lost.predicate
        && (keeper.immediate || !lost.immediate)
}

proptest! {
    /// Whatever indexes there are: all that is proposed can be done together, and nothing is lost.
    #[test]
    fn dropping_all_that_is_proposed_loses_nothing(
        mut indexes in prop::collection::vec(any_index(), 1..9),
    ) {
        for (index, oid) in indexes.iter_mut().zip(1..) {
            (index.oid, index.name) = (oid, format!("public.orders_{oid}"));
        }
        let judgement = judge(&facts(vec![table()], indexes.clone()));
        let drops = |name: &str| judgement.findings.iter().any(|f| {
            f.object == name && f.statement.as_deref().is_some_and(|s| s.starts_with("DROP"))
        });
        let (gone, kept): (Vec<&Index>, Vec<&Index>) =
            indexes.iter().partition(|i| drops(&i.name));
        for index in &gone {
            let bound = !index.constraints.is_empty()
                || index.primary
                || index.replica_identity
                || index.clustered;
            prop_assert!(!bound || !index.valid, "{index:?}");
            if !index.valid {
                continue;
            }
            prop_assert!(!index.unique || kept.iter().any(|k| forbids(k, index)), "{index:?}");
            // What was scanned finds another index that begins with its columns.
            let starts = |k: &&&Index| {
                k.valid && k.predicate == index.predicate && k.key.starts_with(&index.key)
            };
            let used = index.history_scans.is_none_or(|scans| scans > 0);
            prop_assert!(!used || kept.iter().any(|k| starts(&k)), "{index:?}");
        }
        // One finding at most proposes what is to be done with an index.
        for index in &indexes {
            let of_index = judgement.findings.iter().filter(|f| f.object == index.name);
            prop_assert!(of_index.count() <= 1);
        }
    }
}
