//! What to do about a scan, in words and as a statement.

use super::seen::{OR, array_of};
use super::{Reader, Scan, Seen, members};
use crate::capture::scan::Use;
use crate::detect::idea::{IndexIdea, Method, Part};
use crate::facts::{FormKind, Patterned, Table, Test};

/// Bytes on the average from which values of a column may be too long for an index: none is a whole line of text.
const LONG: i32 = 100;
/// For more tables no statements are written out.
const MOST_MEMBERS: usize = 50;

/// What to do about it, in words and as a statement: the index that serves most of the time wasted.
pub fn remedy(scan: &Scan<'_>) -> (String, Option<String>) {
    let Some(idea) = &scan.idea else { return (without_index(scan), None) };
    let (mut words, statement) = advice(idea, scan);
    let rest: Vec<_> = scan.readers.iter().filter(|r| !r.served).collect();
    if !rest.is_empty() {
        let known = |r: &Reader<'_>| {
            let by = |p: &crate::facts::Predicate| idea.has(p.attnum, &p.expression);
            r.table().predicates.iter().any(by)
        };
        let how = match (rest.iter().any(|r| known(r)), rest.iter().all(|r| known(r))) {
            (false, _) => "by other columns",
            (true, true) => "in another way",
            (true, false) => "by other columns or in another way",
        };
        words.push_str(&format!(
            " Other statements look rows up {how}, for which it does not serve: see perfmon.seq_scans()."
        ));
    }
    (words, statement)
}

/// The same for one statement: the index that is proposed, if it serves it, or else the one that it lacks.
pub fn remedy_of(scan: &Scan<'_>, reader: &Reader<'_>) -> (String, Option<String>) {
    match (&scan.idea, &reader.idea) {
        (Some(_), _) if reader.served => remedy(scan),
        (_, Some(idea)) => advice(idea, scan),
        (_, None) => (in_words(reader), None),
    }
}

/// What is to be done for the worst statement, and that there are others of which that need not be true.
fn without_index(scan: &Scan<'_>) -> String {
    let Some((first, rest)) = scan.readers.split_first() else { return String::new() };
    let mut words = in_words(first);
    if rest.iter().any(|other| in_words(other) != words) {
        words.push_str(" Other statements look rows up in another way: see perfmon.seq_scans().");
    }
    words
}

/// What to do about conditions that no index of all rows serves.
fn of_odd(seen: &Seen) -> String {
    let (arrays, rest): (Vec<&str>, Vec<&str>) =
        seen.odd.iter().map(String::as_str).partition(|text| array_of(text).is_some());
    let mut words: Vec<String> = seen.patterned.iter().map(of_pattern).collect();
    let (either, alone): (Vec<&str>, Vec<&str>) = rest.into_iter().partition(|t| t.contains(OR));
    for column in arrays.iter().filter_map(|text| array_of(text)) {
        words.push(format!(
            "No index serves ? = ANY ({column}), where the array is in the row: write {column} @> ARRAY[?], which finds the same \
             rows, and create a GIN index on {column}."
        ));
    }
    if !alone.is_empty() {
        let constants = match alone.iter().any(|text| text.contains('?')) {
            true => ", with the statement's own constant in place of each question mark",
            false => "",
        };
        words.push(format!(
            "Create an index of the wanted rows alone, CREATE INDEX ... WHERE {}{constants}, on columns that are sorted by or looked \
             up besides: it is as small as the rows are few.",
            alone.join(" AND ")
        ));
    }
    if !either.is_empty() {
        words.push(format!(
            "Create an index for each of the conditions in {}: the planner puts together what several of them find.",
            either.join(" and ")
        ));
    }
    let mut picks: Vec<&str> = Vec::new();
    for p in seen.conditions.iter().filter(|p| p.test != Test::Other) {
        if !picks.contains(&p.expression.as_str()) {
            picks.push(&p.expression);
        }
    }
    if !picks.is_empty() {
        let picks = picks.join(", ");
        words
            .push(format!("Where the condition on {picks} leaves few rows, an index on it alone."));
    }
    words.join(" ")
}

/// What to do about a pattern that is sought in something else than text.
fn of_pattern((column, text, of): &(String, String, Patterned)) -> String {
    // Neither ILIKE nor a wildcard at the beginning leaves anything to search for.
    let open = [" ~~* ", " %?)"].iter().any(|sign| text.contains(sign));
    if open || *of == Patterned::Caseless {
        return format!(
            "No index on {column} itself is searched for {text}: perfmon.rewrite_hints() has a form that compares it as text."
        );
    }
    let how = match of {
        Patterned::Padded => format!("An index on {column} with bpchar_pattern_ops"),
        _ => format!("An index on {column}"),
    };
    format!(
        "{how} is searched for {text} where the pattern has a fixed beginning; for others, compare it as text: see \
         perfmon.rewrite_hints()."
    )
}

/// What to do where no index can be composed, since the constants of a statement are not kept, or where none can be.
fn in_words(reader: &Reader<'_>) -> String {
    if let Some(seen) = reader.seen.as_ref().filter(|seen| seen.computed.is_empty()) {
        return of_odd(seen);
    }
    let computed = reader.seen.iter().flat_map(|seen| &seen.computed);
    let (texts, uses): (Vec<&str>, Vec<Use>) =
        computed.map(|one| (one.expression.as_str(), one.usage)).unzip();
    let compared = texts.join(", ");
    let forms = reader.statement.shape.iter().flat_map(|shape| &shape.forms);
    let of_table: Vec<_> = forms.filter(|form| form.tables.contains(&reader.table().oid)).collect();
    let leaves_it_alone = |kind: &FormKind| {
        use FormKind::{
            Converted, Dated, Defaulted, Rounded, Shifted, Spelled, Truncated, TruncatedDay,
            Widened,
        };
        matches!(
            kind,
            Converted { .. }
                | Dated { .. }
                | Defaulted
                | Rounded { .. }
                | Shifted { .. }
                | Spelled
                | Truncated { .. }
                | TruncatedDay
                | Widened
        )
    };
    if of_table.iter().any(|form| form.better.is_some() && leaves_it_alone(&form.kind)) {
        return format!(
            "No index on a column serves {compared}: perfmon.rewrite_hints() has a form that compares the column itself."
        );
    }
    if of_table.iter().any(|form| form.kind == FormKind::Unstable) {
        return format!(
            "No index can be on {compared}, which changes with settings or with time: compare the column itself with a range of \
             values, or keep what is computed in a column of its own that has an index."
        );
    }
    let kind = match (uses.contains(&Use::Containment), uses.contains(&Use::Pattern)) {
        (true, _) => "a GIN index",
        (_, true) => "an index for patterns, of trigrams (pg_trgm) or with text_pattern_ops,",
        _ => "an index",
    };
    let constants = match compared.contains('?') {
        true => {
            " with the statement's own constant in place of each question mark; constants are not kept, so that the command \
             cannot be given here"
        }
        false => "",
    };
    format!(
        "Create {kind} on the expression {compared}{constants}; or compare the column as it is, if that can be written."
    )
}

fn advice(idea: &IndexIdea, scan: &Scan<'_>) -> (String, Option<String>) {
    let table = &scan.table;
    let mut words = format!("Create an index on {}.", idea.columns());
    if let Some(need) = idea.needs.as_ref().filter(|need| !need.installed) {
        let how = if need.available {
            "which CREATE EXTENSION brings"
        } else {
            "which must be installed on the server first"
        };
        words = format!(
            "Create a {} index on {}. It needs the extension {}, {how}.",
            idea.method.word(),
            idea.columns(),
            need.extension
        );
    }
    if idea.locks_writers(table) {
        words.push_str(" On a partitioned table it keeps writers waiting while it is built: with much data, create it CONCURRENTLY on each partition first, then ON ONLY the parent, and attach.");
    }
    if idea.method == Method::Btree && idea.key.iter().any(|part| may_be_long(part, table)) {
        words.push_str(
            " A value of more than 2,700 bytes after compression has no place in a B-tree: where the column may hold such, the \
             command fails, and leaves an invalid index to be dropped. For equality, a hash index (USING hash) takes any length.",
        );
    }
    if scan.members.is_empty() {
        return (words, idea.statement(table));
    }
    words.push_str(
        " An index on a table is none on those that inherit from it: each needs its own.",
    );
    if scan.members.len() > MOST_MEMBERS {
        return (words, None);
    }
    (words, members::statements(idea, &scan.members))
}

/// Whether a column may hold values that a B-tree does not take: those of a width that is not fixed are wide on the
/// average already.
fn may_be_long(part: &Part, table: &Table) -> bool {
    let column = table.columns.iter().find(|column| column.attnum == part.attnum);
    column.and_then(|column| column.width).is_some_and(|width| width >= LONG)
}
