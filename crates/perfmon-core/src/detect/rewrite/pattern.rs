//! Patterns that begin with a wildcard: a btree is searched from a value's beginning.

use super::{Hint, Look, WILDCARD, column_of};
use crate::capture::scan::{Condition, Pattern, Slot};
use crate::detect::idea::{Method, Need};
use crate::detect::words;
use crate::facts::evidence::ENOUGH;
use crate::facts::{Form, Patterned, Statement, Table};
use crate::finding::{Effort, Evidence};

pub(super) fn hint<'a>(
    look: &Look<'a>,
    s: &'a Statement,
    form: &'a Form,
    (known, of): (bool, Patterned),
) -> Option<Hint<'a>> {
    let (table, rows) = look.large(&form.tables)?;
    let blocks = look.blocks(s)?;
    let column = form.indexable.as_deref()?;
    // With another form it is that which the index is on, an expression.
    let attnum = if form.better.is_some() { 0 } else { form.attnum };
    let by_trigrams = |index: &crate::facts::Index| {
        let of_column = |key: &crate::facts::KeyPart| {
            crate::detect::idea::same(key.attnum, &key.expression, attnum, column)
        };
        index.table == table.oid
            && index.valid
            && matches!(index.method.as_str(), "gin" | "gist")
            && index.key.iter().any(of_column)
    };
    if look.facts.indexes.iter().flatten().any(by_trigrams) {
        return None;
    }
    // No index is searched for the LIKE of such a type, whatever the pattern begins with.
    let any = of == Patterned::Caseless;
    let seen = if known || any { None } else { Some(seen(look, s, table, form)?) };
    let server = &look.facts.server;
    let installed = server.extensions.iter().any(|(name, _)| name == "pg_trgm");
    let available = installed || server.available_extensions.iter().any(|name| name == "pg_trgm");
    let opclass = server.trigram_opclass.clone().unwrap_or_else(|| "gin_trgm_ops".to_owned());
    let needs = Some(Need { extension: "pg_trgm", installed, available });
    let sql = look.index(table, column, attnum, Method::Gin, needs, Some(opclass));
    let subject = column_of(table, form.attnum);
    let (saved, mut effect) = look.fewer_blocks(s, blocks, rows)?;
    let mut evidence = look.evidence(s, Some((table, rows)));
    if let Some(seen) = &seen {
        evidence.push(
            Evidence::new("leading_wildcard_ratio", seen.ratio(), "ratio").out_of(seen.samples),
        );
        effect.push_str(&seen.words());
    }
    Some(Hint {
        kind: WILDCARD,
        statement: s,
        severity: look.severity(s),
        table: Some(table),
        title: format!(
            "Statement {} seeks {} in {}",
            s.statement_id,
            match (any, known) {
                (true, _) => "patterns by the LIKE of a type that ignores case",
                (false, true) => "a pattern that begins with a wildcard",
                (false, false) => "patterns that begin with a wildcard",
            },
            words::name(&subject)
        ),
        subject,
        expression: Some(form.expression.clone()),
        better: form.better.clone(),
        same_meaning: of != Patterned::Padded,
        reason: reason(of).to_owned(),
        cause: match any {
            true => {
                "The LIKE of such a type is a function of its own, which no index knows: every row is compared with the pattern, \
                 whatever that begins with."
            }
            false => {
                "A btree is searched from the beginning of its values, which the pattern leaves open: every row is compared with \
                 it."
            }
        },
        remedy: remedy(of, sql.is_some()).to_owned(),
        sql,
        // The others are none of an index of trigrams' business.
        saved_ms_per_hour: saved.map(|ms| ms * seen.as_ref().map_or(1.0, Seen::ratio)),
        effect,
        evidence,
        effort: Effort::Low,
    })
}

fn reason(of: Patterned) -> &'static str {
    match of {
        Patterned::Text => "An index changes no result.",
        Patterned::Padded => {
            "The blanks at the end of char(n) are no part of the text: a pattern that ends with them, or with a place for \
             each character, finds others."
        }
        Patterned::Name => "The same rows: the text of a name is the name.",
        Patterned::Caseless => {
            "The same rows: LIKE of a type that ignores case is ILIKE of its text."
        }
    }
}

fn remedy(of: Patterned, has_index: bool) -> &'static str {
    match (has_index, of) {
        (false, _) => {
            "Search for words, by a tsvector with a GIN index, or have pg_trgm installed on this machine, whose indexes find a \
             pattern wherever it stands."
        }
        (true, Patterned::Text) => {
            "Make an index of trigrams, which finds a pattern wherever it stands; patterns of fewer than three characters \
             still read all."
        }
        (true, Patterned::Padded) => {
            "Compare the column as text, and make an index of trigrams on that, which finds a pattern wherever it stands: \
             there is none for char(n)."
        }
        (true, Patterned::Name) => {
            "Compare the column as text, and make an index of trigrams on that, which finds a pattern wherever it stands: \
             there is none for names."
        }
        (true, Patterned::Caseless) => {
            "Compare the column as text by ILIKE, and make an index of trigrams on that, which finds a pattern wherever it \
             stands, without regard to case."
        }
    }
}

/// What executions showed of a pattern that is a parameter.
struct Seen {
    samples: i64,
    wildcards: i64,
}

impl Seen {
    #[allow(clippy::cast_precision_loss)]
    fn ratio(&self) -> f64 {
        self.wildcards as f64 / self.samples.max(1) as f64
    }

    #[allow(clippy::cast_precision_loss)]
    fn words(&self) -> String {
        let [wildcards, samples] = [self.wildcards, self.samples].map(|n| words::number(n as f64));
        format!(" {wildcards} of {samples} executions that were looked into had such a pattern.")
    }
}

/// Whether executions sought patterns that began with a wildcard in what a form compares.
fn seen(look: &Look<'_>, s: &Statement, table: &Table, form: &Form) -> Option<Seen> {
    let column = form.indexable.as_deref()?;
    let begins = |condition: &Condition| {
        let expression = condition.expression.as_deref().unwrap_or_default();
        let plain = table.columns.iter().any(|column| column.name == expression);
        // An expression is not deparsed as the hook writes it.
        let own = table.columns.iter().any(|c| c.attnum == form.attnum && c.name == expression);
        let same = expression == column || own || (form.attnum == 0 && !plain);
        same && condition.pattern.as_deref() == Some(Pattern::Wildcard.name())
    };
    let own = look.facts.evidence.iter().flatten().filter(|e| {
        e.statement_id == s.statement_id
            && e.table == table.name
            && e.statement_samples >= ENOUGH
            && e.node.conditions.iter().any(begins)
    });
    let found = own.max_by_key(|e| e.counts.get(Slot::Executions))?;
    let wildcards = found.counts.get(Slot::Executions);
    let samples = found.statement_samples.max(wildcards);
    let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    (wildcards >= ENOUGH).then(|| Seen { samples: signed(samples), wildcards: signed(wildcards) })
}
