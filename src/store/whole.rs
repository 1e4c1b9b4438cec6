//! Whole values of one row after the other, which mostly name the same objects as those before them. It must never take one
//! row for another.

use perfmon_core::pack::{self, Corrupt};

use super::read::{Head, ids_or_none};
use super::sql::Raw;
use crate::pg::toast::{Parts, Reader};

/// Reads whole values, of rows that mostly name the same objects as those before them.
pub(super) struct Whole {
    reader: Reader,
    parts: Parts,
}

impl Whole {
    pub(super) fn new() -> Self {
        Self { reader: Reader::new(), parts: Parts::default() }
    }

    /// Lends the content of a column.
    pub(super) fn with_bytes<T>(
        &mut self,
        raw: &Raw<'_>,
        column: usize,
        f: impl FnOnce(&[u8]) -> T,
    ) -> Option<T> {
        if let Some(pointer) = raw.pointer(column)
            && self.reader.parts(&pointer, std::slice::from_ref(&(0..pointer.len)), &mut self.parts)
            && let Some(bytes) = self.parts.get(&(0..pointer.len))
        {
            return Some(f(bytes));
        }
        raw.with_bytes(column, f)
    }

    /// Unpacks ids, unless they are the same bytes as last time.
    pub(super) fn ids<'a>(
        &mut self,
        raw: &Raw<'_>,
        head: &Head,
        column: usize,
        (last, ids): (&mut Option<(usize, Vec<u8>)>, &mut Vec<u32>),
    ) -> Result<(), (&'a str, Corrupt)> {
        let done = self.with_bytes(raw, column, |bytes| {
            if last.as_ref().is_some_and(|(n, last)| *n == head.n && last == bytes) {
                return Ok(());
            }
            // What fails is empty, and nothing that the next row could have in common.
            let mut room = last.take().unwrap_or_default().1;
            pack::unpack_ids(bytes, head.n, ids)?;
            room.clear();
            room.extend_from_slice(bytes);
            *last = Some((head.n, room));
            Ok(())
        });
        if done.is_none() {
            *last = None;
            ids.clear();
        }
        ids_or_none(done, head)
    }
}
