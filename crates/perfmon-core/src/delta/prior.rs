//! The previous absolute counters, and their form at rest.
//!
//! A damaged or foreign prior is refused as a whole (a checksum covers it): no prior costs one interval,
//! a wrong one would put invented numbers into the history.

use crate::family::Family;
use crate::frame::{Epoch, Key};
use crate::pack::{self, Corrupt};

/// Form of [`Prior::encode`].
const VERSION: u8 = 1;
/// What stands before the births of entries: whether all were shown. Libraries that did not know wrote the first.
const HIDES: u64 = 1;
const SHOWS: u64 = 2;
/// In place of a time that there is none of.
const NEVER: i64 = i64::MIN;

/// The last absolute counters of a family.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// What the columns are.
    pub family: &'static Family,
    /// The life of the counters when they were read.
    pub epoch: Epoch,
    /// Wall clock just before they were read, microseconds since the Unix epoch.
    pub at: i64,
    /// Strictly ascending.
    pub keys: Vec<Key>,
    /// Hash of each object's name.
    pub labels: Vec<u64>,
    /// Dictionary id of each object; 0 = none yet.
    pub ids: Vec<u32>,
    /// `columns[c][i]`; an unknown column is an empty vector.
    pub columns: Vec<Vec<u64>>,
    /// Birth of each entry, where the server tells it.
    pub born: Option<Vec<i64>>,
    /// See [`crate::frame::Reading::hides`].
    pub hides: bool,
    /// See [`crate::frame::Reading::floors`].
    pub floors: Vec<Vec<u64>>,
    /// See [`crate::frame::Reading::ceilings`].
    pub ceilings: Vec<Vec<u64>>,
    /// See [`crate::frame::Reading::marks`].
    pub marks: Vec<Vec<u64>>,
    /// How often entries had been evicted.
    pub evictions: Option<u64>,
    /// Where all objects were read once and now are not: until when of the others either counters or a gap are stored.
    pub told_until: Option<i64>,
}

impl Prior {
    /// Position of an object.
    pub fn position(&self, key: Key) -> Option<usize> {
        self.keys.binary_search(&key).ok()
    }

    /// Bytes to be kept until the next snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION, 0, 0, 0, 0];
        put_text(&mut out, self.family.name);
        put_number(&mut out, self.columns.len() as u64);
        put_text(&mut out, &self.epoch.identity);
        put_option(&mut out, self.epoch.began.map(|b| b as u64));
        put_number(&mut out, self.at as u64);
        put_number(&mut out, self.keys.len() as u64);
        put_column(&mut out, self.keys.iter().map(|k| k.0).collect());
        put_column(&mut out, self.keys.iter().map(|k| k.1).collect());
        put_column(&mut out, self.labels.clone());
        put_column(&mut out, self.ids.iter().map(|&id| u64::from(id)).collect());
        put_columns(&mut out, &self.columns);
        put_option(&mut out, self.born.as_ref().map(|_| if self.hides { HIDES } else { SHOWS }));
        if let Some(born) = &self.born {
            put_column(&mut out, born.iter().map(|&b| b as u64).collect());
        }
        for group in [&self.floors, &self.ceilings] {
            put_number(&mut out, group.len() as u64);
            put_columns(&mut out, group);
        }
        put_option(&mut out, self.evictions);
        // Left out where there is nothing to say, as by libraries that did not know it.
        if self.told_until.is_some() || !self.marks.is_empty() {
            put_number(&mut out, self.told_until.unwrap_or(NEVER) as u64);
        }
        if !self.marks.is_empty() {
            put_number(&mut out, self.marks.len() as u64);
            put_columns(&mut out, &self.marks);
        }
        let sum = checksum(&out[5..]);
        out[1..5].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// Reads what [`Prior::encode`] wrote for the same family.
    pub fn decode(family: &'static Family, bytes: &[u8]) -> Result<Self, Corrupt> {
        let [version, a, b, c, d, body @ ..] = bytes else {
            return Err(Corrupt::new("previous counters are cut off"));
        };
        if *version != VERSION {
            return Err(Corrupt::new(format!(
                "previous counters have form {version}, this library knows only {VERSION}"
            )));
        }
        if checksum(body) != u32::from_le_bytes([*a, *b, *c, *d]) {
            return Err(Corrupt::new("previous counters do not match their checksum"));
        }
        let mut from = Cursor(body);
        let name = from.text()?;
        if name != family.name {
            return Err(Corrupt::new(format!(
                "previous counters are those of {name}, not of {}",
                family.name
            )));
        }
        let width = from.number()?;
        if width != family.columns.len() as u64 {
            return Err(Corrupt::new(format!(
                "previous counters of {name} have {width} columns, not {}",
                family.columns.len()
            )));
        }
        let epoch = Epoch { identity: from.text()?, began: from.option()?.map(|b| b as i64) };
        let at = from.number()? as i64;
        let n = usize::try_from(from.number()?)
            .map_err(|_| Corrupt::new("previous counters are too many"))?;
        let keys = read_keys(&mut from, n)?;
        let labels = from.whole_column(n)?;
        let ids = from
            .whole_column(n)?
            .into_iter()
            .map(|id| u32::try_from(id).map_err(|_| Corrupt::new("previous id out of range")))
            .collect::<Result<_, _>>()?;
        let columns =
            (0..family.columns.len()).map(|_| from.column(n)).collect::<Result<_, _>>()?;
        let born = from.option()?;
        let hides = born == Some(HIDES);
        let born = match born {
            Some(_) => Some(from.whole_column(n)?.into_iter().map(|b| b as i64).collect()),
            None => None,
        };
        let floors = from.columns(n)?;
        let ceilings = from.columns(n)?;
        let evictions = from.option()?;
        let told_until = if from.0.is_empty() { NEVER } else { from.number()? as i64 };
        let marks = if from.0.is_empty() { Vec::new() } else { from.columns(n)? };
        if !from.0.is_empty() {
            return Err(Corrupt::new("previous counters have more bytes than they should"));
        }
        Ok(Self {
            family,
            epoch,
            at,
            keys,
            labels,
            ids,
            columns,
            born,
            hides,
            floors,
            ceilings,
            marks,
            evictions,
            told_until: Some(told_until).filter(|told| *told != NEVER),
        })
    }
}

fn read_keys(from: &mut Cursor<'_>, n: usize) -> Result<Vec<Key>, Corrupt> {
    let first = from.whole_column(n)?;
    let second = from.whole_column(n)?;
    let keys: Vec<Key> = first.into_iter().zip(second).map(|(a, b)| Key(a, b)).collect();
    if keys.windows(2).any(|w| w[0] >= w[1]) {
        return Err(Corrupt::new("previous counters are out of order"));
    }
    Ok(keys)
}

fn put_number(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(value.is_some().into());
    if let Some(value) = value {
        put_number(out, value);
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_columns(out: &mut Vec<u8>, columns: &[Vec<u64>]) {
    for column in columns {
        put_packed(out, column);
    }
}

fn put_column(out: &mut Vec<u8>, column: Vec<u64>) {
    put_packed(out, &column);
}

/// Unknown columns are empty, and stay apart from known ones of no objects only by the number of
/// objects, as in a reading.
fn put_packed(out: &mut Vec<u8>, column: &[u64]) {
    if column.is_empty() {
        return put_number(out, 0);
    }
    let packed = pack::pack(column);
    put_number(out, packed.len() as u64);
    out.extend_from_slice(&packed);
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) = self
            .0
            .split_at_checked(n)
            .ok_or_else(|| Corrupt::new("previous counters end too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn number(&mut self) -> Result<u64, Corrupt> {
        let raw = self.take(8)?;
        raw.first_chunk()
            .map(|raw| u64::from_le_bytes(*raw))
            .ok_or_else(|| Corrupt::new("previous counters end too early"))
    }

    fn option(&mut self) -> Result<Option<u64>, Corrupt> {
        match self.take(1)? {
            [0] => Ok(None),
            [1] => self.number().map(Some),
            _ => Err(Corrupt::new("previous counters have a broken mark")),
        }
    }

    fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let n = self.number()?;
        self.take(usize::try_from(n).unwrap_or(usize::MAX))
    }

    fn text(&mut self) -> Result<String, Corrupt> {
        let raw = self.bytes()?;
        std::str::from_utf8(raw)
            .map(str::to_owned)
            .map_err(|_| Corrupt::new("previous counters have a broken name"))
    }

    fn column(&mut self, n: usize) -> Result<Vec<u64>, Corrupt> {
        let packed = self.bytes()?;
        let mut out = Vec::new();
        if !packed.is_empty() {
            pack::unpack(packed, n, &mut out)?;
        }
        Ok(out)
    }

    fn whole_column(&mut self, n: usize) -> Result<Vec<u64>, Corrupt> {
        let column = self.column(n)?;
        if column.len() != n {
            return Err(Corrupt::new("previous counters lack a column"));
        }
        Ok(column)
    }

    fn columns(&mut self, n: usize) -> Result<Vec<Vec<u64>>, Corrupt> {
        let count = self.number()?;
        // Each takes at least the eight bytes of its length.
        if count > self.0.len() as u64 / 8 {
            return Err(Corrupt::new("previous counters end too early"));
        }
        (0..count).map(|_| self.column(n)).collect()
    }
}

/// CRC-32 (IEEE), eight bytes at a step.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    static TABLES: [[u32; 256]; 8] = tables();
    let mut crc = !0u32;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = chunk.first_chunk().map_or(0, |raw| u64::from_le_bytes(*raw)) ^ u64::from(crc);
        crc = 0;
        for (i, table) in TABLES.iter().rev().enumerate() {
            crc ^= table[(word >> (8 * i)) as u8 as usize];
        }
    }
    for &byte in chunks.remainder() {
        crc = TABLES[0][(crc as u8 ^ byte) as usize] ^ (crc >> 8);
    }
    !crc
}

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut step = 1;
    while step < 8 {
        let mut i = 0;
        while i < 256 {
            let before = tables[step - 1][i];
            tables[step][i] = (before >> 8) ^ tables[0][(before & 0xff) as usize];
            i += 1;
        }
        step += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{DATABASE, INDEX};
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(checksum(b"123456789"), 0xcbf4_3926);
        assert_eq!(checksum(b"The quick brown fox jumps over the lazy dog"), 0x414f_a339);
    }

    fn sample(n: u64) -> Prior {
        let mut columns = vec![Vec::new()];
        columns.extend(
            (1..INDEX.columns.len() as u64)
                .map(|c| if c == 6 { Vec::new() } else { (0..n).map(|i| i * c * 1000).collect() }),
        );
        Prior {
            family: &INDEX,
            epoch: Epoch { identity: "a/b timeline=3".into(), began: Some(-5) },
            at: 1_700_000_000_000_000,
            keys: (0..n).map(|i| Key(i / 2 * (u64::MAX / 1000), i % 2)).collect(),
            labels: (0..n).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect(),
            ids: (0..n as u32).rev().collect(),
            columns,
            born: Some((0..n as i64).map(|i| i - 3).collect()),
            hides: n % 2 == 1,
            floors: vec![(0..n).collect()],
            ceilings: vec![vec![0; n as usize], (0..n).collect()],
            marks: vec![(0..n).rev().collect()],
            evictions: Some(u64::MAX),
            told_until: Some(i64::MAX),
        }
    }

    #[test]
    fn it_survives_rest() {
        for n in [0, 1, 300] {
            let prior = sample(n);
            assert_eq!(Prior::decode(&INDEX, &prior.encode()).unwrap(), prior);
            let bare = Prior {
                born: None,
                hides: false,
                floors: vec![],
                evictions: None,
                told_until: None,
                ..prior
            };
            assert_eq!(Prior::decode(&INDEX, &bare.encode()).unwrap(), bare);
            let older = Prior { marks: vec![], ..bare };
            assert_eq!(Prior::decode(&INDEX, &older.encode()).unwrap(), older);
        }
    }

    #[test]
    fn a_foreign_one_is_refused() {
        let bytes = sample(3).encode();
        let said = Prior::decode(&DATABASE, &bytes).unwrap_err().to_string();
        assert!(said.contains("those of index, not of database"), "{said}");
        let mut newer = bytes.clone();
        newer[0] = 2;
        assert!(Prior::decode(&INDEX, &newer).unwrap_err().to_string().contains("form 2"));
        assert!(Prior::decode(&INDEX, &[]).is_err());
        let mut narrow = sample(3);
        narrow.columns.pop();
        assert!(
            Prior::decode(&INDEX, &narrow.encode()).unwrap_err().to_string().contains("6 columns")
        );
    }

    proptest! {
        #[test]
        fn damage_is_always_noticed(n in 0u64..40, at in 0usize..100_000, with in 1u8..) {
            let mut bytes = sample(n).encode();
            let cut = at % bytes.len();
            prop_assert!(Prior::decode(&INDEX, &bytes[..cut]).is_err());
            bytes[cut] ^= with;
            prop_assert!(Prior::decode(&INDEX, &bytes).is_err());
        }

        /// A forged checksum must not lead to a panic or a large allocation either.
        #[test]
        fn forged_bytes_never_panic(n in 0u64..40, at in 0usize..100_000, with in 1u8.., keep in 0usize..100_000) {
            let mut bytes = sample(n).encode();
            let spot = 5 + at % (bytes.len() - 5);
            bytes[spot] ^= with;
            bytes.truncate(5 + keep % (bytes.len() - 4));
            let sum = checksum(&bytes[5..]);
            bytes[1..5].copy_from_slice(&sum.to_le_bytes());
            let _ = Prior::decode(&INDEX, &bytes);
        }
    }
}
