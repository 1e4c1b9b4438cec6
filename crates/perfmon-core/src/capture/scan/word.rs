//! Conditions in words, and what an index can make of them.

use super::code::{Stage, Token};
use super::{Code, Subject};

/// What stands in place of a name that is not known, or of what is not looked into.
pub const UNKNOWN: &str = "(unknown)";

/// What is called how; looked up by whoever can.
pub trait Names {
    /// A column of a table, as SQL writes it.
    fn column(&mut self, table: u32, number: i16) -> Option<String>;
    /// An operator, without its schema: what it does is known by its name.
    fn operator(&mut self, oid: u32) -> Option<String>;
    /// A function, as SQL writes it.
    fn function(&mut self, oid: u32) -> Option<String>;
    /// A type, as SQL writes it.
    fn type_name(&mut self, oid: u32) -> Option<String>;
    /// A table, with its schema's name.
    fn table(&mut self, oid: u32) -> Option<String>;
}

/// How a condition compares, as far as indexes tell comparisons apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Use {
    /// With one value or any of several.
    Equality,
    /// Below, above or between.
    Range,
    /// LIKE, or a regular expression.
    Pattern,
    /// Contains, is contained, overlaps, matches a text search.
    Containment,
    /// IS [NOT] NULL.
    Null,
    /// A truth value itself.
    Truth,
    /// It orders the result.
    Sort,
    /// It groups the result.
    Group,
    /// It is matched with another table's column.
    Join,
    /// Anything else.
    Other,
}

impl Use {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equality => "equality",
            Self::Range => "range",
            Self::Pattern => "pattern",
            Self::Containment => "containment",
            Self::Null => "null",
            Self::Truth => "truth",
            Self::Sort => "sort",
            Self::Group => "group",
            Self::Join => "join",
            Self::Other => "other",
        }
    }

    /// By the name of an operator, which says what an operator class would make of it.
    fn of_operator(name: &str) -> Self {
        match name {
            "=" => Self::Equality,
            "<" | "<=" | ">" | ">=" | "~<~" | "~<=~" | "~>~" | "~>=~" => Self::Range,
            "~~" | "~~*" | "~" | "~*" | "^@" | "%" | "<%" | "%>" => Self::Pattern,
            "@>" | "<@" | "&&" | "?" | "?|" | "?&" | "@@" | "@@@" | "@?" | "<<=" | ">>=" | ">>"
            | "<<" | "-|-" => Self::Containment,
            _ => Self::Other,
        }
    }

    /// What is compared when the sides change places: ranges and equality stay what they are.
    fn turned(self) -> Self {
        if self == Self::Pattern { Self::Other } else { self }
    }
}

/// What a pattern begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pattern {
    /// A wildcard: no btree finds it.
    Wildcard,
    /// A character that stands for itself.
    Anchored,
}

impl Pattern {
    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wildcard => "leading_wildcard",
            Self::Anchored => "fixed_beginning",
        }
    }
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Where it is applied.
    pub stage: Stage,
    /// All of it, with a question mark for every value.
    pub text: String,
    /// The column or expression that is compared; `None` where that is not one.
    pub expression: Option<String>,
    /// The operator between it and the value.
    pub operator: Option<String>,
    /// How it compares.
    pub usage: Use,
    /// Of a pattern that was seen, what it begins with.
    pub pattern: Option<Pattern>,
    /// Where OR joins several conditions: what is compared in them, each once.
    pub sides: Vec<Compared>,
}

/// What one of several conditions compares of which one must be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The column or expression.
    pub expression: String,
    /// The operator between it and the value.
    pub operator: Option<String>,
    /// How it compares.
    pub usage: Use,
    /// Of a pattern that was seen, what it begins with.
    pub pattern: Option<Pattern>,
}

/// A tree of parts.
enum Tree {
    Leaf(Token),
    Branch(Token, Vec<Tree>),
}

/// More sides of an OR are not told apart.
const MOST_SIDES: usize = 16;

/// Deeper conditions than the hooks write are no conditions.
const DEEPEST: usize = 64;

fn tree(tokens: &mut std::slice::Iter<'_, Token>, depth: usize) -> Option<Tree> {
    let token = *tokens.next()?;
    if depth > DEEPEST {
        return None;
    }
    if token.operands() == 0 {
        return Some(Tree::Leaf(token));
    }
    let operands: Option<Vec<Tree>> =
        (0..token.operands()).map(|_| tree(tokens, depth + 1)).collect();
    Some(Tree::Branch(token, operands?))
}

/// The conditions of a node, those that were cut off left out.
pub fn part_of(subject: &Subject, names: &mut impl Names) -> Vec<Part> {
    let tokens = subject.code.tokens();
    let mut rest = tokens.iter();
    let mut stage = Stage::Filter;
    let mut parts = Vec::new();
    while let Some(token) = rest.as_slice().first() {
        if let Token::Stage(next) = token {
            stage = *next;
            rest.next();
            continue;
        }
        let Some(tree) = tree(&mut rest, 0).filter(|tree| !any(tree, |t| t == Token::Cut)) else {
            break;
        };
        let mut words = Words { table: subject.columns_of, names };
        parts.push(words.part(stage, &tree));
    }
    parts
}

struct Words<'a, N> {
    table: u32,
    names: &'a mut N,
}

impl<N: Names> Words<'_, N> {
    fn part(&mut self, stage: Stage, tree: &Tree) -> Part {
        let text = self.text(tree);
        let (expression, operator, usage) = match stage {
            Stage::Sort => (Some(text.clone()), None, Use::Sort),
            Stage::Group => (Some(text.clone()), None, Use::Group),
            _ => self.comparison(tree),
        };
        let pattern = Some(tree).filter(|_| usage == Use::Pattern).and_then(begins);
        let mut sides = Vec::new();
        if matches!(tree, Tree::Branch(Token::Or(_), _)) {
            self.sides_of(tree, &mut sides);
        }
        Part { stage, text, expression, operator, usage, pattern, sides }
    }

    /// What is compared in each of the conditions that AND and OR join.
    fn sides_of(&mut self, tree: &Tree, found: &mut Vec<Compared>) {
        if let Tree::Branch(Token::And(_) | Token::Or(_), operands) = tree {
            operands.iter().for_each(|operand| self.sides_of(operand, found));
            return;
        }
        let (Some(expression), operator, usage) = self.comparison(tree) else { return };
        let pattern = Some(tree).filter(|_| usage == Use::Pattern).and_then(begins);
        let one = Compared { expression, operator, usage, pattern };
        if usage != Use::Other && found.len() < MOST_SIDES && !found.contains(&one) {
            found.push(one);
        }
    }

    /// What is compared, by which operator, and how.
    fn comparison(&mut self, tree: &Tree) -> (Option<String>, Option<String>, Use) {
        let Tree::Branch(token, operands) = tree else {
            let own = matches!(tree, Tree::Leaf(Token::Column(_)));
            return (own.then(|| self.text(tree)), None, if own { Use::Truth } else { Use::Other });
        };
        match (token, operands.as_slice()) {
            (Token::Operator(oid, 2), [left, right]) => self.sides(*oid, left, right),
            // An array that is in the row: neither a B-tree nor GIN finds by it what stands on the left.
            (Token::Any(oid), [left, right]) if !reads(left) => {
                let operator = self.names.operator(*oid).map(|name| format!("{name} ANY"));
                (self.own(right), operator, Use::Other)
            }
            (Token::Any(oid), [left, right]) => {
                let (expression, operator, usage) = self.sides(*oid, left, right);
                (expression, operator.map(|name| format!("{name} ANY")), usage)
            }
            (Token::IsNull, [one]) => (self.own(one), Some("IS NULL".to_owned()), Use::Null),
            (Token::IsNotNull, [one]) => (self.own(one), Some("IS NOT NULL".to_owned()), Use::Null),
            (Token::Truth(_) | Token::Not, [one @ Tree::Leaf(Token::Column(_))]) => {
                (self.own(one), None, Use::Truth)
            }
            // A function, or what it may be wrapped in, that is a truth value itself.
            (Token::Function(..) | Token::Coalesce(_) | Token::Element(_), _) if !given(tree) => {
                (self.own(tree), None, Use::Truth)
            }
            _ => (None, None, Use::Other),
        }
    }

    fn sides(
        &mut self,
        oid: u32,
        left: &Tree,
        right: &Tree,
    ) -> (Option<String>, Option<String>, Use) {
        let name = self.names.operator(oid);
        let usage = name.as_deref().map_or(Use::Other, Use::of_operator);
        let (one, other, usage) =
            if reads(left) { (left, right, usage) } else { (right, left, usage.turned()) };
        let usage = if reads(other) && reads_own(other) {
            // Two columns of the same row: no index finds these.
            Use::Other
        } else if given(other) && usage == Use::Equality {
            Use::Join
        } else {
            usage
        };
        // Of rows the first column decides most, and is the one by which an index finds a range of them.
        let first = match one {
            Tree::Branch(Token::Row(_), columns) if usage == Use::Range => columns.first(),
            _ => None,
        };
        (self.own(first.unwrap_or(one)), name, usage)
    }

    fn own(&mut self, tree: &Tree) -> Option<String> {
        reads(tree).then(|| self.text(tree))
    }

    fn text(&mut self, tree: &Tree) -> String {
        match tree {
            Tree::Leaf(token) => self.leaf(*token),
            Tree::Branch(token, operands) => self.branch(*token, operands),
        }
    }

    fn leaf(&mut self, token: Token) -> String {
        let unknown = || UNKNOWN.to_owned();
        match token {
            Token::Column(number) => {
                let name = self.names.column(self.table, number);
                name.unwrap_or_else(|| format!("column {number}"))
            }
            Token::Other(table, number) => {
                let column = self.names.column(table, number);
                let table = self.names.table(table);
                match (table, column) {
                    (Some(table), Some(column)) => format!("{table}.{column}"),
                    _ => unknown(),
                }
            }
            Token::Value => "?".to_owned(),
            Token::Wildcard => "%?".to_owned(),
            Token::Anchored => "?%".to_owned(),
            Token::Given => "(outer)".to_owned(),
            Token::Subquery => "(subquery)".to_owned(),
            Token::Function(oid, _) => {
                format!("{}()", self.names.function(oid).unwrap_or_else(unknown))
            }
            _ => unknown(),
        }
    }

    fn branch(&mut self, token: Token, operands: &[Tree]) -> String {
        let texts: Vec<String> = operands.iter().map(|operand| self.text(operand)).collect();
        let name = |names: &mut N, oid| names.operator(oid).unwrap_or_else(|| UNKNOWN.to_owned());
        match (token, texts.as_slice()) {
            (Token::Operator(oid, _), [left, right]) => {
                format!("({left} {} {right})", name(self.names, oid))
            }
            (Token::Operator(oid, _), [only]) => format!("({} {only})", name(self.names, oid)),
            (Token::Distinct(_), [left, right]) => format!("({left} IS DISTINCT FROM {right})"),
            (Token::Any(oid), [left, right]) => {
                format!("({left} {} ANY ({right}))", name(self.names, oid))
            }
            (Token::All(oid), [left, right]) => {
                format!("({left} {} ALL ({right}))", name(self.names, oid))
            }
            (Token::Function(oid, _), all) => {
                let function = self.names.function(oid);
                format!("{}({})", function.as_deref().unwrap_or(UNKNOWN), all.join(", "))
            }
            (Token::Cast(oid), [one]) => {
                let name = self.names.type_name(oid);
                format!("({one})::{}", name.as_deref().unwrap_or(UNKNOWN))
            }
            (Token::Coalesce(_), all) => format!("COALESCE({})", all.join(", ")),
            (Token::Row(_), all) => format!("ROW({})", all.join(", ")),
            (Token::Element(_), [of, by @ ..]) => {
                let by: String = by.iter().map(|one| format!("[{one}]")).collect();
                match operands.first() {
                    Some(Tree::Leaf(Token::Column(_))) => format!("{of}{by}"),
                    _ => format!("({of}){by}"),
                }
            }
            (Token::And(_), all) => format!("({})", all.join(" AND ")),
            (Token::Or(_), all) => format!("({})", all.join(" OR ")),
            (Token::Not, [one]) => format!("(NOT {one})"),
            (Token::IsNull, [one]) => format!("({one} IS NULL)"),
            (Token::IsNotNull, [one]) => format!("({one} IS NOT NULL)"),
            (Token::Truth(kind), [one]) => {
                let words = ["TRUE", "NOT TRUE", "FALSE", "NOT FALSE", "UNKNOWN", "NOT UNKNOWN"];
                format!("({one} IS {})", words.get(usize::from(kind)).unwrap_or(&"TRUE"))
            }
            _ => UNKNOWN.to_owned(),
        }
    }
}

fn any(tree: &Tree, wanted: fn(Token) -> bool) -> bool {
    match tree {
        Tree::Leaf(token) => wanted(*token),
        Tree::Branch(token, operands) => {
            wanted(*token) || operands.iter().any(|operand| any(operand, wanted))
        }
    }
}

/// What the pattern of a comparison begins with.
fn begins(tree: &Tree) -> Option<Pattern> {
    let Tree::Branch(_, operands) = tree else { return None };
    match operands.last()? {
        Tree::Leaf(Token::Wildcard) => Some(Pattern::Wildcard),
        Tree::Leaf(Token::Anchored) => Some(Pattern::Anchored),
        _ => None,
    }
}

/// Whether columns are in it.
fn reads(tree: &Tree) -> bool {
    any(tree, |token| matches!(token, Token::Column(_) | Token::Other(..)))
}

fn reads_own(tree: &Tree) -> bool {
    any(tree, |token| matches!(token, Token::Column(_)))
}

/// Whether it comes from another table.
fn given(tree: &Tree) -> bool {
    any(tree, |token| matches!(token, Token::Given | Token::Other(..)))
}

/// Conditions as one line; what had no room is left out, and said to be.
pub fn line(parts: &[Part], code: &Code) -> String {
    let mut texts: Vec<String> = Vec::new();
    for part in parts {
        texts.push(match part.stage {
            Stage::Filter => part.text.clone(),
            stage => format!("{}: {}", stage.name(), part.text),
        });
    }
    if code.tokens().last() == Some(&Token::Cut) {
        texts.push("…".to_owned());
    }
    texts.join(", ")
}
