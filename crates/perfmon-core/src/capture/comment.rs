//! The route that an application names in a comment of its statement, as sqlcommenter writes it: pairs key='value',
//! url-encoded, parted by commas, between /* and */ at the end of the text or at its start. SQL is never parsed.

/// Longest comment that is looked at, and most blanks before or behind it, bytes.
pub const LONGEST: usize = 1024;
/// Most comments that are looked at, at the end of a text and at its start.
const MOST: u8 = 4;
/// Longest route; what is longer is cut.
pub const MAX_ROUTE: usize = 184;

/// A route, or the lack of one: no bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    bytes: [u8; MAX_ROUTE],
    len: u8,
}

impl Route {
    /// No route.
    pub const NONE: Self = Self { bytes: [0; MAX_ROUTE], len: 0 };

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, byte: u8) {
        if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
            // Names are shown in lists: one line each.
            *slot = if byte.is_ascii_control() { b' ' } else { byte };
            self.len += 1;
        }
    }
}

/// The comments at the end of a text, the last first, and then those at its start, without their marks. A text that ends
/// and begins otherwise costs a look at its last byte and its first.
#[inline]
pub fn all(text: &[u8]) -> Comments<'_> {
    Comments { text, ends: MOST, starts: MOST }
}

/// See [`all`].
pub struct Comments<'a> {
    /// What lies between those that were given.
    text: &'a [u8],
    /// How many may still be given from either side.
    ends: u8,
    starts: u8,
}

impl<'a> Iterator for Comments<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while self.ends > 0 {
            self.ends -= 1;
            match last(self.text) {
                Some((rest, comment)) => {
                    self.text = rest;
                    return Some(comment);
                }
                None => self.ends = 0,
            }
        }
        self.starts = self.starts.checked_sub(1)?;
        let (comment, rest) = first(self.text)?;
        self.text = rest;
        Some(comment)
    }
}

/// What comes before the comment at the end of a text, and the comment. Statements may be closed after it.
fn last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let filler = |byte: &u8| byte.is_ascii_whitespace() || *byte == b';';
    if !text.last().is_some_and(|byte| *byte == b'/' || filler(byte)) {
        return None;
    }
    let rest = text.len().saturating_sub(LONGEST);
    let closing = text[rest..].iter().rposition(|byte| !filler(byte))? + rest;
    let body = text.get(..closing + 1)?.strip_suffix(b"*/")?;
    let from = body.len().saturating_sub(LONGEST);
    let opening = body[from..].windows(2).rposition(|pair| pair == b"/*")? + from;
    Some((text.get(..opening)?, body.get(opening + 2..)?))
}

/// The comment at the start of a text, and what follows it.
fn first(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let start =
        text[..text.len().min(LONGEST)].iter().position(|byte| !byte.is_ascii_whitespace())?;
    let body = text.get(start..)?.strip_prefix(b"/*")?;
    let closing = body[..body.len().min(LONGEST)].windows(2).position(|pair| pair == b"*/")?;
    Some((body.get(..closing)?, body.get(closing + 2..)?))
}

/// The route in a comment: the value of `route`, or `controller#action`. None where it says neither.
pub fn route(comment: &[u8]) -> Route {
    let mut rest = comment;
    let (mut route, mut controller, mut action) = (None, None, None);
    while let Some((key, value, after)) = pair(rest) {
        match key {
            b"route" => route = Some(value),
            b"controller" => controller = Some(value),
            b"action" => action = Some(value),
            _ => {}
        }
        rest = after;
    }
    let mut out = Route::NONE;
    let parts = match route {
        Some(route) => [Some(route), None],
        None => [controller, action],
    };
    for part in parts.into_iter().flatten().filter(|part| !part.is_empty()) {
        if out.len > 0 {
            out.push(b'#');
        }
        decode(part, &mut out);
    }
    trim(&mut out);
    out
}

/// The first pair, its value still encoded, and what follows.
fn pair(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let equals = text.iter().position(|byte| *byte == b'=')?;
    let key = text[..equals].trim_ascii();
    let key = key.strip_prefix(b",").unwrap_or(key).trim_ascii();
    let quoted = text[equals + 1..].trim_ascii_start().strip_prefix(b"'")?;
    let mut escaped = false;
    let end = quoted.iter().position(|byte| {
        let ends = *byte == b'\'' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    })?;
    Some((key, &quoted[..end], &quoted[end + 1..]))
}

/// Takes %XX and \' apart.
fn decode(value: &[u8], out: &mut Route) {
    let digit = |byte: Option<&u8>| char::from(*byte?).to_digit(16);
    let mut rest = value;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'%' => match (digit(after.first()), digit(after.get(1))) {
                (Some(high), Some(low)) => {
                    out.push((high * 16 + low) as u8);
                    rest = &after[2..];
                }
                _ => out.push(byte),
            },
            b'\\' if !after.is_empty() => {
                out.push(after[0]);
                rest = &after[1..];
            }
            _ => out.push(byte),
        }
    }
}

/// A character that was cut in two is left out.
fn trim(route: &mut Route) {
    if usize::from(route.len) < MAX_ROUTE {
        return;
    }
    if let Err(broken) = std::str::from_utf8(route.bytes())
        && broken.error_len().is_none()
    {
        route.len = broken.valid_up_to() as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> String {
        let route = all(text.as_bytes()).map(route).find(|route| !route.is_none());
        let route = route.unwrap_or(Route::NONE);
        String::from_utf8(route.bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_route_is_read() {
        assert_eq!(of("SELECT 1 /*route='%2Forders%2F%3Aid'*/"), "/orders/:id");
        assert_eq!(of("SELECT 1 /* route='%2Forders' */;\n"), "/orders");
        assert_eq!(of("/*route='/a'*/ SELECT 1"), "/a");
        assert_eq!(of("/*route='/a'*/ SELECT 1 /*route='/b'*/"), "/b");
        assert_eq!(of("/*route='/a'*/ SELECT 1; "), "/a");
        assert_eq!(of("\n\t /*route='/a'*/ SELECT 1"), "/a");
        assert_eq!(of("/*+ IndexScan(t) */ /*route='/a'*/ SELECT 1"), "/a");
        assert_eq!(of("/*route='/a'*/ SELECT 1 /* a remark */ /*traceparent='00'*/\n ;"), "/a");
        assert_eq!(of("/*route='/a'*/ /*route='/b'*/"), "/b");
        let all = "SELECT * FROM t /*action='show',controller='orders',db_driver='x',framework='r%3A7',\
            traceparent='00-5bd66ef5095369c7b0d1f8f4bd33716a-c532cb4098ac3dd2-01'*/";
        assert_eq!(of(all), "orders#show");
        assert_eq!(of("SELECT 1 /*controller='orders'*/"), "orders");
        assert_eq!(of("SELECT 1 /*action='show'*/"), "show");
        assert_eq!(of("SELECT 1 /*route='it\\'s',x='y'*/"), "it's");
        assert_eq!(of("SELECT 1 /*route='gr%C3%BC%C3%9Fe'*/"), "grüße");
        assert_eq!(of("SELECT 1 /*route='two%0Alines'*/"), "two lines");
        assert_eq!(of("SELECT 1 /*route='50%'*/"), "50%");
    }

    #[test]
    fn what_is_none_is_none() {
        for text in [
            "",
            "/",
            "*/",
            "/*/",
            "/**/",
            "SELECT 1",
            "SELECT 1 /* a remark */",
            "SELECT 1 /*route=1*/",
            "SELECT 1 /*route='open*/",
            "SELECT 1 /*route=''*/",
            "SELECT '/*route=' -- '*/ x",
            "SELECT 2 */",
            "SELECT 4 /*route='/a'*/ + 1",
        ] {
            assert_eq!(of(text), "", "{text}");
        }
    }

    #[test]
    fn it_is_bounded() {
        assert_eq!(of(&format!("SELECT 1 /*route='{}'*/", "a".repeat(500))).len(), MAX_ROUTE);
        let cut = of(&format!("SELECT 1 /*route='{}'*/", "ü".repeat(200)));
        assert_eq!(cut, "ü".repeat(MAX_ROUTE / 2));
        let cut = of(&format!("SELECT 1 /*route='a{}'*/", "ü".repeat(200)));
        assert_eq!(cut, format!("a{}", "ü".repeat((MAX_ROUTE - 1) / 2)));
        let far = format!("SELECT 1 /*route='x',{}*/", " ".repeat(LONGEST));
        assert_eq!(of(&far), "", "a comment that is longer is not looked at");
    }

    proptest! {
        /// What an application encodes by the rules comes back as it was.
        #[test]
        fn values_come_back(route in "[^\\x00-\\x1f\\x7f]{1,40}", other in "[a-z=,]{0,10}") {
            let encoded: String = route.bytes().map(|byte| {
                if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") }
            }).collect();
            let other: String = other.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let text = format!("UPDATE t SET a = 1 /*app='{other}',route='{encoded}',x='{other}'*/");
            prop_assert_eq!(of(&text), route);
        }

        #[test]
        fn nothing_panics(text in prop::collection::vec(prop::sample::select(b"/*'=%,;\\ ra0\xc3".to_vec()), 0..60)) {
            prop_assert!(all(&text).all(|comment| route(comment).bytes().len() <= MAX_ROUTE));
            prop_assert!(all(&text).count() <= 2 * usize::from(MOST));
        }
    }
}
