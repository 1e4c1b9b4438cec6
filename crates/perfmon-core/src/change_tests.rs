//! Changes told of catalogs made by hand, and of catalogs made at random.

use proptest::prelude::*;

use super::*;

fn object(kind: Kind, oid: u32, name: &str, definition: &str) -> Object {
    let hash = |parts: &[&str]| {
        parts
            .iter()
            .flat_map(|part| part.bytes().chain([0]))
            .fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)))
    };
    Object {
        kind,
        oid,
        name: name.to_owned(),
        definition: Some(definition.to_owned()),
        parent: None,
        table: 0,
        mark: hash(&[name, definition]),
        shape: hash(&[definition]),
        form: 1501,
    }
}

fn table(oid: u32, name: &str, definition: &str) -> Object {
    object(Kind::Table, oid, name, definition)
}

fn part(oid: u32, name: &str) -> Object {
    let parent = Some("public.events".to_owned());
    Object { parent, ..table(oid, name, "PARTITION OF public.events") }
}

fn index_of(table: u32, oid: u32, name: &str) -> Object {
    let parent = Some("public.events".to_owned());
    Object { parent, table, ..object(Kind::Index, oid, name, "CREATE INDEX") }
}

/// Kind, name, old and new value of each change.
fn told(before: &[Object], now: &[Object]) -> Vec<(String, String, String, String)> {
    let show = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    between(before, now, &HashSet::new())
        .into_iter()
        .map(|c| (c.kind, c.name, show(c.old), show(c.new)))
        .collect()
}

fn row(kind: &str, name: &str, old: &str, new: &str) -> (String, String, String, String) {
    (kind.to_owned(), name.to_owned(), old.to_owned(), new.to_owned())
}

#[test]
fn what_came_went_and_changed_is_told_with_what_it_was_and_is() {
    let before = [
        table(1, "public.a", "(x integer)"),
        table(2, "public.b", "(x integer)"),
        object(Kind::Extension, 1, "citext", "version 1.5"),
    ];
    let now = [
        table(2, "public.b", "(x bigint)"),
        table(3, "public.c", "(y text)"),
        object(Kind::Extension, 1, "citext", "version 1.6"),
    ];
    assert_eq!(
        told(&before, &now),
        [
            row("table", "public.a", "(x integer)", "-"),
            row("extension", "citext", "version 1.5", "version 1.6"),
            row("table", "public.b", "(x integer)", "(x bigint)"),
            row("table", "public.c", "-", "(y text)"),
        ]
    );
    assert_eq!(told(&now, &now), []);
}

#[test]
fn a_rename_is_one_change_and_another_if_it_was_altered_too() {
    let before = [table(1, "public.a", "(x integer)"), table(2, "public.b", "(x integer)")];
    let now = [table(1, "public.z", "(x integer)"), table(2, "app.b", "(x bigint)")];
    assert_eq!(
        told(&before, &now),
        [
            row("table", "app.b", "public.b", "renamed to app.b"),
            row("table", "public.z", "public.a", "renamed to public.z"),
            row("table", "app.b", "(x integer)", "(x bigint)"),
        ]
    );
}

#[test]
fn the_same_made_anew_under_the_same_name_is_no_change() {
    let before = [table(1, "public.a", "(x integer)"), table(2, "public.b", "(x integer)")];
    let now = [table(8, "public.a", "(x integer)"), table(9, "public.b", "(x bigint)")];
    assert_eq!(told(&before, &now), [row("table", "public.b", "(x integer)", "(x bigint)")]);
}

#[test]
fn names_that_change_places_are_renames() {
    let before = [table(1, "public.a", "(x integer)"), table(2, "public.b", "(y integer)")];
    let now = [table(1, "public.b", "(x integer)"), table(2, "public.a", "(y integer)")];
    assert_eq!(
        told(&before, &now),
        [
            row("table", "public.a", "public.b", "renamed to public.a"),
            row("table", "public.b", "public.a", "renamed to public.b"),
        ]
    );
}

#[test]
fn words_that_differ_for_another_reason_are_no_change() {
    let before = index_of(5, 1, "public.a_idx");
    // Its table was renamed.
    let renamed = Object { definition: Some("other words".to_owned()), ..before.clone() };
    assert_eq!(told(std::slice::from_ref(&before), &[renamed]), []);
    // Another server wrote it.
    let upgraded = Object { form: 1601, ..object(Kind::Index, 1, "public.a_idx", "other words") };
    assert_eq!(told(std::slice::from_ref(&before), &[upgraded]), []);
    // It was not read before.
    let unread = Object { definition: None, ..before.clone() };
    assert_eq!(told(&[unread], &[before]), []);
}

#[test]
fn what_could_not_be_read_is_told_without_a_definition() {
    let unread = Object { definition: None, ..table(1, "public.a", "") };
    assert_eq!(
        told(std::slice::from_ref(&unread), &[]),
        [row("table", "public.a", "(definition not read)", "-")]
    );
    assert_eq!(told(&[], &[unread]), [row("table", "public.a", "-", "(definition not read)")]);
}

#[test]
fn what_is_there_but_no_longer_watched_did_not_go() {
    let before = [table(1, "public.a", "(x integer)"), object(Kind::Index, 2, "public.i", "x")];
    let there: HashSet<Key> = before.iter().map(Object::key).collect();
    assert_eq!(between(&before, &[], &there), []);
    // As while an index is being rebuilt: its name is another's already.
    let now = [object(Kind::Index, 3, "public.i", "x")];
    assert_eq!(between(&before, &now, &there), []);
}

#[test]
fn partitions_of_one_table_are_told_together() {
    let parts: Vec<Object> = (0..25).map(|i| part(i, &format!("public.events_{i:02}"))).collect();
    let mut with_indexes = parts.clone();
    with_indexes
        .extend((0..25).map(|i| index_of(i, 100 + i, &format!("public.events_{i:02}_idx"))));
    let names: Vec<String> = (0..20).map(|i| format!("public.events_{i:02}")).collect();
    let listed = format!("{} and 5 more", names.join(", "));
    let name = "25 partitions of public.events";
    assert_eq!(told(&[], &with_indexes), [row("table", name, "-", &listed)]);
    assert_eq!(told(&with_indexes, &[]), [row("table", name, &listed, "-")]);
    // A single one speaks for itself.
    let one = &with_indexes[24..26];
    assert_eq!(one[1].kind, Kind::Index);
    assert_eq!(
        told(&[], &parts[24..]),
        [row("table", "public.events_24", "-", "PARTITION OF public.events")]
    );
    // An index made on all of them later.
    let mut later = told(&parts, &with_indexes);
    assert_eq!(later.len(), 1);
    assert_eq!(later.remove(0).1, "25 indexes of partitions of public.events");
}

#[test]
fn a_copy_is_told_by_name_and_definition() {
    let original = table(1, "public.a", "(x integer)");
    assert!(table(9, "public.a", "(x integer)").is_copy_of(&original));
    assert!(!table(9, "public.a", "(x bigint)").is_copy_of(&original));
    assert!(!table(9, "public.b", "(x integer)").is_copy_of(&original));
    assert!(!object(Kind::Index, 9, "public.a", "(x integer)").is_copy_of(&original));
    let upgraded = Object { form: 1601, ..table(9, "public.a", "(x int)") };
    assert!(upgraded.is_copy_of(&original), "the words of two versions cannot be compared");
}

#[test]
fn many_of_a_kind_are_told_together() {
    let tables = |n: u32| -> Vec<Object> {
        (0..n).map(|i| table(i, &format!("public.t{i:04}"), "()")).collect()
    };
    assert_eq!(told(&[], &tables(50)).len(), 50);
    let many = told(&[], &tables(1000));
    assert_eq!(many.len(), 1);
    assert_eq!((many[0].0.as_str(), many[0].1.as_str()), ("table", "1000 tables"));
    assert!(many[0].3.ends_with("public.t0019 and 980 more"), "{}", many[0].3);
    let renamed: Vec<Object> = tables(60)
        .into_iter()
        .map(|t| Object { name: t.name.replace("public", "app"), ..t })
        .collect();
    let told = told(&tables(60), &renamed);
    assert_eq!(told.len(), 1);
    assert!(told[0].2.starts_with("public.t0000, "), "{}", told[0].2);
    assert!(told[0].3.starts_with("renamed to app.t0000, "), "{}", told[0].3);
}

/// A catalog of a few objects, each name at most once.
fn catalog() -> impl Strategy<Value = Vec<Object>> {
    proptest::collection::btree_map(0_u32..12, (0_u32..12, 0_u32..3), 0..10).prop_map(|made| {
        let mut names = HashSet::new();
        let objects = made.into_iter().filter(|(_, (name, _))| names.insert(*name));
        objects.map(|(oid, (name, is))| table(oid, &format!("n{name}"), &format!("{is}"))).collect()
    })
}

proptest! {
    /// Whoever applies the changes to the old catalog has the new one.
    #[test]
    fn changes_lead_from_one_catalog_to_the_other(before in catalog(), now in catalog()) {
        let mut state: Vec<(String, String)> = before
            .iter()
            .map(|object| (object.name.clone(), object.words()))
            .collect();
        let changes = between(&before, &now, &HashSet::new());
        // All renames happen at once.
        let is_rename = |c: &&Change| c.new.as_deref().is_some_and(|n| n.starts_with("renamed"));
        let dropped: HashSet<&String> =
            changes.iter().filter(|c| c.new.is_none()).map(|c| &c.name).collect();
        state.retain(|(name, _)| !dropped.contains(name));
        let renames: HashMap<String, String> = changes
            .iter()
            .filter(is_rename)
            .map(|c| (c.old.clone().unwrap_or_default(), c.name.clone()))
            .collect();
        for (name, _) in &mut state {
            if let Some(new) = renames.get(name) {
                *name = new.clone();
            }
        }
        for change in changes.iter().filter(|c| !is_rename(c)) {
            let Some(new) = &change.new else { continue };
            match &change.old {
                None => state.push((change.name.clone(), new.clone())),
                Some(old) => {
                    let found = state.iter_mut().find(|(name, _)| *name == change.name);
                    let (_, words) = found.expect("what was altered was there");
                    prop_assert_eq!(&*words, old);
                    *words = new.clone();
                }
            }
        }
        state.sort();
        let mut expected: Vec<(String, String)> =
            now.iter().map(|object| (object.name.clone(), object.words())).collect();
        expected.sort();
        prop_assert_eq!(state, expected);
    }
}
