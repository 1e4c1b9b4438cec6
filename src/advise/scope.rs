//! The queries of a statement, one within another, and what a column of one of them is in the end: a
//! column or expression of a table. Conditions on the result of a subquery count for the tables in it
//! where the planner would push them down.

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::pg_sys::{Node, NodeTag, Oid, Query, RTEKind, RangeTblEntry, SubLink};

use crate::pg::{analyze, compat, list, tree};

/// More queries within one statement, those of its views included, are not looked at.
const MOST_SCOPES: usize = 500;
/// Columns of columns of … are followed so far.
const DEEPEST: usize = 50;

/// A table, where it stands in the statement.
pub(super) struct Use {
    pub(super) oid: Oid,
    pub(super) read: bool,
    pub(super) written: bool,
    /// Columns that an UPDATE sets.
    pub(super) set: Vec<i16>,
    pub(super) repeated: bool,
    pub(super) conditions: Vec<super::clause::Condition>,
    pub(super) given: Vec<perfmon_core::facts::Given>,
    pub(super) group_by: Vec<String>,
    pub(super) order_by: Vec<perfmon_core::facts::Order>,
    pub(super) first_rows: bool,
}

/// What stands in a place of a query's range table.
#[derive(Clone, Copy)]
pub(super) enum Entry {
    /// By number of the use.
    Table(usize),
    /// A subquery or view, by number of its scope.
    Query(usize),
    /// Anything else, or nothing that is looked into.
    Other,
}

/// One query.
pub(super) struct Scope {
    pub(super) query: *mut Query,
    /// The query around it, whose columns it may use.
    pub(super) parent: Option<usize>,
    pub(super) entries: Vec<Entry>,
    /// Scopes of WITH, in its order.
    pub(super) ctes: Vec<usize>,
    pub(super) sublinks: Vec<(*mut SubLink, usize)>,
    /// Places whose rows an outer join may fill with NULLs.
    pub(super) nullable: Vec<c_int>,
    pub(super) judged: bool,
}

/// All queries of a statement.
pub(super) struct Scopes {
    pub(super) all: Vec<Scope>,
    pub(super) uses: Vec<Use>,
}

/// What an operand is in the end.
#[derive(Clone, Copy)]
pub(super) struct Meaning {
    pub(super) what: What,
    /// The query, and the place in its range table, at which it first enters.
    pub(super) entry: Option<(usize, c_int)>,
    /// It came out of a subquery that groups or unites.
    pub(super) gathered: bool,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    /// A column of a table.
    Column { place: usize, attnum: i16, of_type: Oid },
    /// An expression of a query.
    Expression { scope: usize, node: *mut Node },
    /// A column of something that has no index.
    Unknown,
}

/// Columns that the target list of an UPDATE gives a value to.
unsafe fn columns_set(targets: *mut pg_sys::List) -> Vec<i16> {
    // SAFETY: by the caller's word a target list, which holds entries.
    unsafe {
        let entries = list::nodes(targets).into_iter().map(|t| t.cast::<pg_sys::TargetEntry>());
        entries.filter(|t| !(**t).resjunk).map(|t| (*t).resno).collect()
    }
}

impl Scopes {
    /// Of an analysed statement. `None` if it is too much, uses temporary tables, or somebody has locked a
    /// view that it uses.
    ///
    /// # Safety
    /// A live query of the analyser; the trees are used as long as this lives.
    pub(super) unsafe fn of(query: *mut Query) -> Option<Self> {
        let mut scopes = Self { all: Vec::new(), uses: Vec::new() };
        // SAFETY: by the caller's word.
        unsafe { scopes.add(query, None) }?;
        Some(scopes)
    }

    unsafe fn add(&mut self, query: *mut Query, parent: Option<usize>) -> Option<usize> {
        // SAFETY: the query is alive; its lists hold what their names say.
        unsafe {
            if self.all.len() >= MOST_SCOPES || pg_sys::stack_is_too_deep() {
                return None;
            }
            let rtable = list::nodes((*query).rtable);
            let id = self.all.len();
            self.all.push(Scope {
                query,
                parent,
                entries: vec![Entry::Other; rtable.len()],
                ctes: Vec::new(),
                sublinks: Vec::new(),
                nullable: Vec::new(),
                judged: false,
            });
            for cte in list::nodes((*query).cteList) {
                let inner = (*cte.cast::<pg_sys::CommonTableExpr>()).ctequery.cast();
                let inner = self.add(inner, Some(id))?;
                self.all[id].ctes.push(inner);
            }
            let mut places = Vec::new();
            places_in((*query).jointree.cast(), &mut places);
            places_in((*query).setOperations, &mut places);
            let target = (*query).resultRelation;
            let looked_for =
                places.contains(&target) || (*query).commandType == pg_sys::CmdType::CMD_MERGE;
            if target > 0 && !places.contains(&target) {
                places.push(target);
            }
            for place in places {
                let index = usize::try_from(place - 1).ok()?;
                let entry = rtable.get(index)?.cast::<RangeTblEntry>();
                let entry = self.entry(entry, id)?;
                self.all[id].entries[index] = entry;
                if place == target {
                    self.write(entry, looked_for);
                    if let (Entry::Table(place), pg_sys::CmdType::CMD_UPDATE) =
                        (entry, (*query).commandType)
                    {
                        self.uses[place].set = columns_set((*query).targetList);
                    }
                }
            }
            for sublink in tree::nodes_of_query(query, &[NodeTag::T_SubLink]) {
                let sublink = sublink.cast::<SubLink>();
                let inner = self.add((*sublink).subselect.cast(), Some(id))?;
                self.all[id].sublinks.push((sublink, inner));
            }
            Some(id)
        }
    }

    unsafe fn entry(&mut self, entry: *mut RangeTblEntry, scope: usize) -> Option<Entry> {
        // SAFETY: an entry of a live query, whose members are set by its kind. A view stays open until the
        // subtransaction ends, so that its query stays where it is.
        unsafe {
            match (*entry).rtekind {
                RTEKind::RTE_SUBQUERY => self.add((*entry).subquery, Some(scope)).map(Entry::Query),
                RTEKind::RTE_RELATION if (*entry).relkind as u8 == pg_sys::RELKIND_VIEW => {
                    if !analyze::lock_at_once((*entry).relid) {
                        return None;
                    }
                    let view = pg_sys::relation_open((*entry).relid, pg_sys::NoLock as c_int);
                    self.add(pg_sys::get_view_query(view), None).map(Entry::Query)
                }
                RTEKind::RTE_RELATION => {
                    let kind = pg_sys::get_rel_persistence((*entry).relid) as u8;
                    if kind == pg_sys::RELPERSISTENCE_TEMP {
                        return None;
                    }
                    self.uses.push(Use {
                        oid: (*entry).relid,
                        read: true,
                        written: false,
                        set: Vec::new(),
                        repeated: false,
                        conditions: Vec::new(),
                        given: Vec::new(),
                        group_by: Vec::new(),
                        order_by: Vec::new(),
                        first_rows: false,
                    });
                    Some(Entry::Table(self.uses.len() - 1))
                }
                _ => Some(Entry::Other),
            }
        }
    }

    /// Notes that a table is changed, or the one table of a view.
    fn write(&mut self, entry: Entry, looked_for: bool) {
        match entry {
            Entry::Table(place) => {
                self.uses[place].written = true;
                self.uses[place].read = looked_for;
            }
            Entry::Query(scope) => {
                let entries = self.all[scope].entries.clone();
                let mut tables = entries.into_iter().filter(|e| !matches!(e, Entry::Other));
                if let (Some(entry), None) = (tables.next(), tables.next()) {
                    self.write(entry, looked_for);
                }
            }
            Entry::Other => {}
        }
    }

    /// The query so many levels above.
    pub(super) fn up(&self, mut scope: usize, levels: u32) -> Option<usize> {
        for _ in 0..levels {
            scope = self.all[scope].parent?;
        }
        Some(scope)
    }

    /// Whether one query lies somewhere in another.
    pub(super) fn is_inside(&self, scope: usize, outer: usize) -> bool {
        std::iter::successors(self.all[scope].parent, |&s| self.all[s].parent).any(|s| s == outer)
    }

    /// What a node of a query means; several things, when it comes out of a UNION.
    ///
    /// # Safety
    /// A node of that query.
    pub(super) unsafe fn meanings(
        &self,
        scope: usize,
        node: *mut Node,
        sublink: Option<usize>,
    ) -> Vec<Meaning> {
        let mut found = Vec::new();
        let unknown = Meaning { what: What::Unknown, entry: None, gathered: false };
        // SAFETY: by the caller's word.
        unsafe { self.follow(scope, node, sublink, unknown, DEEPEST, &mut found) };
        found
    }

    unsafe fn follow(
        &self,
        scope: usize,
        node: *mut Node,
        sublink: Option<usize>,
        mut so_far: Meaning,
        depth: usize,
        found: &mut Vec<Meaning>,
    ) {
        let unknown = Meaning { what: What::Unknown, ..so_far };
        // SAFETY: nodes of live queries, cast by their own tags.
        unsafe {
            let node = plain(node);
            if depth == 0 || node.is_null() {
                return found.push(unknown);
            }
            if let Some(inner) = sublink
                && (*node).type_ == NodeTag::T_Param
            {
                let parameter = node.cast::<pg_sys::Param>();
                if (*parameter).paramkind == pg_sys::ParamKind::PARAM_SUBLINK {
                    let column = (*parameter).paramid;
                    return self.follow_into(inner, column, so_far, depth - 1, found);
                }
            }
            if (*node).type_ != NodeTag::T_Var {
                so_far.what = What::Expression { scope, node };
                return found.push(so_far);
            }
            let var = node.cast::<pg_sys::Var>();
            let (place, column) = ((*var).varno, c_int::from((*var).varattno));
            let home = self.up(scope, (*var).varlevelsup);
            let Some((home, entry)) = home.and_then(|home| Some((home, self.rte(home, place)?)))
            else {
                return found.push(unknown);
            };
            let index = usize::try_from(column - 1).unwrap_or(usize::MAX);
            let alias = match (*entry).rtekind {
                RTEKind::RTE_JOIN => list::nodes((*entry).joinaliasvars).get(index).copied(),
                _ => compat::grouped_expression(entry, index),
            };
            if let Some(alias) = alias {
                return self.follow(home, alias, sublink, so_far, depth - 1, found);
            }
            so_far.entry = so_far.entry.or(Some((home, place)));
            let inner = match self.all[home].entries[place as usize - 1] {
                Entry::Table(table) if column > 0 => {
                    let (attnum, of_type) = ((*var).varattno, (*var).vartype);
                    so_far.what = What::Column { place: table, attnum, of_type };
                    return found.push(so_far);
                }
                Entry::Query(inner) => Some(inner),
                _ => self.inlined(home, entry),
            };
            match inner {
                Some(inner) => self.follow_into(inner, column, so_far, depth - 1, found),
                None => found.push(Meaning { what: What::Unknown, ..so_far }),
            }
        }
    }

    /// A column of a subquery's result, if conditions on it may be moved into the subquery.
    unsafe fn follow_into(
        &self,
        inner: usize,
        column: c_int,
        mut so_far: Meaning,
        depth: usize,
        found: &mut Vec<Meaning>,
    ) {
        let query = self.all[inner].query;
        // SAFETY: a live query.
        unsafe {
            let target = i16::try_from(column)
                .ok()
                .filter(|&column| column > 0)
                .map(|column| pg_sys::get_tle_by_resno((*query).targetList, column))
                .filter(|target| !target.is_null() && lets_conditions_in(query, *target));
            let Some(target) = target.filter(|_| depth > 0) else {
                return found.push(Meaning { what: What::Unknown, ..so_far });
            };
            so_far.gathered |= !is_plain(query);
            if (*query).setOperations.is_null() {
                return self.follow(inner, (*target).expr.cast(), None, so_far, depth, found);
            }
            let mut arms = Vec::new();
            places_in((*query).setOperations, &mut arms);
            for arm in arms {
                if let Some(Entry::Query(arm)) = self.all[inner].entries.get(arm as usize - 1) {
                    self.follow_into(*arm, column, so_far, depth - 1, found);
                }
            }
        }
    }

    pub(super) fn rte(&self, scope: usize, place: c_int) -> Option<*mut RangeTblEntry> {
        let index = usize::try_from(place.checked_sub(1)?).ok()?;
        // SAFETY: the range table of a live query, as long as the list of entries made of it.
        let rtable = unsafe { list::nodes((*self.all[scope].query).rtable) };
        rtable.get(index).map(|entry| entry.cast())
    }

    /// The scope of a WITH query that the planner takes for a subquery.
    unsafe fn inlined(&self, scope: usize, entry: *mut RangeTblEntry) -> Option<usize> {
        // SAFETY: an entry of a live query; names are NUL-terminated.
        unsafe {
            if (*entry).rtekind != RTEKind::RTE_CTE || (*entry).self_reference {
                return None;
            }
            let home = self.up(scope, (*entry).ctelevelsup)?;
            let ctes = list::nodes((*self.all[home].query).cteList);
            let name = std::ffi::CStr::from_ptr((*entry).ctename);
            let position = ctes.iter().position(|&cte| {
                let cte = cte.cast::<pg_sys::CommonTableExpr>();
                std::ffi::CStr::from_ptr((*cte).ctename) == name
            })?;
            let cte = ctes[position].cast::<pg_sys::CommonTableExpr>();
            let inline = match (*cte).ctematerialized {
                pg_sys::CTEMaterialize::CTEMaterializeNever => true,
                pg_sys::CTEMaterialize::CTEMaterializeDefault => (*cte).cterefcount == 1,
                _ => false,
            };
            (inline && !(*cte).cterecursive).then(|| self.all[home].ctes.get(position).copied())?
        }
    }
}

/// Below casts that only give the same bytes another name.
///
/// # Safety
/// A live node, or NULL.
pub(super) unsafe fn plain(mut node: *mut Node) -> *mut Node {
    // SAFETY: cast by the node's own tag.
    unsafe {
        while !node.is_null() && (*node).type_ == NodeTag::T_RelabelType {
            node = (*node.cast::<pg_sys::RelabelType>()).arg.cast();
        }
    }
    node
}

/// Places in the range table that a FROM or a UNION is made of.
pub(super) unsafe fn places_in(node: *mut Node, places: &mut Vec<c_int>) {
    // SAFETY: nodes of a live query, cast by their own tags.
    unsafe {
        if node.is_null() || pg_sys::stack_is_too_deep() {
            return;
        }
        match (*node).type_ {
            NodeTag::T_RangeTblRef => places.push((*node.cast::<pg_sys::RangeTblRef>()).rtindex),
            NodeTag::T_FromExpr => {
                for item in list::nodes((*node.cast::<pg_sys::FromExpr>()).fromlist) {
                    places_in(item, places);
                }
            }
            NodeTag::T_JoinExpr => {
                let join = node.cast::<pg_sys::JoinExpr>();
                places_in((*join).larg, places);
                places_in((*join).rarg, places);
            }
            NodeTag::T_SetOperationStmt => {
                let operation = node.cast::<pg_sys::SetOperationStmt>();
                places_in((*operation).larg, places);
                places_in((*operation).rarg, places);
            }
            _ => {}
        }
    }
}

/// Whether a query gives the rows of its FROM one by one, in their order, all of them.
///
/// # Safety
/// A live query.
pub(super) unsafe fn is_plain(query: *mut Query) -> bool {
    // SAFETY: by the caller's word.
    unsafe {
        (*query).commandType == pg_sys::CmdType::CMD_SELECT
            && !(*query).hasAggs
            && !(*query).hasWindowFuncs
            && !(*query).hasTargetSRFs
            && (*query).groupClause.is_null()
            && (*query).groupingSets.is_null()
            && (*query).distinctClause.is_null()
            && (*query).havingQual.is_null()
            && (*query).limitCount.is_null()
            && (*query).limitOffset.is_null()
            && (*query).setOperations.is_null()
    }
}

/// Whether the planner moves a condition on this column of a query's result into the query.
unsafe fn lets_conditions_in(query: *mut Query, target: *mut pg_sys::TargetEntry) -> bool {
    // SAFETY: a live query and one of its columns.
    unsafe {
        if (*query).commandType != pg_sys::CmdType::CMD_SELECT
            || !(*query).limitCount.is_null()
            || !(*query).limitOffset.is_null()
            || (*query).hasWindowFuncs
            || (*query).hasTargetSRFs
            || !(*query).groupingSets.is_null()
        {
            return false;
        }
        let is_among = |clauses| {
            let reference = (*target).ressortgroupref;
            reference != 0
                && list::nodes(clauses).iter().any(|&clause| {
                    (*clause.cast::<pg_sys::SortGroupClause>()).tleSortGroupRef == reference
                })
        };
        let grouped = (*query).hasAggs || !(*query).groupClause.is_null();
        let united = !(*query).setOperations.is_null();
        (!grouped || is_among((*query).groupClause))
            && (!(*query).hasDistinctOn || is_among((*query).distinctClause))
            && (!united || !has_except((*query).setOperations))
    }
}

unsafe fn has_except(node: *mut Node) -> bool {
    // SAFETY: a tree of set operations, cast by the nodes' own tags.
    unsafe {
        if node.is_null() || (*node).type_ != NodeTag::T_SetOperationStmt {
            return false;
        }
        let operation = node.cast::<pg_sys::SetOperationStmt>();
        (*operation).op == pg_sys::SetOperation::SETOP_EXCEPT
            || has_except((*operation).larg)
            || has_except((*operation).rarg)
    }
}
