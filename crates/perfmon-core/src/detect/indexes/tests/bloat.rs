use super::super::size::expected;
use super::*;

/// Ten million rows of a bigint: 8 + 8 bytes and a pointer of 4, 366 to a page.
fn big(pages: i64) -> Index {
    Index { pages: Some(pages), rows: Some(10_000_000.0), ..index(1, &[1]) }
}

fn with(pages: i64, change: impl Fn(&mut Index)) -> Facts {
    let mut large = big(pages);
    change(&mut large);
    facts(vec![Table { rows: Some(10_000_000.0), ..table() }], vec![large])
}

/// What one column holds: length, alignment, width and NULLs by the server's statistics.
type Held = (i16, u8, i32, f64);

const INT: Held = (4, 4, 4, 0.0);
const BIGINT: Held = (8, 8, 8, 0.0);
const MD5: Held = (-1, 4, 33, 0.0);
const UUID: Held = (16, 1, 16, 0.0);

/// Indexes on a table of a million rows, just made by PostgreSQL 15: what they hold, distinct values of
/// each part of the key, INCLUDEd columns at the end, and their pages.
const MEASURED: &[(&str, &[Held], &[f64], f64)] = &[
    ("int", &[INT], &[-1.0], 2745.0),
    ("int, int", &[INT, INT], &[-1.0, -1.0], 2745.0),
    ("100 ints", &[INT], &[100.0], 852.0),
    ("100,000 ints", &[INT], &[99_622.0], 1157.0),
    ("the same with 100 others", &[INT, INT], &[99_622.0, 100.0], 1157.0),
    ("md5", &[MD5], &[-1.0], 7210.0),
    ("1,000 md5", &[MD5], &[1000.0], 901.0),
    ("nine NULLs in ten", &[(4, 4, 4, 0.900_433_36)], &[-0.099_566_64], 1038.0),
    ("bigint", &[BIGINT], &[-1.0], 2745.0),
    ("numeric", &[(-1, 4, 12, 0.0)], &[-1.0], 3697.0),
    ("uuid", &[UUID], &[-1.0], 3853.0),
    ("int including md5", &[INT, MD5], &[-1.0], 7171.0),
    ("md5, int, bigint", &[MD5, INT, BIGINT], &[-1.0, -1.0, -1.0], 8274.0),
    ("int, md5, bigint", &[INT, MD5, BIGINT], &[-1.0, -1.0, -1.0], 8228.0),
];

fn holding(held: &[Held], distinct: &[f64]) -> Index {
    let mut index = index(1, &[1]);
    let part = index.key[0].clone();
    index.key = distinct.iter().map(|d| KeyPart { distinct: Some(*d), ..part.clone() }).collect();
    index.stored = held
        .iter()
        .map(|&(length, align, width, nulls)| Stored {
            align,
            length,
            width: Some(width),
            null_ratio: Some(nulls),
        })
        .collect();
    index.deduplicates = held.len() == distinct.len();
    index
}

#[test]
fn estimates_are_those_of_a_server() {
    for &(what, held, distinct, pages) in MEASURED {
        let index = holding(held, distinct);
        let found = expected(&index, 1e6, 8192.0, &Thresholds::default()).unwrap();
        let ratio = found.bytes / 8192.0 / pages;
        // Columns that depend on each other have fewer distinct values than is known.
        let most = if what.starts_with("the same") { 2.5 } else { 1.08 };
        assert!((0.94..most).contains(&ratio), "{what}: {ratio}");
        assert!(found.most / 8192.0 > pages, "{what}");
    }
    // The server measured an expression's values with a longer header than they are kept with.
    let mut upper = holding(&[(-1, 4, 36, 0.0)], &[-1.0]);
    upper.key[0].attnum = 0;
    let found = expected(&upper, 1e6, 8192.0, &Thresholds::default()).unwrap();
    assert!((0.94..1.06).contains(&(found.bytes / 8192.0 / 7210.0)), "{found:?}");
}

#[test]
fn an_index_that_is_mostly_empty_is_rebuilt() {
    let found = only(BLOATED, &with(100_000, |_| {}));
    assert_eq!(found.severity, Severity::Warning);
    assert_eq!(found.statement.as_deref(), Some("REINDEX INDEX CONCURRENTLY public.orders_1;"));
    let saved = found.impact.saved_bytes.unwrap();
    assert!((500 * MB..600 * MB).contains(&saved), "{saved}");
    assert!(found.title.contains("% empty: "), "{}", found.title);
    let unique = only(BLOATED, &with(100_000, |i| (i.unique, i.primary) = (true, true)));
    assert!(unique.statement.is_some(), "rebuilding a primary key is no loss");
    let excludes = only(BLOATED, &with(100_000, |i| i.exclusion = true));
    assert_eq!(excludes.statement.as_deref(), Some("REINDEX INDEX public.orders_1;"));
    let few = only(BLOATED, &with(10_000, |i| i.rows = Some(1_000_000.0)));
    assert_eq!(few.severity, Severity::Info);
}

#[test]
fn what_only_looks_large_is_let_be() {
    type Change = fn(&mut Index);
    let twins: [(&str, Change); 10] = [
        ("full", |i| i.pages = Some(27_400)),
        ("two thirds full, as after random inserts", |i| i.pages = Some(38_000)),
        ("less than half in vain", |i| i.pages = Some(55_000)),
        ("another method", |i| i.method = "gin".into()),
        ("invalid", |i| i.valid = false),
        ("small", |i| (i.pages, i.rows) = (Some(1_000), Some(10.0))),
        ("pages not known", |i| i.pages = None),
        ("meant to be empty", |i| i.options = vec![("fillfactor".into(), "20".into())]),
        ("wide values", |i| {
            i.stored[0] = Stored { align: 4, length: -1, width: Some(60), null_ratio: None };
            (i.deduplicates, i.pages) = (false, Some(120_000));
        }),
        ("more distinct keys than the planner thinks", |i| {
            (i.key[0].distinct, i.pages) = (Some(2_000_000.0), Some(27_400));
        }),
    ];
    for (what, change) in twins {
        assert_eq!(of(BLOATED, &with(100_000, change)), [], "{what}");
    }
    let mut dead = with(100_000, |_| {});
    dead.tables.as_mut().unwrap()[0].dead_rows = Some(15_000_000);
    assert_eq!(of(BLOATED, &dead), [], "VACUUM comes first");
}

#[test]
fn without_widths_nothing_is_known() {
    for change in [
        (|i: &mut Index| i.stored[0].width = None) as fn(&mut Index),
        |i| i.rows = None,
        |i| i.stored.clear(),
    ] {
        let judgement = judge(&with(100_000, change));
        assert!(judgement.findings.is_empty() && judgement.unjudged.contains(&BLOATED));
    }
}

#[test]
fn what_is_to_go_is_not_mended() {
    let mut facts = with(100_000, |_| {});
    facts.indexes.as_mut().unwrap().push(Index {
        oid: 2,
        name: "public.orders_0".into(),
        ..big(100_000)
    });
    let judgement = judge(&facts);
    let kinds: Vec<_> = judgement.findings.iter().map(|f| (&*f.kind, &*f.object)).collect();
    assert_eq!(kinds, [(DUPLICATE, "public.orders_1"), (BLOATED, "public.orders_0")]);
}
