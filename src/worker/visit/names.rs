//! Dictionary ids of what is met in visit after visit, such as routes and pools: kept from one visit to the next with the
//! names under which they were given, as asking the dictionary takes longer than all else that is done about them.

use std::cell::RefCell;
use std::collections::HashMap;

use perfmon_core::delta::Difference;
use perfmon_core::family::{DATABASE, Family, SERVER, STATEMENT};
use perfmon_core::frame::Key;

use super::Visit;
use crate::store;
use crate::store::dictionary::Names;

/// Most names that are kept; the dictionary has them all.
const MOST: usize = 5_000;

type ByFamily = HashMap<String, HashMap<Names, u32>>;

/// Names of earlier visits, and those of this one.
#[derive(Default)]
pub(super) struct Known {
    before: ByFamily,
    now: RefCell<ByFamily>,
}

impl Known {
    /// What [`Known::encode`] wrote; nothing where that cannot be read.
    pub(super) fn decode(bytes: Option<Vec<u8>>) -> Self {
        let kept: Option<Vec<(String, Names, u32)>> =
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let mut before = ByFamily::new();
        for (family, names, id) in kept.into_iter().flatten() {
            before.entry(family).or_default().insert(names, id);
        }
        Self { before, now: RefCell::default() }
    }

    /// Bytes to be kept until the next visit; `None` where those of the last one say the same.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        let now = self.now.borrow();
        if *now == self.before {
            return None;
        }
        let all = now.iter().flat_map(|(family, known)| {
            known.iter().map(move |(names, id)| (family.as_str(), names, *id))
        });
        serde_json::to_vec(&all.take(MOST).collect::<Vec<_>>()).ok()
    }

    fn find(&self, family: &Family, names: &Names) -> Option<u32> {
        let in_one = |known: &ByFamily| known.get(family.name)?.get(names).copied();
        in_one(&self.now.borrow()).or_else(|| in_one(&self.before))
    }

    fn learn(&self, family: &Family, names: &Names, id: u32) {
        let mut now = self.now.borrow_mut();
        if !now.contains_key(family.name) {
            now.insert(family.name.to_owned(), HashMap::new());
        }
        if let Some(known) = now.get_mut(family.name)
            && !known.contains_key(names)
        {
            known.insert(names.clone(), id);
        }
    }
}

impl Visit {
    /// Dictionary ids of these names, in their order; unknown ones are entered.
    pub(super) fn ids_of(&self, family: &Family, names: &[Names]) -> Vec<u32> {
        let mut ids: Vec<Option<u32>> =
            names.iter().map(|one| self.known.find(family, one)).collect();
        let unknown: Vec<usize> = (0..ids.len()).filter(|at| ids[*at].is_none()).collect();
        let asked: Vec<Names> = unknown.iter().map(|at| names[*at].clone()).collect();
        let given = store::dictionary::resolve(family, self.source, &asked, self.until);
        for (at, id) in unknown.into_iter().zip(given) {
            ids[at] = Some(id);
        }
        let ids: Vec<u32> = ids.into_iter().map(Option::unwrap_or_default).collect();
        for (names, id) in names.iter().zip(&ids) {
            self.known.learn(family, names, *id);
        }
        ids
    }

    /// The same, but of the unknown ones only so many are entered, the heaviest; 0 for the others.
    pub(super) fn ids_of_heaviest(
        &self,
        family: &Family,
        (names, weights): (&[Names], &[u64]),
        most: usize,
    ) -> Vec<u32> {
        let known = |one: &Names| self.known.find(family, one).unwrap_or(0);
        let mut ids: Vec<u32> = names.iter().map(known).collect();
        let unknown: Vec<usize> = (0..ids.len()).filter(|at| ids[*at] == 0).collect();
        let asked: Vec<Names> = unknown.iter().map(|at| names[*at].clone()).collect();
        for (at, id) in unknown.iter().zip(store::dictionary::find(family, self.source, &asked)) {
            ids[*at] = id;
        }
        let mut new: Vec<usize> = unknown.into_iter().filter(|at| ids[*at] == 0).collect();
        new.sort_by_key(|at| std::cmp::Reverse(weights.get(*at)));
        new.truncate(most);
        let entered: Vec<Names> = new.iter().map(|at| names[*at].clone()).collect();
        if !entered.is_empty() {
            let none = vec![0; entered.len()];
            let given = store::dictionary::enter(family, self.source, (&entered, none), self.until);
            for (at, id) in new.into_iter().zip(given) {
                ids[at] = id;
            }
        }
        for (names, id) in names.iter().zip(&ids).filter(|(_, id)| **id != 0) {
            self.known.learn(family, names, *id);
        }
        ids
    }

    /// Dictionary id of a statement that has one and is among those that were read: asking the dictionary for many
    /// takes longer than all else about them.
    pub(super) fn statement_id(&self, query_id: u64, user: u32, toplevel: bool) -> Option<u32> {
        let (keys, ids) = &self.statement_ids;
        let key = Key(query_id, u64::from(user) * 2 + u64::from(toplevel));
        let at = keys.binary_search(&key).ok()?;
        ids.get(at).copied().filter(|id| *id != 0)
    }

    /// Dictionary ids of statements, given by user, queryid and whether a client sent them, in the same order.
    pub(super) fn statement_ids_of(
        &self,
        statements: &[(u32, u64, bool)],
        mut user_name: impl FnMut(u32) -> String,
    ) -> Vec<u32> {
        let mut ids: Vec<u32> = Vec::with_capacity(statements.len());
        let (mut unknown, mut names) = (Vec::new(), Vec::new());
        for &(user, query_id, toplevel) in statements {
            let id = self.statement_id(query_id, user, toplevel);
            if id.is_none() {
                unknown.push(ids.len());
                let toplevel = if toplevel { "t" } else { "f" };
                let queryid = (query_id as i64).to_string();
                names.push([user_name(user), queryid, toplevel.to_owned()]);
            }
            ids.push(id.unwrap_or(0));
        }
        let found = store::dictionary::resolve(&STATEMENT, self.source, &names, self.until);
        for (at, id) in unknown.into_iter().zip(found) {
            ids[at] = id;
        }
        ids
    }

    /// Dictionary ids for the objects that moved for the first time; how many were read, and what each is called.
    pub(super) fn name_objects(
        &mut self,
        family: &Family,
        difference: &Difference,
        (all, name): (usize, &dyn Fn(usize) -> Names),
    ) -> Vec<(usize, u32)> {
        let unnamed = difference.needs_name();
        if unnamed.is_empty() || family.name == SERVER.name {
            return Vec::new();
        }
        self.new_queryids |= family.name == STATEMENT.name;
        if family.name == DATABASE.name {
            let all: Vec<Names> = (0..all).map(name).collect();
            store::database::follow(self.source, &all);
        }
        let names: Vec<Names> = unnamed.iter().map(|i| name(*i)).collect();
        let ids = store::dictionary::resolve(family, self.source, &names, self.until);
        unnamed.iter().copied().zip(ids).collect()
    }
}
