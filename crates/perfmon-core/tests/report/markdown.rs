//! Whole reports, compared with the expected texts in `tests/expected/`. After a change that is meant,
//! run with `PERFMON_BLESS=1` and review the difference.

use perfmon_core::finding::Evidence;
use perfmon_core::report::{Report, markdown};
use unicode_width::UnicodeWidthStr;

use crate::samples::{HOSTILE, NOON, show};
use crate::{samples, shop};

fn text(report: &Report) -> String {
    markdown(report, &show)
}

#[test]
fn reports_read_as_expected() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expected");
    let bless = std::env::var_os("PERFMON_BLESS").is_some();
    let mut wrong = Vec::new();
    for (name, report) in samples::all() {
        let file = format!("{folder}/{name}.md");
        let said = text(&report);
        if bless {
            std::fs::write(&file, &said).unwrap();
        } else if std::fs::read_to_string(&file).unwrap_or_default() != said {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "reports differ from tests/expected: {wrong:?}");
}

/// The lines outside of blocks of SQL and plans, which stand as they are.
fn own_lines(text: &str) -> Vec<&str> {
    let mut fence: Option<String> = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        let ticks: String = line.chars().take_while(|c| *c == '`').collect();
        match &fence {
            Some(open) if line.trim_end() == *open => fence = None,
            Some(_) => {}
            None if ticks.len() > 2 && !line.ends_with('`') => fence = Some(ticks),
            None => lines.push(line),
        }
    }
    assert_eq!(fence, None, "a block is not closed");
    lines
}

#[test]
fn no_line_is_wider_than_a_terminal() {
    for (name, report) in samples::all() {
        for line in own_lines(&text(&report)) {
            assert!(line.width() <= 100, "{name}: {} columns: {line}", line.width());
        }
    }
}

#[test]
fn its_own_words_are_ascii() {
    for (name, report) in samples::all().into_iter().filter(|(name, _)| *name != "hostile") {
        assert!(text(&report).is_ascii(), "{name}");
    }
}

#[test]
fn hostile_names_break_nothing() {
    let said = text(&samples::hostile());
    let tame = text(&shop::sick_shop());
    let lines = own_lines(&said);
    let headings = |lines: &[&str]| lines.iter().filter(|l| l.starts_with("## ")).count();
    assert_eq!(headings(&lines), headings(&own_lines(&tame)));
    for line in &lines {
        assert!(!line.contains('\u{202E}'), "{line}");
        assert!(!line.contains("<img") || line.contains("\\<img") || line.contains('`'), "{line}");
        assert!(!line.trim_start().starts_with("# d"), "{line}");
    }
    // Every row of a table has as many cells as its head.
    let mut cells = None;
    for line in lines {
        if line.starts_with('|') {
            let bars = line.replace("\\\\", "").replace("\\|", "").matches('|').count();
            assert_eq!(*cells.get_or_insert(bars), bars, "{line}");
        } else {
            cells = None;
        }
    }
    // What is to be run stands exactly as it is.
    assert!(said.contains(&format!("\n`````sql\nCREATE INDEX ON public.{HOSTILE} (")), "{said}");
}

#[test]
fn the_same_facts_give_the_same_text() {
    let mut turned = shop::sick_shop();
    turned.findings.as_mut().unwrap().reverse();
    assert_eq!(text(&turned), text(&shop::sick_shop()));
}

#[test]
fn nothing_recorded_is_said_plainly() {
    let said = text(&samples::no_history());
    assert!(said.contains("Nothing was recorded in this period"), "{said}");
    assert!(!said.contains("## Load") && !said.contains("of 10"), "{said}");
}

#[test]
fn too_little_data_is_said_plainly() {
    for (intervals, covered_us) in [(1, samples::HOUR), (30, samples::MINUTE)] {
        let mut report = shop::sick_shop();
        report.head.intervals = intervals;
        report.head.covered_us = covered_us;
        assert!(text(&report).contains("too little data"));
    }
    assert!(!text(&shop::sick_shop()).contains("too little data"));
}

#[test]
fn an_outage_that_came_is_told_as_one() {
    let mut report = shop::sick_shop();
    for finding in report.findings.iter_mut().flatten() {
        finding.impact.outage_at_us = finding.impact.outage_at_us.map(|_| NOON - samples::DAY);
    }
    assert!(text(&report).contains("an outage since 2026-11-20 14:00:00+02"));
}

#[test]
fn long_lists_say_what_they_leave_out() {
    let mut report = shop::sick_shop();
    let one = report.findings.as_ref().unwrap()[4].clone();
    report.findings = Some(vec![one; 100]);
    report.changes = vec![report.changes[0].clone(); 50];
    report.gaps = vec![report.gaps[0].clone(); 50];
    let said = text(&report);
    assert!(said.contains("93 more are in the list at the end."), "{said}");
    assert!(said.contains("And 85 more of this priority: `SELECT * FROM perfmon.findings`."));
    assert!(said.contains("And 30 more: `SELECT * FROM perfmon.changes(...)`."));
    assert!(said.contains("And 30 more: `SELECT * FROM perfmon.gaps(...)`."));
}

#[test]
fn what_readers_may_not_see_is_not_there() {
    let mut report = shop::sick_shop();
    for statement in report.statements.iter_mut().flatten() {
        statement.query = None;
    }
    for statement in report.latency.iter_mut().flat_map(|latency| &mut latency.statements) {
        statement.query = None;
    }
    // What analysing a text showed is known to nobody who may not read it.
    report.rewrites = Some(Vec::new());
    for finding in report.findings.iter_mut().flatten() {
        finding.statement = None;
    }
    let said = text(&report);
    assert!(!said.contains("```sql") && !said.contains("SELECT id"), "{said}");
    assert_eq!(said.matches("text not known").count(), 7);
}

#[test]
fn findings_on_the_same_statement_point_to_each_other() {
    let mut report = shop::sick_shop();
    for finding in report.findings.iter_mut().flatten() {
        if finding.kind == "slow_statement" {
            finding.object = "statement 30".to_owned();
        }
    }
    let said = text(&report);
    assert_eq!(said.matches("- See also:").count(), 2, "{said}");
    assert!(said.contains("- See also: 3, on the same statement\n"), "{said}");
    assert!(said.contains("- See also: 1, on the same statement\n"), "{said}");
}

#[test]
fn what_was_not_judged_is_named_but_does_not_drown_the_verdict() {
    let mut report = shop::sick_shop();
    assert!(text(&report).contains("Not judged, because what it needs is not known: wal_volume,"));
    report.unjudged = (0..30).map(|n| format!("kind_{n}")).collect();
    let said = text(&report);
    let (verdict, rest) = said.split_once("## Top bottlenecks").unwrap();
    assert!(verdict.contains("30 kinds of findings could not be judged"), "{said}");
    assert!(!verdict.contains("kind_0"), "{said}");
    assert!(rest.contains("kind_0, kind_1,") && rest.contains("kind_29."), "{said}");
}

#[test]
fn statements_to_run_that_are_hidden_are_spoken_of_once() {
    let mut report = shop::sick_shop();
    let said = "Statements to run are shown to members of pg_read_all_stats.";
    assert!(!text(&report).contains(said));
    report.hidden = true;
    assert_eq!(text(&report).matches(said).count(), 1);
}

#[test]
fn texts_that_are_hidden_are_left_out() {
    let mut report = shop::sick_shop();
    let hidden = || Some("<insufficient privilege>".to_owned());
    for statement in report.statements.iter_mut().flatten() {
        statement.query = hidden();
    }
    for statement in report.latency.iter_mut().flat_map(|latency| &mut latency.statements) {
        statement.query = hidden();
    }
    for one in report.rewrites.iter_mut().flatten() {
        one.query = hidden();
    }
    for plan in report.statements.iter_mut().flatten().filter_map(|s| s.plan.as_mut()) {
        plan.text = hidden();
    }
    let said = text(&report);
    assert!(!said.contains("insufficient privilege") && !said.contains("text not known"), "{said}");
    assert!(!said.contains("- Statement "), "{said}");
    assert!(said.contains("| rows/call |\n"), "{said}");
    let why = "Texts of other users' statements are shown to members of pg_read_all_stats.";
    assert_eq!(said.matches(why).count(), 1);
    // Of one's own statements the text is there.
    report.statements.as_mut().unwrap()[1].query = Some("SELECT mine".to_owned());
    let said = text(&report);
    assert!(said.contains("`SELECT mine`") && said.matches(why).count() == 1, "{said}");
}

#[test]
fn completeness_of_an_idle_database_is_no_alarm() {
    let mut report = shop::sick_shop();
    (report.head.completeness_ratio, report.head.active_ms) = (Some(0.0), Some(12.0));
    let idle = "- Completeness: not told: clients were active for only 12.0 ms\n";
    assert!(text(&report).contains(idle), "{}", text(&report));
    let json = perfmon_core::report::json(&report).unwrap();
    assert!(json.contains("\"completeness_ratio\": null"), "{json}");
    report.head.active_ms = Some(20_000.0);
    assert!(text(&report).contains("- Completeness: 0.0 % of the clients' active time"));
    // A transaction that is open for long has yet to be added to the active time.
    report.head.completeness_ratio = Some(6.87);
    let late = "- Completeness: not told: sessions have yet to report active time";
    assert!(text(&report).contains(late), "{}", text(&report));
    let json = perfmon_core::report::json(&report).unwrap();
    assert!(json.contains("\"completeness_ratio\": null"), "{json}");
}

#[test]
fn evidence_is_exact_and_in_good_english() {
    let mut report = shop::sick_shop();
    let finding = &mut report.findings.as_mut().unwrap()[0];
    finding.evidence = vec![
        Evidence::new("limit", 32_767_i64, ""),
        Evidence::new("last_value", 2_147_483_647_i64, "").over(1_000.0),
        Evidence::new("rows_per_call", 1.0, "rows").out_of(1),
        Evidence::new("rows_kept", 12_345_i64, "rows").out_of(12_345),
        Evidence::new("rows_read", 36_100_000_i64, "rows"),
    ];
    let said = text(&report).replace("\n  ", " ");
    let evidence = "- Evidence: limit 32,767; last_value 2,147,483,647 (threshold 1,000); \
                    rows_per_call 1 row (from 1 observation); rows_kept 12,345 rows (from 12,345 \
                    observations); rows_read 36.1 M rows\n";
    assert!(said.contains(evidence), "{said}");
}

#[test]
fn findings_with_the_same_remedy_point_to_each_other() {
    let mut report = shop::sick_shop();
    let all = report.findings.as_mut().unwrap();
    let scan = all.iter().find(|f| f.kind == "seq_scan").unwrap().clone();
    let mut key = scan.clone();
    key.kind = "foreign_key_without_index".to_owned();
    key.remedy = format!(
        "Create the index of the finding seq_scan on {}: it serves this foreign key too.",
        scan.object
    );
    (key.statement, key.helped) = (None, Vec::new());
    *all = vec![scan, key];
    let said = text(&report);
    assert!(said.contains("- See also: 2, with the same remedy\n"), "{said}");
    assert!(said.contains("- See also: 1, with the same remedy\n"), "{said}");
}

/// One section, by its heading.
fn section<'a>(said: &'a str, heading: &str) -> &'a str {
    let from = said.split(&format!("## {heading}\n")).nth(1).unwrap_or_default();
    from.split("\n## ").next().unwrap_or_default()
}

#[test]
fn a_plan_is_printed_once_and_told_with_its_cost_and_its_age() {
    let said = text(&shop::sick_shop());
    assert_eq!(said.matches("Filter: (lower(email) = $1)").count(), 1, "{said}");
    let plans = section(&said, "Plans of the statements that take most time");
    let plans = plans.replace("\n  ", " ");
    for expected in [
        "### Statement 30: 43.5 % of the time, 19.8 ms a call\n",
        "- Plan: mostly Seq Scan on customers (98.0 % of its estimated cost), since 2026-11-21 13:20:00+02; printed under 1 of the bottlenecks\n",
        "- Seen: A seq scan of public.customers reads 40,000 rows per execution and keeps 1.\n",
        "- Changed: at 2026-11-21 13:20:00+02 from Index Scan using customers_lower_idx on customers (0.031 ms a call) to Seq Scan on customers (19.8 ms a call)\n",
        "- Seen: The sort by placed_at did not fit into memory, and went to disk.\n",
    ] {
        assert!(plans.contains(expected), "{expected}: {plans}");
    }
    let mut report = shop::sick_shop();
    report.findings = Some(Vec::new());
    let said = text(&report);
    let plans = section(&said, "Plans of the statements that take most time");
    assert!(plans.contains("\n```text\nSort  (cost=") && !plans.contains("printed"), "{plans}");
    report.statements.iter_mut().flatten().for_each(|statement| statement.plan = None);
    assert_eq!(section(&text(&report), "Plans of the statements that take most time"), "");
    report.unplanned = Some(perfmon_core::report::Missing {
        problem: "pg_perfmon.plan_min_duration is -1".to_owned(),
        fix: "ALTER SYSTEM ...;".to_owned(),
    });
    let why = "\nPlans are not recorded: pg_perfmon.plan_min_duration is -1.\n\nTo fix it: ALTER SYSTEM ...;\n";
    assert_eq!(section(&text(&report), "Plans of the statements that take most time"), why);
}

#[test]
fn better_forms_are_told_apart_by_whether_they_mean_the_same() {
    let mut report = shop::sick_shop();
    let said = text(&report);
    let forms = section(&said, "Better forms of statements");
    assert!(forms.starts_with("\n2 statements could be written in a better way."), "{forms}");
    assert_eq!(forms.matches("### Statement 31").count(), 1, "{forms}");
    assert_eq!(forms.matches("- Meaning: the same. ").count(), 2, "{forms}");
    assert_eq!(forms.matches("- Meaning: to be checked. ").count(), 1, "{forms}");
    assert!(forms.contains("- Better: `placed_at >= $2`\n"), "{forms}");
    assert!(forms.contains("- Better: Make an index on the expression.\n"), "{forms}");
    let one = report.rewrites.as_ref().unwrap()[2].clone();
    report.rewrites = Some(vec![one; 20]);
    let said = text(&report);
    let forms = section(&said, "Better forms of statements");
    assert_eq!(forms.matches("- Effect: ").count(), 8, "{forms}");
    assert!(
        forms.contains("12 more, and all on these: `SELECT * FROM perfmon.rewrite_hints(...)`.")
    );
    let first = shop::sick_shop().rewrites.unwrap().swap_remove(0);
    let second = perfmon_core::report::Rewrite { statement_id: 77, ..first.clone() };
    report.rewrites = Some(vec![first, second]);
    let said = text(&report);
    let forms = section(&said, "Better forms of statements");
    assert_eq!(forms.matches("Make an index on the expression").count(), 1, "{forms}");
    assert!(forms.contains("- Better: as of statement 30; meaning: the same.\n"), "{forms}");
    for none in [None, Some(Vec::new())] {
        report.rewrites = none;
        assert!(!text(&report).contains("Better forms"));
    }
}
