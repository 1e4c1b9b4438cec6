//! Packs a column of counters into bytes and back: PFOR in blocks of 128.
//!
//! Bytes come back from disk and may be damaged: every reader here returns [`Corrupt`], never panics,
//! and never allocates more than the asked number of values. A released codec byte never changes its
//! meaning; a better codec gets the next number.
//!
//! Layout: one codec byte, then per block of up to 128 values: width (0 to 56, or 64 for raw), number of
//! exceptions, the low `width` bits of each value, and for each exception its position in the block and
//! the bits above `width` as a varint. A column whose every value is zero is better not stored at all.

use std::fmt;

/// Values per block; also the unit of random access.
pub const BLOCK: usize = 128;
/// PFOR-128; the only codec so far.
pub const CODEC: u8 = 1;
/// One unaligned load of eight bytes holds any value up to this width.
const WIDEST: usize = 56;
const RAW: u8 = 64;
/// Bytes of a full block at the widest packing, and room for the last load to run over.
const SCRATCH: usize = BLOCK * WIDEST / 8 + 8;

/// Stored bytes that cannot be what we once wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corrupt(String);

impl Corrupt {
    /// A message that names what is wrong, to stand behind the name of the row.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Corrupt {}

fn truncated() -> Corrupt {
    Corrupt::new("packed column ends too early")
}

/// Packs values. The first byte of the result names the codec.
pub fn pack(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::with_capacity(16 + values.len() * 2);
    out.push(CODEC);
    for block in values.chunks(BLOCK) {
        pack_block(block, &mut out);
    }
    out
}

/// Unpacks exactly `n` values into `out`, which is emptied first and left empty on failure.
pub fn unpack(bytes: &[u8], n: usize, out: &mut Vec<u64>) -> Result<(), Corrupt> {
    out.clear();
    let mut rest = body(bytes, n)?;
    out.resize(n, 0);
    for block in out.chunks_mut(BLOCK) {
        match unpack_block(rest, block) {
            Ok(after) => rest = after,
            Err(why) => {
                out.clear();
                return Err(why);
            }
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    out.clear();
    Err(Corrupt::new(format!("packed column is longer than {n} values")))
}

/// Packs strictly ascending ids.
pub fn pack_ids(ids: &[u32]) -> Vec<u8> {
    debug_assert!(ids.windows(2).all(|w| w[0] < w[1]), "ids must ascend");
    let mut next = 0u64;
    let deltas: Vec<u64> = ids
        .iter()
        .map(|&id| {
            let delta = u64::from(id).saturating_sub(next);
            next = u64::from(id) + 1;
            delta
        })
        .collect();
    pack(&deltas)
}

/// Unpacks exactly `n` ids into `out`, which is emptied first and left empty on failure.
pub fn unpack_ids(bytes: &[u8], n: usize, out: &mut Vec<u32>) -> Result<(), Corrupt> {
    out.clear();
    let mut rest = body(bytes, n)?;
    out.reserve_exact(n);
    let mut block = [0u64; BLOCK];
    let mut next = 0u64;
    while out.len() < n {
        let part = &mut block[..BLOCK.min(n - out.len())];
        let step = unpack_block(rest, part).and_then(|after| {
            rest = after;
            for &delta in part.iter() {
                out.push(id_after(&mut next, delta)?);
            }
            Ok(())
        });
        if let Err(why) = step {
            out.clear();
            return Err(why);
        }
    }
    if rest.is_empty() {
        return Ok(());
    }
    out.clear();
    Err(Corrupt::new(format!("packed ids are longer than {n} values")))
}

/// The value at `index` of `n`, decoding only its block.
pub fn unpack_one(bytes: &[u8], n: usize, index: usize) -> Result<u64, Corrupt> {
    let mut out = Vec::with_capacity(1);
    unpack_some(bytes, n, &[index], &mut out)?;
    out.pop().ok_or_else(truncated)
}

/// The values at some places of `n`, which ascend, decoding only their blocks. What lies behind the last
/// of these blocks is neither needed nor checked: `bytes` may be the beginning of a column. Returns how
/// many bytes were needed.
pub fn unpack_some(
    bytes: &[u8],
    n: usize,
    places: &[usize],
    out: &mut Vec<u64>,
) -> Result<usize, Corrupt> {
    out.clear();
    if let Some(last) = places.last().filter(|last| **last >= n) {
        return Err(Corrupt::new(format!("position {last} of a column of {n} values")));
    }
    let mut rest = codec_body(bytes)?;
    let mut block = [0u64; BLOCK];
    // Number of the block that `rest` begins with, and of the one that was decoded.
    let (mut next, mut decoded) = (0, None);
    for &place in places {
        let wanted = place / BLOCK;
        if decoded != Some(wanted) {
            while next < wanted {
                rest = skip_block(rest)?;
                next += 1;
            }
            rest = unpack_block(rest, &mut block[..BLOCK.min(n - wanted * BLOCK)])?;
            next += 1;
            decoded = Some(wanted);
        }
        out.push(block[place % BLOCK]);
    }
    Ok(bytes.len() - rest.len())
}

/// About how many bytes of a column of `total` bytes hold the values up to `place` of `n`; a guess that
/// is right more often than not, for reading no more of a column than is needed.
pub fn prefix_len(total: usize, n: usize, place: usize) -> usize {
    let (blocks, needed) = (n.div_ceil(BLOCK).max(1), place / BLOCK + 1);
    // Ids were handed out by descending time: the first blocks are the widest.
    total.min(total / blocks * needed * 5 / 4 + 128)
}

/// Position of `id` among `n` packed ids.
pub fn find_id(bytes: &[u8], n: usize, id: u32) -> Result<Option<usize>, Corrupt> {
    let mut out = Vec::with_capacity(1);
    find_ids(bytes, n, &[id], &mut out)?;
    Ok(out.pop().flatten())
}

/// Positions of some ids, which ascend, among `n` packed ids.
pub fn find_ids(
    bytes: &[u8],
    n: usize,
    ids: &[u32],
    out: &mut Vec<Option<usize>>,
) -> Result<(), Corrupt> {
    out.clear();
    let mut rest = body(bytes, n)?;
    let mut block = [0u64; BLOCK];
    let mut next = 0u64;
    let mut done = 0;
    while done < n && out.len() < ids.len() {
        let part = &mut block[..BLOCK.min(n - done)];
        rest = unpack_block(rest, part)?;
        // The last id of the block tells whether there is anything to look for in it.
        let sum = part.iter().fold(0u64, |sum, delta| sum.saturating_add(*delta));
        let end = next.saturating_add(sum).saturating_add(part.len() as u64);
        if end > u64::from(u32::MAX) + 1 {
            return Err(Corrupt::new("packed ids run out of range"));
        }
        let mut at = next;
        let mut place = 0;
        while let Some(&id) = ids.get(out.len()).filter(|id| u64::from(**id) < end) {
            while place < part.len() && at + part[place] < u64::from(id) {
                at += part[place] + 1;
                place += 1;
            }
            let found = place < part.len() && at + part[place] == u64::from(id);
            out.push(found.then_some(done + place));
        }
        next = end;
        done += part.len();
    }
    out.resize(ids.len(), None);
    Ok(())
}

fn id_after(next: &mut u64, delta: u64) -> Result<u32, Corrupt> {
    let id = next
        .checked_add(delta)
        .and_then(|id| u32::try_from(id).ok())
        .ok_or_else(|| Corrupt::new("packed ids run out of range"))?;
    *next = u64::from(id) + 1;
    Ok(id)
}

/// Checks the codec byte, and that so many values can be in there at all: a wrong `n` must not
/// allocate gigabytes.
fn body(bytes: &[u8], n: usize) -> Result<&[u8], Corrupt> {
    let rest = codec_body(bytes)?;
    if rest.len() / 2 < n.div_ceil(BLOCK) {
        return Err(truncated());
    }
    Ok(rest)
}

/// What follows the codec byte.
fn codec_body(bytes: &[u8]) -> Result<&[u8], Corrupt> {
    let (&codec, rest) =
        bytes.split_first().ok_or_else(|| Corrupt::new("packed column is empty"))?;
    if codec != CODEC {
        return Err(Corrupt::new(format!(
            "packed column uses codec {codec}, this library knows only {CODEC}"
        )));
    }
    Ok(rest)
}

/// Whether a column is zero throughout.
pub(crate) fn is_zero(values: &[u64]) -> bool {
    values.iter().fold(0, |all, value| all | value) == 0
}

fn bits(value: u64) -> usize {
    64 - value.leading_zeros() as usize
}

/// The width that makes the block smallest, and how many values do not fit into it.
fn choose_width(block: &[u64]) -> (usize, usize) {
    let mut lengths = [0u16; 65];
    let mut all = 0;
    for &value in block {
        lengths[bits(value)] += 1;
        all |= value;
    }
    let most = bits(all);
    let mut best = if most <= WIDEST {
        (most, 0, (block.len() * most).div_ceil(8))
    } else {
        (RAW as usize, 0, block.len() * 8)
    };
    let mut exceptions = 0;
    for width in (0..most).rev() {
        exceptions += lengths[width + 1] as usize;
        // Narrower ones only get worse once the positions alone cost more than the best so far.
        if exceptions * 2 >= best.2 {
            break;
        }
        if width > WIDEST {
            continue;
        }
        let mut cost = (block.len() * width).div_ceil(8);
        for (length, &count) in lengths.iter().enumerate().take(most + 1).skip(width + 1) {
            cost += count as usize * (1 + (length - width).div_ceil(7));
        }
        if cost < best.2 {
            best = (width, exceptions, cost);
        }
    }
    (best.0, best.1)
}

fn pack_block(block: &[u64], out: &mut Vec<u8>) {
    // Most counters of most statements never move.
    if is_zero(block) {
        return out.extend_from_slice(&[0, 0]);
    }
    let (width, exceptions) = choose_width(block);
    out.push(width as u8);
    out.push(exceptions as u8);
    if width == RAW as usize {
        for value in block {
            out.extend_from_slice(&value.to_le_bytes());
        }
        return;
    }
    if width > 0 {
        pack_low(block, width, out);
    }
    if exceptions == 0 {
        return;
    }
    for (position, &value) in block.iter().enumerate() {
        let mut high = value >> width;
        if high > 0 {
            out.push(position as u8);
            while high >= 0x80 {
                out.push(high as u8 | 0x80);
                high >>= 7;
            }
            out.push(high as u8);
        }
    }
}

fn pack_low(block: &[u64], width: usize, out: &mut Vec<u8>) {
    let mask = (1u64 << width) - 1;
    let end = out.len() + (block.len() * width).div_ceil(8);
    let mut word = 0u64;
    let mut filled = 0;
    for &value in block {
        let low = value & mask;
        word |= low << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            // What of this value did not fit; the shift is below the width, as the width is below 64.
            word = if filled == 0 { 0 } else { low >> (width - filled) };
        }
    }
    if filled > 0 {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.truncate(end);
}

/// Decodes one block into `out` and returns what follows it.
fn unpack_block<'a>(bytes: &'a [u8], out: &mut [u64]) -> Result<&'a [u8], Corrupt> {
    let [width, exceptions, rest @ ..] = bytes else { return Err(truncated()) };
    let packed = packed_len(*width, *exceptions, out.len())?;
    if rest.len() < packed {
        return Err(truncated());
    }
    let width = *width as usize;
    if width == RAW as usize {
        for (value, raw) in out.iter_mut().zip(rest.chunks_exact(8)) {
            *value = load(raw);
        }
    } else if width == 0 {
        out.fill(0);
    } else if rest.len() >= packed + 8 {
        unpack_low(&rest[..packed + 8], width, out);
    } else {
        // At the very end of the column a load would run over it.
        let mut scratch = [0u8; SCRATCH];
        scratch[..packed].copy_from_slice(&rest[..packed]);
        unpack_low(&scratch[..packed + 8], width, out);
    }
    let mut rest = &rest[packed..];
    for _ in 0..*exceptions {
        let (&position, after) = rest.split_first().ok_or_else(truncated)?;
        let (high, after) = varint(after)?;
        let value = out
            .get_mut(position as usize)
            .ok_or_else(|| Corrupt::new("packed column has an exception outside its block"))?;
        if high.leading_zeros() < width as u32 {
            return Err(Corrupt::new("packed column has a value of more than 64 bits"));
        }
        *value |= high << width;
        rest = after;
    }
    Ok(rest)
}

/// Steps over one full block.
fn skip_block(bytes: &[u8]) -> Result<&[u8], Corrupt> {
    let [width, exceptions, rest @ ..] = bytes else { return Err(truncated()) };
    let packed = packed_len(*width, *exceptions, BLOCK)?;
    let mut rest = rest.get(packed..).ok_or_else(truncated)?;
    // A position, and the last byte of a number, have a clear top bit; the bytes between do not.
    let mut ends = 2 * u32::from(*exceptions);
    while ends > 0 {
        if let Some(eight) = rest.first_chunk::<8>() {
            let clear = (!u64::from_le_bytes(*eight) & 0x8080_8080_8080_8080).count_ones();
            // The last end may lie before the eighth byte: then byte by byte.
            if clear < ends {
                ends -= clear;
                rest = &rest[8..];
                continue;
            }
        }
        let (&byte, after) = rest.split_first().ok_or_else(truncated)?;
        ends -= u32::from(byte < 0x80);
        rest = after;
    }
    Ok(rest)
}

fn packed_len(width: u8, exceptions: u8, n: usize) -> Result<usize, Corrupt> {
    let known = width as usize <= WIDEST || (width == RAW && exceptions == 0);
    if !known || exceptions as usize > n {
        return Err(Corrupt::new(format!(
            "packed column has a block of width {width} with {exceptions} exceptions in {n} values"
        )));
    }
    Ok((n * width as usize).div_ceil(8))
}

/// `bytes` holds the packed values and eight more.
fn unpack_low(bytes: &[u8], width: usize, out: &mut [u64]) {
    let mask = (1u64 << width) - 1;
    // Eight values take exactly `width` bytes, so each group starts on a byte of its own.
    let mut groups = out.chunks_exact_mut(8);
    let mut start = 0;
    for group in &mut groups {
        let window = &bytes[start..start + width + 8];
        for (i, value) in group.iter_mut().enumerate() {
            let bit = i * width;
            *value = load(&window[bit / 8..]) >> (bit % 8) & mask;
        }
        start += width;
    }
    for (i, value) in groups.into_remainder().iter_mut().enumerate() {
        let bit = i * width;
        *value = load(&bytes[start + bit / 8..]) >> (bit % 8) & mask;
    }
}

/// The first eight bytes as a number; the bytes may lie unaligned.
fn load(bytes: &[u8]) -> u64 {
    bytes.first_chunk::<8>().map_or(0, |raw| u64::from_le_bytes(*raw))
}

fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Corrupt> {
    let mut value = 0u64;
    for (i, &byte) in bytes.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        if i == 9 && part > 1 {
            break;
        }
        value |= part << (7 * i);
        if byte < 0x80 {
            return Ok((value, &bytes[i + 1..]));
        }
    }
    Err(if bytes.len() < 10 {
        truncated()
    } else {
        Corrupt::new("packed column has an overlong number")
    })
}

#[cfg(test)]
mod tests;
