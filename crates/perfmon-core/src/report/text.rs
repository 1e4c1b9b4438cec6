//! Text that came from elsewhere, made safe to stand in a report: names and queries may hold anything,
//! and must not break a line, a table, a block, or the direction of writing. It must never change what is
//! to be run: SQL stands in a block of its own, as it is.

use std::borrow::Cow;
use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// Widest line of a report.
pub(super) const WIDTH: usize = 100;

/// Columns that a text takes in a terminal.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Characters that are not seen themselves but change how others are: marks of direction, joiners,
/// spaces of no width.
fn is_hidden(c: char) -> bool {
    matches!(u32::from(c),
        0xAD | 0x61C | 0x180E | 0x200B..=0x200F | 0x202A..=0x202E | 0x2060..=0x206F
        | 0xFEFF | 0xFFF9..=0xFFFB | 0xE0000..=0xE007F)
}

/// Text on one line, as it is otherwise. For blocks that show text literally.
pub(super) fn bare(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut blank = false;
    for c in text.chars() {
        if c.is_whitespace() || c.is_control() {
            blank = !out.is_empty();
            continue;
        }
        if blank {
            out.push(' ');
            blank = false;
        }
        out.push(if is_hidden(c) { '?' } else { c });
    }
    out
}

/// A line with its blanks, for blocks that show text literally.
pub(super) fn literal(line: &str) -> String {
    line.chars().map(|c| if is_hidden(c) || c.is_control() { '?' } else { c }).collect()
}

/// Text on one line that Markdown shows as it is, in a table too.
pub(super) fn plain(text: &str) -> String {
    let chars: Vec<char> = bare(text).chars().collect();
    let mut out = String::with_capacity(chars.len());
    for (at, c) in chars.iter().copied().enumerate() {
        let escape = match c {
            '|' | '\\' | '`' | '*' | '[' | '<' | '~' => true,
            // Inside a word it stands for itself, and reads better so.
            '_' => !(word_ends_at(chars[..at].iter().rev()) && word_ends_at(chars[at..].iter())),
            '&' => chars.get(at + 1).is_some_and(|n| n.is_ascii_alphabetic() || *n == '#'),
            _ => false,
        };
        if escape {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Whether the first of these that is no underscore belongs to a word.
fn word_ends_at<'a>(mut chars: impl Iterator<Item = &'a char>) -> bool {
    chars.find(|c| **c != '_').is_some_and(|c| c.is_alphanumeric())
}

/// A statement as a code span of a table.
pub(super) fn code(text: &str) -> String {
    // Longer than any line: the rest would be cut anyway.
    let start: String = text.chars().take(4 * WIDTH).collect();
    // A backslash is itself in a code span, but would take the one that the bar needs in a table.
    let safe = bare(&start).replace('`', "'").replace("\\|", "\\ |").replace('|', "\\|");
    format!("`{safe}`")
}

/// The text, shortened to so many columns; a code span stays closed and an escape whole.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let is_code = text.starts_with('`');
    let keep = columns.saturating_sub(if is_code { 4 } else { 3 });
    let mut short = first(text, keep).to_owned();
    if (short.len() - short.trim_end_matches('\\').len()) % 2 == 1 {
        short.pop();
    }
    short.push_str("...");
    if is_code {
        short.push('`');
    }
    short
}

/// As much of the text as fits into so many columns.
fn first(text: &str, columns: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.width().unwrap_or(0);
        if used > columns {
            return &text[..at];
        }
    }
    text
}

/// One paragraph or list item, broken at the widest line. `text` is safe already.
pub(super) fn wrapped(out: &mut String, prefix: &str, text: &str) {
    let indent = if prefix.starts_with(|c: char| c == '-' || c.is_ascii_digit()) {
        prefix.find(' ').map_or(0, |at| at + 1)
    } else {
        0
    };
    let mut line = prefix.to_owned();
    let mut empty = true;
    for word in words(text) {
        if !empty && width(&line) + 1 + width(word) > WIDTH {
            end_line(out, &mut line, indent);
            empty = true;
        }
        let begins = line.trim().is_empty();
        if !empty {
            line.push(' ');
        }
        let mut word = if begins { guard(word) } else { Cow::Borrowed(word) };
        // A word longer than a line: names of 63 characters that are all quotes.
        while width(&line) + width(&word) > WIDTH {
            let mut part = first(&word, WIDTH.saturating_sub(width(&line)));
            if (part.len() - part.trim_end_matches('\\').len()) % 2 == 1 {
                part = &part[..part.len() - 1];
            }
            if part.is_empty() {
                break;
            }
            line.push_str(part);
            // What is left begins a line too.
            word = Cow::Owned(guard(&word[part.len()..]).into_owned());
            end_line(out, &mut line, indent);
        }
        line.push_str(&word);
        empty = false;
    }
    out.push_str(line.trim_end());
    out.push('\n');
}

/// Units that stay with their number.
const UNITS: [&str; 11] = ["%", "ms", "s", "min", "h", "d", "B", "kB", "MB", "GB", "TB"];

/// What a line may be broken between: words, numbers with their units, settings with the sign behind them.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let all = rest?;
        let mut end = all.find(' ').unwrap_or(all.len());
        if all[..end].ends_with(|c: char| c.is_ascii_digit()) {
            let next = all[end..].trim_start_matches(' ').split(' ').next().unwrap_or_default();
            let unit = next.trim_end_matches(|c: char| ".,;:)*".contains(c));
            if all[end..].starts_with(' ') && UNITS.contains(&unit) {
                end += all[end..].find(next).unwrap_or(0) + next.len();
            }
        }
        // A line of SQL may be copied from there, which one that began with an escaped sign would break.
        if all[end..].starts_with(" = ") {
            end += " =".len();
        }
        rest = all.get(end + 1..);
        Some(&all[..end])
    })
}

fn end_line(out: &mut String, line: &mut String, indent: usize) {
    out.push_str(line.trim_end());
    out.push('\n');
    *line = " ".repeat(indent);
}

/// A word that begins a line, so that it begins nothing else: no list, heading or quotation.
fn guard(word: &str) -> Cow<'_, str> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit());
    if rest.len() < word.len() && (rest == "." || rest == ")") {
        return Cow::Owned(format!("{}\\{rest}", &word[..word.len() - 1]));
    }
    let all = |c: char| word.chars().all(|w| w == c);
    let marks = all('-') || all('+') || all('=') || all('#') || word.starts_with('>');
    if !word.is_empty() && marks { Cow::Owned(format!("\\{word}")) } else { Cow::Borrowed(word) }
}

/// A statement in at most two lines of code, broken at a blank where there is one.
pub(super) fn quoted(out: &mut String, prefix: &str, text: &str) {
    // Longer than both lines: the rest would be cut anyway.
    let start: String = text.chars().take(4 * WIDTH).collect();
    let safe = bare(&start).replace('`', "'");
    let mut head = first(&safe, WIDTH.saturating_sub(width(prefix) + 2));
    if head.len() < safe.len()
        && let Some((line, _)) = head.rsplit_once(' ')
        && !safe[head.len()..].starts_with(' ')
    {
        head = line;
    }
    let rest = safe[head.len()..].trim_start();
    let _ = writeln!(out, "{prefix}`{head}`");
    if !rest.is_empty() {
        let _ = writeln!(out, "  {}", cut(&format!("`{rest}`"), WIDTH - 2));
    }
}

/// SQL in a block that nothing in it can close.
pub(super) fn sql_block(out: &mut String, sql: &str) {
    block(out, "sql", sql);
}

/// Text in a block that nothing in it can close.
pub(super) fn text_block(out: &mut String, text: &str) {
    block(out, "text", text);
}

fn block(out: &mut String, kind: &str, sql: &str) {
    let mut longest = 2;
    let mut run = 0;
    for c in sql.chars() {
        run = if c == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    let fence = "`".repeat(longest + 1);
    let _ = write!(out, "{fence}{kind}\n{}\n{fence}\n\n", sql.trim_end());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn shortening_keeps_code_spans_closed_and_escapes_whole() {
        assert_eq!(cut("`abcdef`", 7), "`ab...`");
        assert_eq!(cut("ab\\|cdefg", 6), "ab...");
        assert_eq!(cut("a\\\\|cdefg", 6), "a\\\\...");
        assert_eq!(cut("abc", 3), "abc");
        // Two columns each.
        assert_eq!(cut("日本語日本語", 8), "日本...");
    }

    #[test]
    fn text_from_elsewhere_stays_text() {
        assert_eq!(plain("a|b\\c`d*e[f]<g"), "a\\|b\\\\c\\`d\\*e\\[f]\\<g");
        assert_eq!(plain(" two\n\tlines \u{7} "), "two lines");
        assert_eq!(
            plain("order_items __init__ _x a_ b__c"),
            "order_items \\_\\_init\\_\\_ \\_x a\\_ b__c"
        );
        assert_eq!(plain("a & b &lt; &#60;"), "a & b \\&lt; \\&#60;");
        assert_eq!(plain("right\u{202E}tfel"), "right?tfel");
        assert_eq!(code("SELECT `a` | '\n'"), "`SELECT 'a' \\| ' '`");
        assert_eq!(code("'a\\|b'"), "`'a\\ \\|b'`");
    }

    #[test]
    fn no_line_begins_something_else() {
        for word in ["-", "---", "#", "##", ">", "===", "+"] {
            let mut out = String::new();
            wrapped(&mut out, "", &format!("{} {word} b", "a".repeat(99)));
            assert!(out.contains(&format!("\n\\{word} b")), "{out}");
        }
        let mut out = String::new();
        wrapped(&mut out, "- x: ", &format!("{} 1. b", "a".repeat(94)));
        assert!(out.contains("\n  1\\. b"), "{out}");
    }

    #[test]
    fn the_rest_of_a_long_word_begins_nothing_else() {
        for rest in ["-", ">"] {
            let mut out = String::new();
            wrapped(&mut out, "", &format!("{}{rest} b", "a".repeat(100)));
            assert!(out.contains(&format!("\n\\{rest} b")), "{out}");
        }
    }

    #[test]
    fn a_statement_is_quoted_in_two_lines_at_most() {
        let of = |text: &str| {
            let mut out = String::new();
            quoted(&mut out, "- Statement 7: ", text);
            out
        };
        assert_eq!(of("SELECT\n `a`"), "- Statement 7: `SELECT 'a'`\n");
        let two = of(&"SELECT a ".repeat(12));
        assert_eq!(two.matches("SELECT a").count(), 12, "{two}");
        assert_eq!(two.lines().count(), 2);
        for long in ["SELECT a, ".repeat(99), "a".repeat(999), "\u{65e5}".repeat(999)] {
            let said = of(&long);
            assert_eq!(said.lines().count(), 2, "{said}");
            assert!(said.ends_with("...`\n") && said.lines().all(|l| width(l) <= WIDTH), "{said}");
        }
    }

    #[test]
    fn a_number_keeps_its_unit() {
        let all: Vec<&str> = words("up to 3.0 %), in 2 min of 3 things, 5 ms").collect();
        assert_eq!(all, ["up", "to", "3.0 %),", "in", "2 min", "of", "3", "things,", "5 ms"]);
        assert_eq!(words("a  b").collect::<Vec<_>>(), ["a", "", "b"]);
        assert_eq!(words("").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn a_line_of_sql_that_is_wrapped_is_still_one() {
        let line = "ALTER SYSTEM SET pg_perfmon.capture = 'top'; SELECT pg_reload_conf();";
        for before in 0..WIDTH {
            let mut out = String::new();
            wrapped(&mut out, "- ", &format!("{} {}", "a".repeat(before), plain(line)));
            let one = out.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(one.contains(line), "{out}");
        }
        assert_eq!(words("SET a = b").collect::<Vec<_>>(), ["SET", "a =", "b"]);
    }

    #[test]
    fn a_word_longer_than_a_line_is_broken() {
        let mut out = String::new();
        wrapped(&mut out, "- name: ", &"\\|".repeat(200));
        assert!(out.lines().all(|line| width(line) <= WIDTH && line.len() % 2 == 0), "{out}");
        assert_eq!(out.matches("\\|").count(), 200);
    }

    #[test]
    fn nothing_closes_a_block_of_sql() {
        let mut out = String::new();
        sql_block(&mut out, "DROP INDEX \"a\n```\nb\";");
        assert_eq!(out, "````sql\nDROP INDEX \"a\n```\nb\";\n````\n\n");
    }

    /// Text with all that could break a line, often.
    fn any_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => "[ -~]{0,12}",
            2 => "[|`\\\\*_#>\\[<~&\"\n\r\t -]{0,12}",
            1 => "\\PC{0,12}",
            1 => ".{0,12}",
        ];
        proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn whatever_the_text_lines_are_narrow_and_single(text in any_text()) {
            for safe in [plain(&text), bare(&text), code(&text)] {
                prop_assert!(!safe.contains(|c: char| c.is_control() || is_hidden(c)), "{safe:?}");
            }
            let mut out = String::new();
            wrapped(&mut out, "- name: ", &plain(&text));
            for (at, line) in out.lines().enumerate() {
                prop_assert!(width(line) <= WIDTH, "{line:?}");
                prop_assert!(line.starts_with(if at == 0 { "- name:" } else { "" }), "{line:?}");
                let begins = line.trim_start();
                prop_assert!(at == 0 || begins.is_empty() || !begins.starts_with("- "), "{line:?}");
            }
        }

        #[test]
        fn whatever_the_text_a_cell_is_one_cell(text in any_text(), columns in 4..60_usize) {
            for safe in [plain(&text), code(&text)] {
                let cell = cut(&safe, columns);
                prop_assert!(width(&cell) <= columns, "{cell:?}");
                // A bar ends a cell unless an odd number of backslashes stands before it.
                let mut backslashes = 0;
                for c in cell.chars() {
                    prop_assert!(c != '|' || backslashes % 2 == 1, "{cell:?}");
                    backslashes = if c == '\\' { backslashes + 1 } else { 0 };
                }
                prop_assert!(backslashes % 2 == 0, "{cell:?} escapes what follows");
            }
        }
    }
}
