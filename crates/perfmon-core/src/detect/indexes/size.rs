//! How large a B-tree has to be for what it holds: from rows, widths and the layout of its pages.

use crate::facts::{Index, Stored};
use crate::threshold::{Threshold, Thresholds};

pub(super) const ERROR_RATIO: Threshold = Threshold::ratio(
    "index_size_error_ratio",
    0.15,
    "By how much an index may be larger than estimated from widths and rows without being bloated.",
    "pg_perfmon: measured 0.90 to 1.05 times the estimate on 15 of 16 indexes of TPC-H",
);
pub(super) const DISTINCT_FACTOR: Threshold = Threshold {
    name: "index_size_distinct_factor",
    default: 5.0,
    range: (1.0, 1000.0),
    what: "How many times more distinct values there may be than the planner's statistics say; they are too low for large tables.",
    origin: "pg_perfmon: an index that merges equal keys is larger with more of them",
};

/// Estimated sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Expected {
    /// With the statistics as they are.
    pub(super) bytes: f64,
    /// The most that their errors can account for.
    pub(super) most: f64,
}

/// Header of a page, and what a B-tree keeps at its end.
const PAGE_OVERHEAD: f64 = 24.0 + 16.0;
/// Header of an entry; a map of NULLs makes it twice as long.
const ENTRY_HEADER: f64 = 8.0;
/// Pointer to an entry within its page.
const LINE_POINTER: f64 = 4.0;
/// Where a row lies, in a list of rows of one key.
const ROW_POINTER: f64 = 6.0;
/// A value that varies is as often one length behind the boundary of 8 bytes as another.
const MEAN_PADDING: f64 = 3.5;
/// How full pages above the leaves are, after splits in random places.
const UPPER_FILL: f64 = 0.7;
/// Share of a page that leaves are filled to when nothing else is set.
const FILLFACTOR: f64 = 90.0;
/// Bytes by which the planner's width of an expression is larger than what is stored: it measures values
/// with their long header.
const LONG_HEADER: i32 = 3;
/// Longest value with a short header.
const SHORT: i32 = 126;

/// Estimates the size of an index with so many entries. `None` when a width, or how many rows it has, is
/// not known.
pub(super) fn expected(
    index: &Index,
    entries: f64,
    block_bytes: f64,
    limits: &Thresholds,
) -> Option<Expected> {
    let entry = entry_bytes(index, true)?;
    let page = Page::of(index, block_bytes);
    let plain = page.bytes(entries * (entry + LINE_POINTER), entry);
    let error = 1.0 + limits.of(&ERROR_RATIO);
    // Of one column, the rows with NULL are one key, as large as it is; of several they are seldom that.
    let nulls = match (index.key.as_slice(), index.stored.first()) {
        ([_], Some(stored)) => stored.null_ratio.unwrap_or(0.0).clamp(0.0, 1.0),
        _ => 0.0,
    };
    let (empty, full) = (entries * nulls, entries * (1.0 - nulls));
    let Some(distinct) = distinct(index, entries).filter(|_| index.deduplicates && !index.unique)
    else {
        return Some(Expected { bytes: plain, most: plain * error });
    };
    let key = entry_bytes(index, index.key.len() > 1)?;
    let merged = |distinct: f64| {
        let bytes = merged_bytes(2.0 * ENTRY_HEADER, empty, 1.0, block_bytes)
            + merged_bytes(key, full, distinct.min(full), block_bytes);
        page.bytes(bytes, key).min(plain)
    };
    let most = merged(distinct * limits.of(&DISTINCT_FACTOR));
    Some(Expected { bytes: merged(distinct), most: most * error })
}

struct Page {
    usable: f64,
    fill: f64,
    block: f64,
}

impl Page {
    fn of(index: &Index, block_bytes: f64) -> Self {
        let set = index.options.iter().find(|(name, _)| name == "fillfactor");
        let fill = set.and_then(|(_, value)| value.parse::<f64>().ok()).unwrap_or(FILLFACTOR);
        Self { usable: block_bytes - PAGE_OVERHEAD, fill: fill / 100.0, block: block_bytes }
    }

    /// Pages for so many bytes in leaves, and those above, in bytes.
    fn bytes(&self, leaf_bytes: f64, entry: f64) -> f64 {
        // Each leaf repeats the first key of the next one.
        let room = (self.usable * self.fill - entry - LINE_POINTER).max(entry + LINE_POINTER);
        let leaves = (leaf_bytes / room).ceil().max(1.0);
        let fan_out = (self.usable * UPPER_FILL / (entry + LINE_POINTER)).max(2.0);
        let mut all = leaves + 1.0;
        let mut level = leaves;
        while level > 1.0 {
            level = (level / fan_out).ceil();
            all += level;
        }
        all * self.block
    }
}

/// Mean bytes of an entry with one row, its padding included: of all rows, or of those without NULL.
fn entry_bytes(index: &Index, with_nulls: bool) -> Option<f64> {
    if index.stored.is_empty() {
        return None;
    }
    let mut bytes = 0.0;
    let (mut fixed, mut without_null) = (true, 1.0);
    for (place, stored) in index.stored.iter().enumerate() {
        let nulls = stored.null_ratio.filter(|_| with_nulls).unwrap_or(0.0).clamp(0.0, 1.0);
        without_null *= 1.0 - nulls;
        fixed &= stored.length > 0 && nulls == 0.0;
        let expression = index.key.get(place).is_some_and(|part| part.attnum == 0);
        bytes += (1.0 - nulls) * value_bytes(stored, expression, bytes)?;
    }
    let header = ENTRY_HEADER * (1.0 + (1.0 - without_null));
    let whole = header + bytes;
    let aligned = (whole / 8.0).ceil() * 8.0;
    // Values of about one length are all padded alike, others by the mean: the larger of the two.
    Some(if fixed { aligned } else { aligned.max(whole + MEAN_PADDING) })
}

/// Bytes of a value that begins at `at`, with what aligns it.
fn value_bytes(stored: &Stored, expression: bool, at: f64) -> Option<f64> {
    let width = stored.width.filter(|width| *width >= 0)?;
    if stored.length > 0 {
        let align = f64::from(stored.align.max(1));
        return Some((at / align).ceil() * align - at + f64::from(width));
    }
    let width = if expression && width > LONG_HEADER { width - LONG_HEADER } else { width };
    // With a short header it is not aligned.
    let padding = if width > SHORT { f64::from(stored.align.max(1) - 1) / 2.0 } else { 0.0 };
    Some(f64::from(width) + padding)
}

/// Distinct keys: as many as all columns together allow.
fn distinct(index: &Index, entries: f64) -> Option<f64> {
    let mut all = 1.0;
    for part in &index.key {
        let of_part = part.distinct?;
        all *= if of_part < 0.0 { -of_part * entries } else { of_part }.max(1.0);
    }
    Some(all.clamp(1.0, entries.max(1.0)))
}

/// Bytes in leaves where the rows of one key share an entry. A list takes at most a tenth of a page.
fn merged_bytes(entry: f64, entries: f64, distinct: f64, block_bytes: f64) -> f64 {
    let per_key = entries / distinct.max(1.0);
    if per_key < 2.0 {
        // Some keys have one row, the others two: the space between is small.
        return entries * (entry + LINE_POINTER);
    }
    let longest = ((block_bytes / 10.0 - LINE_POINTER - entry) / ROW_POINTER).floor().max(2.0);
    let list = per_key.min(longest);
    entries / list * (entry + ROW_POINTER * list + MEAN_PADDING + LINE_POINTER)
}
