//! What may be promised: checks of what somebody declares, and the words in which a refusal is put.

use super::{DEFAULTS, MIN_EXECUTIONS, Objective, Scope, Target};
use crate::ask::Fault;

/// Longest name, in characters: it stands in a column of a table.
/// The server cuts the names of applications off after so many bytes.
const LONGEST_APPLICATION: usize = 63;
const LONGEST: usize = 200;

/// An objective as somebody declares it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Limit of the 95th percentile, milliseconds.
    pub p95_ms: Option<f64>,
    /// Limit of the 99th percentile, milliseconds.
    pub p99_ms: Option<f64>,
    /// Another percentile, as a share.
    pub percentile: Option<f64>,
    /// Its limit, milliseconds.
    pub percentile_ms: Option<f64>,
    /// Largest share of failures.
    pub error_ratio: Option<f64>,
    /// Least executions in a second.
    pub throughput_per_second: Option<f64>,
    /// Least share of the time.
    pub availability_ratio: Option<f64>,
    /// All databases of the server.
    pub cluster: bool,
    /// One user's executions.
    pub user: Option<String>,
    /// One application's executions.
    pub application: Option<String>,
    /// One statement's executions.
    pub statement_id: Option<i64>,
    /// Executions below which nothing is said; `None` is the default.
    pub min_executions: Option<i64>,
}

impl Draft {
    /// The objective, or what is wrong with it. One without any target promises the defaults.
    pub fn check(&self) -> Result<Objective, Fault> {
        self.check_name()?;
        let mut targets = self.targets()?;
        if targets.is_empty() {
            targets = DEFAULTS.to_vec();
        }
        let min_executions = match self.min_executions {
            None => MIN_EXECUTIONS,
            Some(n) => u64::try_from(n).ok().filter(|n| *n > 0).ok_or_else(|| {
                fault(
                    "\"min_executions\" must be positive",
                    format!("It is {n}."),
                    "Leave it out for 100: with fewer executions a percentile says little.",
                )
            })?,
        };
        Ok(Objective { name: self.name.clone(), scope: self.scope()?, targets, min_executions })
    }

    /// The same with the targets of a checked objective: the defaults, where none was named.
    #[must_use]
    pub fn with_targets(&self, objective: &Objective) -> Self {
        let mut draft = self.clone();
        if self.targets().is_ok_and(|named| !named.is_empty()) {
            return draft;
        }
        for target in &objective.targets {
            match *target {
                Target::Latency { quantile: 0.95, limit_ms } => draft.p95_ms = Some(limit_ms),
                Target::Latency { quantile: 0.99, limit_ms } => draft.p99_ms = Some(limit_ms),
                Target::Errors { ratio } => draft.error_ratio = Some(ratio),
                // Never a default.
                _ => {}
            }
        }
        draft
    }

    fn check_name(&self) -> Result<(), Fault> {
        let length = self.name.chars().count();
        if self.name.trim().is_empty() {
            return Err(fault(
                "an objective needs a name",
                "The name is how it is asked for and dropped.".to_owned(),
                "Say in a word or two what is promised to whom, as in perfmon.create_slo('checkout').",
            ));
        }
        if length > LONGEST {
            return Err(fault(
                "the name of an objective is too long",
                format!("It has {length} characters; at most {LONGEST} are allowed."),
                "Put the rest into the argument note, which may be of any length.",
            ));
        }
        Ok(())
    }

    fn targets(&self) -> Result<Vec<Target>, Fault> {
        let mut targets = Vec::new();
        for (name, limit, quantile) in
            [("p95_ms", self.p95_ms, 0.95), ("p99_ms", self.p99_ms, 0.99)]
        {
            if let Some(limit_ms) = limit {
                targets.push(Target::Latency { quantile, limit_ms: positive(name, limit_ms)? });
            }
        }
        targets.extend(self.other_percentile()?);
        if let Some(ratio) = self.error_ratio {
            targets.push(Target::Errors { ratio: share("error_ratio", ratio, 0.0..1.0, "0.005")? });
        }
        if let Some(n) = self.throughput_per_second {
            targets.push(Target::Throughput { per_second: positive("throughput_per_second", n)? });
        }
        if let Some(ratio) = self.availability_ratio {
            let ratio =
                share("availability_ratio", ratio, f64::MIN_POSITIVE..1.0 + f64::EPSILON, "0.999")?;
            targets.push(Target::Availability { ratio });
        }
        Ok(targets)
    }

    fn other_percentile(&self) -> Result<Option<Target>, Fault> {
        let (quantile, limit_ms) = match (self.percentile, self.percentile_ms) {
            (None, None) => return Ok(None),
            (Some(quantile), Some(limit_ms)) => (quantile, limit_ms),
            _ => {
                return Err(fault(
                    "\"percentile\" and \"percentile_ms\" belong together",
                    "One of them is missing.".to_owned(),
                    "Give both, as in percentile => 0.999, percentile_ms => 800.",
                ));
            }
        };
        let quantile = share("percentile", quantile, f64::MIN_POSITIVE..1.0, "0.999")?;
        let taken = [(0.95, self.p95_ms), (0.99, self.p99_ms)];
        if taken.iter().any(|(other, limit)| *other == quantile && limit.is_some()) {
            return Err(fault(
                "the same percentile has two limits",
                format!("\"percentile\" is {quantile}."),
                "Leave one of them out.",
            ));
        }
        Ok(Some(Target::Latency { quantile, limit_ms: positive("percentile_ms", limit_ms)? }))
    }

    fn scope(&self) -> Result<Scope, Fault> {
        let long = self.application.as_ref().filter(|name| name.len() > LONGEST_APPLICATION);
        if let Some(long) = long {
            return Err(fault(
                "\"application\" is longer than the server keeps such a name",
                format!("It has {} bytes of at most {LONGEST_APPLICATION}.", long.len()),
                "Give the name as pg_stat_activity.application_name shows it.",
            ));
        }
        let user = self.user.clone().map(Scope::User);
        let application = self.application.clone().map(Scope::Application);
        let statement = self.statement_id.map(Scope::Statement);
        let cluster = self.cluster.then_some(Scope::Cluster);
        let named: Vec<Scope> =
            [cluster, user, application, statement].into_iter().flatten().collect();
        match <[Scope; 1]>::try_from(named) {
            Ok([one]) => Ok(one),
            Err(none) if none.is_empty() => Ok(Scope::Database),
            Err(many) => Err(fault(
                "an objective has one scope",
                format!(
                    "{} are named.",
                    many.iter().map(Scope::words).collect::<Vec<_>>().join(", ")
                ),
                "Name one of cluster, username, application and statement_id; none is this database.",
            )),
        }
    }
}

fn fault(message: &str, detail: String, hint: &str) -> Fault {
    Fault { message: message.to_owned(), detail, hint: hint.to_owned() }
}

fn positive(name: &str, value: f64) -> Result<f64, Fault> {
    if value.is_finite() && value > 0.0 {
        return Ok(value);
    }
    Err(fault(
        &format!("\"{name}\" must be a positive number"),
        format!("It is {value}."),
        "Leave it out, or give NULL, if nothing is promised of it.",
    ))
}

fn share(name: &str, value: f64, range: std::ops::Range<f64>, example: &str) -> Result<f64, Fault> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(fault(
        &format!("\"{name}\" must be a share of 1"),
        format!("It is {value}."),
        &format!("Give a ratio such as {example}, not a percentage."),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft() -> Draft {
        Draft { name: "checkout".to_owned(), ..Draft::default() }
    }

    #[test]
    fn without_a_target_the_defaults_are_promised() {
        let made = draft().check().unwrap();
        assert_eq!(made.targets, DEFAULTS);
        assert_eq!((&made.scope, made.min_executions), (&Scope::Database, 100));
        let kept = draft().with_targets(&made);
        assert_eq!(
            (kept.p95_ms, kept.p99_ms, kept.error_ratio),
            (Some(200.0), Some(500.0), Some(0.005))
        );
        // With one, the others are not.
        let other = Draft { percentile: Some(0.95), percentile_ms: Some(7.0), ..draft() };
        assert_eq!(other.with_targets(&other.check().unwrap()), other);
        let made = Draft { p95_ms: Some(50.0), ..draft() }.check().unwrap();
        assert_eq!(made.targets, [Target::Latency { quantile: 0.95, limit_ms: 50.0 }]);
    }

    #[test]
    fn all_kinds_can_be_promised() {
        let made = Draft {
            p95_ms: Some(200.0),
            p99_ms: Some(500.0),
            percentile: Some(0.999),
            percentile_ms: Some(800.0),
            error_ratio: Some(0.0),
            throughput_per_second: Some(10.0),
            availability_ratio: Some(1.0),
            application: Some("it's\n\"one\"".to_owned()),
            min_executions: Some(1),
            ..draft()
        };
        let made = made.check().unwrap();
        let names: Vec<String> = made.targets.iter().map(|target| target.name()).collect();
        assert_eq!(names, ["p95", "p99", "p99.9", "errors", "throughput", "availability"]);
        assert_eq!(made.scope, Scope::Application("it's\n\"one\"".to_owned()));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_a_hint() {
        let wrong = [
            Draft { name: " \n".to_owned(), ..draft() },
            Draft { name: "x".repeat(201), ..draft() },
            Draft { p95_ms: Some(0.0), ..draft() },
            Draft { p95_ms: Some(f64::NAN), ..draft() },
            Draft { p99_ms: Some(f64::INFINITY), ..draft() },
            Draft { percentile: Some(0.9), ..draft() },
            Draft { percentile_ms: Some(9.0), ..draft() },
            Draft { percentile: Some(99.9), percentile_ms: Some(9.0), ..draft() },
            Draft { percentile: Some(1.0), percentile_ms: Some(9.0), ..draft() },
            Draft {
                percentile: Some(0.95),
                percentile_ms: Some(9.0),
                p95_ms: Some(1.0),
                ..draft()
            },
            Draft { error_ratio: Some(0.5 + 0.5), ..draft() },
            Draft { error_ratio: Some(-0.1), ..draft() },
            Draft { error_ratio: Some(f64::NAN), ..draft() },
            Draft { throughput_per_second: Some(-1.0), ..draft() },
            Draft { availability_ratio: Some(0.0), ..draft() },
            Draft { availability_ratio: Some(99.9), ..draft() },
            Draft { min_executions: Some(0), ..draft() },
            Draft { cluster: true, statement_id: Some(3), ..draft() },
            Draft { user: Some("a".to_owned()), application: Some("b".to_owned()), ..draft() },
        ];
        for draft in wrong {
            let fault = draft.check().expect_err(&format!("{draft:?}"));
            assert!(!fault.hint.is_empty() && !fault.detail.is_empty(), "{fault:?}");
        }
    }
}
