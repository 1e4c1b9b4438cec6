//! Takes constants out of a printed plan. What is looked at is what the server printed of its own trees, one property
//! at a time, in which a literal is either quoted or a number; no statement of a user is parsed.
//!
//! Values of properties that are known to be names stay as they are. All others are taken for expressions, those of
//! extensions' nodes too, so that what is not known is masked rather than shown.

/// What stands in the place of a constant.
const MASK: u8 = b'?';

/// Properties that name something or say how a node works.
const NAMES: [&[u8]; 25] = [
    b"Node Type",
    b"Strategy",
    b"Partial Mode",
    b"Operation",
    b"Parent Relationship",
    b"Subplan Name",
    b"Custom Plan Provider",
    b"Join Type",
    b"Scan Direction",
    b"Index Name",
    b"Relation Name",
    b"Alias",
    b"Schema",
    b"Function Name",
    b"Table Function Name",
    b"CTE Name",
    b"Tuplestore Name",
    b"Command",
    b"Cache Mode",
    b"Sampling Method",
    b"Conflict Resolution",
    b"Conflict Arbiter Indexes",
    b"Sort Method",
    b"Sort Space Type",
    b"Storage",
];

/// A plan without its constants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masked {
    /// The plan as JSON.
    pub json: Vec<u8>,
    /// Values that held constants, in their order, and what became of them.
    changed: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Masks a plan that the server printed as JSON; `None` if it is no JSON.
pub fn json(plan: &[u8]) -> Option<Masked> {
    let mut out = Vec::with_capacity(plan.len());
    let mut changed = Vec::new();
    let mut named = false;
    let mut at = 0;
    while at < plan.len() {
        if plan[at] != b'"' {
            out.push(plan[at]);
            at += 1;
            continue;
        }
        let end = end_of_json_string(plan, at)?;
        let quoted = &plan[at..end];
        let is_key = plan[end..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':');
        if is_key {
            named = NAMES.contains(&&quoted[1..quoted.len() - 1]);
        }
        let value = if is_key || named { None } else { unescape(&quoted[1..quoted.len() - 1]) };
        match value.map(|value| (expression(&value), value)) {
            Some((masked, value)) if masked != value => {
                escape(&masked, &mut out);
                changed.push((value, masked));
            }
            _ => out.extend_from_slice(quoted),
        }
        at = end;
    }
    Some(Masked { json: out, changed })
}

impl Masked {
    /// Masks the same plan printed as text: it says the same in the same order. `None` if it does not.
    pub fn text(&self, plan: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(plan.len());
        let mut at = 0;
        for (value, masked) in &self.changed {
            let found = at + find(&plan[at..], value, plan[..at].ends_with(b" "))?;
            out.extend_from_slice(&plan[at..found]);
            out.extend_from_slice(masked);
            at = found + value.len();
        }
        out.extend_from_slice(&plan[at..]);
        Some(out)
    }
}

/// Where a value stands as the whole of a property, or as an item of its list.
fn find(text: &[u8], value: &[u8], at_start: bool) -> Option<usize> {
    let fits = |&at: &usize| {
        let (before, after) = (&text[..at], &text[at + value.len()..]);
        let begins = before.ends_with(b": ")
            || before.ends_with(b", ")
            || before.ends_with(b"(")
            || (at == 0 && at_start);
        let ends = after.is_empty() || matches!(after[0], b'\n' | b',' | b')' | b' ');
        begins && ends
    };
    let last = text.len().checked_sub(value.len())?;
    (0..=last).filter(|at| text[*at..].starts_with(value)).find(fits)
}

/// Behind the closing quote of the string that begins here.
fn end_of_json_string(plan: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match plan.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    if !text.contains(&b'\\') {
        return Some(text.to_vec());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().enumerate();
    while let Some((_, byte)) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (at, escaped) = bytes.next()?;
        match escaped {
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' => {
                let digits = std::str::from_utf8(text.get(at + 1..at + 5)?).ok()?;
                // The server writes only control characters so.
                let code = u32::from_str_radix(digits, 16).ok()?;
                let mut buffer = [0; 4];
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut buffer).as_bytes());
                bytes.nth(3);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

fn escape(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..32 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Masks the constants of a printed expression.
fn expression(text: &[u8]) -> Vec<u8> {
    let mut lexer = Lexer { text, at: 0, out: Vec::with_capacity(text.len()), word: (0, 0) };
    while lexer.at < text.len() {
        lexer.next();
    }
    lexer.out
}

struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Where the last word began and ended.
    word: (usize, usize),
}

fn in_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> u8 {
        self.text.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn copy(&mut self, end: usize) {
        let end = end.min(self.text.len());
        self.out.extend_from_slice(&self.text[self.at..end]);
        self.at = end;
    }

    fn mask(&mut self, end: usize) {
        self.out.push(MASK);
        self.at = end.min(self.text.len());
    }

    fn next(&mut self) {
        match self.peek(0) {
            b'\'' => self.mask(self.end_of_quoted(self.at, b'\'', false)),
            b'"' => self.copy(self.end_of_quoted(self.at, b'"', false)),
            b':' if self.peek(1) == b':' => self.type_name(),
            b'$' => self.copy(self.end_of(self.at + 1, in_word)),
            b'0'..=b'9' => self.number(),
            b'.' if self.peek(1).is_ascii_digit() => self.number(),
            byte if in_word(byte) => self.word(),
            _ => self.copy(self.at + 1),
        }
    }

    fn end_of(&self, start: usize, what: fn(u8) -> bool) -> usize {
        let rest = &self.text[start.min(self.text.len())..];
        start + rest.iter().take_while(|byte| what(**byte)).count()
    }

    /// Behind the closing quote; the end of the text if there is none.
    fn end_of_quoted(&self, start: usize, quote: u8, escapes: bool) -> usize {
        let mut at = start + 1;
        while at < self.text.len() {
            if self.text[at] == b'\\' && escapes {
                at += 2;
            } else if self.text[at] != quote {
                at += 1;
            } else if self.text.get(at + 1) == Some(&quote) {
                at += 2;
            } else {
                return at + 1;
            }
        }
        self.text.len()
    }

    fn word(&mut self) {
        let end = self.end_of(self.at, in_word);
        let prefix = &self.text[self.at..end];
        if self.text.get(end) == Some(&b'\'')
            && matches!(prefix, [b'E' | b'e' | b'B' | b'b' | b'X' | b'x' | b'N' | b'n'])
        {
            let escapes = matches!(prefix, [b'E' | b'e']);
            self.mask(self.end_of_quoted(end, b'\'', escapes));
            return;
        }
        self.word = (self.at, end);
        self.copy(end);
    }

    /// A number is a constant, but for the number of a subplan.
    fn number(&mut self) {
        let mut end = self.at;
        loop {
            end = self.end_of(end, |b| b.is_ascii_alphanumeric() || b == b'.' || b == b'_');
            let exponent = end > self.at && matches!(self.text[end - 1], b'e' | b'E');
            let signed = matches!(self.text.get(end), Some(b'+' | b'-'));
            if exponent && signed && self.text.get(end + 1).is_some_and(u8::is_ascii_digit) {
                end += 1;
            } else {
                break;
            }
        }
        let (start, behind) = self.word;
        let numbered = matches!(&self.text[start..behind], b"SubPlan" | b"InitPlan")
            && self.text[behind..self.at].iter().all(|byte| *byte == b' ');
        if numbered { self.copy(end) } else { self.mask(end) }
    }

    /// A type behind `::`, with its modifiers: these are no constants.
    fn type_name(&mut self) {
        let mut end = self.at + 2;
        loop {
            end = if self.text.get(end) == Some(&b'"') {
                self.end_of_quoted(end, b'"', false)
            } else {
                self.end_of(end, in_word)
            };
            if self.text.get(end) != Some(&b'.') {
                break;
            }
            end += 1;
        }
        let rest = &self.text[end.min(self.text.len())..];
        if rest.starts_with(b" varying") {
            end += b" varying".len();
        }
        let rest = &self.text[end.min(self.text.len())..];
        if rest.first() == Some(&b'(') {
            let inside = |b: u8| b.is_ascii_digit() || b == b',' || b == b'-';
            let close = self.end_of(end + 1, inside);
            if self.text.get(close) == Some(&b')') {
                end = close + 1;
            }
        }
        self.copy(end);
    }
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
