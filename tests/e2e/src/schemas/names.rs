//! Names that break programs: quotes, line breaks, letters of all kinds, reserved words, 63 bytes.

use std::collections::HashSet;

use crate::Random;

/// Longest name that the server keeps, in bytes.
const LONGEST: usize = 63;

/// What names are made of.
const PIECES: &[&str] = &[
    "order",
    "select",
    "user",
    "table",
    "Größe",
    "naïve",
    "数据",
    "таблица",
    "🦀",
    "a\"b",
    "it's",
    "two\nlines",
    "tab\there",
    "back\\slash",
    "per%cent",
    "$1",
    "$$",
    "--x",
    "/*y",
    ";",
    " ",
    "UPPER",
    "x",
    "1st",
    "e\u{301}",
    ".",
    ":v",
    "{}",
    "_",
    "|",
];

/// Gives names, never one twice.
#[derive(Debug, Default)]
pub struct Names {
    given: HashSet<String>,
}

impl Names {
    /// The next name.
    pub fn next(&mut self, random: &mut Random) -> String {
        loop {
            let mut name: String =
                (0..=random.below(3)).map(|_| *random.pick(PIECES)).collect::<Vec<_>>().concat();
            if random.one_in(6) {
                while name.len() < LONGEST {
                    name.push_str(PIECES[random.below(PIECES.len())]);
                }
            }
            while name.len() > LONGEST {
                name.pop();
            }
            // A name of blanks alone is allowed, but tells nothing in a message.
            if !name.trim().is_empty() && self.given.insert(name.clone()) {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_and_differ() {
        let (mut names, mut random) = (Names::default(), Random::new(7));
        let all: Vec<String> = (0..400).map(|_| names.next(&mut random)).collect();
        assert!(all.iter().all(|n| !n.is_empty() && n.len() <= LONGEST));
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert!(all.iter().any(|n| n.len() >= LONGEST - 3) && all.iter().any(|n| n.contains('\n')));
    }
}
