//! Sums of squared execution times, as a row of minutes holds them.
//!
//! Executions that took so long together have the least sum of squares where all took the same time: the square of the
//! sum over their number, which the row knows anyway. Stored is what the sum is over that, which is the spread, in six
//! significant bits: the standard deviation of an interval is less than 0.8 % off. What comes back is a number as any
//! other: hours and days are its sums, and hold them to the last digit.
//!
//! Layout: the codec byte, then a packed column (`crate::pack`) of codes. Codes below 64 stand for themselves; from
//! there on each 32 of them are twice as far apart as those before. An excess of a single execution, or one below zero,
//! comes from rounding and is none.

use crate::family::{Family, STATEMENT};
use crate::frame::Frame;
use crate::pack::{self, Corrupt};

/// The first byte of such a column: what follows is nothing by itself.
pub const CODEC: u8 = 3;

// Places in the family, which never change.
const CALLS: usize = 1;
const EXEC_US: usize = 2;
/// Place of the sums of squares in the family.
pub const EXEC_SQ: usize = 3;
/// Bits of a code behind the leading one.
const BITS: u32 = 5;
/// No code is shifted further.
const WIDEST: u32 = 63 - BITS;

/// The least sum of squares, in 1000 µs², rounded down.
fn least(calls: u64, exec_us: u64) -> u64 {
    if calls == 0 {
        return 0;
    }
    // The same operations on both ways give the same number.
    let exec = exec_us as f64;
    (exec * exec / (calls as f64 * 1e3)) as u64
}

fn code(excess: u64) -> u64 {
    let over = |value: u64| (u64::BITS - value.leading_zeros()).saturating_sub(BITS + 1);
    let rounded = match over(excess) {
        0 => return excess,
        shift => excess.saturating_add(1 << (shift - 1)),
    };
    let shift = over(rounded);
    (u64::from(shift) << BITS) + (rounded >> shift)
}

fn excess(code: u64) -> u64 {
    match code >> BITS {
        0 | 1 => code,
        steps => {
            let shift = u32::try_from(steps - 1).unwrap_or(WIDEST).min(WIDEST);
            ((code & ((1 << BITS) - 1)) | 1 << BITS) << shift
        }
    }
}

fn code_of(sum: u64, calls: u64, exec_us: u64) -> u64 {
    if calls == 1 { 0 } else { code(sum.saturating_sub(least(calls, exec_us))) }
}

/// What comes back of a sum that was packed.
pub fn rounded(sum: u64, calls: u64, exec_us: u64) -> u64 {
    sum_of(code_of(sum, calls, exec_us), calls, exec_us)
}

fn sum_of(code: u64, calls: u64, exec_us: u64) -> u64 {
    least(calls, exec_us).saturating_add(excess(code))
}

/// Packs the sums of squares of a row of minutes; `None` for any other column, and where the row lacks what they are
/// told by.
pub fn pack(frame: &Frame, column: usize) -> Option<Vec<u8>> {
    if frame.family.name != STATEMENT.name || column != EXEC_SQ {
        return None;
    }
    // A column of zeros is not stored, and would be missed.
    let values = |column: usize| {
        frame.columns.get(column).and_then(Option::as_deref).filter(|values| !pack::is_zero(values))
    };
    let (calls, exec, sums) = (values(CALLS)?, values(EXEC_US)?, values(EXEC_SQ)?);
    let each = sums.iter().zip(calls).zip(exec);
    let codes: Vec<u64> = each.map(|((sum, calls), exec)| code_of(*sum, *calls, *exec)).collect();
    let mut out = vec![CODEC];
    out.extend_from_slice(&pack::pack(&codes));
    Some(out)
}

/// The columns to fetch for a question, and where among them are those that take part here.
#[derive(Debug, Clone)]
pub struct Asked {
    columns: Vec<usize>,
    /// Calls, time, and sum of squares.
    at: Option<[usize; 3]>,
}

impl Asked {
    /// The columns asked for come first, in their order; what sums of squares are told by follows where it is missing.
    pub fn of(family: &Family, columns: &[usize]) -> Self {
        let mut columns = columns.to_vec();
        let squares = columns.iter().position(|column| *column == EXEC_SQ);
        let at = squares.filter(|_| family.name == STATEMENT.name).map(|squares| {
            let mut place = |wanted: usize| {
                columns.iter().position(|column| *column == wanted).unwrap_or_else(|| {
                    columns.push(wanted);
                    columns.len() - 1
                })
            };
            [place(CALLS), place(EXEC_US), squares]
        });
        Self { columns, at }
    }

    /// All columns to fetch.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The packed column within some bytes, and whether it holds codes. `index` is its place among the columns fetched.
    pub fn packed<'b>(&self, index: usize, bytes: &'b [u8]) -> (&'b [u8], bool) {
        match (self.at, bytes) {
            (Some([.., squares]), [CODEC, packed @ ..]) if squares == index => (packed, true),
            _ => (bytes, false),
        }
    }

    /// Makes sums of codes. `present` tells which columns the row has; the others may hold anything.
    pub fn restore(&self, values: &mut [Vec<u64>], present: &[bool]) -> Result<(), Corrupt> {
        let Some([calls, exec, squares]) = self.at else { return Ok(()) };
        let missing = || Corrupt::new("sums of squares without calls or time");
        if ![calls, exec].iter().all(|index| present.get(*index) == Some(&true)) {
            return Err(missing());
        }
        let Ok([calls, exec, codes]) = values.get_disjoint_mut([calls, exec, squares]) else {
            return Err(missing());
        };
        if calls.len() != codes.len() || exec.len() != codes.len() {
            return Err(missing());
        }
        for ((code, calls), exec) in codes.iter_mut().zip(calls).zip(exec) {
            *code = sum_of(*code, *calls, *exec);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame(calls: Vec<u64>, exec: Vec<u64>, squares: Vec<u64>) -> Frame {
        let ids = (1..).take(calls.len()).collect();
        let mut columns = vec![None; STATEMENT.columns.len()];
        columns[CALLS] = Some(calls);
        columns[EXEC_US] = Some(exec);
        columns[EXEC_SQ] = Some(squares);
        Frame { family: &STATEMENT, ids, columns, known: u64::MAX, totals: vec![] }
    }

    #[test]
    fn the_places_are_those_of_the_family() {
        for (place, name) in [(CALLS, "calls"), (EXEC_US, "exec_us"), (EXEC_SQ, "exec_sq")] {
            assert_eq!(STATEMENT.position(name), Some(place));
        }
    }

    #[test]
    fn only_the_column_itself_is_told_by_others() {
        let frame = frame(vec![2], vec![2000], vec![5000]);
        assert_eq!(pack(&frame, CALLS), None);
        assert_eq!(
            pack(&Frame { family: &crate::family::RELATION, ..frame.clone() }, EXEC_SQ),
            None
        );
        let asked = Asked::of(&crate::family::RELATION, &[EXEC_SQ]);
        assert_eq!(asked.columns(), [EXEC_SQ]);
        let asked = Asked::of(&STATEMENT, &[7, EXEC_SQ, EXEC_US]);
        assert_eq!(asked.columns(), [7, EXEC_SQ, EXEC_US, CALLS]);
        let bytes = pack(&frame, EXEC_SQ).unwrap();
        assert_eq!(asked.packed(0, &bytes), (&bytes[..], false));
        assert_eq!(asked.packed(1, &bytes), (&bytes[1..], true));
        assert_eq!(asked.packed(1, &bytes[1..]), (&bytes[1..], false));
        // Whoever does not know what it is told by takes it for nothing.
        assert!(pack::unpack(&bytes, 1, &mut Vec::new()).is_err());
        let unknown = |column: usize| {
            let mut frame = frame.clone();
            frame.columns[column] = Some(vec![0]);
            frame
        };
        assert_eq!([CALLS, EXEC_US].map(|column| pack(&unknown(column), EXEC_SQ)), [None, None]);
        let mut values = vec![vec![9], vec![code(3000)], vec![2000], vec![2]];
        assert!(asked.restore(&mut values, &[true, true, true, false]).is_err());
        asked.restore(&mut values, &[true; 4]).unwrap();
        assert_eq!(values[1], [rounded(5000, 2, 2000)]);
        assert!(asked.restore(&mut values[..3].to_vec(), &[true; 4]).is_err());
    }

    #[test]
    fn equal_times_take_next_to_nothing() {
        let n = 5000;
        let frame = frame(vec![4; n], (1..=n as u64).collect(), vec![1; n]);
        assert!(pack(&frame, EXEC_SQ).unwrap().len() < 100);
    }

    #[test]
    fn codes_ascend_without_gaps() {
        let mut last = 0;
        for value in 1..100_000u64 {
            let this = code(value);
            assert!(this == last || this == last + 1, "{value}");
            last = this;
        }
        assert_eq!(excess(code(u64::MAX)), 63 << WIDEST);
        assert_eq!(excess(u64::MAX), 63 << WIDEST);
    }

    fn number() -> impl Strategy<Value = u64> {
        (0..=64u32, any::<u64>()).prop_map(|(bits, v)| v.checked_shr(64 - bits).unwrap_or(0))
    }

    proptest! {
        #[test]
        fn the_deviation_is_known_to_0_8_percent(calls in 2u64..1_000_000, exec_us in 0u64..1 << 36, over in number()) {
            let over = over >> 2;
            let sum = least(calls, exec_us) + over;
            let found = rounded(sum, calls, exec_us) - least(calls, exec_us);
            prop_assert!(((found as f64).sqrt() / (over.max(1) as f64).sqrt() - 1.0).abs() < 0.008 || found == over);
        }

        #[test]
        fn what_was_read_is_written_the_same(calls in number(), exec_us in number(), sum in number()) {
            let read = rounded(sum, calls, exec_us);
            if read < u64::MAX {
                prop_assert_eq!(rounded(read, calls, exec_us), read);
            }
            prop_assert!(calls == 1 || read >= least(calls, exec_us));
        }

        #[test]
        fn a_column_comes_back(rows in prop::collection::vec((1u64..5000, 1u64..1 << 30, number()), 1..300)) {
            let calls: Vec<u64> = rows.iter().map(|row| row.0).collect();
            let exec: Vec<u64> = rows.iter().map(|row| row.1).collect();
            let sum = |row: &(u64, u64, u64)| least(row.0, row.1).saturating_add(row.2).max(1);
            let squares: Vec<u64> = rows.iter().map(sum).collect();
            let bytes = pack(&frame(calls.clone(), exec.clone(), squares), EXEC_SQ).unwrap();
            let asked = Asked::of(&STATEMENT, &[CALLS, EXEC_US, EXEC_SQ]);
            let (packed, coded) = asked.packed(2, &bytes);
            prop_assert!(coded);
            let mut codes = Vec::new();
            pack::unpack(packed, calls.len(), &mut codes).unwrap();
            let mut values = vec![calls, exec, codes];
            asked.restore(&mut values, &[true; 3]).unwrap();
            let expected: Vec<u64> = rows.iter().map(|row| rounded(sum(row), row.0, row.1)).collect();
            prop_assert_eq!(&values[2], &expected);
        }
    }
}
