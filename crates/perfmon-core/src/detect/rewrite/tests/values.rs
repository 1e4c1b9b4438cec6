//! Forms whose meaning hangs on values that the text does not tell.

use super::*;
use crate::facts::Moved;

/// A number that is a parameter, in executions of which so many asked only whether there is any.
fn counting(known: bool, samples: u64, asked: u64) -> Facts {
    let mut facts = with(form(FormKind::Counted { known, given: false }));
    let statement = third(&mut facts).statement_id;
    let mut seen = evidence(statement, Kind::Existence, "", "", asked);
    seen.statement_samples = samples;
    seen.node.conditions.clear();
    facts.evidence = Some(vec![seen]);
    facts
}

#[test]
fn counting_for_existence() {
    assert_eq!(
        the(&DETECTOR, &with(form(FormKind::Counted { known: true, given: false })), COUNT).risk,
        ""
    );
    let told = the(&DETECTOR, &counting(false, 8, 8), COUNT);
    assert!(told.risk.contains("does not tell the number"), "{}", told.risk);
    let gain = told.gain.expect("an effect");
    assert!(
        gain.ends_with("All 8 executions that were looked into asked only whether there is any.")
    );
    // A constant that is counted is a parameter in the text.
    let constant =
        the(&DETECTOR, &with(form(FormKind::Counted { known: true, given: true })), COUNT);
    assert!(constant.risk.contains("is NULL"), "{}", constant.risk);
    // Without executions, or with some that compared with another number, nothing is known.
    silent(&DETECTOR, &with(form(FormKind::Counted { known: false, given: false })), COUNT);
    silent(&DETECTOR, &counting(false, 8, 7), COUNT);
    silent(&DETECTOR, &counting(false, 1, 1), COUNT);
    let mut other = counting(false, 8, 8);
    other.evidence.iter_mut().flatten().for_each(|e| e.statement_id = 1);
    silent(&DETECTOR, &other, COUNT);
    let mut node = counting(false, 8, 8);
    let evidence = node.evidence.iter_mut().flatten();
    evidence.for_each(|e| e.node.node = Kind::Aggregate.name().to_owned());
    silent(&DETECTOR, &node, COUNT);
}

#[test]
fn forms_with_values_of_unknown_types_are_looked_at_first() {
    let kinds = [
        FormKind::Truncated { zoned: false },
        FormKind::TruncatedDay,
        FormKind::Dated { zoned: false },
        FormKind::Shifted { moved: Moved::Exact },
        FormKind::Defaulted,
    ];
    for kind in kinds {
        let of = |guessed| {
            let better = Some("created_at = $1".to_owned());
            with(Form { guessed, better, ..form(kind.clone()) })
        };
        assert_eq!(the(&DETECTOR, &of(false), FUNCTION).risk, "", "{kind:?}");
        let risk = the(&DETECTOR, &of(true), FUNCTION).risk;
        assert!(risk.contains("does not tell the types"), "{kind:?}: {risk}");
    }
    // What must be looked at anyway is said too.
    for (moved, word) in
        [(Moved::Span, "Months"), (Moved::Rounded, "rounded"), (Moved::Divided, "above zero")]
    {
        for guessed in [false, true] {
            let better = Some("created_at = $1".to_owned());
            let kind = FormKind::Shifted { moved };
            let risk = the(&DETECTOR, &with(Form { guessed, better, ..form(kind) }), FUNCTION).risk;
            assert!(risk.contains(word), "{risk}");
            assert_eq!(risk.contains("does not tell the types"), guessed, "{risk}");
        }
    }
    // An index on the expression changes nothing, whatever it is compared with.
    let computed = Form {
        indexable: Some("lower(note)".to_owned()),
        guessed: true,
        ..form(FormKind::Computed)
    };
    assert_eq!(the(&DETECTOR, &with(computed), FUNCTION).risk, "");
}
