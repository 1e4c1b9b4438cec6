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
            let mut bits = Bits { bytes: own, at: 0 };
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

/// Where one statement is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The bytes of its piece within the column.
    pub range: std::ops::Range<usize>,
    /// How many statements of the piece come before it.
    pub before: usize,
}

/// Where in the bytes a statement lies.
pub fn place(codec: u8, lengths: &[u64], index: usize) -> Result<Place, Corrupt> {
    let group = group_of(codec)?;
    let piece = index / group;
    let range = || {
        let length = usize::try_from(*lengths.get(piece)?).ok()?;
        let before = lengths[..piece].iter().try_fold(1u64, |sum, one| sum.checked_add(*one))?;
        let start = usize::try_from(before).ok()?;
        Some(start..start.checked_add(length)?)
    };
    Ok(Place { range: range().ok_or_else(too_short)?, before: index % group })
}

/// Unpacks the statement that so many others of a piece come before.
pub fn unpack_nth(codec: u8, piece: &[u8], before: usize) -> Result<Latency, Corrupt> {
    if group_of(codec)? == 1 {
        return unpack_one(codec, piece);
    }
    let mut bits = Bits { bytes: piece, at: 0 };
    for _ in 0..before {
        pass(&mut bits)?;
    }
    read(&mut bits)
}

/// Unpacks a piece that is one statement.
pub fn unpack_one(codec: u8, piece: &[u8]) -> Result<Latency, Corrupt> {
    if group_of(codec)? == 1 && piece.is_empty() {
        return Ok(Latency::default());
    }
    let mut bits = Bits { bytes: piece, at: 0 };
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
    let flags = bits.take(3)?;
    let peak = if flags & 4 != 0 { Some(bits.take(8)? as u8) } else { None };
    let mut half = |there: u64| {
        let mut pairs = Vec::new();
        if flags & there != 0 {
            walk(bits, |bucket, count| pairs.push((bucket, count)))?;
        }
        Ok(Sparse(pairs))
    };
    Ok(Latency { cached: half(1)?, read: half(2)?, peak })
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
}

impl Bits<'_> {
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

    #[inline]
    fn skip(&mut self, n: u32) -> Result<(), Corrupt> {
        self.at += n as usize;
        if self.at > self.bytes.len() * 8 {
            return Err(too_short());
        }
        Ok(())
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
        let value = self.peek() & ((1 << n) - 1);
        self.skip(n)?;
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
        let word = self.peek();
        let zeros = u64::from(word.trailing_zeros());
        if zeros < UNARY && order <= 32 {
            // Nearly all numbers, which are looked at once.
            let behind = zeros as u32 + 1;
            self.skip(behind + order)?;
            return Ok(zeros << order | (word >> behind) & ((1 << order) - 1));
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
