//! What changed between two looks at the catalog: objects that came, went, were altered or renamed. Much
//! of one kind at once is told as one change, so that a trend is not buried under its own marks.
//!
//! It must never report a difference in how something is written down, only in what it is.

use std::collections::{BTreeMap, HashMap, HashSet};

/// More changes of one kind and action than this are told as one.
pub const MOST: usize = 50;
/// Names listed by a change that stands for many.
const LISTED: usize = 20;
/// What stands for a definition that could not be read in time.
const UNREAD: &str = "(definition not read)";

mod brief;

pub use brief::{Noticed, brief};

/// What is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An extension.
    Extension,
    /// A table, a partitioned table or a materialized view.
    Table,
    /// An index of such a table.
    Index,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Extension, Self::Table, Self::Index];

    /// As changes spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Extension => "extension",
            Self::Table => "table",
            Self::Index => "index",
        }
    }

    /// The kind of that name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Extension => "extensions",
            Self::Table => "tables",
            Self::Index => "indexes",
        }
    }

    /// What several parts of one table are called.
    fn parts(self) -> &'static str {
        match self {
            Self::Extension => "extensions of",
            Self::Table => "partitions of",
            Self::Index => "indexes of partitions of",
        }
    }
}

/// What a server tells its objects apart by, as long as they live.
pub type Key = (Kind, u32);

/// An object as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// What it is.
    pub kind: Kind,
    /// The server's number for it.
    pub oid: u32,
    /// Its name as it would be written in a statement.
    pub name: String,
    /// How it is made; `None` if it could not be read yet.
    pub definition: Option<String>,
    /// The topmost table that it, or its table, is a partition or child of.
    pub parent: Option<String>,
    /// The table of an index, else 0.
    pub table: u32,
    /// Hash of everything that its definition may speak of, names of others included.
    pub mark: u64,
    /// Hash of what it is, whatever it and others are called.
    pub shape: u64,
    /// Which version of which server wrote the definition: those of two cannot be compared.
    pub form: i32,
}

impl Object {
    /// What it is known by.
    pub fn key(&self) -> Key {
        (self.kind, self.oid)
    }

    /// Whether it is what stood under the same name in a database of which this one is a copy, as far as
    /// that is known.
    pub fn is_copy_of(&self, original: &Self) -> bool {
        let same_name = self.kind == original.kind && self.name == original.name;
        same_name && !differs(original, self)
    }

    fn words(&self) -> String {
        self.definition.clone().unwrap_or_else(|| UNREAD.to_owned())
    }
}

/// One change, ready to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What changed: `extension`, `table`, `index`, `setting`, `plan_flip` or `mark`.
    pub kind: String,
    /// What it is called, since the change.
    pub name: String,
    /// What it was; `None`: it was not there.
    pub old: Option<String>,
    /// What it is; `None`: it is not there any more.
    pub new: Option<String>,
}

/// In the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Action {
    Dropped,
    Renamed,
    Altered,
    Created,
}

/// One object's change, before many are made one.
#[derive(Debug)]
struct Item<'a> {
    action: Action,
    object: &'a Object,
    before: Option<&'a Object>,
}

/// Tells what changed. `before` holds, as they were last seen, the objects that are not watched any more and
/// those in `now`, which holds those that are new or may differ. Of those that are not watched any more,
/// some are still `there`: they did not go. Changes stand in the order in which they are to be told: what
/// went before what came.
pub fn between(before: &[Object], now: &[Object], there: &HashSet<Key>) -> Vec<Change> {
    let mut items = items(before, now, there);
    items.sort_by(|a, b| a.object.name.cmp(&b.object.name));
    let mut groups: BTreeMap<(Action, Kind, Option<&str>), Vec<Item<'_>>> = BTreeMap::new();
    for item in without_parts(items) {
        let parent = item.object.parent.as_deref();
        groups.entry((item.action, item.object.kind, parent)).or_default().push(item);
    }
    // By action and kind: changes of single objects, then those that stand for several.
    let mut told: BTreeMap<(Action, Kind), (Vec<Item<'_>>, Vec<Change>)> = BTreeMap::new();
    for ((action, kind, parent), items) in groups {
        let (single, several) = told.entry((action, kind)).or_default();
        match parent {
            Some(parent) if items.len() > 1 => {
                let name = format!("{} {} {parent}", items.len(), kind.parts());
                several.push(together(action, kind, name, &items));
            }
            _ => single.extend(items),
        }
    }
    let mut changes = Vec::new();
    for ((action, kind), (mut single, several)) in told {
        single.sort_by(|a, b| a.object.name.cmp(&b.object.name));
        if single.len() > MOST {
            let name = format!("{} {}", single.len(), kind.plural());
            changes.push(together(action, kind, name, &single));
        } else {
            changes.extend(single.iter().map(alone));
        }
        changes.extend(several);
    }
    changes
}

fn items<'a>(before: &'a [Object], now: &'a [Object], there: &HashSet<Key>) -> Vec<Item<'a>> {
    let watched: HashSet<Key> = now.iter().map(Object::key).collect();
    let known: HashMap<Key, &Object> = before.iter().map(|object| (object.key(), object)).collect();
    // What was made anew under the name of something that went is the same thing to everybody.
    let mut gone: BTreeMap<(Kind, &str), &Object> = BTreeMap::new();
    let mut items = Vec::new();
    let mut dropped: Vec<&Object> = Vec::new();
    for object in before.iter().filter(|object| !watched.contains(&object.key())) {
        dropped.extend(gone.insert((object.kind, &object.name), object));
    }
    for object in now {
        if let Some(&before) = known.get(&object.key()) {
            if before.name != object.name {
                items.push(Item { action: Action::Renamed, object, before: Some(before) });
            }
            if before.shape != object.shape && differs(before, object) {
                items.push(Item { action: Action::Altered, object, before: Some(before) });
            }
        } else if let Some(before) = gone.remove(&(object.kind, object.name.as_str())) {
            if differs(before, object) {
                items.push(Item { action: Action::Altered, object, before: Some(before) });
            }
        } else {
            items.push(Item { action: Action::Created, object, before: None });
        }
    }
    dropped.extend(gone.into_values());
    let dropped = dropped.into_iter().filter(|object| !there.contains(&object.key()));
    items.extend(dropped.map(|object| Item { action: Action::Dropped, object, before: None }));
    items
}

/// Whether the two are known to be made differently.
fn differs(before: &Object, now: &Object) -> bool {
    let both = before.definition.is_some() && now.definition.is_some();
    both && before.form == now.form && before.definition != now.definition
}

/// Leaves out indexes of partitions that came or went with them.
fn without_parts(items: Vec<Item<'_>>) -> Vec<Item<'_>> {
    let of = |action: Action, kind: Kind| {
        let found = items.iter().filter(move |i| i.action == action && i.object.kind == kind);
        found.map(|i| i.object.oid).collect::<HashSet<u32>>()
    };
    let (created, dropped) = (of(Action::Created, Kind::Table), of(Action::Dropped, Kind::Table));
    let goes_with_table = |item: &Item<'_>| {
        let tables = match item.action {
            Action::Created => &created,
            Action::Dropped => &dropped,
            Action::Renamed | Action::Altered => return false,
        };
        item.object.kind == Kind::Index
            && item.object.parent.is_some()
            && tables.contains(&item.object.table)
    };
    items.into_iter().filter(|item| !goes_with_table(item)).collect()
}

fn alone(item: &Item<'_>) -> Change {
    let object = item.object;
    let (old, new) = match item.action {
        Action::Created => (None, Some(object.words())),
        Action::Dropped => (Some(object.words()), None),
        Action::Altered => (item.before.map(Object::words), Some(object.words())),
        Action::Renamed => (
            item.before.map(|before| before.name.clone()),
            Some(format!("renamed to {}", object.name)),
        ),
    };
    Change { kind: object.kind.as_str().to_owned(), name: object.name.clone(), old, new }
}

fn together(action: Action, kind: Kind, name: String, items: &[Item<'_>]) -> Change {
    let now = list(items, |item| &item.object.name);
    let (old, new) = match action {
        Action::Created => (None, Some(now)),
        Action::Dropped => (Some(now), None),
        Action::Altered => (Some(now), Some("altered".to_owned())),
        Action::Renamed => (
            Some(list(items, |item| item.before.map_or("", |before| &before.name))),
            Some(format!("renamed to {now}")),
        ),
    };
    Change { kind: kind.as_str().to_owned(), name, old, new }
}

fn list<'a>(items: &'a [Item<'a>], name: impl Fn(&'a Item<'a>) -> &'a str) -> String {
    let mut named: Vec<&str> = items.iter().map(name).collect();
    let rest = named.len().saturating_sub(LISTED);
    named.truncate(LISTED);
    let mut text = named.join(", ");
    if rest > 0 {
        text.push_str(&format!(" and {rest} more"));
    }
    text
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
