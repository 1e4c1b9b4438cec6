//! What changed in one step of a trend, in a line short enough to stand beside a graph.

use std::fmt::Write as _;

/// Changes that are named; more are counted.
const NAMED: usize = 5;
/// Most characters of one name.
const LONGEST: usize = 63;

/// A change as far as a trend tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noticed {
    /// `setting`, `extension`, `table`, `index`, `mark`.
    pub kind: String,
    /// What changed; the label of a mark.
    pub name: String,
    /// It was there before.
    pub was: bool,
    /// It is there now.
    pub is: bool,
}

impl Noticed {
    /// What people said themselves comes first, then what is rarest.
    fn rank(&self) -> usize {
        let order = ["mark", "setting", "extension", "table", "index"];
        order.iter().position(|kind| *kind == self.kind).unwrap_or(order.len())
    }

    fn words(&self) -> String {
        let clean: String =
            self.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let name = if clean.chars().count() > LONGEST {
            clean.chars().take(LONGEST - 3).collect::<String>() + "..."
        } else {
            clean
        };
        let turn = match (self.kind.as_str(), self.was, self.is) {
            ("mark", ..) => "",
            ("setting", ..) => " set",
            (_, false, true) => " created",
            (_, true, false) => " dropped",
            _ => " altered",
        };
        format!("{} {name}{turn}", self.kind)
    }
}

/// The changes of one step: `2 changes: mark release 7; index public.a created`. `None` without any.
pub fn brief(changes: &[&Noticed]) -> Option<String> {
    let mut sorted: Vec<&Noticed> = changes.to_vec();
    sorted.sort_by_key(|change| change.rank());
    let noun = if sorted.len() == 1 { "change" } else { "changes" };
    let named: Vec<String> = sorted.iter().take(NAMED).map(|change| change.words()).collect();
    let mut text = format!("{} {noun}: {}", sorted.len(), named.join("; "));
    if sorted.len() > NAMED {
        let _ = write!(text, "; and {} more", sorted.len() - NAMED);
    }
    (!sorted.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str, name: &str, was: bool, is: bool) -> Noticed {
        Noticed { kind: kind.to_owned(), name: name.to_owned(), was, is }
    }

    fn said(changes: &[Noticed]) -> Option<String> {
        brief(&changes.iter().collect::<Vec<_>>())
    }

    #[test]
    fn changes_are_told_in_one_line() {
        assert_eq!(said(&[]), None);
        let index = of("index", "public.a", false, true);
        assert_eq!(said(std::slice::from_ref(&index)).unwrap(), "1 change: index public.a created");
        let all = [
            index,
            of("table", "public.old", true, false),
            of("setting", "work_mem", true, true),
            of("mark", "release\n7", false, true),
        ];
        assert_eq!(
            said(&all).unwrap(),
            "4 changes: mark release 7; setting work_mem set; table public.old dropped; index public.a created"
        );
    }

    #[test]
    fn many_changes_and_long_names_are_cut() {
        let many: Vec<Noticed> =
            (0..40).map(|n| of("table", &format!("t{n}"), true, true)).collect();
        let text = said(&many).unwrap();
        assert!(text.starts_with("40 changes: table t0 altered; "), "{text}");
        assert!(text.ends_with("table t4 altered; and 35 more"), "{text}");
        let long = said(&[of("mark", &"\u{fc}".repeat(200), false, false)]).unwrap();
        assert_eq!(long.chars().count(), "1 change: mark ".len() + 63);
        assert!(long.ends_with("\u{fc}..."));
    }
}
