//! What the server must keep for somebody: row versions that VACUUM may not remove, and WAL.

use super::transactions::IDLE_SECONDS;
use crate::detect::Judgement;
use crate::detect::vacuum::tables::behind;
use crate::detect::words::{counted, list, literal, size, span};
use crate::facts::{Facts, Holder, HolderKind, Slot};
use crate::finding::{Effort, Evidence, Finding, Severity};
use crate::threshold::{Threshold, Thresholds};

pub(super) const HELD: &str = "horizon_held";
pub(super) const PREPARED: &str = "prepared_transaction";
pub(super) const SLOT: &str = "slot_retains_wal";

/// Old enough to explain dead rows that stay.
pub(super) const HOLDER_SECONDS: Threshold = Threshold::new(
    "horizon_holder_seconds",
    600.0,
    "age of a transaction from which it explains dead rows that stay",
    "pg_perfmon: ten rounds of autovacuum",
);
/// For slots and standbys, which have no such age.
pub(super) const HOLDER_TRANSACTIONS: Threshold = Threshold::new(
    "horizon_holder_transactions",
    1_000_000.0,
    "transactions held back by a slot or standby from which they explain dead rows that stay",
    "pg_perfmon",
);
/// Forgotten.
pub(super) const PREPARED_SECONDS: Threshold = Threshold::new(
    "prepared_transaction_seconds",
    3_600.0,
    "age of a prepared transaction: warning",
    "pg_perfmon: a transaction manager ends them within seconds",
);
/// Or max_wal_size, if that is more.
pub(super) const SLOT_BYTES: Threshold = Threshold::new(
    "slot_retained_bytes",
    1_073_741_824.0,
    "WAL kept for a slot that nobody reads: warning, if it is more than max_wal_size too",
    "pg_perfmon",
);

/// The oldest of what keeps VACUUM from removing rows, if it is old enough to explain what lasts.
pub(in crate::detect) fn holder<'a>(
    facts: &'a Facts,
    thresholds: &Thresholds,
) -> Option<&'a Holder> {
    let long = thresholds.of(&HOLDER_SECONDS);
    let far = thresholds.of(&HOLDER_TRANSACTIONS);
    let explains = |h: &&Holder| match (h.kind, h.xid_age) {
        (_, None) => false,
        (HolderKind::Slot | HolderKind::Standby, Some(age)) => age as f64 >= far,
        _ => h.age_s.is_some_and(|age| age >= long),
    };
    facts.server.holders.iter().flatten().filter(explains).max_by_key(|h| h.xid_age)
}

/// What a holder is, in words.
pub(in crate::detect) fn describe(holder: &Holder) -> String {
    let what = match holder.kind {
        HolderKind::Active => format!("the transaction of process {}", holder.name),
        HolderKind::Idle => format!("the idle transaction of process {}", holder.name),
        HolderKind::Prepared => format!("the prepared transaction {}", literal(&holder.name)),
        HolderKind::Slot => format!("the replication slot {}", holder.name),
        HolderKind::Standby => format!("the queries of standby {}", holder.name),
    };
    match holder.age_s {
        Some(age) => format!("{what} ({} old)", span(age)),
        None => what,
    }
}

/// The session that has idled longest in a transaction, if too long.
pub(super) fn long_idle<'a>(facts: &'a Facts, thresholds: &Thresholds) -> Option<&'a Holder> {
    oldest(facts, HolderKind::Idle)
        .filter(|(_, age)| *age >= thresholds.of(&IDLE_SECONDS))
        .map(|h| h.0)
}

fn oldest(facts: &Facts, kind: HolderKind) -> Option<(&Holder, f64)> {
    let of_kind = facts.server.holders.iter().flatten().filter(|h| h.kind == kind);
    of_kind.filter_map(|h| Some((h, h.age_s?))).max_by(|a, b| a.1.total_cmp(&b.1))
}

pub(super) fn detect(facts: &Facts, thresholds: &Thresholds, judgement: &mut Judgement) {
    if facts.server.holders.is_none() || facts.tables.is_none() {
        judgement.unknown(HELD);
    } else {
        judgement.findings.extend(held(facts, thresholds));
    }
    match (facts.server.oldest_prepared_s, &facts.server.holders) {
        (None, None) => judgement.unknown(PREPARED),
        (seconds, _) => judgement.findings.extend(prepared(facts, thresholds, seconds)),
    }
    match &facts.server.slots {
        None => judgement.unknown(SLOT),
        Some(slots) => {
            let kept = slots.iter().filter_map(|slot| retains(facts, thresholds, slot));
            judgement.findings.extend(kept);
        }
    }
}

/// Whether the finding of rows that stay dead names this holder.
pub(in crate::detect) fn blames(facts: &Facts, thresholds: &Thresholds, one: &Holder) -> bool {
    let named = holder(facts, thresholds).is_some_and(|holder| holder == one);
    named && held(facts, thresholds).is_some()
}

/// Rows of this database stay dead because of somebody, of whom no other finding speaks.
fn held(facts: &Facts, thresholds: &Thresholds) -> Option<Finding> {
    let holder = holder(facts, thresholds)?;
    let said = match holder.kind {
        HolderKind::Prepared => holder.age_s >= Some(thresholds.of(&PREPARED_SECONDS)),
        HolderKind::Idle => holder.age_s >= Some(thresholds.of(&IDLE_SECONDS)),
        _ => false,
    };
    let tables = behind(facts, thresholds);
    if said || tables.is_empty() {
        return None;
    }
    let dead: u64 = tables.iter().filter_map(|t| t.dead_rows).sum();
    let names: Vec<String> = tables.iter().map(|t| t.name.clone()).collect();
    let title = format!(
        "{} keeps {} of {} from being removed",
        capital(&describe(holder)),
        counted(dead as f64, "dead row"),
        counted(tables.len() as f64, "table")
    );
    let remedy = remedy(holder.kind);
    let mut finding = Finding::new(
        HELD,
        Severity::Warning,
        "server",
        title,
        remedy,
        "PostgreSQL manual, Routine Vacuuming",
    );
    finding.cause = Some("It may still look at rows as they were when it began.".to_owned());
    if let Some(age) = holder.age_s {
        let age = Evidence::new("transaction_age_s", age, "s");
        finding.evidence.push(age.over(thresholds.of(&HOLDER_SECONDS)));
    }
    if let Some(age) = holder.xid_age {
        finding.evidence.push(Evidence::new("transactions_held_back", age, "transactions"));
    }
    finding.evidence.push(Evidence::new("tables", list(&names, 5), ""));
    finding.effort = Effort::Medium;
    finding.gain = Some("Autovacuum removes the rows in its next rounds.".to_owned());
    Some(finding)
}

/// What to do about a holder.
pub fn remedy(kind: HolderKind) -> &'static str {
    match kind {
        HolderKind::Slot => "Have its consumer catch up, or drop the slot if it is gone for good.",
        HolderKind::Standby => {
            "Run long queries of the standby elsewhere, or set hot_standby_feedback off there; \
             its queries may then be cancelled."
        }
        HolderKind::Prepared => "Have the transaction manager commit it or roll it back.",
        HolderKind::Active | HolderKind::Idle => {
            "Let it end, or end it (pg_terminate_backend); split work that takes so long, or run \
             it on a standby."
        }
    }
}

fn prepared(facts: &Facts, thresholds: &Thresholds, seconds: Option<f64>) -> Option<Finding> {
    let over = thresholds.of(&PREPARED_SECONDS);
    let oldest = oldest(facts, HolderKind::Prepared);
    let age = seconds.into_iter().chain(oldest.map(|o| o.1)).fold(0.0, f64::max);
    if age < over {
        return None;
    }
    let named =
        oldest.map_or_else(String::new, |(holder, _)| format!(" {}", literal(&holder.name)));
    let mut finding = Finding::new(
        PREPARED,
        Severity::Warning,
        "server",
        format!("The prepared transaction{named} has waited for its end for {}", span(age)),
        "Ask the transaction manager, then commit it (COMMIT PREPARED) or take it back, in the \
         database where it was prepared.",
        "PostgreSQL manual, PREPARE TRANSACTION",
    );
    finding.cause = Some(
        "It was prepared and forgotten: it keeps its locks, keeps rows from being removed, and \
         survives restarts."
            .to_owned(),
    );
    finding.evidence.push(Evidence::new("transaction_age_s", age, "s").over(over));
    finding.statement =
        oldest.map(|(holder, _)| format!("ROLLBACK PREPARED {};", literal(&holder.name)));
    finding.effort = Effort::Medium;
    finding.risk = "What it did is lost when it is taken back.".to_owned();
    finding.gain = Some("Its locks are let go of, and dead rows can be removed.".to_owned());
    Some(finding)
}

fn retains(facts: &Facts, thresholds: &Thresholds, slot: &Slot) -> Option<Finding> {
    let kept = slot.retained_bytes? as f64;
    let over = facts.server.bytes("max_wal_size").unwrap_or(0.0).max(thresholds.of(&SLOT_BYTES));
    if slot.active || kept < over {
        return None;
    }
    let mut finding = Finding::new(
        SLOT,
        Severity::Warning,
        format!("slot {}", slot.name),
        format!(
            "{} of WAL are kept for replication slot {}, which nobody reads",
            size(kept),
            slot.name
        ),
        "Bring its consumer back, or drop the slot if the consumer is gone for good; limit what a \
         slot may keep (max_slot_wal_keep_size).",
        "PostgreSQL manual, Replication Slots",
    );
    finding.cause = Some(
        "Its consumer has gone and the slot stayed: WAL piles up until the disk is full."
            .to_owned(),
    );
    finding.evidence.push(Evidence::new("wal_retained", kept as i64, "bytes").over(over));
    finding.impact.saved_bytes = slot.retained_bytes;
    finding.statement =
        Some(format!("SELECT pg_catalog.pg_drop_replication_slot({});", literal(&slot.name)));
    finding.effort = Effort::Medium;
    finding.gain = Some("The WAL is removed or used again at the next checkpoints.".to_owned());
    finding.risk = "A consumer that comes back after all has to be built anew.".to_owned();
    Some(finding)
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| {
        first.to_uppercase().collect::<String>() + characters.as_str()
    })
}
