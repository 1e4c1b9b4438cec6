//! What is proposed: an index, the parts of its key, and what it needs; as SQL and in words.

use super::same::same;
use crate::facts::expression::bare;
use crate::facts::{Predicate, Table};

/// Kind of index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// The usual one.
    Btree,
    /// For containment in jsonb, arrays and texts.
    Gin,
    /// For overlap of ranges and shapes.
    Gist,
}

impl Method {
    /// Its name in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Btree => "btree",
            Self::Gin => "gin",
            Self::Gist => "gist",
        }
    }
}

/// One part of the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The column, quoted, or the expression as the server deparses it.
    pub expression: String,
    /// Attribute number; 0 for an expression.
    pub attnum: i16,
    /// Operator class as it must be written; `None` for the type's default.
    pub opclass: Option<String>,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST.
    pub nulls_first: bool,
}

impl Part {
    pub(super) fn of(predicate: &Predicate) -> Self {
        Self {
            expression: predicate.expression.clone(),
            attnum: predicate.attnum,
            opclass: None,
            descending: false,
            nulls_first: false,
        }
    }

    pub(super) fn is(&self, attnum: i16, expression: &str) -> bool {
        same(self.attnum, &self.expression, attnum, expression)
    }

    fn sql(&self) -> String {
        let mut text = match self.attnum {
            0 => format!("({})", bare(&self.expression)),
            _ => self.expression.clone(),
        };
        if let Some(opclass) = &self.opclass {
            text.push(' ');
            text.push_str(opclass);
        }
        if self.descending {
            text.push_str(" DESC");
        }
        // Each direction has a default.
        match (self.descending, self.nulls_first) {
            (true, false) => text.push_str(" NULLS LAST"),
            (false, true) => text.push_str(" NULLS FIRST"),
            _ => {}
        }
        text
    }
}

/// An extension that the index needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub extension: &'static str,
    /// It is in this database.
    pub installed: bool,
    /// CREATE EXTENSION would find it.
    pub available: bool,
}

/// An index that would serve.
#[derive(Debug, Clone, PartialEq)]
pub struct IndexIdea {
    /// The table.
    pub table: u32,
    /// Its kind.
    pub method: Method,
    /// Its key.
    pub key: Vec<Part>,
    /// Share of the table's rows that its conditions leave, by the planner's statistics; `None` where
    /// these say nothing, as they do of a range between parameters.
    pub rows_ratio: Option<f64>,
    /// Gives the rows in the order in which the first of them are wanted.
    pub ordered: bool,
    /// What it needs besides the server.
    pub needs: Option<Need>,
}

impl IndexIdea {
    /// The statement that makes it; the server chooses the name. `None` when a needed extension is not to
    /// be had on this server.
    pub fn statement(&self, table: &Table) -> Option<String> {
        let mut sql = String::new();
        if let Some(need) = &self.needs
            && !need.installed
        {
            if !need.available {
                return None;
            }
            // What is proposed for another table may have brought it meanwhile.
            sql = format!("CREATE EXTENSION IF NOT EXISTS {};\n", need.extension);
        }
        sql.push_str("CREATE INDEX ");
        if !self.locks_writers(table) {
            sql.push_str("CONCURRENTLY ");
        }
        sql.push_str(&format!("ON {} ", table.name));
        if self.method != Method::Btree {
            sql.push_str(&format!("USING {} ", self.method.word()));
        }
        let key: Vec<_> = self.key.iter().map(Part::sql).collect();
        sql.push_str(&format!("({});", key.join(", ")));
        Some(sql)
    }

    /// Whether a column or expression is part of its key.
    pub fn has(&self, attnum: i16, expression: &str) -> bool {
        self.key.iter().any(|part| part.is(attnum, expression))
    }

    /// Making it keeps writers waiting: an index on a partitioned table cannot be built beside them.
    pub fn locks_writers(&self, table: &Table) -> bool {
        table.partitioned
    }

    /// Its key in words: `customer_id, created_at`.
    pub fn columns(&self) -> String {
        self.key.iter().map(|part| part.expression.as_str()).collect::<Vec<_>>().join(", ")
    }
}
