//! Where some ids stand in one row after the other. Rows that follow each other mostly hold the same ids, and so the same
//! bytes: these are compared, and looked into only when they differ. It must never take one row for another.

use perfmon_core::pack::{self, Corrupt};

use super::sql::Raw;
use crate::pg::toast::Reader;

/// The places of the ids that are asked for, by source.
pub(super) struct Places {
    /// The packed ids that were looked into last, how many there are, and of which question that was.
    ids: Vec<u8>,
    n: usize,
    question: Option<usize>,
    found: Vec<Option<usize>>,
    /// Ids that lie out of line.
    fetched: [Vec<u8>; 1],
}

impl Places {
    pub(super) fn new() -> Self {
        Self {
            ids: Vec::new(),
            n: 0,
            question: None,
            found: Vec::new(),
            fetched: Default::default(),
        }
    }

    /// Places of ids, which ascend, among the `n` that a column of the row holds. All of a question's rows are asked for
    /// the same ones.
    pub(super) fn find(
        &mut self,
        reader: &mut Reader,
        (raw, column, n): (&Raw<'_>, usize, usize),
        (question, wanted): (usize, &[u32]),
    ) -> Result<&[Option<usize>], Corrupt> {
        let pointer = raw.pointer(column).map(|pointer| (pointer, pointer.len));
        let fetched = pointer.is_some_and(|all| reader.beginnings(&[all], &mut self.fetched));
        let done = if fetched {
            let [bytes] = std::mem::take(&mut self.fetched);
            let looked = self.look(&bytes, n, (question, wanted));
            self.fetched = [bytes];
            Some(looked)
        } else {
            raw.with_bytes(column, |bytes| self.look(bytes, n, (question, wanted)))
        };
        if done.transpose()?.is_none() {
            self.question = None;
            self.found.clear();
            self.found.resize(wanted.len(), None);
        }
        Ok(&self.found)
    }

    fn look(
        &mut self,
        bytes: &[u8],
        n: usize,
        (question, wanted): (usize, &[u32]),
    ) -> Result<(), Corrupt> {
        if self.question == Some(question) && self.n == n && self.ids == bytes {
            return Ok(());
        }
        self.question = None;
        pack::find_ids(bytes, n, wanted, &mut self.found)?;
        self.ids.clear();
        self.ids.extend_from_slice(bytes);
        (self.n, self.question) = (n, Some(question));
        Ok(())
    }
}
