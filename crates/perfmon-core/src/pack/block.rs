//! Blocks of a packed column; what they look like is said one level up.

use super::{BLOCK, Corrupt, WITH_HOLES, is_zero, truncated};

/// Marks a block that leaves out its zeros.
pub(super) const HOLES: u8 = 0x80;
/// One unaligned load of eight bytes holds any value up to this width.
const WIDEST: usize = 56;
const RAW: u8 = 64;
/// Bytes of a full block at the widest packing, and room for the last load to run over.
const SCRATCH: usize = BLOCK * WIDEST / 8 + 8;

fn bits(value: u64) -> usize {
    64 - value.leading_zeros() as usize
}

/// The width that makes the block smallest, how many values do not fit into it, and how many bytes that takes.
pub(super) fn choose_width(block: &[u64]) -> (usize, usize, usize) {
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
    // Bytes of the numbers behind the exceptions' positions, by width: each has as many as there are steps of seven bits
    // from the width that it still reaches beyond, so a width's are those of the width seven above and one for each exception.
    let mut behind = [0usize; 64 + 7];
    let mut exceptions = 0;
    for width in (0..most).rev() {
        exceptions += lengths[width + 1] as usize;
        behind[width] = exceptions + behind[width + 7];
        // Narrower ones only get worse once the positions alone cost more than the best so far.
        if exceptions * 2 >= best.2 {
            break;
        }
        if width > WIDEST {
            continue;
        }
        let cost = (block.len() * width).div_ceil(8) + exceptions + behind[width];
        if cost < best.2 {
            best = (width, exceptions, cost);
        }
    }
    best
}

/// Whether the block leaves out its zeros.
pub(super) fn pack_block(block: &[u64], out: &mut Vec<u8>) -> bool {
    // Most counters of most statements never move.
    if is_zero(block) {
        out.extend_from_slice(&[0, 0]);
        return false;
    }
    let best = choose_width(block);
    let zeros = block.iter().filter(|value| **value == 0).count();
    if zeros * 8 >= block.len() {
        let (mut there, mut values, mut n) = (0u128, [0u64; BLOCK], 0);
        for (place, &value) in block.iter().enumerate() {
            // What a zero writes is overwritten.
            values[n] = value.wrapping_sub(1);
            n += usize::from(value != 0);
            there |= u128::from(value != 0) << place;
        }
        let values = &values[..n];
        let without = choose_width(values);
        let bits = block.len().div_ceil(8);
        if bits + without.2 < best.2 {
            out.push(without.0 as u8 | HOLES);
            out.push(without.1 as u8);
            out.extend_from_slice(&there.to_le_bytes()[..bits]);
            pack_values(values, without.0, without.1, out);
            return true;
        }
    }
    out.push(best.0 as u8);
    out.push(best.1 as u8);
    pack_values(block, best.0, best.1, out);
    false
}

/// What follows the two bytes of a block.
fn pack_values(block: &[u64], width: usize, exceptions: usize, out: &mut Vec<u8>) {
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
    let mut packed = [0u8; SCRATCH];
    let mut words = packed.chunks_exact_mut(8);
    let mut put = |word: u64| {
        if let Some(next) = words.next() {
            next.copy_from_slice(&word.to_le_bytes());
        }
    };
    let mut word = 0u64;
    let mut filled = 0;
    for &value in block {
        let low = value & mask;
        word |= low << filled;
        filled += width;
        if filled >= 64 {
            put(word);
            filled -= 64;
            // What of this value did not fit; the shift is below the width, as the width is below 64.
            word = if filled == 0 { 0 } else { low >> (width - filled) };
        }
    }
    if filled > 0 {
        put(word);
    }
    out.extend_from_slice(&packed[..(block.len() * width).div_ceil(8)]);
}

/// Decodes one block into `out` and returns what follows it.
pub(super) fn unpack_block<'a>(
    codec: u8,
    bytes: &'a [u8],
    out: &mut [u64],
) -> Result<&'a [u8], Corrupt> {
    let [width, exceptions, rest @ ..] = bytes else { return Err(truncated()) };
    if codec != WITH_HOLES || width & HOLES == 0 {
        return unpack_values((*width, *exceptions), rest, out);
    }
    let (there, rest) = split_holes(rest, out.len())?;
    let n = there.count_ones() as usize;
    let rest = unpack_values((width & !HOLES, *exceptions), rest, &mut out[..n])?;
    // From the last on, so that none is overwritten before it is moved.
    let mut next = n;
    for place in (0..out.len()).rev() {
        let bit = (there >> place) as u64 & 1;
        next -= bit as usize;
        out[place] = out[next].wrapping_add(1) & bit.wrapping_neg();
    }
    Ok(rest)
}

/// Which values of a block are more than zero.
fn split_holes(bytes: &[u8], n: usize) -> Result<(u128, &[u8]), Corrupt> {
    let (bits, rest) = bytes.split_at_checked(n.div_ceil(8)).ok_or_else(truncated)?;
    let mut all = [0u8; BLOCK / 8];
    all.get_mut(..bits.len()).ok_or_else(truncated)?.copy_from_slice(bits);
    let there = u128::from_le_bytes(all);
    if n < BLOCK && there >> n != 0 {
        return Err(Corrupt::new("packed column has a value outside its block"));
    }
    Ok((there, rest))
}

/// Decodes what follows the two bytes of a block.
fn unpack_values<'a>(
    (width, exceptions): (u8, u8),
    rest: &'a [u8],
    out: &mut [u64],
) -> Result<&'a [u8], Corrupt> {
    let packed = packed_len(width, exceptions, out.len())?;
    if rest.len() < packed {
        return Err(truncated());
    }
    let width = width as usize;
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
    for _ in 0..exceptions {
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
pub(super) fn skip_block(codec: u8, bytes: &[u8]) -> Result<&[u8], Corrupt> {
    let [width, exceptions, rest @ ..] = bytes else { return Err(truncated()) };
    let (mut width, mut rest, mut n) = (*width, rest, BLOCK);
    if codec == WITH_HOLES && width & HOLES != 0 {
        let (there, after) = split_holes(rest, BLOCK)?;
        (width, n, rest) = (width & !HOLES, there.count_ones() as usize, after);
    }
    let packed = packed_len(width, *exceptions, n)?;
    let mut rest = rest.get(packed..).ok_or_else(truncated)?;
    // A position, and the last byte of a number, have a clear top bit; the bytes between do not.
    let mut ends = 2 * u32::from(*exceptions);
    while ends > 0 {
        if let Some(eight) = rest.first_chunk::<8>() {
            let clear = clear_tops(u64::from_le_bytes(*eight));
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

/// How many bytes of a word have a clear top bit. A processor that is not known to count bits does not need to: all that
/// may be set lie a byte apart, and a multiplication adds them up in the highest byte.
fn clear_tops(word: u64) -> u32 {
    let tops = !word >> 7 & 0x0101_0101_0101_0101;
    (tops.wrapping_mul(0x0101_0101_0101_0101) >> 56) as u32
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
