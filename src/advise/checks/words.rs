//! Forms in words.

use std::fmt::Write;

use perfmon_core::facts::{Form, FormKind, Moved, Patterned};

use super::shape;

pub(super) fn in_words(form: &Form) -> String {
    let flags = match &form.kind {
        FormKind::Truncated { zoned } => format!("truncated{}", mark(*zoned, " zoned")),
        FormKind::TruncatedDay => "truncated day".into(),
        FormKind::Dated { zoned } => format!("dated{}", mark(*zoned, " zoned")),
        FormKind::Shifted { moved } => match moved {
            Moved::Exact => "shifted".into(),
            Moved::Span => "shifted by a span".into(),
            Moved::Rounded => "shifted and rounded".into(),
            Moved::Divided => "divided".into(),
        },
        FormKind::Defaulted => "defaulted".into(),
        FormKind::Spelled => "spelled".into(),
        FormKind::Computed => "computed".into(),
        FormKind::Templated => "templated".into(),
        FormKind::Unstable => "unstable".into(),
        FormKind::Converted { column, to, joined } => {
            format!("converted {column} to {to}{}", mark(*joined, " joined"))
        }
        FormKind::Wildcard { known, of } => {
            let of = match of {
                Patterned::Text => "",
                Patterned::Padded => " padded",
                Patterned::Name => " name",
                Patterned::Caseless => " caseless",
            };
            format!("{}{of}", if *known { "wildcard" } else { "pattern" })
        }
        FormKind::Unconnected { parts } => format!("unconnected {}", parts.len()),
        FormKind::NotIn { inner_nullable, outer_nullable, rows, .. } => {
            let nulls = [mark(*inner_nullable, " inner"), mark(*outer_nullable, " outer")];
            format!("not in{}{}", mark(*rows, " rows"), nulls.concat())
        }
        FormKind::Counted { known, given } => {
            format!("counted{}{}", mark(*known, " known"), mark(*given, " given"))
        }
        FormKind::Widened => "widened".into(),
        FormKind::Rounded { column, to } => format!("rounded {column} to {to}"),
    };
    let guessed = form.guessed && form.better.is_some();
    let mut text = format!("{flags}{}: {}", mark(guessed, " guessed"), form.expression);
    if let Some(better) = &form.better {
        write!(text, " => {better}").unwrap();
    }
    if let Some(indexable) = &form.indexable {
        write!(text, " [{indexable}]").unwrap();
    }
    if form.inside {
        text.push_str(" inside");
    }
    text
}

fn mark(holds: bool, word: &'static str) -> &'static str {
    if holds { word } else { "" }
}

pub(super) fn all_have(cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (query, expected) in cases {
        let found = match shape(query) {
            Some(shape) => shape.forms.iter().map(in_words).collect::<Vec<_>>().join("; "),
            None => "nothing".into(),
        };
        if found != *expected {
            write!(wrong, "\n{query}\n  found: {found}\n  expected: {expected}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
