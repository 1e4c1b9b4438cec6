//! When autovacuum would look after a table, by the rules and settings that it follows itself.

use crate::facts::relation::Activity;
use crate::facts::{Facts, Server, Table};

/// A storage parameter's value.
fn option<'a>(table: &'a Table, name: &str) -> Option<&'a str> {
    table.options.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
}

/// A number that a storage parameter of the table sets, else the server.
fn number(table: &Table, server: &Server, name: &str) -> Option<f64> {
    option(table, name).and_then(|value| value.parse().ok()).or_else(|| server.number(name))
}

/// Rows that must be dead before autovacuum vacuums the table; `None` when the settings are unknown.
pub(super) fn vacuum(table: &Table, server: &Server) -> Option<f64> {
    let threshold = number(table, server, "autovacuum_vacuum_threshold")?;
    let scale = number(table, server, "autovacuum_vacuum_scale_factor")?;
    // A table that was never vacuumed or analysed counts as empty.
    let trigger = threshold + scale * table.rows.unwrap_or(0.0).max(0.0);
    // 18 and later; below 0 it is switched off.
    let most = number(table, server, "autovacuum_vacuum_max_threshold").filter(|most| *most >= 0.0);
    Some(most.map_or(trigger, |most| trigger.min(most)))
}

/// Rows that must have changed before autovacuum analyses the table.
pub(super) fn analyze(table: &Table, server: &Server) -> Option<f64> {
    let threshold = number(table, server, "autovacuum_analyze_threshold")?;
    let scale = number(table, server, "autovacuum_analyze_scale_factor")?;
    Some(threshold + scale * table.rows.unwrap_or(0.0).max(0.0))
}

/// Whether autovacuum was told to leave the table alone.
pub(super) fn ignored(table: &Table) -> bool {
    is_off(option(table, "autovacuum_enabled"))
}

/// Whether it was told to leave the table's TOAST table alone.
pub(super) fn toast_ignored(table: &Table) -> bool {
    is_off(option(table, "toast.autovacuum_enabled"))
}

/// The server takes any unambiguous beginning of these words.
fn is_off(value: Option<&str>) -> bool {
    let Some(value) = value.map(str::to_ascii_lowercase) else { return false };
    !value.is_empty()
        && (value == "0"
            || ["false", "no"].iter().any(|word| word.starts_with(&value))
            || (value.len() >= 2 && "off".starts_with(&value)))
}

/// Whether autovacuum runs on this server at all.
pub(super) fn runs(server: &Server) -> bool {
    server.is_on("autovacuum") != Some(false) && server.is_on("track_counts") != Some(false)
}

/// Rows written in the window after its middle; after its start where the first half is not known.
fn written_lately(table: &Table) -> u64 {
    let written = |a: Activity| a.n_tup_ins + a.n_tup_upd + a.n_tup_del;
    let whole = written(table.window.unwrap_or_default());
    whole.saturating_sub(written(table.first_half.unwrap_or_default()))
}

/// Whether a count that is above `level` now was so in the middle of the window already. What is not
/// recorded of that moment is bounded: such a count grows by no more than the rows written since.
pub(super) fn lasted(
    table: &Table,
    now: u64,
    level: f64,
    gauge: fn(&Activity) -> Option<u64>,
) -> bool {
    let then = table.first_half.as_ref().and_then(gauge);
    now as f64 >= level
        && then.unwrap_or_else(|| now.saturating_sub(written_lately(table))) as f64 >= level
}

/// Rows that die between two rounds of autovacuum, on average.
pub(super) fn died_per_round(facts: &Facts, table: &Table) -> f64 {
    let activity = table.window.unwrap_or_default();
    let died = (activity.n_tup_upd + activity.n_tup_del) as f64;
    let round_s = facts.server.number("autovacuum_naptime").unwrap_or(60.0);
    facts.window.hours().map_or(0.0, |hours| died / (hours * 3600.0) * round_s)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::samples;

    #[test]
    fn the_tables_own_parameters_go_first() {
        let mut facts = samples::healthy();
        let mut table = samples::table(1, "t", 1_000_000);
        assert_eq!(vacuum(&table, &facts.server), Some(200_050.0));
        assert_eq!(analyze(&table, &facts.server), Some(100_050.0));
        table.options.push(("autovacuum_vacuum_scale_factor".into(), "0.01".into()));
        table.options.push(("autovacuum_analyze_threshold".into(), "500".into()));
        assert_eq!(vacuum(&table, &facts.server), Some(10_050.0));
        assert_eq!(analyze(&table, &facts.server), Some(100_500.0));
        samples::set(&mut facts, "autovacuum_vacuum_max_threshold", 5_000.0);
        assert_eq!(vacuum(&table, &facts.server), Some(5_000.0));
        samples::set(&mut facts, "autovacuum_vacuum_max_threshold", -1.0);
        assert_eq!(vacuum(&table, &facts.server), Some(10_050.0));
        table.rows = None;
        assert_eq!(vacuum(&table, &facts.server), Some(50.0));
        facts.server.settings.clear();
        assert_eq!(vacuum(&table, &facts.server), None);
    }

    #[test]
    fn words_for_off() {
        let table = |value: &str| Table {
            options: vec![("autovacuum_enabled".into(), value.into())],
            ..Table::default()
        };
        for value in ["off", "OFF", "of", "false", "f", "no", "n", "0"] {
            assert!(ignored(&table(value)), "{value}");
        }
        for value in ["on", "o", "true", "t", "yes", "1", ""] {
            assert!(!ignored(&table(value)), "{value}");
        }
        assert!(!ignored(&Table::default()));
    }

    #[test]
    fn what_lasts_is_known_or_bounded() {
        let gauge = |a: &Activity| a.dead_rows;
        let mut table = samples::table(1, "t", 1_000_000);
        table.first_half = Some(Activity { dead_rows: Some(300), ..Activity::default() });
        assert!(lasted(&table, 900, 300.0, gauge));
        assert!(!lasted(&table, 900, 301.0, gauge), "not long ago it was fewer");
        assert!(!lasted(&table, 200, 300.0, gauge), "it is fewer now");
        table.window = Some(Activity { n_tup_upd: 500, n_tup_del: 100, ..Activity::default() });
        table.first_half = Some(Activity { n_tup_upd: 200, ..Activity::default() });
        assert!(lasted(&table, 900, 500.0, gauge), "400 of them can be new");
        assert!(!lasted(&table, 900, 501.0, gauge));
        table.first_half = None;
        assert!(!lasted(&table, 900, 500.0, gauge));
        table.window = None;
        assert!(lasted(&table, 900, 900.0, gauge), "nobody wrote");
    }
}
