//! A reading of counters in shared memory at rest until the next, and what the interval between the two is.

use crate::frame::Quality;
use crate::pack::{self, Corrupt};

/// Version of the bytes.
const VERSION: u8 = 1;

/// When a reading was made, and in which life of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// When the counters began at zero, microseconds since the Unix epoch: identifies their life.
    pub began: i64,
    /// When they were read.
    pub at: i64,
}

/// What the time between the last row and a reading holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interval {
    /// Nothing is known of it: the reading only serves as the next prior. `lost` since then, if
    /// something was stored before.
    Unknown {
        /// End of the last row.
        lost: Option<i64>,
    },
    /// What was counted since the prior reading.
    Since(i64),
    /// The counters began anew in between: all that they hold, and a gap before.
    Anew {
        /// Start of the interval.
        since: i64,
        /// Until when what was counted is lost; not before `since`.
        lost_until: i64,
    },
}

impl Interval {
    /// From the prior reading, the end of the last row, and the life of the counters now.
    pub fn of(prior: Option<Stamp>, last_until: Option<i64>, began: i64) -> Self {
        match prior {
            Some(prior) if prior.began == began => Self::Since(prior.at),
            _ => match prior.map(|prior| prior.at).max(last_until) {
                Some(last) if began >= last => Self::Anew { since: last, lost_until: began },
                lost => Self::Unknown { lost },
            },
        }
    }

    /// What the row is worth.
    pub fn quality(self) -> Quality {
        match self {
            Self::Anew { .. } => Quality::LowerBound,
            _ => Quality::Exact,
        }
    }
}

/// Packs columns, which may differ in length.
pub fn to_bytes(stamp: Stamp, columns: &[Vec<u64>]) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&stamp.began.to_le_bytes());
    out.extend_from_slice(&stamp.at.to_le_bytes());
    for column in columns {
        let packed = pack::pack(column);
        out.extend_from_slice(&(column.len() as u32).to_le_bytes());
        out.extend_from_slice(&(packed.len() as u32).to_le_bytes());
        out.extend_from_slice(&packed);
    }
    out
}

/// Unpacks them.
pub fn from_bytes(bytes: &[u8]) -> Result<(Stamp, Vec<Vec<u64>>), Corrupt> {
    let short = || Corrupt::new("kept reading ends too early");
    let (&version, rest) = bytes.split_first().ok_or_else(short)?;
    if version != VERSION {
        return Err(Corrupt::new(format!("kept reading has version {version}, not {VERSION}")));
    }
    let (began, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let (at, mut rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let stamp = Stamp { began: i64::from_le_bytes(*began), at: i64::from_le_bytes(*at) };
    let mut columns = Vec::new();
    while !rest.is_empty() {
        let (n, after) = rest.split_first_chunk::<4>().ok_or_else(short)?;
        let (length, after) = after.split_first_chunk::<4>().ok_or_else(short)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (packed, after) = after.split_at_checked(length).ok_or_else(short)?;
        let mut column = Vec::new();
        pack::unpack(packed, u32::from_le_bytes(*n) as usize, &mut column)?;
        columns.push(column);
        rest = after;
    }
    Ok((stamp, columns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_interval_is_what_is_known_of_it() {
        let prior = Stamp { began: 10, at: 20 };
        assert_eq!(Interval::of(Some(prior), Some(20), 10), Interval::Since(20));
        let anew = Interval::Anew { since: 20, lost_until: 30 };
        assert_eq!(Interval::of(Some(prior), Some(20), 30), anew);
        assert_eq!(Interval::of(None, Some(20), 30), anew, "the prior is lost by a crash");
        assert_eq!(anew.quality(), Quality::LowerBound);
        assert_eq!(Interval::of(None, Some(20), 10), Interval::Unknown { lost: Some(20) });
        assert_eq!(Interval::of(None, None, 10), Interval::Unknown { lost: None });
    }

    proptest! {
        #[test]
        fn columns_survive_rest(columns in prop::collection::vec(prop::collection::vec(any::<u64>(), 0..50), 0..8)) {
            let stamp = Stamp { began: -3, at: 1_700_000_000_000_000 };
            let bytes = to_bytes(stamp, &columns);
            prop_assert_eq!(from_bytes(&bytes).unwrap(), (stamp, columns));
        }

        #[test]
        fn damage_never_panics(at in 0usize..1000, with in 1u8.., cut in 0usize..1000) {
            let columns = vec![(0..40).collect::<Vec<u64>>(), vec![1 << 40; 7]];
            let mut bytes = to_bytes(Stamp { began: 1, at: 2 }, &columns);
            let n = bytes.len();
            bytes[at % n] ^= with;
            bytes.truncate(1 + cut % n);
            let _ = from_bytes(&bytes);
        }
    }
}
