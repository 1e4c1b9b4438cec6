//! Whether two expressions are the same, however many parentheses the server puts around them.

/// Whether two are the same column, or expressions that the server deparses alike.
pub(in crate::detect) fn same(
    attnum: i16,
    expression: &str,
    other: i16,
    other_expression: &str,
) -> bool {
    attnum == other && (attnum != 0 || bare(expression) == bare(other_expression))
}

/// An expression without the parentheses around it, which the server adds in some places.
pub(super) fn bare(expression: &str) -> &str {
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
