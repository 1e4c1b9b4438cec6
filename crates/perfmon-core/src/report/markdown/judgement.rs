//! The verdict in plain words: the rating and how it comes about, and what to look at first.

use super::super::facts::Report;
use super::super::priority::Priority;
use super::super::rating::Rating;
use super::super::text::{plain, wrapped};
use super::super::verdict::Verdict;
use super::super::words::{milliseconds, number, percent, plural, sentence};

/// How many of the top statements are added up to say how the time is spread.
const TOP: usize = 3;
/// So many kinds that were not judged are named in the verdict; more are counted there.
const FEW: usize = 6;

pub(super) fn verdict(out: &mut String, report: &Report, verdict: &Verdict<'_>) {
    out.push_str("## Verdict\n\n");
    if report.head.intervals == 0 {
        paragraph(
            out,
            "Nothing was recorded in this period, so there is nothing to report on it. \
             perfmon.status() says whether snapshots are taken and what is missing.",
        );
    } else if verdict.provisional {
        paragraph(
            out,
            "**There is too little data for a judgement:** read what follows as a first glimpse.",
        );
    }
    let mut words = Vec::new();
    match (&verdict.rating, &report.findings) {
        (Some(rating), _) => words.push(grade(rating)),
        (None, None) => words.push(
            "**Not rated:** this history was not judged, so only its numbers are shown.".to_owned(),
        ),
        (None, Some(_)) => {}
    }
    if report.head.intervals > 0 {
        if report.findings.is_some() {
            words.push(could_save(report, verdict));
        }
        words.extend(worst(verdict));
        words.extend(spread(report));
        if report.statements.is_none() {
            words.push("What the time went into is not known.".to_owned());
        }
    }
    if !words.is_empty() {
        paragraph(out, &words.join(" "));
    }
    if let Some(rating) = &verdict.rating {
        paragraph(out, &formula(rating, verdict));
    }
    match report.unjudged.len() {
        0 => {}
        n if n <= FEW => not_judged(out, report),
        n => paragraph(
            out,
            &format!(
                "{n} kinds of findings could not be judged, because what they need is not known; \
                 they are named at the end."
            ),
        ),
    }
}

/// Names at the end what the verdict only counted.
pub(super) fn unjudged(out: &mut String, report: &Report) {
    if report.unjudged.len() > FEW {
        not_judged(out, report);
    }
}

fn not_judged(out: &mut String, report: &Report) {
    let kinds: Vec<String> = report.unjudged.iter().map(|kind| plain(kind)).collect();
    let kinds = kinds.join(", ");
    paragraph(out, &format!("Not judged, because what it needs is not known: {kinds}."));
}

fn paragraph(out: &mut String, text: &str) {
    wrapped(out, "", text);
    out.push('\n');
}

fn grade(rating: &Rating) -> String {
    let value = format!("**{:.1} of 10: {}.**", rating.value, rating.word);
    let mut counts = vec![match rating.critical {
        0 => "No critical finding".to_owned(),
        n => plural(n, "critical finding", "critical findings"),
    }];
    if rating.warning > 0 {
        counts.push(plural(rating.warning, "warning", "warnings"));
    }
    if rating.info > 0 {
        counts.push(plural(rating.info, "note", "notes"));
    }
    let counts = match counts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => counts.concat(),
    };
    format!("{value} {counts}.")
}

fn could_save(report: &Report, verdict: &Verdict<'_>) -> String {
    let Some(share) = verdict.potential.saved_ratio else {
        return if report.statements.is_none() {
            "How much time could be saved is not known, because statements are not recorded."
        } else {
            "How much time could be saved is not known, because no statement ran."
        }
        .to_owned();
    };
    if verdict.potential.statements == 0 {
        return "No remedy would save a measurable share of the execution time.".to_owned();
    }
    let of = match report.load.total_exec_ms {
        Some(all) => {
            let (saved, all) = (milliseconds(Some(share * all)), milliseconds(Some(all)));
            format!(", {saved} of {all}")
        }
        None => String::new(),
    };
    let statements = plural(verdict.potential.statements, "statement", "statements");
    let share = percent(Some(share));
    format!("**Up to {share} of the execution time could be saved**{of}, in {statements}.")
}

fn worst(verdict: &Verdict<'_>) -> Option<String> {
    let first = verdict.ranked.first()?;
    let of = |priority| verdict.ranked.iter().filter(|r| r.priority == priority).count();
    let (what, n) = match first.priority {
        Priority::Critical => ("critical", of(Priority::Critical)),
        Priority::High => ("of high priority", of(Priority::High)),
        Priority::Medium | Priority::Low => return Some("Nothing is urgent.".to_owned()),
    };
    let title = sentence(&plain(&first.finding.title));
    Some(match n {
        1 => format!("One thing is {what}: {title}"),
        n => format!("{n} things are {what}, first of all: {title}"),
    })
}

/// How busy it was, and on how little the time is spent.
fn spread(report: &Report) -> Option<String> {
    let running = report.load.active_ratio?;
    let busy = format!("On average, {} statements were running", number(Some(running)));
    let statements = report.statements.as_deref().unwrap_or_default();
    let shares: Option<Vec<f64>> = statements.iter().take(TOP).map(|s| s.share_ratio).collect();
    Some(match shares {
        Some(shares) if statements.len() > TOP => {
            let share = percent(Some(shares.iter().sum::<f64>().min(1.0)));
            format!("{busy}; the {TOP} most expensive took {share} of the time.")
        }
        _ => format!("{busy}."),
    })
}

fn formula(rating: &Rating, verdict: &Verdict<'_>) -> String {
    let time = match verdict.potential.saved_ratio {
        Some(share) => format!("{} of the time could be saved", percent(Some(share))),
        None => "time that could be saved: unknown".to_owned(),
    };
    let reasons = [
        format!("{} critical", rating.critical),
        time,
        plural(rating.warning, "warning", "warnings"),
        plural(rating.info, "note", "notes"),
    ];
    let parts: Vec<String> = rating
        .parts
        .iter()
        .zip(reasons)
        .map(|(part, reason)| format!("x {:.3} ({reason})", part.factor))
        .collect();
    format!("Rating: 10 {} = {:.1}", parts.join(" "), rating.value)
}
