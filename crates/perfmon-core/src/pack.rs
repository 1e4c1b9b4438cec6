//! Packs a column of counters into bytes and back: PFOR in blocks of 128.
//!
//! Bytes come back from disk and may be damaged: every reader here returns [`Corrupt`], never panics,
//! and never allocates more than the asked number of values. A released codec byte never changes its
//! meaning; a better codec gets the next number.
//!
//! Layout: one codec byte, then per block of up to 128 values: width (0 to 56, or 64 for raw), number of
//! exceptions, the low `width` bits of each value, and for each exception its position in the block and
//! the bits above `width` as a varint. A column whose every value is zero is better not stored at all.
//!
//! With the second codec, a block whose width has its top bit set leaves out its zeros, since what a statement does not do
//! at all lies between what others do much of: after the two bytes comes a bit for each value, lowest first, that says
//! whether it is more than zero, and what follows holds only those that are, less one.

mod block;

use std::fmt;

use block::{pack_block, skip_block, unpack_block};

/// Values per block; also the unit of random access.
pub const BLOCK: usize = 128;
/// PFOR-128.
pub const CODEC: u8 = 1;
/// The same, where some blocks leave out their zeros.
pub const WITH_HOLES: u8 = 2;

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
        if pack_block(block, &mut out) {
            out[0] = WITH_HOLES;
        }
    }
    out
}

/// Unpacks exactly `n` values into `out`, which is emptied first and left empty on failure.
pub fn unpack(bytes: &[u8], n: usize, out: &mut Vec<u64>) -> Result<(), Corrupt> {
    out.clear();
    let (codec, mut rest) = body(bytes, n)?;
    out.resize(n, 0);
    for block in out.chunks_mut(BLOCK) {
        match unpack_block(codec, rest, block) {
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
    let (codec, mut rest) = body(bytes, n)?;
    out.reserve_exact(n);
    let mut block = [0u64; BLOCK];
    let mut next = 0u64;
    while out.len() < n {
        let part = &mut block[..BLOCK.min(n - out.len())];
        let step = unpack_block(codec, rest, part).and_then(|after| {
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
    let (codec, mut rest) = codec_body(bytes)?;
    let mut block = [0u64; BLOCK];
    // Number of the block that `rest` begins with, and of the one that was decoded.
    let (mut next, mut decoded) = (0, None);
    for &place in places {
        let wanted = place / BLOCK;
        if decoded != Some(wanted) {
            while next < wanted {
                rest = skip_block(codec, rest)?;
                next += 1;
            }
            rest = unpack_block(codec, rest, &mut block[..BLOCK.min(n - wanted * BLOCK)])?;
            next += 1;
            decoded = Some(wanted);
        }
        out.push(block[place % BLOCK]);
    }
    Ok(bytes.len() - rest.len())
}

/// The values up to a place of `n`, and those that share its block, into `out`, which is emptied first and left empty on
/// failure. As with [`unpack_some`], `bytes` may be the beginning of a column. Returns how many were needed.
pub fn unpack_until(
    bytes: &[u8],
    n: usize,
    place: usize,
    out: &mut Vec<u64>,
) -> Result<usize, Corrupt> {
    out.clear();
    if place >= n {
        return Err(Corrupt::new(format!("position {place} of a column of {n} values")));
    }
    let wanted = n.min((place / BLOCK + 1) * BLOCK);
    let (codec, mut rest) = body(bytes, wanted)?;
    out.resize(wanted, 0);
    for block in out.chunks_mut(BLOCK) {
        match unpack_block(codec, rest, block) {
            Ok(after) => rest = after,
            Err(why) => {
                out.clear();
                return Err(why);
            }
        }
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
    let (codec, mut rest) = body(bytes, n)?;
    let mut block = [0u64; BLOCK];
    let mut next = 0u64;
    let mut done = 0;
    while done < n && out.len() < ids.len() {
        let part = &mut block[..BLOCK.min(n - done)];
        rest = unpack_block(codec, rest, part)?;
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
fn body(bytes: &[u8], n: usize) -> Result<(u8, &[u8]), Corrupt> {
    let (codec, rest) = codec_body(bytes)?;
    if rest.len() / 2 < n.div_ceil(BLOCK) {
        return Err(truncated());
    }
    Ok((codec, rest))
}

/// The codec byte, and what follows it.
fn codec_body(bytes: &[u8]) -> Result<(u8, &[u8]), Corrupt> {
    let (&codec, rest) =
        bytes.split_first().ok_or_else(|| Corrupt::new("packed column is empty"))?;
    if codec != CODEC && codec != WITH_HOLES {
        return Err(Corrupt::new(format!(
            "packed column uses codec {codec}, this library knows only {CODEC} and {WITH_HOLES}"
        )));
    }
    Ok((codec, rest))
}

/// Whether a column is zero throughout.
pub(crate) fn is_zero(values: &[u64]) -> bool {
    values.iter().fold(0, |all, value| all | value) == 0
}

#[cfg(test)]
mod tests;
