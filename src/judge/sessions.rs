//! What history says of sessions that were in each other's way.

use std::collections::BTreeMap;

use perfmon_core::activity::State;
use perfmon_core::activity::rows::Lookup;
use perfmon_core::facts::session::{Deadlock, IdleTimes, Lasted, LockWait, Sessions, Who};
use perfmon_core::family::SESSION;
use perfmon_core::lock::idle::Sum;
use perfmon_core::lock::lasting;

use crate::error::Error;
use crate::pg::backends::Names;
use crate::pg::catalog;
use crate::recall::activity::Statements;
use crate::recall::locks::{self, Whose};
use crate::recall::plan::Kept;
use crate::recall::scope::Scope;

/// Over the window; `None` where no samples are kept.
pub(super) fn sessions(scope: &Scope) -> Result<Option<Sessions>, Error> {
    if Kept::of(&SESSION, scope).oldest().is_none() {
        return Ok(None);
    }
    let (waits, deadlocks) = (locks::waits(scope)?, locks::deadlocks(scope)?);
    let idles = locks::idles(scope)?;
    let whose = waits.iter().map(|wait| &wait.head.whose);
    let whose = whose.chain(deadlocks.iter().map(|member| &member.party.whose));
    let statements = locks::texts(whose.chain(idles.iter().map(|(whose, _)| whose)), scope)?;
    let mut found = Sessions::default();
    for wait in waits {
        let transaction = wait.head_transaction.map(|at| wait.seen.saturating_sub(at).max(0));
        found.waits.push(LockWait {
            process_id: wait.waiter.process_id,
            began_us: wait.began,
            seen_us: wait.seen,
            ended: wait.ended.is_some(),
            head_process_id: wait.head.process_id,
            head_gid: wait.head_gid,
            head: who(&wait.head.whose, &statements),
            head_state: wait.head.state.unwrap_or_default(),
            head_transaction_s: transaction.map(seconds),
            lock_type: wait.lock_type,
            relation: wait.relation,
            depth: wait.depth,
        });
    }
    let mut last = None;
    for member in deadlocks {
        let one = (who(&member.party.whose, &statements), member.relation);
        match found.deadlocks.last_mut().filter(|_| last == Some((member.at, member.number))) {
            Some(deadlock) => deadlock.members.push(one),
            None => found.deadlocks.push(Deadlock { at_us: member.at, members: vec![one] }),
        }
        last = Some((member.at, member.number));
    }
    let idle = |(whose, sum)| IdleTimes { who: who(&whose, &statements), sum, since_judged: None };
    found.idles = idles.into_iter().map(idle).collect();
    Ok(Some(found))
}

/// Adds what idle times come to since a time.
pub(super) fn since(scope: &Scope, judged: i64, sessions: &mut Sessions) -> Result<(), Error> {
    let recent = scope.quietly(judged.clamp(scope.since, scope.until), scope.until);
    let idles = locks::idles(&recent)?;
    let statements = locks::texts(idles.iter().map(|(whose, _)| whose), scope)?;
    let mut sums: BTreeMap<Who, Sum> =
        idles.into_iter().map(|(whose, sum)| (who(&whose, &statements), sum)).collect();
    for idle in &mut sessions.idles {
        idle.since_judged = sums.remove(&idle.who);
    }
    Ok(())
}

/// Transactions that lasted and are over.
pub(super) fn lasted(scope: &Scope, over: &[lasting::Lasted]) -> Result<Vec<Lasted>, Error> {
    if over.is_empty() {
        return Ok(Vec::new());
    }
    let mut names = Names::default();
    let whose: Vec<Whose> = over
        .iter()
        .map(|one| Whose {
            database: names.database(one.who.database),
            user: names.user(one.who.user),
            application: one.who.application_name(),
            queryid: one.who.queryid,
        })
        .collect();
    let statements = locks::texts(whose.iter(), scope)?;
    let one = |(over, whose): (&lasting::Lasted, &Whose)| Lasted {
        who: who(whose, &statements),
        age_s: seconds(over.length_us()),
        idled: State::of(over.who.state).is_in_transaction(),
    };
    Ok(over.iter().zip(&whose).map(one).collect())
}

#[allow(clippy::cast_precision_loss)]
fn seconds(us: i64) -> f64 {
    us as f64 / 1e6
}

fn who(whose: &Whose, statements: &Statements) -> Who {
    let database = Some(&whose.database).filter(|name| !name.is_empty());
    Who {
        database: database.map(|name| catalog::quoted(name)).unwrap_or_default(),
        user: whose.user.clone(),
        application: whose.application.clone(),
        statement_id: locks::statement(statements, whose).0,
        queryid: Some(whose.queryid).filter(|id| *id != 0),
    }
}
