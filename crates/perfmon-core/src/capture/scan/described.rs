//! A node as history knows it: in words, which stay when the objects are gone.

use serde::{Deserialize, Serialize};

use super::code::{Stage, Token};
use super::{Compared, Kind, Names, Part, Subject, Use, part_of};

/// Longest description: names are kept in an index, of which an entry takes a third of a page at most.
const LONGEST: usize = 1_600;

/// What a node was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Described {
    /// The kind's name.
    pub node: String,
    /// The index of a scan that takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<String>,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// There were more.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// One of its conditions.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Condition {
    /// Where it is applied, by name.
    pub stage: String,
    /// All of it, with a question mark for every value.
    pub text: String,
    /// The column or expression that is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
    /// By which operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// How, by name.
    pub usage: String,
    /// Of a pattern that was seen, what it begins with, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Where OR joins several conditions: what is compared in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sides: Vec<Side>,
}

/// What one of several conditions compares of which one must be true.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Side {
    /// The column or expression.
    pub expression: String,
    /// By which operator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// How, by name.
    pub usage: String,
    /// Of a pattern that was seen, what it begins with, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
}

impl From<Compared> for Side {
    fn from(one: Compared) -> Self {
        Self {
            expression: one.expression,
            operator: one.operator,
            usage: one.usage.name().to_owned(),
            pattern: one.pattern.map(|pattern| pattern.name().to_owned()),
        }
    }
}

impl From<Part> for Condition {
    fn from(part: Part) -> Self {
        Self {
            stage: part.stage.name().to_owned(),
            text: part.text,
            expression: part.expression,
            operator: part.operator,
            usage: part.usage.name().to_owned(),
            pattern: part.pattern.map(|pattern| pattern.name().to_owned()),
            sides: part.sides.into_iter().map(Side::from).collect(),
        }
    }
}

impl Described {
    /// Of a node as it was counted.
    pub fn of(subject: &Subject, names: &mut impl Names) -> Self {
        let parts = part_of(subject, names);
        Self {
            node: subject.kind.name().to_owned(),
            index: Some(subject.index).filter(|oid| *oid != 0).and_then(|oid| names.table(oid)),
            conditions: parts.into_iter().map(Condition::from).collect(),
            cut: subject.code.tokens().last() == Some(&Token::Cut),
        }
    }

    /// As it is kept; the last conditions are left out of one that is too long.
    pub fn to_text(&self) -> String {
        let mut short = self.clone();
        loop {
            let text = serde_json::to_string(&short).unwrap_or_default();
            if text.len() <= LONGEST || short.conditions.is_empty() {
                return text;
            }
            short.conditions.pop();
            short.cut = true;
        }
    }

    /// From what was kept.
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The kind; `None` for one that this library does not know.
    pub fn kind(&self) -> Option<Kind> {
        Kind::named(&self.node)
    }

    /// All conditions in one line.
    pub fn line(&self) -> String {
        let mut texts: Vec<String> = Vec::new();
        for condition in &self.conditions {
            texts.push(if condition.stage == Stage::Filter.name() {
                condition.text.clone()
            } else {
                format!("{}: {}", condition.stage, condition.text)
            });
        }
        if self.cut {
            texts.push("…".to_owned());
        }
        texts.join(", ")
    }

    /// Columns and expressions by which rows are thrown away, each once, those within an OR included.
    pub fn filters(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        let filters = self.conditions.iter().filter(|c| c.stage == Stage::Filter.name());
        for expression in filters.flat_map(Condition::compared) {
            if !all.contains(&expression) {
                all.push(expression);
            }
        }
        all
    }
}

impl Condition {
    /// What it compares: one column or expression, or those within an OR.
    fn compared(&self) -> impl Iterator<Item = &str> {
        let sides = self.sides.iter().map(|side| side.expression.as_str());
        self.expression.as_deref().into_iter().chain(sides)
    }

    /// Whether an index of its column or expression could find rows by it.
    pub fn is_searchable(&self) -> bool {
        let not = [Use::Other, Use::Sort, Use::Group].map(Use::name);
        self.expression.is_some() && !not.contains(&self.usage.as_str())
    }
}
