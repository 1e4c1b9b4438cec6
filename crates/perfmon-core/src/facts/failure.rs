//! What failed, as the hooks counted it.

use crate::capture::failure::Class;

/// Failures of the window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Failures {
    /// Intervals in which errors were counted, in order.
    pub intervals: Vec<Interval>,
    /// What failed, most frequent first.
    pub all: Vec<Failure>,
    /// At other times of the window, or of some, errors were not counted.
    pub is_part: bool,
}

impl Failures {
    /// How many of a class.
    pub fn of_class(&self, class: Class) -> u64 {
        self.all.iter().filter(|f| f.class == class).map(|f| f.count).sum()
    }

    /// How often autovacuum gave a table up.
    pub fn given_up(&self, table: &str) -> u64 {
        let of = |f: &&Failure| {
            f.class == Class::AutovacuumCancelled && f.table.as_deref() == Some(table)
        };
        self.all.iter().filter(of).map(|f| f.count).sum()
    }
}

/// What was counted in one interval.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Interval {
    /// Its start, microseconds since the Unix epoch.
    pub since_us: i64,
    /// Its end.
    pub until_us: i64,
    /// Its length without the time that is known to have been quiet.
    pub length_us: i64,
    /// Statements of clients that were executed to their end.
    pub executions: u64,
    /// Those that failed.
    pub errors: u64,
    /// Those that were cancelled on request.
    pub cancelled: u64,
}

impl Interval {
    /// Statements that were tried.
    pub fn tried(&self) -> u64 {
        self.executions.saturating_add(self.errors).saturating_add(self.cancelled)
    }
}

/// One kind of failure of one statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// What kind it was.
    pub class: Class,
    /// Its SQLSTATE; `None` where only the class is known.
    pub state: Option<String>,
    /// The statement's id in this history.
    pub statement_id: Option<i64>,
    /// The table that autovacuum gave up, quoted where needed.
    pub table: Option<String>,
    /// How often.
    pub count: u64,
    /// Time of the failed statements, ms.
    pub lost_ms: f64,
}

impl Failure {
    /// What it is called: the condition and the SQLSTATE, or the class.
    pub fn name(&self) -> String {
        match self.state.as_deref().map(|state| (state, crate::capture::condition::name(state))) {
            Some((state, Some(condition))) => format!("{condition} ({state})"),
            Some((state, None)) => format!("SQLSTATE {state}"),
            None => self.class.name().to_owned(),
        }
    }
}
