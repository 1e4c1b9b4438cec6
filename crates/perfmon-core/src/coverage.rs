//! How much of the clients' active time is in recorded statements, and whether that is known. Statements are counted
//! when they end; a session reports for how long it was active once its transaction is over, at most once a second.

/// Time in statements over active time from which some of the latter is yet to come: a session cannot execute for
/// longer than it is active.
const MOST: f64 = 1.1;

/// Part of the clients' active time that is in statements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Coverage {
    /// Nobody measured it.
    Unknown,
    /// They were active for too short a time for it to say anything, in ms.
    Idle(f64),
    /// Sessions have yet to report for how long they were active.
    Late,
    /// From 0 to 1.
    Known(f64),
}

impl Coverage {
    /// Of a part of the active time, in ms; `enough` is how much of this there must be.
    pub fn of(ratio: Option<f64>, active_ms: Option<f64>, enough: f64) -> Self {
        match (ratio, active_ms) {
            (None, _) => Self::Unknown,
            (_, Some(active)) if active < enough => Self::Idle(active),
            (Some(ratio), _) if ratio > MOST => Self::Late,
            (Some(ratio), _) => Self::Known(ratio.min(1.0)),
        }
    }

    /// The part, where it is known.
    pub fn known(self) -> Option<f64> {
        match self {
            Self::Known(ratio) => Some(ratio),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sessions_have_yet_to_report_is_not_taken_for_known() {
        let of = |ratio, active| Coverage::of(ratio, active, 10_000.0);
        assert_eq!(of(Some(0.8), Some(20_000.0)), Coverage::Known(0.8));
        assert_eq!(
            of(Some(1.02), Some(20_000.0)),
            Coverage::Known(1.0),
            "they end at other moments"
        );
        // A transaction has been open for as long as its statements took.
        assert_eq!(of(Some(6.87), Some(20_000.0)), Coverage::Late);
        // Just after a start, next to nothing was reported.
        assert_eq!(of(Some(6.87), Some(900.0)), Coverage::Idle(900.0));
        assert_eq!(of(Some(0.0), Some(12.0)), Coverage::Idle(12.0));
        assert_eq!(of(None, Some(20_000.0)), Coverage::Unknown);
        assert_eq!(of(None, None), Coverage::Unknown);
        assert_eq!(of(Some(0.5), None).known(), Some(0.5));
        assert_eq!(of(Some(6.87), None).known(), None);
    }
}
