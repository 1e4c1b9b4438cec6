//! Conditions as bytes: what a hook can write without looking anything up, and without any constant, which is
//! data. A condition is a tree in prefix order; names are looked up by whoever reads it.

use super::LONGEST;

/// Conditions, written so far.
#[derive(Debug, Clone, Copy)]
pub struct Code {
    bytes: [u8; LONGEST],
    length: usize,
    /// Something had no room.
    cut: bool,
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Code {}

/// Where a node applies conditions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Stage {
    /// To each row read.
    Filter = 0,
    /// By the index.
    Index = 1,
    /// To pairs of rows, before they are joined.
    Join = 2,
    /// By a hash or merge of both sides' columns.
    Match = 3,
    /// It is the order of the result.
    Sort = 4,
    /// It groups the result.
    Group = 5,
    /// Once, for all rows.
    Once = 6,
}

impl Stage {
    /// All of them; `ALL[s as usize] == s`.
    pub const ALL: [Self; 7] =
        [Self::Filter, Self::Index, Self::Join, Self::Match, Self::Sort, Self::Group, Self::Once];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Index => "index",
            Self::Join => "join",
            Self::Match => "match",
            Self::Sort => "sort",
            Self::Group => "group",
            Self::Once => "once",
        }
    }
}

/// One part of a condition, before those that it is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// From here on conditions are applied so.
    Stage(Stage),
    /// A column of the node's table.
    Column(i16),
    /// A column of another table.
    Other(u32, i16),
    /// Something that is the same for all rows: a constant, a parameter, or what is made of these.
    Value,
    /// What another part of the plan gave: a column of a join's other side.
    Given,
    /// An operator and how many operands follow.
    Operator(u32, u8),
    /// The same as IS DISTINCT FROM.
    Distinct(u32),
    /// A function and how many arguments follow.
    Function(u32, u8),
    /// To a type.
    Cast(u32),
    /// One operand compared with any of an array.
    Any(u32),
    /// One operand compared with all of an array.
    All(u32),
    /// So many of which all must be true.
    And(u8),
    /// So many of which one must be true.
    Or(u8),
    /// Not.
    Not,
    /// IS NULL.
    IsNull,
    /// IS NOT NULL.
    IsNotNull,
    /// IS [NOT] TRUE, FALSE, UNKNOWN, by the server's number.
    Truth(u8),
    /// A subquery.
    Subquery,
    /// Anything else.
    Unknown,
    /// There was no room for more.
    Cut,
    /// A value: a pattern that begins with a wildcard.
    Wildcard,
    /// A value: a pattern of which the beginning is fixed.
    Anchored,
    /// The first of so many that is not NULL.
    Coalesce(u8),
    /// An element of what comes first, by one value or more.
    Element(u8),
    /// So many side by side.
    Row(u8),
}

impl Token {
    fn parts(self) -> (u8, u32, u16) {
        match self {
            Self::Stage(stage) => (1, 0, stage as u16),
            Self::Column(number) => (2, 0, number as u16),
            Self::Other(table, number) => (3, table, number as u16),
            Self::Value => (4, 0, 0),
            Self::Given => (5, 0, 0),
            Self::Operator(oid, n) => (6, oid, n.into()),
            Self::Distinct(oid) => (7, oid, 0),
            Self::Function(oid, n) => (8, oid, n.into()),
            Self::Cast(oid) => (9, oid, 0),
            Self::Any(oid) => (10, oid, 0),
            Self::All(oid) => (11, oid, 0),
            Self::And(n) => (12, 0, n.into()),
            Self::Or(n) => (13, 0, n.into()),
            Self::Not => (14, 0, 0),
            Self::IsNull => (15, 0, 0),
            Self::IsNotNull => (16, 0, 0),
            Self::Truth(kind) => (17, 0, kind.into()),
            Self::Subquery => (18, 0, 0),
            Self::Unknown => (19, 0, 0),
            Self::Cut => (20, 0, 0),
            Self::Wildcard => (21, 0, 0),
            Self::Anchored => (22, 0, 0),
            Self::Coalesce(n) => (23, 0, n.into()),
            Self::Element(n) => (24, 0, n.into()),
            Self::Row(n) => (25, 0, n.into()),
        }
    }

    fn of(tag: u8, oid: u32, small: u16) -> Option<Self> {
        let n = small as u8;
        Some(match tag {
            1 => Self::Stage(*Stage::ALL.get(usize::from(small))?),
            2 => Self::Column(small as i16),
            3 => Self::Other(oid, small as i16),
            4 => Self::Value,
            5 => Self::Given,
            6 => Self::Operator(oid, n),
            7 => Self::Distinct(oid),
            8 => Self::Function(oid, n),
            9 => Self::Cast(oid),
            10 => Self::Any(oid),
            11 => Self::All(oid),
            12 => Self::And(n),
            13 => Self::Or(n),
            14 => Self::Not,
            15 => Self::IsNull,
            16 => Self::IsNotNull,
            17 => Self::Truth(n),
            18 => Self::Subquery,
            19 => Self::Unknown,
            20 => Self::Cut,
            21 => Self::Wildcard,
            22 => Self::Anchored,
            23 => Self::Coalesce(n),
            24 => Self::Element(n),
            25 => Self::Row(n),
            _ => return None,
        })
    }

    /// How many operands follow.
    pub fn operands(self) -> usize {
        match self {
            Self::Operator(_, n) | Self::Function(_, n) | Self::And(n) | Self::Or(n) => n.into(),
            Self::Coalesce(n) | Self::Element(n) | Self::Row(n) => n.into(),
            Self::Distinct(_) | Self::Any(_) | Self::All(_) => 2,
            Self::Cast(_) | Self::Not | Self::IsNull | Self::IsNotNull | Self::Truth(_) => 1,
            _ => 0,
        }
    }
}

/// Tags with an oid, and with a small number.
const WITH_OID: [u8; 7] = [3, 6, 7, 8, 9, 10, 11];
const WITH_NUMBER: [u8; 11] = [1, 2, 3, 6, 8, 12, 13, 17, 23, 24, 25];

impl Default for Code {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl Code {
    /// No conditions.
    pub const EMPTY: Self = Self { bytes: [0; LONGEST], length: 0, cut: false };

    /// As it was written elsewhere.
    pub fn of(bytes: &[u8]) -> Self {
        let mut code = Self::EMPTY;
        code.length = bytes.len().min(LONGEST);
        code.bytes[..code.length].copy_from_slice(&bytes[..code.length]);
        code
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length.min(LONGEST)]
    }

    /// Writes a part, unless there is no room for it.
    pub fn push(&mut self, token: Token) {
        let (tag, oid, small) = token.parts();
        let mut wide = [tag, 0, 0, 0, 0, 0, 0];
        let mut used = 1;
        if WITH_OID.contains(&tag) {
            wide[used..used + 4].copy_from_slice(&oid.to_le_bytes());
            used += 4;
        }
        if WITH_NUMBER.contains(&tag) {
            wide[used..used + 2].copy_from_slice(&small.to_le_bytes());
            used += 2;
        }
        if self.cut {
            return;
        }
        // The last byte is there to say that something is missing.
        if self.length + used >= LONGEST {
            wide[0] = Token::Cut.parts().0;
            used = 1;
            self.cut = true;
        }
        self.bytes[self.length..self.length + used].copy_from_slice(&wide[..used]);
        self.length += used;
    }

    /// How much was written: a place to go back to.
    pub fn mark(&self) -> usize {
        self.length
    }

    /// Forgets what was written from there on.
    pub fn back_to(&mut self, mark: usize) {
        self.length = self.length.min(mark);
        self.cut = false;
    }

    /// The parts, as far as they can be read.
    pub fn tokens(&self) -> Vec<Token> {
        let mut rest = self.bytes();
        let mut all = Vec::new();
        while let Some((&tag, after)) = rest.split_first() {
            rest = after;
            let (mut oid, mut small) = (0, 0);
            if WITH_OID.contains(&tag) {
                let Some((four, after)) = rest.split_first_chunk::<4>() else { break };
                (oid, rest) = (u32::from_le_bytes(*four), after);
            }
            if WITH_NUMBER.contains(&tag) {
                let Some((two, after)) = rest.split_first_chunk::<2>() else { break };
                (small, rest) = (u16::from_le_bytes(*two), after);
            }
            let Some(token) = Token::of(tag, oid, small) else { break };
            all.push(token);
        }
        all
    }
}
