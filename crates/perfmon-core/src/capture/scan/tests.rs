use super::code::{Stage, Token};
use super::*;
use crate::capture::table::{Entry as TableEntry, Header, Shape};
use crate::capture::tend::Tender;
use proptest::prelude::*;

struct Memory {
    header: Header,
    index: Vec<AtomicU64>,
    entries: Vec<TableEntry<Evidence>>,
}

impl Memory {
    fn of(keys: usize) -> Self {
        let shape = Shape::of::<Evidence>(keys);
        Self {
            header: Header::default(),
            index: (0..shape.index).map(|_| AtomicU64::new(0)).collect(),
            entries: (0..shape.entries).map(|_| TableEntry::default()).collect(),
        }
    }

    fn table(&self) -> Table<'_, Evidence> {
        Table::new(&self.header, &self.index, &self.entries)
    }
}

const WHOSE: u64 = 5 << 32 | 10;

fn subject(query_id: u64, code: Code) -> Subject {
    Subject {
        query_id,
        toplevel: true,
        kind: Kind::SeqScan,
        relation: 100,
        columns_of: 100,
        index: 0,
        code,
    }
}

fn counts(executions: u64, read: u64, kept: u64) -> Counts {
    let mut counts = Counts::default();
    counts.set(Slot::Executions, executions);
    counts.set(Slot::Read, read);
    counts.set(Slot::Kept, kept);
    counts
}

fn code(tokens: &[Token]) -> Code {
    let mut code = Code::default();
    tokens.iter().for_each(|token| code.push(*token));
    code
}

#[test]
fn what_is_recorded_is_read() {
    let memory = Memory::of(20);
    let table = memory.table();
    let one = subject(7, code(&[Token::Operator(96, 2), Token::Column(3), Token::Value]));
    let other = subject(7, code(&[Token::IsNull, Token::Column(3)]));
    assert_ne!(one.key(WHOSE), other.key(WHOSE));
    record(&table, one.key(WHOSE), &one, &counts(1, 100, 3));
    let before = read(&table, 5, &[]);
    record(&table, one.key(WHOSE), &one, &counts(2, 200, 4));
    record(&table, other.key(WHOSE), &other, &counts(1, 5, 5));
    record_known(&table, Key::new(77, 5, 10, 0), &counts(1, 1, 1));
    let now = read(&table, 5, &before.counted);
    assert_eq!(now.subjects[&one.key(WHOSE)], one);
    assert_eq!(now.subjects.len(), 2, "what is not known is not begun");
    let moved = difference(&before.counted, &now.counted);
    assert_eq!(moved[&one.key(WHOSE)], counts(2, 200, 4));
    assert_eq!(moved[&other.key(WHOSE)], counts(1, 5, 5));
    assert!(read(&table, 6, &[]).counted.is_empty());
    record(&table, other.key(WHOSE), &other, &counts(1, 5, 5));
    let last = read(&table, 5, &now.counted);
    assert_eq!(last.subjects.keys().collect::<Vec<_>>(), [&other.key(WHOSE)], "one stands");
    assert_eq!(last.counted.len(), now.counted.len());
    let named = Ids::from_iter([(now.counted[0].key, (7, 9))]);
    let kept = from_columns(&to_columns(&now.counted, &named));
    assert_eq!(kept, Some((now.counted, named)));
    assert_eq!(from_columns(&[vec![1], vec![2]]), None);
}

#[test]
fn what_finds_no_room_is_counted_with_the_rest() {
    let memory = Memory::of(20);
    let (table, mut tender) = (memory.table(), Tender::default());
    let subjects: Vec<Subject> = (1..=200).map(|id| subject(id, Code::EMPTY)).collect();
    let mut before = Vec::new();
    let mut all = Moved::new();
    for subject in &subjects {
        record(&table, subject.key(WHOSE), subject, &counts(1, 10, 1));
        tender.pass(&table);
        let now = read(&table, 5, &before).counted;
        for (key, moved) in difference(&before, &now) {
            all.entry(key).or_default().add(&moved);
        }
        before = now;
    }
    let sum = all.values().fold(Counts::default(), |mut sum, counts| {
        sum.add(counts);
        sum
    });
    assert_eq!(sum, counts(200, 2000, 200), "nothing is lost or doubled");
    let rest = Key::new(0, 5, 0, 0);
    assert!(all[&rest].get(Slot::Executions) > 0);
}

/// Keys that wait for a name, others every time, while entries are folded under them.
#[test]
fn what_waits_is_counted_later() {
    let memory = Memory::of(40);
    let (table, mut tender) = (memory.table(), Tender::default());
    let subjects: Vec<Subject> = (1..=60).map(|id| subject(id, Code::EMPTY)).collect();
    let mut before = Vec::new();
    let mut all = Moved::new();
    for round in 0..40_u64 {
        for subject in subjects.iter().filter(|subject| (subject.query_id + round) % 7 < 2) {
            record(&table, subject.key(WHOSE), subject, &counts(1, 10, 1));
        }
        tender.pass(&table);
        let reading = read(&table, 5, &before);
        let waits = |key: &Key| key.what != 0 && (key.what >> 9) % 3 == round % 3 && round < 39;
        let moved = difference(&before, &reading.counted);
        let waiting: HashSet<Key> = moved.keys().copied().filter(waits).collect();
        assert!(moved.keys().all(|key| key.what == 0 || reading.subjects.contains_key(key)));
        for (key, moved) in moved.iter().filter(|(key, _)| !waiting.contains(key)) {
            all.entry(*key).or_default().add(moved);
        }
        before = without(&before, &reading.counted, &waiting);
    }
    let recorded = (0..40_u64)
        .map(|round| (1..=60_u64).filter(|id| (id + round) % 7 < 2).count() as u64)
        .sum::<u64>();
    let sum = all.values().fold(Counts::default(), |mut sum, counts| {
        sum.add(counts);
        sum
    });
    assert_eq!(sum, counts(recorded, 10 * recorded, recorded));
}

struct Called;

impl Names for Called {
    fn column(&mut self, table: u32, number: i16) -> Option<String> {
        (number < 50).then(|| format!("c{table}_{number}"))
    }
    fn operator(&mut self, oid: u32) -> Option<String> {
        let names = [(96, "="), (97, "<"), (1209, "~~"), (2751, "@>"), (551, "+"), (558, "-")];
        names.into_iter().find(|(known, _)| *known == oid).map(|(_, name)| name.to_owned())
    }
    fn function(&mut self, oid: u32) -> Option<String> {
        (oid == 870).then(|| "lower".to_owned())
    }
    fn type_name(&mut self, oid: u32) -> Option<String> {
        (oid == 1082).then(|| "date".to_owned())
    }
    fn table(&mut self, oid: u32) -> Option<String> {
        (oid == 200).then(|| "public.other".to_owned())
    }
}

fn part(tokens: &[Token]) -> (String, Option<String>, Option<String>, Use) {
    let parts = part_of(&subject(1, code(tokens)), &mut Called);
    let [part] = parts.as_slice() else { panic!("{parts:?}") };
    (part.text.clone(), part.expression.clone(), part.operator.clone(), part.usage)
}

fn seen(
    text: &str,
    expression: Option<&str>,
    operator: Option<&str>,
    usage: Use,
) -> (String, Option<String>, Option<String>, Use) {
    (text.to_owned(), expression.map(str::to_owned), operator.map(str::to_owned), usage)
}

#[test]
fn sides_of_an_or_and_what_is_around_columns_are_told() {
    use Token::*;
    let equal = |column| [Operator(96, 2), Column(column), Value];
    let all = [
        vec![Or(3), And(2)],
        equal(3).to_vec(),
        vec![Operator(97, 2), Column(4), Value],
        equal(3).to_vec(),
        vec![IsNull, Column(5)],
    ]
    .concat();
    let [either] = &part_of(&subject(1, code(&all)), &mut Called)[..] else { panic!("one") };
    assert_eq!((either.expression.as_deref(), either.usage), (None, Use::Other));
    let sides: Vec<(&str, Use)> =
        either.sides.iter().map(|side| (side.expression.as_str(), side.usage)).collect();
    let expected = [("c100_3", Use::Equality), ("c100_4", Use::Range), ("c100_5", Use::Null)];
    assert_eq!(sides, expected);
    for (tokens, text, expression, operator, usage) in [
        (
            vec![Operator(96, 2), Coalesce(2), Column(3), Value, Value],
            "(COALESCE(c100_3, ?) = ?)",
            "COALESCE(c100_3, ?)",
            Some("="),
            Use::Equality,
        ),
        (
            vec![Coalesce(2), Column(3), Value],
            "COALESCE(c100_3, ?)",
            "COALESCE(c100_3, ?)",
            None,
            Use::Truth,
        ),
        (
            vec![Operator(96, 2), Element(3), Column(3), Value, Value, Value],
            "(c100_3[?][?] = ?)",
            "c100_3[?][?]",
            Some("="),
            Use::Equality,
        ),
        (vec![Function(870, 1), Column(3)], "lower(c100_3)", "lower(c100_3)", None, Use::Truth),
        (
            vec![Operator(97, 2), Row(2), Column(3), Column(4), Value],
            "(ROW(c100_3, c100_4) < ?)",
            "c100_3",
            Some("<"),
            Use::Range,
        ),
    ] {
        assert_eq!(Code::of(code(&tokens).bytes()).tokens(), tokens);
        let own = Some(expression);
        assert_eq!(part(&tokens), seen(text, own, operator, usage));
    }
    let outer = part(&[Function(870, 2), Column(3), Given]);
    assert_eq!((outer.1, outer.3), (None, Use::Other), "it changes with another table's rows");
}

#[test]
fn conditions_are_put_in_words() {
    use Token::*;
    let own = Some("c100_3");
    let equal = part(&[Operator(96, 2), Column(3), Value]);
    assert_eq!(equal, seen("(c100_3 = ?)", own, Some("="), Use::Equality));
    let turned = part(&[Operator(97, 2), Value, Column(3)]);
    assert_eq!(turned, seen("(? < c100_3)", own, Some("<"), Use::Range));
    let like = part(&[Operator(1209, 2), Function(870, 1), Column(3), Value]);
    assert_eq!(like, seen("(lower(c100_3) ~~ ?)", Some("lower(c100_3)"), Some("~~"), Use::Pattern));
    // A value that is matched with a column's patterns is no search for a pattern.
    let pattern = part(&[Operator(1209, 2), Value, Column(3)]);
    assert_eq!(pattern, seen("(? ~~ c100_3)", own, Some("~~"), Use::Other));
    for (token, text, begins) in [
        (Wildcard, "(c100_3 ~~ %?)", Some(Pattern::Wildcard)),
        (Anchored, "(c100_3 ~~ ?%)", Some(Pattern::Anchored)),
        (Value, "(c100_3 ~~ ?)", None),
    ] {
        let code = code(&[Operator(1209, 2), Column(3), token]);
        assert_eq!(Code::of(code.bytes()).tokens(), code.tokens());
        let [part] = &part_of(&subject(1, code), &mut Called)[..] else { panic!("{text}") };
        assert_eq!((part.text.as_str(), part.pattern, part.usage), (text, begins, Use::Pattern));
        let kept = Described::of(&subject(1, code), &mut Called).to_text();
        let again = Described::from_text(&kept).expect("what was kept");
        assert_eq!(again.conditions[0].pattern.as_deref(), begins.map(Pattern::name));
    }
    let contains = part(&[Operator(2751, 2), Column(3), Value]);
    assert_eq!(contains, seen("(c100_3 @> ?)", own, Some("@>"), Use::Containment));
    let null = part(&[IsNull, Column(3)]);
    assert_eq!(null, seen("(c100_3 IS NULL)", own, Some("IS NULL"), Use::Null));
    let any = part(&[Any(96), Column(3), Value]);
    assert_eq!(any, seen("(c100_3 = ANY (?))", own, Some("= ANY"), Use::Equality));
    let array = part(&[Any(96), Value, Column(3)]);
    assert_eq!(array, seen("(? = ANY (c100_3))", own, Some("= ANY"), Use::Other));
    let join = part(&[Operator(96, 2), Column(3), Given]);
    assert_eq!(join, seen("(c100_3 = (outer))", own, Some("="), Use::Join));
    let joined = part(&[Operator(96, 2), Column(3), Other(200, 4)]);
    assert_eq!(joined, seen("(c100_3 = public.other.c200_4)", own, Some("="), Use::Join));
    let cast = part(&[Operator(96, 2), Cast(1082), Column(3), Value]);
    assert_eq!(cast.1.as_deref(), Some("(c100_3)::date"));
    let both = part(&[Operator(97, 2), Column(3), Column(4)]);
    assert_eq!(both.3, Use::Other, "no index finds rows by two of their columns");
    let truth = part(&[Not, Column(3)]);
    assert_eq!(truth, seen("(NOT c100_3)", own, None, Use::Truth));
    let either = part(&[Or(2), Operator(96, 2), Column(3), Value, IsNull, Column(4)]);
    assert_eq!(either.0, "((c100_3 = ?) OR (c100_4 IS NULL))");
    assert_eq!((either.1, either.3), (None, Use::Other));
    let gone = part(&[Operator(5, 2), Column(99), Other(7, 99)]);
    assert_eq!(gone.0, "(column 99 (unknown) (unknown))");
    let sort = part(&[Stage(code::Stage::Sort), Other(200, 3)]);
    assert_eq!(sort, seen("public.other.c200_3", Some("public.other.c200_3"), None, Use::Sort));
}

#[test]
fn long_conditions_are_cut_and_say_so() {
    let mut long = Code::default();
    for number in 0..100 {
        long.push(Token::Operator(96, 2));
        long.push(Token::Column(number % 40));
        long.push(Token::Value);
    }
    assert!(long.bytes().len() <= LONGEST);
    assert_eq!(long.tokens().last(), Some(&Token::Cut));
    let parts = part_of(&subject(1, long), &mut Called);
    assert!(parts.len() > 10 && parts.iter().all(|part| part.usage == Use::Equality));
    assert!(line(&parts, &long).ends_with(", …"));
    let whole = code(&[Token::Stage(Stage::Index), Token::IsNull, Token::Column(1)]);
    let parts = part_of(&subject(1, whole), &mut Called);
    assert_eq!(line(&parts, &whole), "index: (c100_1 IS NULL)");
    let mut mark = whole;
    let at = mark.mark();
    mark.push(Token::Value);
    mark.back_to(at);
    assert_eq!(mark, whole);
}

#[test]
fn kinds_are_numbered() {
    for (number, kind) in (0..).zip(Kind::ALL) {
        assert_eq!(Kind::numbered(number), Some(kind));
        assert_eq!(kind as u8, number);
        assert_eq!(Kind::named(kind.name()), Some(kind));
    }
    assert_eq!(Kind::numbered(200), None);
    for (number, stage) in (0u8..).zip(Stage::ALL) {
        assert_eq!(stage as u8, number);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..LONGEST)) {
        let code = Code::of(&bytes);
        let _ = line(&part_of(&subject(1, code), &mut Called), &code);
    }
}
