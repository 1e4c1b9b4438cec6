//! Takes all literals out of the text of a statement that failed, in the session in which it did: no literal may leave
//! it. Told by the server's rules for words alone, without a grammar, an allocation or a call: what is not understood
//! is no text.

/// Longest text that comes out, bytes; what is longer is cut.
pub const LONGEST: usize = 4096;

/// Longer texts are not looked at.
const LONGEST_LOOKED_AT: usize = 64 * 1024;

/// Statements whose text is that of what the session is counted under, whoever prepared it. Others run statements of
/// their own, which may be what failed.
const FIRST: [&[u8]; 12] = [
    b"select",
    b"insert",
    b"update",
    b"delete",
    b"merge",
    b"with",
    b"values",
    b"table",
    b"lock",
    b"alter",
    b"truncate",
    b"drop",
];

/// What became of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Masked {
    /// Bytes that were written.
    pub length: usize,
    /// There would have been more.
    pub cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Space,
    Comment,
    Word,
    Parameter,
    Literal,
    /// The end of a statement.
    End,
    /// All else: operators, parentheses, quoted names.
    Other,
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

fn starts_word(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_of_word(byte: u8) -> bool {
    starts_word(byte) || byte.is_ascii_digit() || byte == b'$'
}

fn run(text: &[u8], is: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !is(*byte)).unwrap_or(text.len())
}

/// The length of what lies between quotes, and those. What stands after a backslash belongs to it where these escape;
/// elsewhere a setting says whether they do, and where that makes a difference nothing is said.
fn quoted(text: &[u8], escapes: bool) -> Option<usize> {
    let quote = *text.first()?;
    let mut at = 1;
    loop {
        match *text.get(at)? {
            b'\\' if escapes => at += 2,
            b'\\' if quote == b'\'' && text.get(at + 1) == Some(&quote) => return None,
            byte if byte == quote && text.get(at + 1) == Some(&quote) => at += 2,
            byte if byte == quote => return Some(at + 1),
            _ => at += 1,
        }
    }
}

/// A string, with the parts in which it goes on in later lines.
fn string(text: &[u8], escapes: bool) -> Option<usize> {
    let mut length = quoted(text, escapes)?;
    loop {
        let rest = text.get(length..)?;
        let gap = run(rest, is_space);
        let lines = rest.get(..gap)?.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
        if !lines || rest.get(gap) != Some(&b'\'') {
            return Some(length);
        }
        length += gap + quoted(rest.get(gap..)?, escapes)?;
    }
}

/// A string between dollars, if one begins here.
fn dollars(text: &[u8]) -> Option<Option<usize>> {
    let name = run(text.get(1..)?, |byte| is_of_word(byte) && byte != b'$');
    if text.get(1).is_some_and(u8::is_ascii_digit) || text.get(name + 1) != Some(&b'$') {
        return None;
    }
    let (delimiter, rest) = text.split_at_checked(name + 2)?;
    let end = rest.windows(delimiter.len()).position(|part| part == delimiter);
    Some(end.map(|end| end + 2 * delimiter.len()))
}

/// A comment that ends, whatever stands in it.
fn comment(text: &[u8]) -> Option<usize> {
    let (mut depth, mut at) = (0_u32, 0);
    loop {
        match text.get(at..at + 2)? {
            b"/*" => (depth, at) = (depth + 1, at + 2),
            b"*/" => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

/// A number in any of its forms, with what cannot be told from it.
fn number(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at).copied() {
        let signed = matches!(byte, b'+' | b'-')
            && matches!(text.get(at - 1), Some(b'e' | b'E'))
            && text.get(at + 1).is_some_and(u8::is_ascii_digit);
        if !(signed || byte == b'.' || is_of_word(byte)) {
            break;
        }
        at += 1;
    }
    at
}

/// What the text begins with, and its length.
fn token(text: &[u8]) -> Option<(Kind, usize)> {
    let first = *text.first()?;
    let next = text.get(1).copied().unwrap_or(0);
    Some(match first {
        _ if is_space(first) => (Kind::Space, run(text, is_space)),
        b'-' if next == b'-' => (Kind::Comment, run(text, |byte| !matches!(byte, b'\n' | b'\r'))),
        b'/' if next == b'*' => (Kind::Comment, comment(text)?),
        b'\'' => (Kind::Literal, string(text, false)?),
        b'"' => (Kind::Other, quoted(text, false)?),
        b'$' if next.is_ascii_digit() => {
            (Kind::Parameter, 1 + run(text.get(1..)?, |byte| byte.is_ascii_digit()))
        }
        b'$' => match dollars(text) {
            Some(length) => (Kind::Literal, length?),
            None => (Kind::Other, 1),
        },
        b';' => (Kind::End, 1),
        b'.' if next.is_ascii_digit() => (Kind::Literal, number(text)),
        _ if first.is_ascii_digit() => (Kind::Literal, number(text)),
        _ if starts_word(first) => word(text)?,
        _ => (Kind::Other, 1),
    })
}

/// A word, or a string with a letter before it.
fn word(text: &[u8]) -> Option<(Kind, usize)> {
    let length = run(text, is_of_word);
    let (word, rest) = text.split_at_checked(length)?;
    if rest.first() != Some(&b'\'') {
        return Some((Kind::Word, length));
    }
    Some(match word {
        b"e" | b"E" => (Kind::Literal, length + string(rest, true)?),
        b"b" | b"B" | b"x" | b"X" | b"n" | b"N" => (Kind::Literal, length + string(rest, false)?),
        _ => (Kind::Word, length),
    })
}

/// Hands over one piece after the other; `None` where one is not understood.
fn walk(text: &[u8], mut each: impl FnMut(Kind, &[u8]) -> Option<()>) -> Option<()> {
    let mut rest = text;
    while !rest.is_empty() {
        let (kind, length) = token(rest)?;
        let (piece, after) = rest.split_at_checked(length)?;
        each(kind, piece)?;
        rest = after;
    }
    Some(())
}

/// Whether there is one statement that is told by its own text; gives the highest of its parameters.
fn look(text: &[u8]) -> Option<u32> {
    let (mut highest, mut begun, mut over) = (0_u32, false, false);
    walk(text, |kind, piece| {
        match kind {
            Kind::Space | Kind::Comment => return Some(()),
            Kind::End => {
                over = true;
                return Some(());
            }
            Kind::Parameter => {
                let digits = std::str::from_utf8(piece.get(1..)?).ok()?;
                highest = highest.max(digits.parse().ok()?);
            }
            Kind::Word if !begun => {
                begun =
                    FIRST.iter().any(|first| first.eq_ignore_ascii_case(piece)).then_some(true)?;
            }
            // A query may begin with parentheses.
            Kind::Other if !begun && piece != b"(" => return None,
            _ => {}
        }
        // Of several it is not known which one it was.
        (!over).then_some(())
    })?;
    begun.then_some(highest)
}

struct Writer<'a> {
    out: &'a mut [u8],
    length: usize,
    cut: bool,
}

impl Writer<'_> {
    /// All of it or nothing.
    fn put(&mut self, piece: &[u8]) {
        let end = self.length + piece.len();
        match self.out.get_mut(self.length..end).filter(|_| !self.cut) {
            Some(place) => {
                place.copy_from_slice(piece);
                self.length = end;
            }
            None => self.cut = true,
        }
    }

    fn parameter(&mut self, number: u32) {
        let mut digits = [0_u8; 11];
        let (mut left, mut at) = (number, digits.len());
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        at -= 1;
        digits[at] = b'$';
        // A string may stand right behind a word, where a parameter would be part of it.
        let before = self.length.checked_sub(1).and_then(|last| self.out.get(last));
        if before.is_some_and(|last| is_of_word(*last)) {
            self.put(b" ");
        }
        self.put(&digits[at..]);
    }
}

/// Writes the text with parameters in place of its literals, which follow those that it has, and blanks in place of its
/// comments. `None` where it is not understood, not one statement, or one that runs others.
pub fn mask(text: &[u8], out: &mut [u8]) -> Option<Masked> {
    if text.len() > LONGEST_LOOKED_AT {
        return None;
    }
    let mut number = look(text)?;
    let mut writer = Writer { out, length: 0, cut: false };
    walk(text, |kind, piece| {
        match kind {
            Kind::Space if writer.length == 0 => {}
            Kind::Comment if writer.length == 0 => {}
            Kind::Comment => writer.put(b" "),
            Kind::Literal => {
                number = number.checked_add(1)?;
                writer.parameter(number);
            }
            Kind::End => {}
            Kind::Space | Kind::Word | Kind::Parameter | Kind::Other => writer.put(piece),
        }
        Some(())
    })?;
    let Writer { out, length, cut } = writer;
    let end = out.get(..length)?.iter().rposition(|byte| !is_space(*byte))?;
    Some(Masked { length: end + 1, cut })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> Option<String> {
        let mut out = [0; LONGEST];
        let Masked { length, cut } = mask(text.as_bytes(), &mut out)?;
        assert!(!cut);
        Some(String::from_utf8(out[..length].to_vec()).unwrap())
    }

    #[test]
    fn literals_of_every_form_become_parameters() {
        let all = [
            ("SELECT 1", "SELECT $1"),
            (
                "select a from t where b = 'x''y' and c = $2 and d > -1.5e-3;",
                "select a from t where b = $3 and c = $2 and d > -$4",
            ),
            ("SELECT E'it\\'s', b'01', X'ff', N'n', U&'\\0041'", "SELECT $1, $2, $3, $4, U&$5"),
            ("SELECT $$a 'b' $x$ c$$, $tag$ $$ ' $tag$, a$b, t1.c2", "SELECT $1, $2, a$b, t1.c2"),
            ("SELECT 'a'\n  'b', 'c' 'd'", "SELECT $1, $2 $3"),
            (
                "UPDATE \"it's 5\" SET \"a\"\"b\" = .5, c=0x1F, d = 1_000",
                "UPDATE \"it's 5\" SET \"a\"\"b\" = $1, c=$2, d = $3",
            ),
            ("  (SELECT date'2020-01-01' - interval '1 day')  ", "(SELECT date $1 - interval $2)"),
            (
                "/* route='secret' */ DELETE FROM t -- it's 1\n WHERE /* a /* 'b */ */ x = 'é' ;\n -- end",
                "DELETE FROM t  \n WHERE   x = $1",
            ),
            ("lock table hot in access exclusive mode", "lock table hot in access exclusive mode"),
        ];
        for (text, wanted) in all {
            assert_eq!(masked(text).as_deref(), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_no_text() {
        let none = [
            "",
            " -- nothing\n",
            "SELECT 'open",
            "SELECT $$open",
            "SELECT \"open",
            "SELECT /* open",
            // By a setting the string ends here, or goes on.
            "SELECT 'a\\', 'b'",
            "BEGIN; UPDATE t SET a = 1",
            "SELECT 1; SELECT 2",
            // What runs is another statement, with another text.
            "EXECUTE p(1)",
            "CALL p('x')",
            "DO $$ SELECT 1 $$",
            "EXPLAIN ANALYZE SELECT 1",
            "+ 1",
            "SELECT $99999999999",
        ];
        for text in none {
            assert_eq!(masked(text), None, "{text}");
        }
        assert_eq!(masked(&format!("SELECT {}", "a".repeat(LONGEST_LOOKED_AT))), None);
    }

    #[test]
    fn no_piece_of_a_literal_is_left_wherever_the_text_is_cut() {
        let text =
            "SELECT a, 'secret secret', $q$secret$q$, E'\\'secret', 7777 FROM t WHERE b = 'secret'";
        for room in 0..=text.len() {
            let mut out = vec![0; room];
            let Some(Masked { length, cut }) = mask(text.as_bytes(), &mut out) else { continue };
            let said = std::str::from_utf8(&out[..length]).unwrap();
            assert!(!said.contains("secret") && !said.contains('7'), "{said}");
            assert_eq!(cut, length < 44, "{said}");
            assert!("SELECT a, $1, $2, $3, $4 FROM t WHERE b = $5".starts_with(said), "{said}");
        }
        // And wherever it ends by itself.
        for end in 0..text.len() {
            let mut out = [0; LONGEST];
            if let Some(Masked { length, .. }) = mask(&text.as_bytes()[..end], &mut out) {
                assert!(!out[..length].windows(3).any(|part| part == b"sec"), "{end}");
            }
        }
    }

    #[test]
    fn any_bytes_are_looked_at_without_harm() {
        let mut state = 7_u64;
        let parts: &[&[u8]] = &[
            b"select ", b"'", b"\\", b"$", b"$a$", b"e'", b"/*", b"*/", b"--", b"\n", b"1", b".",
            b";", b"\xff", b"x", b" ", b"$1", b"(",
        ];
        for _ in 0..20_000 {
            let mut text = b"select ".to_vec();
            for _ in 0..12 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.extend_from_slice(parts[(state >> 33) as usize % parts.len()]);
            }
            let mut out = [0; 24];
            if let Some(Masked { length, .. }) = mask(&text, &mut out) {
                assert!(length <= out.len() && !out[..length].contains(&b'\''));
            }
        }
    }
}
