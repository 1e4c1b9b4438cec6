//! Thresholds: each has a name, a default with its origin, and a value that the user may set.
//! Nothing is compared with a number that is not one of these.

use std::collections::HashMap;

/// One threshold.
#[derive(Debug, PartialEq)]
pub struct Threshold {
    /// Its name in `perfmon.thresholds()`, with its unit at the end.
    pub name: &'static str,
    /// Used unless the user sets another.
    pub default: f64,
    /// Smallest and largest value that makes sense.
    pub range: (f64, f64),
    /// What it decides.
    pub what: &'static str,
    /// Where the default comes from.
    pub origin: &'static str,
}

impl Threshold {
    /// A threshold of any value from 0 up.
    pub const fn new(
        name: &'static str,
        default: f64,
        what: &'static str,
        origin: &'static str,
    ) -> Self {
        Self { name, default, range: (0.0, f64::MAX), what, origin }
    }

    /// A threshold for a share from 0 to 1.
    pub const fn ratio(
        name: &'static str,
        default: f64,
        what: &'static str,
        origin: &'static str,
    ) -> Self {
        Self { name, default, range: (0.0, 1.0), what, origin }
    }
}

/// The thresholds in force.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Thresholds {
    set: HashMap<String, f64>,
}

impl Thresholds {
    /// The defaults with these values instead of some. Names that are not known (of another version of
    /// the extension) and values out of range are left out.
    pub fn with(values: impl IntoIterator<Item = (String, f64)>) -> Self {
        let known = |name: &str, value: f64| {
            crate::detect::thresholds()
                .any(|t| t.name == name && (t.range.0..=t.range.1).contains(&value))
        };
        Self { set: values.into_iter().filter(|(name, value)| known(name, *value)).collect() }
    }

    /// Whether the user set it.
    pub fn is_set(&self, threshold: &Threshold) -> bool {
        self.set.contains_key(threshold.name)
    }

    /// The value in force.
    pub fn of(&self, threshold: &Threshold) -> f64 {
        self.set.get(threshold.name).copied().unwrap_or(threshold.default)
    }
}
