//! Switches that stand where no careful administrator leaves them, and settings that wait for a restart.

use crate::detect::Judgement;
use crate::detect::words::{counted, effect, list, needs_restart, set};
use crate::facts::{Facts, Setting};
use crate::finding::{Effort, Evidence, Finding, Severity};

pub(super) const FSYNC: &str = "setting_fsync";
pub(super) const FULL_PAGE_WRITES: &str = "setting_full_page_writes";
pub(super) const ZERO_DAMAGED_PAGES: &str = "setting_zero_damaged_pages";
pub(super) const IGNORE_CHECKSUM_FAILURE: &str = "setting_ignore_checksum_failure";
pub(super) const TRACK_COUNTS: &str = "setting_track_counts";
pub(super) const TRACK_ACTIVITIES: &str = "setting_track_activities";
pub(super) const TRACK_IO_TIMING: &str = "setting_track_io_timing";
pub(super) const PLANNER_METHODS: &str = "setting_planner_methods";
pub(super) const PENDING_RESTART: &str = "settings_pending_restart";

/// A switch, and what is wrong with it the other way.
struct Switch {
    kind: &'static str,
    name: &'static str,
    /// How it should stand.
    right: bool,
    severity: Severity,
    title: &'static str,
    cause: &'static str,
    gain: &'static str,
    risk: &'static str,
}

static SWITCHES: &[Switch] = &[
    Switch {
        kind: FSYNC,
        name: "fsync",
        right: true,
        severity: Severity::Critical,
        title: "fsync is off: a crash of the machine destroys the database",
        cause: "The server does not wait until the disk has what was committed.",
        gain: "Committed data survives a crash.",
        risk: "Commits wait for the disk. What was written so far is safe only after a sync of \
            the file system, or a clean stop and start.",
    },
    Switch {
        kind: FULL_PAGE_WRITES,
        name: "full_page_writes",
        right: true,
        severity: Severity::Critical,
        title: "full_page_writes is off: a crash can leave pages half written, beyond repair",
        cause: "After a checkpoint the first change of a page is logged without the page, so that \
            a torn page cannot be restored.",
        gain: "Torn pages are repaired by recovery.",
        risk: "More WAL. It may stay off only on storage that never tears a page, such as ZFS \
            with records of a page's size.",
    },
    Switch {
        kind: ZERO_DAMAGED_PAGES,
        name: "zero_damaged_pages",
        right: false,
        severity: Severity::Critical,
        title: "zero_damaged_pages is on: damaged pages are emptied without an error",
        cause: "It is meant for the rescue of single tables, not for a running server.",
        gain: "Damage is an error, and rows that could be saved are not thrown away.",
        risk: "Statements that read damaged pages fail.",
    },
    Switch {
        kind: IGNORE_CHECKSUM_FAILURE,
        name: "ignore_checksum_failure",
        right: false,
        severity: Severity::Critical,
        title: "ignore_checksum_failure is on: damaged pages are used as if they were whole",
        cause: "It is meant for the rescue of single tables, not for a running server.",
        gain: "Damage is an error instead of a wrong result.",
        risk: "Statements that read damaged pages fail.",
    },
    Switch {
        kind: TRACK_COUNTS,
        name: "track_counts",
        right: true,
        severity: Severity::Warning,
        title: "track_counts is off: autovacuum does not know what changed, and nothing can be \
            watched",
        cause: "The server counts neither accesses nor changes of tables.",
        gain: "Autovacuum works, and tables and indexes can be judged.",
        risk: "",
    },
    Switch {
        kind: TRACK_ACTIVITIES,
        name: "track_activities",
        right: true,
        severity: Severity::Warning,
        title: "track_activities is off: nobody can see what sessions do",
        cause: "Sessions do not report their statements, so that neither blockers nor long \
            statements show.",
        gain: "pg_stat_activity tells what runs.",
        risk: "",
    },
    Switch {
        kind: TRACK_IO_TIMING,
        name: "track_io_timing",
        right: true,
        severity: Severity::Info,
        title: "track_io_timing is off: nobody knows how much time goes into reading",
        cause: "It is off by default.",
        gain: "Time of reads is known by statement, so that slow storage and lack of memory can \
            be told from slow plans.",
        risk: "Each read takes two looks at the clock; pg_test_timing tells what a look costs on \
            this machine (below 100 ns is nothing).",
    },
];

pub(super) fn detect(facts: &Facts, judgement: &mut Judgement) {
    for switch in SWITCHES {
        match facts.server.is_on(switch.name) {
            None => judgement.unknown(switch.kind),
            Some(on) if on != switch.right => judgement.add(wrong(facts, switch)),
            Some(_) => {}
        }
    }
    judgement.findings.extend(methods(facts));
    judgement.findings.extend(pending(facts));
}

fn wrong(facts: &Facts, switch: &Switch) -> Finding {
    let value = if switch.right { "on" } else { "off" };
    let restart = needs_restart(&facts.server, switch.name);
    let mut finding = Finding::new(
        switch.kind,
        switch.severity,
        format!("setting {}", switch.name),
        switch.title,
        format!("Set {} to {value}. {}", switch.name, effect(&facts.server, switch.name)),
        "PostgreSQL manual, Server Configuration",
    );
    finding.cause = Some(switch.cause.to_owned());
    let now = if switch.right { "off" } else { "on" };
    finding.evidence.push(Evidence::new(switch.name, now, ""));
    finding.statement = Some(set(&facts.server, switch.name, value));
    finding.gain = Some(switch.gain.to_owned());
    switch.risk.clone_into(&mut finding.risk);
    finding.effort = if restart { Effort::Medium } else { Effort::Low };
    finding
}

/// Switched off by default.
#[rustfmt::skip]
static OFF_BY_DEFAULT: &[&str] =
    &["enable_partitionwise_aggregate", "enable_partitionwise_join"];

/// Methods of the planner that the whole server must do without.
fn methods(facts: &Facts) -> Option<Finding> {
    let off = |s: &&Setting| {
        s.is_set
            && s.shown == "off"
            && s.name.starts_with("enable_")
            && !OFF_BY_DEFAULT.contains(&s.name.as_str())
    };
    let mut names: Vec<String> =
        facts.server.settings.iter().filter(off).map(|s| s.name.clone()).collect();
    if names.is_empty() {
        return None;
    }
    names.sort();
    let mut finding = Finding::new(
        PLANNER_METHODS,
        Severity::Warning,
        "server",
        format!(
            "{} of the planner switched off for the server: {}",
            counted(names.len() as f64, "method"),
            list(&names, 5)
        ),
        format!(
            "Let the planner choose, and find out why the plan that this was to prevent was chosen: \
             stale statistics, random_page_cost, a missing index. {}",
            effect(&facts.server, &names[0])
        ),
        "PostgreSQL manual, Planner Method Configuration",
    );
    finding.cause =
        Some("It was set to force one plan, and all statements have to live with it.".to_owned());
    for name in &names {
        finding.evidence.push(Evidence::new(name.clone(), "off", ""));
    }
    finding.statement = Some(all_on(facts, &names));
    finding.gain = Some("Statements get the plans that are best for them.".to_owned());
    finding.risk =
        "Plans change; the statement for which it was set may become slow again.".to_owned();
    finding.effort = Effort::Medium;
    Some(finding)
}

/// The commands that switch all of them on, and have the configuration read once at most.
fn all_on(facts: &Facts, names: &[String]) -> String {
    let mut lines: Vec<String> = Vec::new();
    for name in names {
        lines.extend(set(&facts.server, name, "on").lines().map(str::to_owned));
    }
    let is_reload = |line: &String| line.starts_with("SELECT");
    let reload = lines.iter().find(|line| is_reload(line)).cloned();
    lines.retain(|line| !is_reload(line));
    lines.extend(reload);
    lines.join("\n")
}

fn pending(facts: &Facts) -> Option<Finding> {
    let mut names: Vec<String> = facts
        .server
        .settings
        .iter()
        .filter(|s| s.pending_restart)
        .map(|s| s.name.clone())
        .collect();
    if names.is_empty() {
        return None;
    }
    names.sort();
    let waits = if names.len() == 1 { "waits" } else { "wait" };
    let mut finding = Finding::new(
        PENDING_RESTART,
        Severity::Info,
        "server",
        format!(
            "{} {waits} for a restart: {}",
            counted(names.len() as f64, "changed setting"),
            list(&names, 5)
        ),
        "Restart the server when it suits, or take the change back: the next restart, planned or \
         not, brings it.",
        "PostgreSQL manual, pg_settings",
    );
    finding.cause =
        Some("They were changed in a configuration file since the server started.".to_owned());
    for setting in facts.server.settings.iter().filter(|s| s.pending_restart) {
        finding.evidence.push(Evidence::new(setting.name.clone(), setting.shown.clone(), ""));
    }
    finding.gain = Some("The settings in force are those in the files.".to_owned());
    finding.risk = "A restart ends all connections.".to_owned();
    finding.effort = Effort::Medium;
    Some(finding)
}
