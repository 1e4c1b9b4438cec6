use super::*;

fn with(change: impl Fn(&mut Index)) -> Facts {
    let mut broken = index(2, &[3]);
    (broken.valid, broken.history_scans, broken.window_scans) = (false, Some(0), Some(0));
    change(&mut broken);
    facts(vec![table()], vec![index(1, &[2]), broken])
}

fn statement(facts: &Facts) -> String {
    only(INVALID, facts).statement.unwrap()
}

#[test]
fn each_kind_of_wreck_has_its_remedy() {
    let failed = only(INVALID, &with(|_| {}));
    assert_eq!(failed.severity, Severity::Warning);
    assert_eq!(failed.statement.as_deref(), Some("REINDEX INDEX CONCURRENTLY public.orders_2;"));
    assert!(failed.title.contains("costs every write"));
    let idle = only(INVALID, &with(|i| i.ready = false));
    assert!(!idle.title.contains("costs every write"));
    for name in ["public.orders_x_ccnew", "public.\"Orders x_ccnew3\"", "public.o_ccold1"] {
        let drop = format!("DROP INDEX CONCURRENTLY {name};");
        assert_eq!(statement(&with(|i| i.name = name.into())), drop);
    }
    let dropped = statement(&with(|i| i.live = false));
    assert_eq!(dropped, "DROP INDEX CONCURRENTLY public.orders_2;");
    let made_again = statement(&with(|i| i.key = index(1, &[2]).key));
    assert_eq!(made_again, "DROP INDEX CONCURRENTLY public.orders_2;");
    let unique = only(INVALID, &with(|i| (i.unique, i.key) = (true, index(1, &[2]).key)));
    // Another build of a unique index meets the same equal keys, and leaves a second wreck.
    assert_eq!(unique.statement.unwrap(), "DROP INDEX CONCURRENTLY public.orders_2;");
    assert!(
        unique.remedy.contains("Once no rows with equal keys are left, create it again: CREATE")
    );
    assert!(unique.risk.starts_with("Equal keys"));
    assert_eq!(
        only(INVALID, &with(|i| (i.unique, i.ready) = (true, false))).risk,
        "None: nobody uses it."
    );
    let bound = only(INVALID, &with(|i| (i.unique, i.replica_identity) = (true, true)));
    assert!(bound.statement.unwrap().starts_with("REINDEX"), "it is needed");
    assert!(bound.remedy.starts_with("Remove the rows with equal keys"));
    assert!(only(INVALID, &with(|i| i.bytes = Some(0))).title.contains("invalid and costs"));
    let excludes = statement(&with(|i| i.exclusion = true));
    assert_eq!(excludes, "REINDEX INDEX public.orders_2;");
}

#[test]
fn what_somebody_works_on_is_left_alone() {
    assert_eq!(of(INVALID, &with(|i| i.being_built = true)), []);
    assert_eq!(of(INVALID, &with(|i| i.valid = true)), []);
    assert_eq!(of(INVALID, &with(|i| i.of_extension = true)), []);
    assert_eq!(of(INVALID, &with(|i| (i.valid, i.name) = (true, "public.my_ccnew".into()))), []);
}

#[test]
fn an_incomplete_partitioned_index_names_what_lacks() {
    let parent = Table { partitioned: true, ..table() };
    let child =
        |oid: u32| Table { oid, parent: Some(TABLE), name: format!("public.p{oid}"), ..table() };
    let whole = Index { partitioned: true, valid: false, ..index(2, &[3]) };
    let part = Index { table: 200, parent: Some(2), ..index(11, &[3]) };
    let tables = vec![parent, child(200), child(201)];
    let found = only(INVALID, &facts(tables.clone(), vec![whole.clone(), part.clone()]));
    assert_eq!((found.severity, &found.statement), (Severity::Info, &None));
    assert!(found.remedy.contains("public.p201") && !found.remedy.contains("public.p200"));
    let other = Index { table: 201, oid: 12, ..part.clone() };
    let found = only(INVALID, &facts(tables, vec![whole, part, other]));
    assert!(found.remedy.starts_with("Attach any part again"));
}
