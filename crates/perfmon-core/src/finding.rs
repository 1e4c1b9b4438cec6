//! A finding: one thing that is wrong, what shows it, what it costs, and what to do about it.
//! It must never hold the text of a statement in its words: those who may see numbers only read them.
//! Only `statement`, the command to run, is masked.

use serde::{Deserialize, Serialize};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing breaks if it stays.
    Info,
    /// Costs time or space, or will become critical.
    Warning,
    /// Hurts now, or an outage has a date.
    Critical,
}

impl Severity {
    /// In one word, as SQL shows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// From that word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Info, Self::Warning, Self::Critical].into_iter().find(|s| s.word() == word)
    }
}

/// How much work a remedy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effort {
    /// One statement or setting.
    Low,
    /// A restart, a maintenance window, or a change that needs a test.
    Medium,
    /// Work on the application or the schema.
    High,
}

impl Effort {
    /// In one word, as SQL shows it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// A measured value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// A count or a size.
    Count(i64),
    /// Anything measured.
    Number(f64),
    /// A setting, a name, a date.
    Text(String),
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Count(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Count(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// What was measured: a name with its unit, such as `mean_exec_ms`.
    pub metric: String,
    /// What it was.
    pub value: Value,
    /// Unit in words: `ms`, `bytes`, `ratio`, `rows`, `pages`, `transactions`, `` for a plain count or text.
    pub unit: String,
    /// The threshold that it crossed, if it is this value that decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// Out of how many executions, reads, intervals: how much stands behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub samples: Option<i64>,
}

impl Evidence {
    /// A value that tells something.
    pub fn new(metric: impl Into<String>, value: impl Into<Value>, unit: &str) -> Self {
        Self {
            metric: metric.into(),
            value: value.into(),
            unit: unit.to_owned(),
            threshold: None,
            samples: None,
        }
    }

    /// The threshold that it crossed.
    #[must_use]
    pub fn over(mut self, threshold: f64) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// How many executions, reads or intervals stand behind it.
    #[must_use]
    pub fn out_of(mut self, samples: i64) -> Self {
        self.samples = Some(samples);
        self
    }
}

/// What it costs; what is not known is not there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Impact {
    /// Execution time that the remedy would save, milliseconds per hour of the window.
    pub saved_ms_per_hour: Option<f64>,
    /// Disk space that the remedy would free, bytes.
    pub saved_bytes: Option<i64>,
    /// When it becomes an outage, microseconds since the Unix epoch.
    pub outage_at_us: Option<i64>,
}

/// A statement that the remedy would make quicker. Used to add up what all remedies together would
/// save without counting a statement twice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Helped {
    /// Id in this history.
    pub statement_id: i64,
    /// Milliseconds saved per hour of the window.
    pub saved_ms_per_hour: f64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which kind of problem, such as `unused_index`.
    pub kind: String,
    /// How bad.
    pub severity: Severity,
    /// What it is about, with the server's quoting: `public.orders`, `public.orders_idx`,
    /// `statement 17`, `setting work_mem`, `database shop`, `server`.
    pub object: String,
    /// What of the object, where one object can have several of a kind (columns, a parameter).
    pub subject: String,
    /// The problem in one line, with its main number.
    pub title: String,
    /// The likely cause, in words.
    pub cause: Option<String>,
    /// What shows it.
    pub evidence: Vec<Evidence>,
    /// What it costs.
    pub impact: Impact,
    /// Share of all top-level execution time in the window that the object takes.
    pub share_ratio: Option<f64>,
    /// What to do, in words.
    pub remedy: String,
    /// What to run: SQL that does what the remedy says, names quoted by the server.
    pub statement: Option<String>,
    /// What to expect of it, in words.
    pub gain: Option<String>,
    /// How much work it is.
    pub effort: Effort,
    /// What can go wrong with it, in words; empty when nothing can.
    pub risk: String,
    /// Where the rule or its formula comes from.
    pub reference: String,
    /// Statements that would be quicker.
    pub helped: Vec<Helped>,
}

/// What comes before the command that undoes another, in words of a risk.
pub const WAY_BACK: &str = " To have it back: ";

impl Finding {
    /// Takes away what is to be run, for those who may not read statements. Says whether there was any.
    pub fn hide_commands(&mut self) -> bool {
        if let Some(at) = self.risk.find(WAY_BACK) {
            self.risk.truncate(at);
        }
        self.statement.take().is_some()
    }

    /// With the parts that every finding has; the rest is set by name.
    pub fn new(
        kind: &str,
        severity: Severity,
        object: impl Into<String>,
        title: impl Into<String>,
        remedy: impl Into<String>,
        reference: &str,
    ) -> Self {
        Self {
            kind: kind.to_owned(),
            severity,
            object: object.into(),
            subject: String::new(),
            title: title.into(),
            cause: None,
            evidence: Vec::new(),
            impact: Impact::default(),
            share_ratio: None,
            remedy: remedy.into(),
            statement: None,
            gain: None,
            effort: Effort::Low,
            risk: String::new(),
            reference: reference.to_owned(),
            helped: Vec::new(),
        }
    }

    /// What tells this problem from others, tomorrow too: FNV-1a over kind, source, object and subject.
    pub fn identity(&self, source: i64) -> i64 {
        let mut hash: u64 = 0xCBF2_9CE4_8422_2325;
        let mut add = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        for part in [
            self.kind.as_bytes(),
            &source.to_be_bytes(),
            self.object.as_bytes(),
            self.subject.as_bytes(),
        ] {
            part.iter().copied().for_each(&mut add);
            // No name holds this byte, so that parts cannot run into each other.
            add(0);
        }
        i64::from_be_bytes(hash.to_be_bytes())
    }

    /// Whether its words are still those of before, but for numbers: whose problem it is, that it goes on, which process to end.
    pub fn says_the_same(&self, title: &str, cause: Option<&str>, remedy: &str) -> bool {
        words_of(&self.title).eq(words_of(title))
            && words_of(self.cause.as_deref().unwrap_or_default())
                .eq(words_of(cause.unwrap_or_default()))
            && words_of(&self.remedy).eq(words_of(remedy))
    }

    /// Order of work: worst first, then by what is saved, then by name so that the order is stable.
    pub fn rank(&self) -> impl Ord + use<> {
        let whole = |v: f64| (v.clamp(0.0, 9e15) * 1000.0) as u64;
        (
            std::cmp::Reverse(self.severity),
            std::cmp::Reverse(whole(self.impact.saved_ms_per_hour.unwrap_or(0.0))),
            std::cmp::Reverse(self.impact.saved_bytes.unwrap_or(0)),
            self.kind.clone(),
            self.object.clone(),
            self.subject.clone(),
        )
    }
}

/// Words without numbers and their units, which move all the time. The number of a process or of a statement is its name, and a name
/// may begin with a digit.
fn words_of(text: &str) -> impl Iterator<Item = &str> {
    const UNITS: [&str; 13] =
        ["ms", "s", "min", "h", "hours", "days", "bytes", "B", "kB", "MB", "GB", "TB", "%"];
    const NAMING: [&str; 3] = ["process", "statement", "queryid"];
    let is_number = |word: &str| {
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        !bare.is_empty() && bare.chars().all(|c| c.is_ascii_digit() || c == '.' || c == ',')
    };
    let mut before = "";
    text.split_whitespace().filter(move |word| {
        let last = std::mem::replace(&mut before, word);
        let bare = word.trim_end_matches([',', '.', ':', ';', ')']);
        let is_value = is_number(word) && !NAMING.contains(&last);
        !(is_value || is_number(last) && UNITS.contains(&bare))
    })
}

#[cfg(test)]
mod tests {
    use super::{Finding, Severity};

    #[test]
    fn numbers_move_and_words_do_not() {
        let of = |title: &str| {
            let mut finding = Finding::new("lock_chain", Severity::Warning, "o", title, "r", "m");
            finding.cause = Some("c".to_owned());
            finding
        };
        let told = of(
            "2 sessions wait up to 59.1 s for locks that process 13263 of shop (user web) holds",
        );
        let same = |title: &str| told.says_the_same(title, Some("c"), "r");
        assert!(same(
            "14 sessions wait up to 1.09 min for locks that process 13263 of shop (user web) holds"
        ));
        assert!(!same(
            "2 sessions wait up to 59.1 s for locks that process 27034 of shop (user web) holds"
        ));
        let left = of("a transaction 131077_AAAA_1 after statement 4");
        let same_left = |title: &str| left.says_the_same(title, Some("c"), "r");
        assert!(!same_left("a transaction 131077_AAAA_1 after statement 20"));
        assert!(!same_left("a transaction 131077_BBBB_2 after statement 4"));
        assert!(!same("2 sessions waited up to 59.1 s for locks that shop (user web) held"));
        assert!(!told.says_the_same(&told.title, None, "r"));
        assert!(!told.says_the_same(&told.title, Some("c"), "end it"));
    }
}
