//! Work by application and route, added up over a window.

use std::collections::{BTreeMap, HashMap};

use perfmon_core::family::{FAILURE, NAMELESS, ROUTE, ROUTE_FAILURES, UNCOUNTED};
use perfmon_core::histogram::{Sparse, Sum};
use perfmon_core::objective::KNOWN;
use perfmon_core::pool::Sender;
use perfmon_core::tally::Who;
use perfmon_core::window::Level;

use super::cell::Cell;
use super::names;
use super::plan::Kept;
use super::scope::Scope;
use super::unseen::Unseen;
use crate::error::Error;
use crate::store::read;

/// One route over the window.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// Application, user and route; `None` for all that were not counted apart.
    pub(crate) names: Option<[Cell; 3]>,
    /// Those that were timed.
    pub(crate) statements: Sum,
    /// Statements besides, of which nothing but the number is known.
    pub(crate) uncounted: u64,
    pub(crate) transactions: Sum,
    /// `None` where the server kept some of them from the hooks.
    pub(crate) errors: Option<u64>,
    pub(crate) cancelled: Option<u64>,
}

/// Counts by bucket while they are added up.
#[derive(Default)]
struct Counts {
    statements: Vec<(u8, u64)>,
    uncounted: u64,
    transactions: Vec<(u8, u64)>,
    errors: u64,
    cancelled: u64,
    /// Some failures were kept from the hooks.
    hidden: bool,
}

impl Route {
    /// All that ended well.
    pub(crate) fn calls(&self) -> u64 {
        self.statements.executions().saturating_add(self.uncounted)
    }

    /// Whether times of a part are said to be those of all.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn is_timed(&self) -> bool {
        self.statements.executions() as f64 >= KNOWN * self.calls() as f64
    }
}

/// Routes of the window, most time first, and the time that the rows cover.
pub(crate) fn routes(scope: &Scope) -> Result<(Vec<Route>, i64), Error> {
    let segments = Kept::of(&ROUTE, scope).segments(scope, Level::Day);
    let columns: Vec<usize> = (1..ROUTE.columns.len()).collect();
    let unseen = Unseen::of(scope, &Kept::of(&FAILURE, scope).segments(scope, Level::Day))?;
    let dictionary = names::objects(ROUTE.name, &scope.sources)?;
    let users: HashMap<Who, Option<String>> =
        dictionary.iter().map(|(who, [_, user, _])| (*who, user.text())).collect();
    let mut counts: HashMap<Who, Counts> = HashMap::new();
    let mut covered_us = 0_i64;
    read::frames(&scope.sources, &ROUTE, &segments, &columns, &mut |row| {
        covered_us = covered_us.saturating_add(row.head.span.length_us);
        let until = row.head.span.until;
        let hidden = !ROUTE.position("errors").is_some_and(|errors| row.head.is_known(errors));
        // Among all others there may be anybody.
        let may_hide = |who: &Who| {
            let user = users.get(who).and_then(Option::as_deref);
            unseen.may_be_of(until, |one| user.is_none_or(|user| user == one))
        };
        for (place, id) in row.ids.iter().enumerate() {
            let value = |i: usize| row.column(i).and_then(|v| v.get(place).copied()).unwrap_or(0);
            let who = (row.head.source, ROUTE.object_of(*id));
            let sums = counts.entry(who).or_default();
            sums.hidden = sums.hidden || hidden || may_hide(&who);
            let bucket = (id & 255) as u8;
            if u32::from(bucket) == UNCOUNTED {
                sums.uncounted = sums.uncounted.saturating_add(value(0));
            } else if u32::from(bucket) == ROUTE_FAILURES {
                sums.errors = sums.errors.saturating_add(value(2));
                sums.cancelled = sums.cancelled.saturating_add(value(3));
            } else if u32::from(bucket) != NAMELESS {
                sums.statements.push((bucket, value(0)));
                sums.transactions.push((bucket, value(1)));
            }
        }
    });
    // The same names under an older source are the same route.
    let mut named: HashMap<String, Route> = HashMap::new();
    for (who, sums) in counts {
        let names = if who.1 == 0 { None } else { dictionary.get(&who).cloned() };
        let none = || Route { errors: Some(0), cancelled: Some(0), ..Route::default() };
        let route = named.entry(format!("{names:?}")).or_insert_with(none);
        let known = !sums.hidden;
        route.names = names;
        route.statements.add_half(&Sparse::new(sorted(sums.statements)));
        route.transactions.add_half(&Sparse::new(sorted(sums.transactions)));
        let add = |sum: Option<u64>, n: u64| sum.filter(|_| known).map(|sum| sum.saturating_add(n));
        route.uncounted = route.uncounted.saturating_add(sums.uncounted);
        route.errors = add(route.errors, sums.errors);
        route.cancelled = add(route.cancelled, sums.cancelled);
    }
    let mut routes: Vec<Route> = named.into_values().collect();
    routes.sort_by(|a, b| {
        let names = |route: &Route| format!("{:?}", route.names);
        let time = b.statements.total_ns().total_cmp(&a.statements.total_ns());
        time.then_with(|| names(a).cmp(&names(b)))
    });
    Ok((routes, covered_us))
}

/// Transactions by application and user.
pub(crate) fn senders(scope: &Scope) -> Result<Vec<Sender>, Error> {
    let mut found: BTreeMap<[String; 2], u64> = BTreeMap::new();
    for route in routes(scope)?.0 {
        // Of what was not timed no transaction was counted.
        let is_known = route.uncounted == 0 || route.transactions.executions() > 0;
        let Some([application, user, _]) = route.names.filter(|_| is_known) else { continue };
        let who: [String; 2] = [application, user].map(|name| name.text().unwrap_or_default());
        let sum = found.entry(who).or_default();
        *sum = sum.saturating_add(route.transactions.executions());
    }
    let senders = found.into_iter();
    let sender =
        senders.map(|([application, user], n)| Sender { application, user, transactions: n });
    Ok(sender.collect())
}

/// One pair for each bucket, ascending.
fn sorted(mut pairs: Vec<(u8, u64)>) -> Vec<(u8, u64)> {
    pairs.sort_unstable();
    pairs.dedup_by(|next, sum| {
        let same = next.0 == sum.0;
        if same {
            sum.1 = sum.1.saturating_add(next.1);
        }
        same
    });
    pairs
}
