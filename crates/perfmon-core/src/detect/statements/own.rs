//! Whether a statement calls this extension.

/// Name of its schema.
const SCHEMA: &[u8] = b"perfmon";

/// Whether a text names something in the schema perfmon. What is said in comments, or in constants that stayed in the
/// text, is nothing, and neither is a schema whose name only ends so.
pub fn is_own(text: &str) -> bool {
    let text = text.as_bytes();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        at += match rest[0] {
            b'-' if rest.starts_with(b"--") => until(rest, 2, b"\n"),
            b'/' if rest.starts_with(b"/*") => until(rest, 2, b"*/"),
            b'\'' => until(rest, 1, b"'"),
            b'"' => {
                let length = until(rest, 1, b"\"");
                if &rest[1..length.saturating_sub(1).max(1)] == SCHEMA && is_schema(&rest[length..])
                {
                    return true;
                }
                length
            }
            first if is_word(first) => {
                let length = rest.iter().take_while(|byte| is_word(**byte)).count();
                let is_field = at > 0 && text[at - 1] == b'.';
                if !is_field
                    && rest[..length].eq_ignore_ascii_case(SCHEMA)
                    && is_schema(&rest[length..])
                {
                    return true;
                }
                length
            }
            _ => 1,
        };
    }
    false
}

/// Letters beyond ASCII are part of a word.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Whether what follows makes a name a schema's.
fn is_schema(rest: &[u8]) -> bool {
    rest.trim_ascii_start().starts_with(b".")
}

/// Length up to the end of what begins here.
fn until(text: &[u8], from: usize, end: &[u8]) -> usize {
    let found = text[from..].windows(end.len()).position(|part| part == end);
    found.map_or(text.len(), |at| from + at + end.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_calls_this_extension_is_its_own() {
        for text in [
            "SELECT perfmon.snapshot()",
            "select * from PERFMON . top_statements ( $1 )",
            "SELECT * FROM \"perfmon\".slo",
            "DO $$ BEGIN PERFORM perfmon.evaluate(); END $$",
            "COMMENT ON TABLE t IS 'it''s'; SELECT perfmon.status()",
            "SELECT 1 -- now\n FROM perfmon.run",
        ] {
            assert!(is_own(text), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_it_is_not() {
        for text in [
            "",
            "SELECT a FROM myperfmon.t",
            "SELECT a FROM \"my perfmon\".t",
            "SELECT a FROM süperfmon.t",
            "SELECT t.perfmon.x FROM t",
            "SELECT perfmon FROM t",
            "SELECT 1 /* perfmon.snapshot() */",
            "SELECT 1 -- perfmon.snapshot()",
            "COMMENT ON TABLE t IS 'see perfmon.run'",
            "ALTER ROLE r SET a = 'perfmon.",
            "SELECT \"",
            "SELECT \"perfmon",
        ] {
            assert!(!is_own(text), "{text}");
        }
    }
}
