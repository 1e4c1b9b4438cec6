//! Patterns that begin with a wildcard: a btree is searched from a value's beginning.

use super::{Hint, Look, WILDCARD, column_of};
use crate::detect::idea::{Method, Need};
use crate::detect::words;
use crate::facts::{Form, Statement};
use crate::finding::Effort;

pub(super) fn hint<'a>(look: &Look<'a>, s: &'a Statement, form: &'a Form) -> Option<Hint<'a>> {
    let (table, rows) = look.large(&form.tables)?;
    let blocks = look.blocks(s)?;
    let column = form.indexable.as_deref()?;
    let by_trigrams = |index: &crate::facts::Index| {
        let of_column = |key: &crate::facts::KeyPart| {
            crate::detect::idea::same(key.attnum, &key.expression, form.attnum, column)
        };
        index.table == table.oid
            && index.valid
            && matches!(index.method.as_str(), "gin" | "gist")
            && index.key.iter().any(of_column)
    };
    if look.facts.indexes.iter().flatten().any(by_trigrams) {
        return None;
    }
    let server = &look.facts.server;
    let installed = server.extensions.iter().any(|(name, _)| name == "pg_trgm");
    let available = installed || server.available_extensions.iter().any(|name| name == "pg_trgm");
    let opclass = server.trigram_opclass.clone().unwrap_or_else(|| "gin_trgm_ops".to_owned());
    let needs = Some(Need { extension: "pg_trgm", installed, available });
    let sql = look.index(table, column, form.attnum, Method::Gin, needs, Some(opclass));
    let subject = column_of(table, form.attnum);
    let (saved, effect) = look.fewer_blocks(s, blocks);
    let remedy = match sql.is_some() {
        true => {
            "Make an index of trigrams, which finds a pattern wherever it stands; patterns of fewer than three characters \
                 still read all."
        }
        false => {
            "Search for words, by a tsvector with a GIN index, or have pg_trgm installed on this machine, whose indexes find a \
                  pattern wherever it stands."
        }
    };
    Some(Hint {
        kind: WILDCARD,
        statement: s,
        severity: look.severity(s),
        table: Some(table),
        title: format!(
            "Statement {} seeks a pattern that begins with a wildcard in {}",
            s.statement_id,
            words::name(&subject)
        ),
        subject,
        expression: Some(form.expression.clone()),
        better: None,
        same_meaning: true,
        reason: "An index changes no result.".to_owned(),
        cause: "A btree is searched from the beginning of its values, which the pattern leaves open: every row is compared with \
                it.",
        remedy: remedy.to_owned(),
        sql,
        saved_ms_per_hour: saved,
        effect,
        evidence: look.evidence(s, Some((table, rows))),
        effort: Effort::Low,
    })
}
