//! Packs the histograms of many statements into bytes and back, so that one of them is read with few of the others.
//! What was packed in several intervals adds up exactly.
//!
//! As in `crate::pack`, bytes may come back damaged: readers return [`Corrupt`], never panic, and allocate no
//! more than a histogram has buckets. A released codec byte never changes its meaning.
//!
//! Layout: one codec byte, then pieces in order; how many bytes each takes is a column of its own (`lengths`, to be
//! packed like any counter). With the first codec a piece is one statement, and takes no bytes if it did nothing. With
//! the second it is [`GROUP`] statements end to end, the last one fewer: bits that fill up a byte, and lengths, would
//! otherwise be a seventh of all.
//!
//! A piece is a string of bits, lowest first, filled up with zero bits to a whole byte. A statement is three flags
//! (cached executions there, executions that read blocks there, longest time known), eight bits for the place of the
//! longest time if known, then each histogram that is there.
//!
//! A histogram is its first bucket in eight bits and its count less one, then count after count of the next bucket. A
//! count of zero is followed by one bit: 0 ends the histogram, 1 is followed by the number of further empty buckets
//! (Elias gamma, from 1 on) and the next count less one. Counts are Rice codes whose order is that of the count
//! before (neighbours are alike), of zero after a gap; quotients from four on are four zero bits and a gamma code.

use super::{BUCKETS, Latency, Sparse};
use crate::pack::Corrupt;

/// Each statement apart; no longer written.
pub const CODEC: u8 = 1;
/// Statements in groups.
pub const GROUPED: u8 = 2;
/// Statements in a piece of the second codec.
pub const GROUP: usize = 16;

/// Many statements, packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// How many bytes each piece takes, in order.
    pub lengths: Vec<u64>,
    /// The codec byte, then the pieces.
    pub bytes: Vec<u8>,
}

/// Packs statements in order.
pub fn pack<'a>(statements: impl IntoIterator<Item = &'a Latency>) -> Packed {
    let mut packed = Packed { lengths: Vec::new(), bytes: vec![GROUPED] };
    let mut statements = statements.into_iter().peekable();
    while statements.peek().is_some() {
        let before = packed.bytes.len();
        let mut bits = Writer { out: &mut packed.bytes, word: 0, filled: 0 };
        for statement in statements.by_ref().take(GROUP) {
            write(statement, &mut bits);
        }
        bits.finish();
        packed.lengths.push((packed.bytes.len() - before) as u64);
    }
    packed
}

/// Packs statements as older releases did.
#[cfg(test)]
pub(super) fn pack_apart(statements: &[Latency]) -> Packed {
    let mut packed = Packed { lengths: Vec::new(), bytes: vec![CODEC] };
    for statement in statements {
        let before = packed.bytes.len();
        if !statement.is_empty() {
            let mut bits = Writer { out: &mut packed.bytes, word: 0, filled: 0 };
            write(statement, &mut bits);
            bits.finish();
        }
        packed.lengths.push((packed.bytes.len() - before) as u64);
    }
    packed
}

/// How many statements make a piece.
fn group_of(codec: u8) -> Result<usize, Corrupt> {
    match codec {
        CODEC => Ok(1),
        GROUPED => Ok(GROUP),
        _ => Err(Corrupt::new(format!(
            "packed histograms use codec {codec}, this library knows only {CODEC} and {GROUPED}"
        ))),
    }
}

/// How many lengths belong to so many statements; the codec is the first byte of the column.
pub fn pieces(codec: u8, statements: usize) -> Result<usize, Corrupt> {
    Ok(statements.div_ceil(group_of(codec)?))
}

/// Unpacks all of so many statements.
pub fn unpack(statements: usize, lengths: &[u64], bytes: &[u8]) -> Result<Vec<Latency>, Corrupt> {
    let (&codec, mut rest) = bytes.split_first().ok_or_else(too_short)?;
    let group = group_of(codec)?;
    if lengths.len() != statements.div_ceil(group) {
        return Err(Corrupt::new("packed histograms have more lengths than pieces, or fewer"));
    }
    // A statement of the second codec takes three bits or more.
    let mut all =
        Vec::with_capacity(statements.min(bytes.len().saturating_mul(3).max(lengths.len())));
    for &length in lengths {
        let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
        let (own, after) = rest.split_at(length.ok_or_else(too_short)?);
        if codec == CODEC {
            all.push(unpack_one(codec, own)?);
        } else {
            let mut bits = Bits::of(own);
            for _ in 0..group.min(statements - all.len()) {
                all.push(read(&mut bits)?);
            }
            bits.end()?;
        }
        rest = after;
    }
    if !rest.is_empty() {
        return Err(Corrupt::new("packed histograms are longer than their lengths say"));
    }
    Ok(all)
}

/// A piece that holds some of the statements that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its bytes within the column.
    pub range: std::ops::Range<usize>,
    /// The statement that it begins with.
    pub first: usize,
    /// Which of those that are asked for it holds.
    pub wanted: std::ops::Range<usize>,
}

/// Where in the bytes some statements lie, which ascend.
pub fn find(
    codec: u8,
    lengths: &[u64],
    wanted: impl IntoIterator<Item = usize>,
) -> Result<Vec<Piece>, Corrupt> {
    let group = group_of(codec)?;
    let mut found: Vec<Piece> = Vec::new();
    // The piece that is looked at, and where it begins.
    let (mut piece, mut start) = (0, 1_usize);
    let length = |piece: usize| lengths.get(piece).and_then(|length| usize::try_from(*length).ok());
    for (nth, index) in wanted.into_iter().enumerate() {
        if let Some(last) = found.last_mut()
            && (last.first..last.first + group).contains(&index)
        {
            last.wanted.end = nth + 1;
            continue;
        }
        if index / group < piece {
            return Err(Corrupt::new("histograms are asked for out of order"));
        }
        while piece < index / group {
            let behind = length(piece).and_then(|length| start.checked_add(length));
            start = behind.ok_or_else(too_short)?;
            piece += 1;
        }
        let end = length(piece).and_then(|length| start.checked_add(length));
        let range = start..end.ok_or_else(too_short)?;
        found.push(Piece { range, first: piece * group, wanted: nth..nth + 1 });
    }
    Ok(found)
}

/// Unpacks some statements of a piece, given by how many others come before each, which ascends. Each of the piece's
/// statements is walked through at most once.
pub fn unpack_some<'a>(
    codec: u8,
    piece: &[u8],
    wanted: impl IntoIterator<Item = (usize, &'a mut Latency)>,
) -> Result<(), Corrupt> {
    let apart = group_of(codec)? == 1;
    let mut bits = Bits::of(piece);
    let mut next = 0;
    for (before, into) in wanted {
        if apart {
            *into = unpack_one(codec, piece)?;
            continue;
        }
        if before < next {
            return Err(Corrupt::new("statements of a piece are asked for out of order"));
        }
        for _ in next..before {
            pass(&mut bits)?;
        }
        read_into(&mut bits, into)?;
        next = before + 1;
    }
    Ok(())
}

/// Unpacks a piece that is one statement.
pub fn unpack_one(codec: u8, piece: &[u8]) -> Result<Latency, Corrupt> {
    if group_of(codec)? == 1 && piece.is_empty() {
        return Ok(Latency::default());
    }
    let mut bits = Bits::of(piece);
    let latency = read(&mut bits)?;
    bits.end()?;
    Ok(latency)
}

#[cold]
fn too_short() -> Corrupt {
    Corrupt::new("packed histograms end too early")
}

fn write(statement: &Latency, bits: &mut Writer) {
    // Where nothing was executed there is no longest time.
    let peak = statement.peak.filter(|_| !statement.is_empty());
    bits.put(u64::from(!statement.cached.is_empty()), 1);
    bits.put(u64::from(!statement.read.is_empty()), 1);
    bits.put(u64::from(peak.is_some()), 1);
    if let Some(place) = peak {
        bits.put(u64::from(place), 8);
    }
    for half in [&statement.cached, &statement.read] {
        write_half(half, bits);
    }
}

fn write_half(half: &Sparse, bits: &mut Writer) {
    let Some((&(first, count), rest)) = half.pairs().split_first() else { return };
    bits.put(u64::from(first), 8);
    bits.rice(count - 1, 0);
    let mut before = (first, count);
    for &(bucket, count) in rest {
        if bucket == before.0 + 1 {
            bits.rice(count, before.1.ilog2());
        } else {
            bits.rice(0, before.1.ilog2());
            bits.put(1, 1);
            bits.gamma(u64::from(bucket - before.0 - 1));
            bits.rice(count - 1, 0);
        }
        before = (bucket, count);
    }
    bits.rice(0, before.1.ilog2());
    bits.put(0, 1);
}

fn read(bits: &mut Bits) -> Result<Latency, Corrupt> {
    let mut latency = Latency::default();
    read_into(bits, &mut latency)?;
    Ok(latency)
}

/// The same into the room of another.
fn read_into(bits: &mut Bits, into: &mut Latency) -> Result<(), Corrupt> {
    let flags = bits.take(3)?;
    into.peak = if flags & 4 != 0 { Some(bits.take(8)? as u8) } else { None };
    for (there, half) in [(1, &mut into.cached), (2, &mut into.read)] {
        half.0.clear();
        if flags & there != 0 {
            walk(bits, |bucket, count| half.0.push((bucket, count)))?;
        }
    }
    Ok(())
}

/// Passes over one statement.
fn pass(bits: &mut Bits) -> Result<(), Corrupt> {
    let flags = bits.take(3)?;
    if flags & 4 != 0 {
        bits.skip(8)?;
    }
    (0..(flags & 3).count_ones()).try_for_each(|_| walk(bits, |_, _| ()))
}

/// Hands over bucket and count of a histogram.
fn walk(bits: &mut Bits, mut each: impl FnMut(u8, u64)) -> Result<(), Corrupt> {
    let mut bucket = bits.take(8)?;
    let mut count = more_than(bits.rice(0)?)?;
    loop {
        let this = u8::try_from(bucket).ok().filter(|bucket| usize::from(*bucket) < BUCKETS);
        let this = this.ok_or_else(|| {
            Corrupt::new(format!("packed histogram has bucket {bucket}, which does not exist"))
        })?;
        each(this, count);
        bucket += 1;
        count = bits.rice(count.ilog2())?;
        if count > 0 {
            continue;
        }
        if bits.take(1)? == 0 {
            return Ok(());
        }
        bucket = bucket.saturating_add(bits.gamma()?);
        count = more_than(bits.rice(0)?)?;
    }
}

fn more_than(value: u64) -> Result<u64, Corrupt> {
    value.checked_add(1).ok_or_else(too_large)
}

/// Quotients below this are so many zero bits and a one.
const UNARY: u64 = 4;
/// Bits of the longest number that is looked at once: quotient, and 32 below it.
const MOST_BITS: u32 = UNARY as u32 + 32;

#[cold]
fn too_large() -> Corrupt {
    Corrupt::new("packed histogram has a number of more than 64 bits")
}

/// Writes bits, lowest first.
struct Writer<'a> {
    out: &'a mut Vec<u8>,
    word: u64,
    filled: u32,
}

impl Writer<'_> {
    /// The low `n` bits of a value that has no others; `n` is at most 63.
    fn put(&mut self, value: u64, n: u32) {
        self.word |= value << self.filled;
        let room = 64 - self.filled;
        if n < room {
            self.filled += n;
            return;
        }
        self.out.extend_from_slice(&self.word.to_le_bytes());
        self.word = value >> room;
        self.filled = n - room;
    }

    /// A number from 1 on: as many zero bits as it has bits after the leading one, a one bit, those bits.
    fn gamma(&mut self, value: u64) {
        let after = value.ilog2();
        self.put(0, after);
        self.put(1, 1);
        self.put(value & !(1 << after), after);
    }

    /// A number from 0 on, short where it is about 2 to the power of `order`.
    fn rice(&mut self, value: u64, order: u32) {
        let quotient = value >> order;
        if quotient < UNARY {
            self.put(1 << quotient, quotient as u32 + 1);
        } else {
            self.put(0, UNARY as u32);
            self.gamma(quotient - UNARY + 1);
        }
        self.put(value & ((1 << order) - 1), order);
    }

    fn finish(self) {
        let bytes = self.filled.div_ceil(8) as usize;
        self.out.extend_from_slice(&self.word.to_le_bytes()[..bytes]);
    }
}

/// Reads bits, lowest first.
struct Bits<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    at: usize,
    /// What follows from there on, as far as it is at hand: so many bits, and zeros above them.
    word: u64,
    left: u32,
}

impl<'a> Bits<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, word: 0, left: 0 }
    }

    /// The next 57 bits or more, zero behind the end.
    #[inline]
    fn peek(&self) -> u64 {
        let rest = self.bytes.get(self.at / 8..).unwrap_or_default();
        let word = rest.first_chunk::<8>().map_or_else(
            || rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
            |eight| u64::from_le_bytes(*eight),
        );
        word >> (self.at % 8)
    }

    /// Has so many bits at hand, up to 57.
    #[inline]
    fn need(&mut self, n: u32) {
        if self.left < n {
            self.word = self.peek();
            self.left = 64 - (self.at % 8) as u32;
        }
    }

    /// Goes on by so many of the bits at hand.
    #[inline]
    fn pass(&mut self, n: u32) -> Result<(), Corrupt> {
        self.word >>= n;
        self.left -= n;
        self.at += n as usize;
        if self.at > self.bytes.len() * 8 {
            return Err(too_short());
        }
        Ok(())
    }

    /// Up to 57 bits.
    #[inline]
    fn skip(&mut self, n: u32) -> Result<(), Corrupt> {
        self.need(n);
        self.pass(n)
    }

    #[inline]
    fn take(&mut self, n: u32) -> Result<u64, Corrupt> {
        if n > 32 {
            let low = self.take_few(32)?;
            return Ok(low | self.take_few(n - 32)? << 32);
        }
        self.take_few(n)
    }

    /// Up to 32 bits.
    #[inline]
    fn take_few(&mut self, n: u32) -> Result<u64, Corrupt> {
        self.need(n);
        let value = self.word & ((1 << n) - 1);
        self.pass(n)?;
        Ok(value)
    }

    fn gamma(&mut self) -> Result<u64, Corrupt> {
        let mut zeros = 0;
        loop {
            // Of the 57 bits that are surely there.
            let run = self.peek().trailing_zeros().min(56);
            zeros += run;
            if zeros > 63 {
                return Err(too_large());
            }
            self.skip(run)?;
            if run < 56 {
                break;
            }
        }
        self.skip(1)?;
        Ok(self.take(zeros)? | 1 << zeros)
    }

    #[inline]
    fn rice(&mut self, order: u32) -> Result<u64, Corrupt> {
        self.need(MOST_BITS);
        let zeros = u64::from(self.word.trailing_zeros());
        if zeros < UNARY && order <= 32 {
            // Nearly all numbers, which are looked at once.
            let behind = zeros as u32 + 1;
            let low = (self.word >> behind) & ((1 << order) - 1);
            self.pass(behind + order)?;
            return Ok(zeros << order | low);
        }
        self.rice_large(zeros, order)
    }

    fn rice_large(&mut self, zeros: u64, order: u32) -> Result<u64, Corrupt> {
        let quotient = if zeros < UNARY {
            self.skip(zeros as u32 + 1)?;
            zeros
        } else {
            self.skip(UNARY as u32)?;
            self.gamma()?.checked_add(UNARY - 1).ok_or_else(too_large)?
        };
        if quotient.leading_zeros() < order {
            return Err(too_large());
        }
        Ok(quotient << order | self.take(order)?)
    }

    /// What follows may only be zero bits that fill up the last byte.
    fn end(&self) -> Result<(), Corrupt> {
        if self.at.div_ceil(8) == self.bytes.len() && self.peek() == 0 {
            return Ok(());
        }
        Err(Corrupt::new("packed histogram is followed by something else"))
    }
}
