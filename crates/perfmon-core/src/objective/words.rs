//! How objectives are named and their judgement is put in words. ASCII only, but for names.

use super::{MINUTE_US, Objective, Scope, Status, Target, Verdict};

impl Target {
    /// Its name: `p95`, `p99.9`, `errors`, `throughput`, `availability`.
    pub fn name(self) -> String {
        match self {
            Self::Latency { quantile, .. } => format!("p{}", plain(quantile * 100.0)),
            Self::Errors { .. } => "errors".to_owned(),
            Self::Throughput { .. } => "throughput".to_owned(),
            Self::Availability { .. } => "availability".to_owned(),
        }
    }

    /// The unit of its values.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Latency { .. } => "ms",
            Self::Errors { .. } | Self::Availability { .. } => "ratio",
            Self::Throughput { .. } => "per_s",
        }
    }

    /// A value of it, with its unit.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Latency { .. } => format!("{} ms", figures(value)),
            Self::Errors { .. } | Self::Availability { .. } => {
                format!("{} %", figures(value * 100.0))
            }
            Self::Throughput { .. } => format!("{}/s", figures(value)),
        }
    }

    /// What is promised: `at most 200 ms`.
    pub fn promise(self) -> String {
        let bound = match self {
            Self::Latency { .. } | Self::Errors { .. } => "at most",
            Self::Throughput { .. } | Self::Availability { .. } => "at least",
        };
        format!("{bound} {}", self.show(self.value()))
    }
}

impl Scope {
    /// In words; names are as they are.
    pub fn words(&self) -> String {
        match self {
            Self::Database => "database".to_owned(),
            Self::Cluster => "cluster".to_owned(),
            Self::User(name) => format!("user {name}"),
            Self::Application(name) => format!("application {name}"),
            Self::Statement(id) => format!("statement {id}"),
        }
    }
}

/// A number without zeros that say nothing: `95`, `99.9`.
fn plain(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Three figures, and no fewer than are needed to tell 99.9 from 100.
pub fn figures(value: f64) -> String {
    match value.abs() {
        v if (99.9..100.0).contains(&v) => plain((value * 1000.0).trunc() / 1000.0),
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => plain((value * 10.0).round() / 10.0),
        v if v >= 1.0 => plain((value * 100.0).round() / 100.0),
        v if v == 0.0 || v >= 0.001 => plain((value * 1000.0).round() / 1000.0),
        _ => format!("{value:.1e}"),
    }
}

/// Minutes of a time.
pub fn minutes(us: i64) -> f64 {
    us as f64 / MINUTE_US as f64
}

fn plural(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
}

/// A rounded number of minutes, of which a part is not none.
fn in_minutes(us: i64) -> String {
    let minutes = minutes(us);
    let shown = if minutes >= 10.0 {
        format!("{minutes:.0}")
    } else {
        plain((minutes * 10.0).round() / 10.0)
    };
    if us > 0 && shown == "0" { "less than 0.1".to_owned() } else { shown }
}

impl Verdict {
    /// What stands behind the judgement, in words.
    pub fn detail(&self) -> String {
        let mut said = vec![self.reason()];
        said.extend(self.bounds());
        said.extend(self.doubt());
        said.extend(self.unheard());
        said.extend(self.badness());
        said.extend(self.unanswered());
        said.extend(self.coverage());
        said.extend(self.without.iter().map(|whose| format!("without {whose}")));
        let last = said.len() - 1;
        // A line of SQL ends with its own.
        let parts = said.iter().enumerate().map(|(i, part)| match i == last {
            true => part.as_str(),
            false => part.trim_end_matches(';'),
        });
        parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ")
    }

    fn reason(&self) -> String {
        let executions = self.executions.unwrap_or(0);
        match (self.status, &self.missing) {
            (Status::NoData, Some(why)) => why.clone(),
            (Status::NoData, None) if self.known_us == 0 => {
                "nothing is recorded of this time".to_owned()
            }
            (Status::NoData, None) if self.executions == Some(0) => {
                "nothing was executed".to_owned()
            }
            (Status::NoData, None) => "too little is known of this time".to_owned(),
            (Status::TooFew, _) => {
                format!("{}, fewer than {}", plural(executions, "execution"), self.min_executions)
            }
            // No more than the bounds are known.
            (Status::Missed, _) if self.actual.is_none() => self
                .executions
                .map(|n| format!("{} seen", plural(n, "execution")))
                .unwrap_or_default(),
            (Status::Met | Status::Missed, _) => match self.executions {
                None | Some(0) => "nothing was executed".to_owned(),
                Some(n) => plural(n, "execution"),
            },
        }
    }

    fn bounds(&self) -> Option<String> {
        if let (Target::Throughput { .. }, None, Some(high)) = (self.target, self.actual, self.high)
        {
            let show = |rate| self.target.show(rate);
            return Some(match self.low {
                Some(low) => format!("between {} and {}", show(low), show(high)),
                None => format!("{} at most", show(high)),
            });
        }
        let (low, high) = (self.low?, self.high);
        match (self.target, high) {
            (Target::Latency { .. }, Some(high)) => {
                Some(format!("between {} and {} ms", figures(low), figures(high)))
            }
            (Target::Latency { .. }, None) => Some(format!("{} ms or more", figures(low))),
            (Target::Errors { .. }, None) if self.is_by_least_errors() => {
                Some(format!("{} or more failed", self.target.show(low)))
            }
            _ => None,
        }
    }

    /// Whether too many errors are known though not all are.
    pub(super) fn is_by_least_errors(&self) -> bool {
        let is_of_errors = matches!(self.target, Target::Errors { .. });
        is_of_errors && self.status == Status::Missed && self.actual.is_none()
    }

    fn unheard(&self) -> Option<String> {
        self.is_by_least_errors().then(|| match &self.missing {
            Some(why) if why.starts_with("not counted") => format!("further errors were {why}"),
            _ => "not all errors are known".to_owned(),
        })
    }

    fn doubt(&self) -> Option<String> {
        let judged = matches!(self.status, Status::Met | Status::Missed);
        (self.uncertain && judged).then(|| {
            match self.target {
                Target::Latency { .. } => {
                    "uncertain: the target lies within the error of the histogram"
                }
                _ => "uncertain: what is not known could turn it",
            }
            .to_owned()
        })
    }

    fn badness(&self) -> Option<String> {
        // The rest of the time outweighs them where all of it is judged as one.
        let as_one = matches!(self.target, Target::Throughput { .. });
        let bad = self.bad_us.filter(|bad| *bad > 0 && !(as_one && self.status == Status::Met))?;
        Some(format!("not kept in {} minutes", in_minutes(bad)))
    }

    fn unanswered(&self) -> Option<String> {
        let (refused, perhaps) = self.refused;
        let all = plural(refused.saturating_add(perhaps), "connection");
        let refused = match self.refused {
            (0, 0) => None,
            (_, 0) => Some(format!("{all} refused")),
            (_, perhaps) => {
                Some(format!("{all} refused, of which {perhaps} may have been for others"))
            }
        };
        let locked = (self.locked_us > 0).then(|| {
            format!(
                "clients waited for locks and nothing else in {} minutes",
                in_minutes(self.locked_us)
            )
        });
        let said: Vec<String> = refused.into_iter().chain(locked).collect();
        (!said.is_empty()).then(|| said.join("; "))
    }

    fn coverage(&self) -> Option<String> {
        let part = self.known_us > 0 && (self.known_us as f64) < 0.95 * self.looked_at_us as f64;
        part.then(|| {
            format!(
                "{} of {} minutes are known",
                in_minutes(self.known_us),
                in_minutes(self.looked_at_us)
            )
        })
    }
}

impl Objective {
    /// Several judgements as lines of text, aligned: for those who read them in a terminal.
    pub fn table(lines: &[(&Self, &Verdict)]) -> String {
        let row = |(objective, verdict): &(&Self, &Verdict)| {
            let target = verdict.target;
            let actual = verdict.actual.map_or_else(|| "unknown".to_owned(), |v| target.show(v));
            [
                one_line(&objective.name),
                target.name(),
                one_line(&objective.scope.words()),
                target.promise(),
                actual,
                verdict.status.word().to_owned(),
                verdict.detail(),
            ]
        };
        let heads = ["name", "objective", "scope", "target", "actual", "status", "detail"];
        let rows: Vec<[String; 7]> =
            std::iter::once(heads.map(str::to_owned)).chain(lines.iter().map(row)).collect();
        let mut widths = [0; 7];
        for row in &rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &[String; 7]| {
            let cells = row
                .iter()
                .zip(widths)
                .map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.chars().count())));
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
        };
        rows.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Names may hold line breaks; a line of the table stays one.
pub fn one_line(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
