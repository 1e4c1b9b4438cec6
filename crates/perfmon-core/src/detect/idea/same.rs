//! Whether two expressions are the same, however many parentheses the server puts around them.

use crate::facts::Index;
use crate::facts::expression::{bare, is_of_word};

/// Whether two are the same column, or expressions that the server deparses alike.
pub(in crate::detect) fn same(
    attnum: i16,
    expression: &str,
    other: i16,
    other_expression: &str,
) -> bool {
    attnum == other && (attnum != 0 || bare(expression) == bare(other_expression))
}

/// Whether the expression of an index may be one in which `?` or `$1` stands for each value: all words and operators
/// of that one are in it.
pub(in crate::detect) fn may_be(index: &str, masked: &str) -> bool {
    let (has, wants) = (parts(index), parts(masked));
    !wants.is_empty() && wants.iter().all(|part| has.contains(part))
}

/// Whether an index may be on an expression by which executions since then read a whole table for few rows. Of values in the
/// expression nobody knows which they are, as of the key of a document: an index that was there all the time, and was not
/// taken, is on another one.
pub(in crate::detect) fn may_serve(index: &Index, masked: &str, since_us: i64) -> bool {
    let first = index.key.first().filter(|first| first.attnum == 0 && index.valid);
    let alike = first.is_some_and(|first| may_be(&first.expression, masked));
    let passed_over = masked.contains('?') && index.first_seen_us.is_some_and(|at| at <= since_us);
    index.unread || (alike && !passed_over)
}

/// Names and operators of an expression: neither values nor the names of types.
fn parts(expression: &str) -> Vec<String> {
    const SIGNS: &str = "+-*/<>=~!@#%^&|";
    let mut found = Vec::new();
    let mut rest = expression;
    let mut of_type = false;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => quoted(rest),
            '$' => 1 + run(&rest[1..], |c| c.is_ascii_digit()),
            _ if is_of_word(first) => run(rest, is_of_word),
            _ if SIGNS.contains(first) => run(rest, |c| SIGNS.contains(c)),
            ':' => run(rest, |c| c == ':'),
            _ => first.len_utf8(),
        };
        let (part, behind) = rest.split_at(length);
        let is_type = of_type && (is_of_word(first) || first == '"');
        // The names of some types are several words.
        let goes_on = ["with", "without", "time"].contains(&part)
            || [" with", " varying", " precision"].iter().any(|next| behind.starts_with(next));
        of_type = first == ':' || (is_type && goes_on) || (of_type && first == ' ');
        let names = is_of_word(first) && !first.is_ascii_digit() || first == '"';
        if (names && !is_type) || SIGNS.contains(first) {
            // What the grammar has words for is called by another name, or by the same in quotes, where it is called as
            // a function: EXTRACT(year FROM at) and "extract"(?, at).
            let part = part.trim_matches('"').to_lowercase();
            found.push(match part.as_str() {
                "timezone" => "zone".to_owned(),
                "btrim" => "trim".to_owned(),
                _ => part,
            });
        }
        rest = behind;
    }
    found
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// Length of what stands in quotes at the beginning; doubled quotes make two of it, which does no harm.
fn quoted(text: &str) -> usize {
    let quote = &text[..1];
    text[1..].find(quote).map_or(text.len(), |at| at + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_may_be_on_what_values_are_missing_in() {
        let yes = [
            ("EXTRACT(year FROM at)", "\"extract\"(?, at)"),
            ("EXTRACT(year FROM at)", "\"extract\"($1, t.at)"),
            ("SUBSTRING(body FROM 1 FOR 8)", "\"substring\"(body, ?, ?)"),
            ("TRIM(BOTH FROM body)", "btrim(body)"),
            ("\"left\"(body, 8)", "\"left\"(body, ?)"),
            ("((j ->> 'a'::text))", "(j ->> ?)"),
            ("(id % 10)", "(id % ?)"),
            ("((c AT TIME ZONE 'UTC'::text))::date", "(timezone(?, c))::date"),
            ("substr(body, 1, 8)", "substr(body, ?, ?)"),
            ("date_trunc('day'::text, (at)::timestamp without time zone)", "date_trunc(?, at)"),
        ];
        for (index, masked) in yes {
            let masked = masked.replace("t.", "");
            assert!(may_be(index, &masked), "{index} {masked}");
        }
        let no = [
            ("EXTRACT(year FROM other)", "\"extract\"(?, at)"),
            // Other functions, of which one gives numbers of another type.
            ("date_part('year'::text, at)", "\"extract\"(?, at)"),
            ("EXTRACT(year FROM at)", "date_part(?, at)"),
            ("lower(body)", "substr(body, ?, ?)"),
            ("(j -> 'a'::text)", "(j ->> ?)"),
            ("lower('at'::text)", "lower(at)"),
            ("lower(body)", "?"),
        ];
        for (index, masked) in no {
            assert!(!may_be(index, masked), "{index} {masked}");
        }
    }
}
