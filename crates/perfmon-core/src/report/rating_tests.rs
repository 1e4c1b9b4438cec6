//! Ten servers from healthy to on fire, and what must hold of any.

use proptest::prelude::*;

use super::*;
use crate::finding::Helped;
use crate::report::potential::potential;

fn finding(severity: Severity, share: Option<f64>, saved: &[(i64, f64)]) -> Finding {
    let mut finding = Finding::new("kind", severity, "object", "title", "remedy", "manual");
    finding.share_ratio = share;
    finding.helped = saved
        .iter()
        .map(|(statement_id, ms)| Helped { statement_id: *statement_id, saved_ms_per_hour: *ms })
        .collect();
    finding
}

/// Many findings of one severity that concern no statement: hygiene.
fn plain(severity: Severity, count: usize) -> Vec<Finding> {
    vec![finding(severity, None, &[]); count]
}

fn rated(findings: &[Finding], busy_ms_per_hour: Option<f64>) -> Rating {
    rate(findings, potential(findings, busy_ms_per_hour).saved_ratio)
}

/// An hour of one statement running all the time.
const BUSY: Option<f64> = Some(3.6e6);

/// A server: its name, findings, execution time per hour, and where its rating must lie.
type Server = (&'static str, Vec<Finding>, Option<f64>, [f64; 2]);

/// Ten servers, best first.
fn servers() -> Vec<Server> {
    use Severity::{Critical, Info, Warning};
    let slow = |share: f64, id: i64| finding(Warning, Some(share), &[(id, share * 0.95 * 3.6e6)]);
    let burning =
        |share: f64, id: i64| finding(Critical, Some(share), &[(id, share * 0.9 * 3.6e6)]);
    vec![
        ("idle, nothing to say", vec![], None, [10.0, 10.0]),
        ("pgbench, checksums off and I/O not timed", plain(Info, 3), BUSY, [9.5, 9.9]),
        ("an unused index besides", [plain(Info, 3), plain(Warning, 1)].concat(), BUSY, [9.0, 9.4]),
        (
            "a slow nightly query, some hygiene",
            [plain(Info, 6), plain(Warning, 2), vec![slow(0.08, 1)]].concat(),
            BUSY,
            [7.5, 8.5],
        ),
        (
            "one index would save a third of the time",
            [plain(Info, 6), plain(Warning, 3), vec![slow(0.35, 1)]].concat(),
            BUSY,
            [6.0, 7.5],
        ),
        (
            "two thirds of the time are scans, vacuum is behind on some tables",
            [plain(Info, 6), plain(Warning, 6), vec![slow(0.4, 1), slow(0.3, 2)]].concat(),
            BUSY,
            [4.0, 5.5],
        ),
        (
            "one statement is critical and takes half of the time",
            [plain(Info, 6), plain(Warning, 4), vec![burning(0.5, 1)]].concat(),
            BUSY,
            [3.0, 5.0],
        ),
        (
            "two of them, and a sequence that ends next week",
            [plain(Warning, 5), plain(Critical, 1), vec![burning(0.5, 1), burning(0.2, 2)]]
                .concat(),
            BUSY,
            [1.5, 2.5],
        ),
        (
            "nothing is indexed, autovacuum is off",
            [plain(Warning, 15), plain(Critical, 2), vec![burning(0.6, 1), burning(0.3, 2)]]
                .concat(),
            BUSY,
            [0.5, 1.5],
        ),
        (
            "on fire: wraparound, corruption, no space, no index",
            [plain(Warning, 40), plain(Critical, 8), vec![burning(0.6, 1), burning(0.4, 2)]]
                .concat(),
            BUSY,
            [0.0, 0.4],
        ),
    ]
}

#[test]
fn ten_servers_are_ordered_rightly() {
    let mut last = f64::INFINITY;
    for (name, findings, busy, [low, high]) in servers() {
        let value = rated(&findings, busy).value;
        assert!(value < last, "{name}: {value} is not below {last}");
        assert!((low..=high).contains(&value), "{name}: {value} is not in {low}..={high}");
        last = value;
    }
}

#[test]
fn one_critical_finding_caps_the_rating() {
    assert_eq!(rated(&plain(Severity::Critical, 1), None).value, 6.0);
    assert_eq!(rated(&plain(Severity::Critical, 2), None).value, 4.5);
    assert!(rated(&plain(Severity::Critical, 5), None).value < 2.0);
    assert!(rated(&plain(Severity::Critical, 100_000), None).value < 0.1);
}

#[test]
fn what_only_informs_hardly_matters() {
    assert!(rated(&plain(Severity::Info, 5), None).value >= 9.8);
    assert!(rated(&plain(Severity::Info, 10_000), None).value >= 9.5);
}

#[test]
fn the_parts_explain_the_value() {
    let all = [
        finding(Severity::Critical, Some(0.5), &[(1, 1.8e6)]),
        finding(Severity::Warning, Some(0.5), &[]),
        finding(Severity::Info, None, &[]),
    ];
    let rating = rated(&all, BUSY);
    let factors = rating.parts.each_ref().map(|part| (part.factor * 1000.0).round() / 1000.0);
    // 0.700 / (0.700 + 2) x 0.4 for the warning, 1 / (1 + 10) x 0.05 for the note.
    assert_eq!(factors, [0.6, 0.75, 0.896, 0.995]);
    assert_eq!(rating.value, 4.0);
    assert_eq!((rating.critical, rating.warning, rating.info), (1, 1, 1));
    assert_eq!(rating.word, "poor");
}

fn any_finding() -> impl Strategy<Value = Finding> {
    let number = prop_oneof![
        4 => 0.0..=1.2_f64,
        1 => Just(f64::NAN),
        1 => Just(-1.0),
        1 => Just(f64::INFINITY),
    ];
    let severity =
        prop_oneof![Just(Severity::Info), Just(Severity::Warning), Just(Severity::Critical)];
    let helped = proptest::collection::vec((0..6_i64, number.clone()), 0..4);
    (severity, proptest::option::of(number), helped).prop_map(|(severity, share, helped)| {
        let helped: Vec<(i64, f64)> = helped.into_iter().map(|(id, s)| (id, s * 3.6e6)).collect();
        finding(severity, share, &helped)
    })
}

proptest! {
    #[test]
    fn a_finding_never_raises_the_rating(
        findings in proptest::collection::vec(any_finding(), 0..30),
        more in any_finding(),
        place in any::<prop::sample::Index>(),
        busy in proptest::option::of(1.0..1e8_f64),
    ) {
        let before = rated(&findings, busy);
        let mut with = findings;
        with.insert(place.index(with.len() + 1), more);
        let after = rated(&with, busy);
        prop_assert!(after.value <= before.value, "{} after {}", after.value, before.value);
        for (a, b) in after.parts.iter().zip(&before.parts) {
            prop_assert!(a.factor <= b.factor, "{a:?} after {b:?}");
        }
        prop_assert!((0.0..=10.0).contains(&after.value));
    }

    #[test]
    fn the_order_of_findings_does_not_matter(
        findings in proptest::collection::vec(any_finding(), 0..20),
        busy in proptest::option::of(1.0..1e8_f64),
    ) {
        let mut turned = findings.clone();
        turned.reverse();
        prop_assert_eq!(rated(&findings, busy), rated(&turned, busy));
    }
}
