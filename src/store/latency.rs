//! Rows of execution times: adding one, and reading whole rows, the whole of each row, or single statements, of which
//! only their own bytes are fetched. It must never add up what it reads.

use std::ops::Range;

use perfmon_core::family::LATENCY;
use perfmon_core::frame::Span;
use perfmon_core::histogram::{Latency, pack as histogram};
use perfmon_core::latency::{HISTOGRAMS, LENGTHS, OVERALL, Row, unpack_whole};
use perfmon_core::pack::{self, Corrupt};

use super::history;
use super::period::Level;
use super::place::Places;
use super::read::{self, Head, Segment, Wanted, in_column};
use super::sql::Raw;
use crate::pg::toast::{Parts, Reader};

/// All of a value, in 1/1,024.
const WHOLE: usize = 1 << 10;
/// Bytes beyond what should be needed.
const SPARE: usize = 96;

/// Takes a row: ids, and what each did.
pub(crate) type EachAll<'e> = &'e mut dyn FnMut(&Head, &[u32], &[Latency]);
/// Takes of a row what some statements did: which of them, and its times.
pub(crate) type EachPoint<'e> = &'e mut dyn FnMut(&Head, &[(usize, Latency)]);

/// Adds one row to a level; returns the bytes of its columns.
pub(crate) fn append(level: Level, source: i64, span: &Span, row: &Row) -> i64 {
    let (frame, raw) = row.pack();
    history::append_raw(level, source, span, &frame, &raw)
}

/// Whole rows of one source and level.
pub(crate) fn whole(source: i64, segment: Segment, each: &mut dyn FnMut(Span, Row)) {
    let (mut ids, mut lengths) = (Vec::new(), Vec::new());
    let columns = [LENGTHS, HISTOGRAMS, OVERALL];
    read::rows(&[source], &LATENCY, &[segment], &columns, &mut |raw, head, first| {
        read::unpack_ids(raw, head, first, &mut ids)?;
        let [histograms, overall] =
            [2, 3].map(|column| raw.with_bytes(first + column, <[u8]>::to_vec));
        let codec = histograms.as_deref().and_then(codec_of);
        unpack_lengths(raw, head, first + 1, codec, &mut lengths)?;
        let nested = head.totals.get(1).copied().flatten().unwrap_or(0);
        let nested = u64::try_from(nested).unwrap_or(0);
        let row = Row::unpack(&ids, &lengths, [histograms.as_deref(), overall.as_deref()], nested);
        each(head.span, row.map_err(|e| in_column(&LATENCY, HISTOGRAMS, e))?);
        Ok(())
    });
}

/// All that clients sent, row by row.
pub(crate) fn overall(
    sources: &[i64],
    segments: &[Segment],
    each: &mut dyn FnMut(&Head, &Latency),
) {
    read::rows(sources, &LATENCY, segments, &[OVERALL], &mut |raw, head, first| {
        let latency = raw.with_bytes(first + 1, unpack_whole).transpose();
        let latency = latency.map_err(|e| in_column(&LATENCY, OVERALL, e))?;
        each(head, &latency.unwrap_or_default());
        Ok(())
    });
}

/// All statements, row by row: ids, and what each did.
pub(crate) fn all(sources: &[i64], segments: &[Segment], each: EachAll<'_>) {
    let (mut ids, mut lengths) = (Vec::new(), Vec::new());
    read::rows(sources, &LATENCY, segments, &[LENGTHS, HISTOGRAMS], &mut |raw, head, first| {
        read::unpack_ids(raw, head, first, &mut ids)?;
        let latencies = raw.with_bytes(first + 2, |bytes| {
            unpack_lengths(raw, head, first + 1, codec_of(bytes), &mut lengths)?;
            histogram::unpack(head.n, &lengths, bytes)
                .map_err(|e| in_column(&LATENCY, HISTOGRAMS, e))
        });
        let missing = || in_column(&LATENCY, HISTOGRAMS, Corrupt::new("histograms are missing"));
        let latencies = match latencies {
            Some(latencies) => latencies?,
            None if head.n == 0 => Vec::new(),
            None => return Err(missing()),
        };
        each(head, &ids, &latencies);
        Ok(())
    });
}

/// The ids of all statements, row by row.
pub(crate) fn ids(sources: &[i64], segments: &[Segment], each: &mut dyn FnMut(&Head, &[u32])) {
    let mut ids = Vec::new();
    read::rows(sources, &LATENCY, segments, &[usize::MAX], &mut |raw, head, first| {
        read::unpack_ids(raw, head, first, &mut ids)?;
        each(head, &ids);
        Ok(())
    });
}

/// What some statements did, given as (source, dictionary id), row by row: pairs of which of them, and its times. One
/// that is not in the row did nothing, or, in hours and days, so little that it went into "other".
pub(crate) fn of(objects: &[(i64, u32)], segments: &[Segment], each: EachPoint<'_>) {
    let mut sources: Vec<i64> = objects.iter().map(|(source, _)| *source).collect();
    sources.sort_unstable();
    sources.dedup();
    let wanted: Vec<Wanted> = sources.iter().map(|source| Wanted::of(objects, *source)).collect();
    let (mut source, mut places) = (Source::new(), Places::new());
    let mut lengths = Vec::new();
    let columns = [LENGTHS, HISTOGRAMS, OVERALL];
    read::rows(&sources, &LATENCY, segments, &columns, &mut |raw, head, first| {
        let Ok(which) = sources.binary_search(&head.source) else { return Ok(()) };
        let Wanted { ids, indexes } = &wanted[which];
        let found = places.find(&mut source.reader, (raw, first, head.n), (which, ids));
        let there: Vec<(usize, usize)> = found
            .map_err(|e| ("ids", e))?
            .iter()
            .zip(indexes)
            .filter_map(|(place, index)| place.map(|place| (place, *index)))
            .collect();
        let Some((last, _)) = there.last() else {
            each(head, &[]);
            return Ok(());
        };
        // The sum is small enough to lie in the row itself, and was packed at the same time.
        let codec = [3, 2]
            .into_iter()
            .find_map(|column| raw.with_slice(first + column, 0..1, codec_of).flatten());
        source.lengths(raw, head, (first + 1, *last), codec, &mut lengths)?;
        let points = source.points(raw, (first + 2, codec), &lengths, &there);
        each(head, points.map_err(|e| in_column(&LATENCY, HISTOGRAMS, e))?);
        Ok(())
    });
}

/// Reads values that lie out of line; see [`Reader`].
struct Source {
    reader: Reader,
    fetched: [Vec<u8>; 1],
    /// Of the lengths, the part that was needed last, in 1/1,024; rows resemble the rows before them.
    share: usize,
    parts: Parts,
    ranges: Vec<Range<usize>>,
    /// Room for what is found in a row, used again for the next one.
    points: Vec<(usize, Latency)>,
}

impl Source {
    fn new() -> Self {
        Self {
            reader: Reader::new(),
            fetched: Default::default(),
            share: WHOLE,
            parts: Parts::default(),
            ranges: Vec::new(),
            points: Vec::new(),
        }
    }

    /// Lengths up to that of a statement's piece, or of more.
    fn lengths<'a>(
        &mut self,
        raw: &Raw<'_>,
        head: &Head,
        (column, last): (usize, usize),
        codec: Option<u8>,
        lengths: &mut Vec<u64>,
    ) -> Result<(), (&'a str, Corrupt)> {
        if let Some(pointer) = raw.pointer(column) {
            let enough = (((pointer.len * self.share) >> 10) + SPARE).min(pointer.len);
            if self.reader.beginnings(&[(pointer, enough)], &mut self.fetched)
                && let Ok(needed) = unpack_until(&self.fetched[0], (head.n, last), codec, lengths)
            {
                self.share = (needed << 10).div_ceil(pointer.len);
                return Ok(());
            }
        }
        // One that was cut too short, or is damaged, is read again as a whole.
        self.share = WHOLE;
        unpack_lengths(raw, head, column, codec, lengths)
    }

    /// The histograms at some places of a row, which ascend, of which `column` is that of all histograms. Only the pieces
    /// that hold them are fetched, and none is gone through twice.
    fn points(
        &mut self,
        raw: &Raw<'_>,
        (column, codec): (usize, Option<u8>),
        lengths: &[u64],
        there: &[(usize, usize)],
    ) -> Result<&[(usize, Latency)], Corrupt> {
        let missing = || Corrupt::new("histograms end too early");
        let codec = codec.ok_or_else(missing)?;
        let pieces = histogram::find(codec, lengths, there.iter().map(|(place, _)| *place))?;
        self.points.resize_with(there.len(), Default::default);
        for (point, (_, index)) in self.points.iter_mut().zip(there) {
            point.0 = *index;
        }
        self.ranges.clear();
        self.ranges.extend(pieces.iter().map(|piece| piece.range.clone()));
        let (parts, points) = (&mut self.parts, &mut self.points);
        let pointer = raw.pointer(column);
        if pointer.is_some_and(|pointer| self.reader.parts(&pointer, &self.ranges, parts)) {
            for piece in &pieces {
                let bytes = parts.get(&piece.range).ok_or_else(missing)?;
                unpack_piece(codec, bytes, piece, there, points)?;
            }
            return Ok(points);
        }
        let whole = raw.with_bytes(column, |bytes| {
            pieces.iter().try_for_each(|piece| {
                let bytes = bytes.get(piece.range.clone()).ok_or_else(missing)?;
                unpack_piece(codec, bytes, piece, there, points)
            })
        });
        whole.unwrap_or_else(|| Err(missing()))?;
        Ok(points)
    }
}

/// What is asked for of a piece, into its place among the points.
fn unpack_piece(
    codec: u8,
    bytes: &[u8],
    piece: &histogram::Piece,
    there: &[(usize, usize)],
    points: &mut [(usize, Latency)],
) -> Result<(), Corrupt> {
    let range = piece.wanted.clone();
    let (there, points) = (&there[range.clone()], &mut points[range]);
    let is_again = |nth: usize| nth > 0 && there[nth].0 == there[nth - 1].0;
    let wanted = points.iter_mut().zip(there).enumerate().filter(|(nth, _)| !is_again(*nth));
    let wanted = wanted.map(|(_, (point, (place, _)))| (place - piece.first, &mut point.1));
    histogram::unpack_some(codec, bytes, wanted)?;
    // One and the same may be asked for twice.
    for nth in (0..points.len()).filter(|nth| is_again(*nth)) {
        let same = points[nth - 1].1.clone();
        points[nth].1 = same;
    }
    Ok(())
}

fn codec_of(bytes: &[u8]) -> Option<u8> {
    bytes.first().copied()
}

/// Lengths of pieces up to that of a statement, of so many in the row; see [`pack::unpack_until`].
fn unpack_until(
    bytes: &[u8],
    (statements, last): (usize, usize),
    codec: Option<u8>,
    lengths: &mut Vec<u64>,
) -> Result<usize, Corrupt> {
    let codec = codec.ok_or_else(|| Corrupt::new("histograms are missing"))?;
    let pieces = |statements| histogram::pieces(codec, statements);
    pack::unpack_until(bytes, pieces(statements)?, pieces(last + 1)? - 1, lengths)
}

/// Lengths of the pieces of a row of so many statements, of which there are as many as the codec of its histograms says.
fn unpack_pieces(
    bytes: &[u8],
    statements: usize,
    codec: Option<u8>,
    lengths: &mut Vec<u64>,
) -> Result<(), Corrupt> {
    lengths.clear();
    let codec = codec.ok_or_else(|| Corrupt::new("histograms are missing"))?;
    pack::unpack(bytes, histogram::pieces(codec, statements)?, lengths)
}

fn unpack_lengths<'a>(
    raw: &Raw<'_>,
    head: &Head,
    column: usize,
    codec: Option<u8>,
    lengths: &mut Vec<u64>,
) -> Result<(), (&'a str, Corrupt)> {
    lengths.clear();
    let done = raw.with_bytes(column, |bytes| unpack_pieces(bytes, head.n, codec, lengths));
    match done.transpose().map_err(|e| ("lengths", e))? {
        None if head.n > 0 => Err(("lengths", Corrupt::new("lengths are missing"))),
        _ => Ok(()),
    }
}
