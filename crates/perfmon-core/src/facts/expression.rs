//! Expressions as the server deparses them.

/// An expression without the parentheses around it, which the server adds in some places.
pub(crate) fn bare(expression: &str) -> &str {
    let mut text = expression.trim();
    while let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'))
        && is_balanced(inner)
    {
        text = inner.trim();
    }
    text
}

/// Whether each parenthesis outside of quotes closes one that was opened before.
fn is_balanced(text: &str) -> bool {
    let (mut depth, mut quote) = (0_u32, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            _ => {}
        }
    }
    depth == 0
}

/// Whether a character may be part of a word.
pub(crate) fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// An expression without the silent casts of a column to a text type within it, which plans do not show.
pub(crate) fn uncast(expression: &str) -> String {
    const CASTS: [&str; 3] = [")::text", ")::character varying", ")::bpchar"];
    let mut text = bare(expression).to_owned();
    for cast in CASTS {
        let mut from = 0;
        while let Some(end) = text[from..].find(cast).map(|at| at + from) {
            let behind = end + cast.len();
            from = behind;
            let Some(open) = text[..end].rfind('(') else { continue };
            let column = &text[open + 1..end];
            let plain = column.starts_with('"') || column.chars().all(is_of_word);
            // A cast of all is what is compared; and a call's argument stands in parentheses of its own.
            let whole = open == 0 && behind == text.len();
            let around = !whole && !text[..open].ends_with(is_of_word) && !column.is_empty();
            if plain && around {
                text = format!("{}{column}{}", &text[..open], &text[behind..]);
                from = open;
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silent_casts_within_are_left_out() {
        let all = [
            ("lower((vc)::text)", "lower(vc)"),
            ("lower((\"Vc\")::text)", "lower(\"Vc\")"),
            ("((vc)::text || (b)::text)", "vc || b"),
            ("(vc)::text", "(vc)::text"),
            ("upper((lower((vc)::text))::text)", "upper((lower(vc))::text)"),
            ("lower(vc)", "lower(vc)"),
            ("lower((c)::bpchar)", "lower(c)"),
        ];
        for (written, expected) in all {
            assert_eq!(uncast(written), expected);
        }
    }
}
