//! Counts every statement the client sent, by what it was for. It must never ask the server.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

#[derive(Default, Clone, Copy)]
struct Line {
    executions: u64,
    errors: u64,
    rows: u64,
    time: Duration,
}

/// Executions by name.
#[derive(Default)]
pub(crate) struct Tally(BTreeMap<&'static str, Line>);

impl Tally {
    /// Notes one execution; `rows` is None when it failed.
    pub(crate) fn note(&mut self, name: &'static str, rows: Option<u64>, time: Duration) {
        let line = self.0.entry(name).or_default();
        line.time += time;
        match rows {
            Some(rows) => {
                line.executions += 1;
                line.rows += rows;
            }
            None => line.errors += 1,
        }
    }

    /// Adds what another connection counted.
    pub(crate) fn add(&mut self, other: &Tally) {
        for (name, theirs) in &other.0 {
            let line = self.0.entry(name).or_default();
            line.executions += theirs.executions;
            line.errors += theirs.errors;
            line.rows += theirs.rows;
            line.time += theirs.time;
        }
    }

    pub(crate) fn executions(&self) -> u64 {
        self.0.values().map(|line| line.executions).sum()
    }

    pub(crate) fn errors(&self) -> u64 {
        self.0.values().map(|line| line.errors).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{:<34} {:>10} {:>7} {:>10} {:>9}",
            "statement", "executions", "errors", "rows", "mean ms"
        )?;
        let mut lines: Vec<_> = self.0.iter().collect();
        lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.time));
        for (name, line) in lines {
            let sent = (line.executions + line.errors).max(1) as f64;
            let mean = line.time.as_secs_f64() * 1000.0 / sent;
            writeln!(
                out,
                "{name:<34} {:>10} {:>7} {:>10} {mean:>9.2}",
                line.executions, line.errors, line.rows
            )?;
        }
        write!(out, "{:<34} {:>10} {:>7}", "all", self.executions(), self.errors())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds_up() {
        let mut a = Tally::default();
        a.note("x", Some(3), Duration::from_millis(2));
        let mut b = Tally::default();
        b.note("x", None, Duration::from_millis(4));
        b.note("y", Some(1), Duration::ZERO);
        a.add(&b);
        assert_eq!((a.executions(), a.errors()), (2, 1));
        assert!(a.to_string().contains("3.00"), "{a}");
    }
}
