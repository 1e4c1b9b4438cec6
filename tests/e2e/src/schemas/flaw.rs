//! What was planted, and whether a judge named it: every flaw, and nothing else.

use crate::{Db, Found};

/// What a finding is about.
#[derive(Debug, Clone)]
pub enum About {
    /// One of these objects, as the server quotes them.
    Object(Vec<String>),
    /// The statement whose text has these words.
    Statement(String),
}

/// Something that is wrong on purpose, and what must be said about it.
#[derive(Debug, Clone)]
pub struct Flaw {
    /// Kind of the finding.
    pub kind: &'static str,
    /// What it is about.
    pub about: About,
    /// What must stand in the statement to run. Empty: the remedy may be in words alone.
    pub words: Vec<String>,
    /// Whether it must be said; else it may be, because it follows from another flaw.
    pub must: bool,
    /// The part of the workload that reads a table, or writes temporary files, in vain because of it, if one does.
    pub shown_by: Option<String>,
}

impl Flaw {
    /// That must be found on an object, with these words in the statement to run.
    pub fn on(kind: &'static str, object: impl Into<String>, words: &[&str]) -> Self {
        Self {
            kind,
            about: About::Object(vec![object.into()]),
            words: words.iter().map(|w| (*w).to_owned()).collect(),
            must: true,
            shown_by: None,
        }
    }

    /// That must be found on one of two objects.
    pub fn on_either(kind: &'static str, objects: [String; 2], words: &[&str]) -> Self {
        Self { about: About::Object(objects.to_vec()), ..Self::on(kind, "", words) }
    }

    /// That must be found of a statement.
    pub fn of(kind: &'static str, fragment: impl Into<String>) -> Self {
        Self { about: About::Statement(fragment.into()), ..Self::on(kind, "", &[]) }
    }

    /// With these words in the statement to run.
    pub fn says(self, words: &[&str]) -> Self {
        Self { words: words.iter().map(|w| (*w).to_owned()).collect(), ..self }
    }

    /// That a part of the workload suffers from.
    pub fn shown_by(self, work: &str) -> Self {
        Self { shown_by: Some(work.to_owned()), ..self }
    }

    /// That may be found, because it follows from another.
    pub fn may(self) -> Self {
        Self { must: false, ..self }
    }

    /// Names of the objects that it may be found on.
    pub fn names(&self) -> &[String] {
        match &self.about {
            About::Object(names) => names,
            About::Statement(_) => &[],
        }
    }

    /// Whether a finding is this one.
    pub fn is(&self, found: &Found) -> bool {
        self.kind == found.kind
            && match &self.about {
                About::Object(names) => names.contains(&found.object),
                About::Statement(words) => {
                    found.query.as_deref().is_some_and(|query| query.contains(words.as_str()))
                }
            }
    }

    /// What of the statement to run is missing.
    fn lacks(&self, found: &Found) -> Vec<&str> {
        let statement = found.statement.as_deref().unwrap_or_default();
        self.words.iter().map(String::as_str).filter(|w| !statement.contains(w)).collect()
    }
}

/// Kinds that may be said of any server of these tests, at level info: true of it, and nobody's fault.
///
/// The servers are made for a few seconds, with default settings where a test does not need others: no checksums,
/// no timing of I/O, no preloading of the cache.
pub const TRUE_OF_ANY: &[&str] = &[
    "checksums_off",
    "setting_track_io_timing",
    "setting_effective_io_concurrency",
    "setting_random_page_cost",
    "cold_cache",
    "statement_counters_missing",
];

/// Compares what was found with what was planted, and gives every difference in words.
pub fn differences(flaws: &[Flaw], found: &[Found]) -> Vec<String> {
    let mut all = Vec::new();
    for flaw in flaws.iter().filter(|f| f.must) {
        let matching: Vec<&Found> = found.iter().filter(|f| flaw.is(f)).collect();
        if matching.is_empty() {
            all.push(format!("NOT FOUND: {} of {:?}", flaw.kind, flaw.about));
        } else if let Some(lacks) =
            matching.iter().map(|f| flaw.lacks(f)).min_by_key(Vec::len).filter(|l| !l.is_empty())
        {
            let said = matching[0].statement.as_deref().unwrap_or("(nothing)");
            all.push(format!("WRONG REMEDY of {}: {lacks:?} not in {said}", matching[0].head()));
        }
    }
    for one in found {
        let planted = flaws.iter().any(|flaw| flaw.is(one));
        let harmless = !one.is_loud() && TRUE_OF_ANY.contains(&one.kind.as_str());
        if !planted && !harmless && !one.is_of_machine() {
            all.push(format!("NOT PLANTED: {}\n    {}", one.head(), one.evidence));
        }
    }
    for one in found.iter().filter(|f| f.title.contains('\n') || f.title.is_empty()) {
        all.push(format!("NOT ONE LINE: {:?}", one.title));
    }
    all
}

/// Panics unless exactly the planted flaws were found.
#[track_caller]
pub fn assert_found(flaws: &[Flaw], found: &[Found], what: &str) {
    let differences = differences(flaws, found);
    assert!(
        differences.is_empty(),
        "{what}: {} findings, {} differences\n{}",
        found.len(),
        differences.len(),
        differences.join("\n")
    );
}

/// The name of an object as the server quotes it: schema and name.
#[track_caller]
pub fn server_quoted(db: &mut Db, schema: &str, name: &str) -> String {
    db.val_with("SELECT pg_catalog.format('%I.%I', $1::text, $2::text)", &[&schema, &name])
}

/// One name as it may stand in SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// One text as it may stand in SQL.
pub fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}
