//! Clients' connections: who has how many, under which limit, and why they queue.

use super::super::connections::{Connections, GroupOut};
use super::super::grid::Side::{Left, Right};
use super::super::grid::grid;
use super::super::text::{plain, wrapped};
use super::super::words::{count, number, percent, sentence};

/// How many groups are shown.
const GROUPS: usize = 12;

/// The section; nothing where no samples are kept.
pub(in crate::report) fn connections(out: &mut String, connections: Option<&Connections>) {
    let Some(connections) = connections.filter(|found| !found.groups.is_empty()) else { return };
    out.push_str("## Connections\n\n");
    let limit = |group: &GroupOut| {
        let most = i64::from(group.connections_limit?);
        Some(format!("{} ({})", count(Some(most)), group.limited_by?))
    };
    let row = |group: &GroupOut| {
        [
            number(group.open_avg),
            count(group.open_peak.map(i64::from)),
            number(group.busy_p99),
            percent(group.idle_ratio),
            percent(group.in_transaction_ratio),
            limit(group).unwrap_or_else(|| "none".to_owned()),
            percent(group.saturation_ratio),
            plain(&group.name),
        ]
    };
    let heads = [
        ("open", Right),
        ("peak", Right),
        ("busy", Right),
        ("idle", Right),
        ("in transaction", Right),
        ("limit", Left),
        ("in use", Right),
        ("of", Left),
    ];
    let shown: Vec<_> = connections.groups.iter().take(GROUPS).map(row).collect();
    grid(out, heads, &shown);
    let lines = said(connections);
    for line in &lines {
        wrapped(out, "- ", line);
    }
    if !lines.is_empty() {
        out.push('\n');
    }
}

/// What is near its limit and why, what was refused, and which pools are too large.
fn said(connections: &Connections) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let near = |group: &&GroupOut| group.saturation.is_some_and(|level| level != "ok");
    for group in connections.groups.iter().filter(near) {
        let hours = group.hours_to_exhaustion.filter(|hours| *hours > 0.0);
        let soon = hours.map(|hours| format!("; full in {} h", number(Some(hours))));
        let why = group
            .queue_detail
            .as_deref()
            .map_or_else(String::new, |why| format!(": {}", plain(why)));
        lines.push(sentence(&format!(
            "{} is at {} of its limit{why}{}",
            plain(&group.name),
            percent(group.saturation_ratio),
            soon.unwrap_or_default()
        )));
    }
    let queue = connections.groups.iter().filter(|group| group.level == "server" && !near(group));
    for why in queue.filter_map(|group| group.queue_detail.as_deref()) {
        lines.push(sentence(&format!("on the whole server, {}", plain(why))));
    }
    lines.extend(refused(connections));
    let advised = |group: &&GroupOut| {
        !group.monitoring
            && group.open_peak.zip(group.advised_size).is_some_and(|(peak, size)| size * 2 <= peak)
    };
    for group in connections.groups.iter().filter(advised).take(GROUPS) {
        let advice = group.advice.as_deref().unwrap_or_default();
        lines.push(format!("{}: {advice}", plain(&group.name)));
    }
    lines
}

fn refused(connections: &Connections) -> Vec<String> {
    let line = |one: &super::super::connections::RefusedOut| {
        let who = one.user_name.as_deref().map(|user| format!(" of user {}", plain(user)));
        let to = one.database_name.as_deref().map(|name| format!(" to database {}", plain(name)));
        // Limits share one; who fails to log in is told why.
        let told = match one.sqlstates.as_slice() {
            [_, ..] if one.cause == "authentication" => format!(": {}", one.sqlstates.join(", ")),
            _ => String::new(),
        };
        format!(
            "Refused connections{}{}: {} ({}{told}).",
            who.unwrap_or_default(),
            to.unwrap_or_default(),
            count(i64::try_from(one.connections).ok()),
            one.cause.replace('_', " ")
        )
    };
    connections.refused.iter().flatten().map(line).collect()
}
