//! Normalised texts that the grammar does not take: it wants a literal where pg_stat_statements put a
//! parameter, in `interval $1`, `date $1` and `extract($1 FROM …)`. They are written so that they mean
//! the same.

/// A text that parses, of one that did not; `None` when it has nothing of the kind.
pub(super) fn repair(text: &[u8]) -> Option<Vec<u8>> {
    let tokens = tokens(text);
    let mut out = Vec::with_capacity(text.len() + 64);
    let mut changed = false;
    let mut i = 0;
    while i < tokens.len() {
        let (change, used) = typed_parameter(&tokens[i..])
            .or_else(|| extract(&tokens[i..]))
            .unwrap_or_else(|| (tokens[i].text.to_vec(), 1));
        changed |= used > 1;
        out.extend_from_slice(tokens[i].before);
        out.extend_from_slice(&change);
        i += used;
    }
    changed.then_some(out)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A word without quotes.
    Word,
    /// A name in double quotes.
    Quoted,
    /// `$1`.
    Parameter,
    /// Anything else.
    Other,
}

struct Token<'a> {
    /// Blanks and comments before it.
    before: &'a [u8],
    text: &'a [u8],
    kind: Kind,
}

impl Token<'_> {
    fn is(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text.eq_ignore_ascii_case(word.as_bytes())
    }
}

/// A type before a parameter, which only a literal may follow. A word that is not reserved cannot stand
/// there otherwise; the reserved ones that can are left alone.
fn typed_parameter(tokens: &[Token<'_>]) -> Option<(Vec<u8>, usize)> {
    let first = tokens.first()?;
    let zoned = ["time", "timestamp"].iter().any(|word| first.is(word))
        && tokens.get(1).is_some_and(|t| t.is("with") || t.is("without"))
        && tokens.get(2).is_some_and(|t| t.is("time"))
        && tokens.get(3).is_some_and(|t| t.is("zone"));
    let length = if zoned { 4 } else { 1 };
    let is_type = match first.kind {
        Kind::Word => !may_precede_a_value(first),
        Kind::Quoted => true,
        _ => false,
    };
    let parameter = tokens.get(length).filter(|t| is_type && t.kind == Kind::Parameter)?;
    let name = tokens[..length].iter().map(|t| t.text).collect::<Vec<_>>().join(&b' ');
    let mut used = length + 1;
    if first.is("interval") {
        // INTERVAL '1' DAY TO SECOND
        let fields = ["year", "month", "day", "hour", "minute", "second", "to"];
        used +=
            tokens[used..].iter().take_while(|t| fields.iter().any(|field| t.is(field))).count();
    }
    Some((cast(parameter.text, &name), used))
}

fn cast(parameter: &[u8], name: &[u8]) -> Vec<u8> {
    [b"CAST(", parameter, b" AS ", name, b")"].concat()
}

/// Words that a parameter may follow in the grammar, and which are no types.
fn may_precede_a_value(word: &Token<'_>) -> bool {
    const WORDS: &str = "all and any array as asymmetric between both by case collate default distinct else \
        end escape except fetch first following for from having ilike in intersect is isnull \
        leading like limit next not notnull offset on only or overlay placing preceding \
        returning row select set similar symmetric then to trailing union using values when \
        where with zone";
    WORDS.split(' ').any(|known| word.is(known))
}

/// `extract($1 FROM …)`, which is a call of a function like any other. `date_part` is another one, for which an index
/// serves no `extract`.
fn extract(tokens: &[Token<'_>]) -> Option<(Vec<u8>, usize)> {
    let [name, open, parameter, from, ..] = tokens else { return None };
    let matches = name.is("extract")
        && open.text == b"("
        && parameter.kind == Kind::Parameter
        && from.is("from");
    matches.then(|| ([b"pg_catalog.\"extract\"(", parameter.text, b","].concat(), 4))
}

fn tokens(text: &[u8]) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let start = at;
        at = skip_blanks(text, at);
        let before = &text[start..at];
        let Some(&byte) = text.get(at) else {
            found.push(Token { before, text: &[], kind: Kind::Other });
            return found;
        };
        let (end, kind) = match byte {
            b'"' => (quoted(text, at, b'"', false), Kind::Quoted),
            b'\'' => (quoted(text, at, b'\'', false), Kind::Other),
            b'$' => dollar(text, at),
            _ if is_letter(byte) => {
                let end = after(text, at, |b| is_letter(b) || b.is_ascii_digit() || b == b'$');
                match text.get(end) {
                    // E'…' and the like are one token each with their quotes.
                    Some(b'\'') if end == at + 1 => {
                        let escapes = byte.eq_ignore_ascii_case(&b'e');
                        (quoted(text, end, b'\'', escapes), Kind::Other)
                    }
                    _ => (end, Kind::Word),
                }
            }
            _ if byte.is_ascii_digit() => {
                (after(text, at, |b| b.is_ascii_alphanumeric() || b == b'.'), Kind::Other)
            }
            _ => (at + 1, Kind::Other),
        };
        found.push(Token { before, text: &text[at..end], kind });
        at = end;
    }
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte > 127
}

fn after(text: &[u8], start: usize, belongs: impl Fn(u8) -> bool) -> usize {
    text[start..].iter().position(|&b| !belongs(b)).map_or(text.len(), |n| start + n)
}

/// Past blanks and comments.
fn skip_blanks(text: &[u8], mut at: usize) -> usize {
    loop {
        at = after(text, at, |b| b.is_ascii_whitespace() || b == 11);
        if text[at..].starts_with(b"--") {
            at = after(text, at, |b| b != b'\n' && b != b'\r');
        } else if text[at..].starts_with(b"/*") {
            at = comment(text, at);
        } else {
            return at;
        }
    }
}

/// Past a comment, which may hold others.
fn comment(text: &[u8], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0);
    while at < text.len() {
        if text[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

/// Past a quoted string that begins at `start`, in which a backslash may hide a quote.
fn quoted(text: &[u8], start: usize, quote: u8, escapes: bool) -> usize {
    let mut at = start + 1;
    while at < text.len() {
        if escapes && text[at] == b'\\' {
            at += 2;
        } else if text[at] != quote {
            at += 1;
        } else if text.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return at + 1;
        }
    }
    text.len()
}

/// `$1`, or a string between two `$tag$`.
fn dollar(text: &[u8], start: usize) -> (usize, Kind) {
    let end = after(text, start + 1, |b| b.is_ascii_digit());
    if end > start + 1 {
        return (end, Kind::Parameter);
    }
    let tag_end = after(text, start + 1, |b| is_letter(b) || b.is_ascii_digit());
    if text.get(tag_end) != Some(&b'$') {
        return (start + 1, Kind::Other);
    }
    let tag = &text[start..=tag_end];
    let body = tag_end + 1;
    let close = text[body..].windows(tag.len()).position(|window| window == tag);
    (close.map_or(text.len(), |n| body + n + tag.len()), Kind::Other)
}

#[cfg(test)]
mod tests {
    use super::{repair, tokens};

    fn repaired(text: &str) -> Option<String> {
        repair(text.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn types_before_parameters() {
        for (text, expected) in [
            ("SELECT interval $1", "SELECT CAST($1 AS interval)"),
            ("now() - INTERVAL\n$12 day to second)", "now() - CAST($12 AS INTERVAL))"),
            ("x > date $1 AND y", "x > CAST($1 AS date) AND y"),
            (
                "timestamp with time zone $1, time $2",
                "CAST($1 AS timestamp with time zone), CAST($2 AS time)",
            ),
            ("a = \"My Type\" $1", "a = CAST($1 AS \"My Type\")"),
            ("extract ( $1 FROM b) = $2", "pg_catalog.\"extract\"($1, b) = $2"),
            (
                "/* é /* date $1 */ */ uuid /*x*/ $1 -- date $1",
                "/* é /* date $1 */ */ CAST($1 AS uuid) -- date $1",
            ),
        ] {
            assert_eq!(repaired(text).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn nothing_to_repair() {
        for text in [
            "SELECT $1 FROM a WHERE b LIKE $2 ESCAPE $3 AND c BETWEEN $4 AND $5 LIMIT $6 OFFSET $7",
            "CASE WHEN $1 THEN $2 ELSE $3 END",
            "'date $1' || E'\\' date $1' || \"date $1\" || $x$ date $1 $x$ || $$ date $1 $$",
            "U&'date $1' || n'date $1'",
            "'date $1",
            "$tag date $x",
            "/* date $1",
            "extract(year FROM $1)",
            "",
        ] {
            assert_eq!(repaired(text), None, "{text}");
        }
    }

    /// All texts made of so many of these pieces.
    #[test]
    fn every_byte_is_in_one_token() {
        let pieces = [
            "'", "\"", "$", "$1", "$a$", "E'", "\\", "--", "\n", "/*", "*/", "date ", "interval",
            "day", "extract(", "from", "é", " ", "1",
        ];
        for number in 0..pieces.len().pow(4) {
            let places = (0..4).map(|place| number / pieces.len().pow(place) % pieces.len());
            let text: String = places.map(|i| pieces[i]).collect();
            let all = tokens(text.as_bytes())
                .iter()
                .flat_map(|t| [t.before, t.text].concat())
                .collect::<Vec<_>>();
            assert_eq!(all, text.as_bytes(), "{text}");
            repair(text.as_bytes());
        }
    }
}
