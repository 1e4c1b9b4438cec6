//! Tests of what is kept of findings, against a real server.

#[cfg(any(test, feature = "pg_test"))]
#[allow(clippy::unwrap_used, clippy::expect_used)]
#[pgrx::pg_schema]
mod tests {
    use perfmon_core::detect::Judgement;
    use perfmon_core::finding::{Evidence, Finding, Severity};
    use pgrx::prelude::*;

    use super::super::made::{DAY, MINUTE_US, own};
    use crate::store::{finding, sequence, sql};

    fn judged(dead_rows: i64) -> Judgement {
        let mut one = Finding::new("dead_rows", Severity::Warning, "public.t", "t", "r", "m");
        one.evidence = vec![Evidence::new("dead_rows", dead_rows, "rows")];
        Judgement { findings: vec![one], unjudged: Vec::new() }
    }

    /// Minutes since it was opened, and the number that it shows.
    fn shown() -> String {
        let query = "SELECT concat(extract(epoch FROM last_seen - opened_at)::int / 60, ' ',
                         evidence -> 0 ->> 'value') FROM perfmon.finding";
        sql::first(query, &[], |row| row.text(1)).unwrap()
    }

    #[pg_test]
    fn whoever_asks_gets_the_numbers_of_now() {
        let source = own();
        let at = |minute: i64| DAY + minute * MINUTE_US;
        finding::reconcile(source, at(0), false, &judged(10));
        finding::reconcile(source, at(5), false, &judged(20));
        assert_eq!(shown(), "0 10", "on schedule, hourly");
        finding::reconcile(source, at(6), true, &judged(30));
        assert_eq!(shown(), "6 30");
        finding::reconcile(source, at(65), false, &judged(40));
        assert_eq!(shown(), "6 30");
        finding::reconcile(source, at(67), false, &judged(50));
        assert_eq!(shown(), "67 50");
    }

    #[pg_test]
    fn words_that_are_no_longer_true_are_not_kept_for_an_hour() {
        let source = own();
        let at = |minute: i64| DAY + minute * MINUTE_US;
        let chain = |title: &str, remedy: &str| {
            let one = Finding::new("lock_chain", Severity::Warning, "shop", title, remedy, "m");
            Judgement { findings: vec![one], unjudged: Vec::new() }
        };
        let told = || {
            let query = "SELECT title || '; ' || remedy FROM perfmon.finding";
            sql::first(query, &[], |row| row.text(1)).unwrap()
        };
        finding::reconcile(source, at(0), false, &chain("2 wait for process 17", "end process 17"));
        finding::reconcile(source, at(1), false, &chain("3 wait for process 17", "end process 17"));
        assert_eq!(told(), "2 wait for process 17; end process 17", "numbers, hourly");
        finding::reconcile(source, at(2), false, &chain("3 wait for process 18", "end process 18"));
        assert_eq!(told(), "3 wait for process 18; end process 18");
        finding::reconcile(source, at(3), false, &chain("3 waited for it", "take locks late"));
        assert_eq!(told(), "3 waited for it; take locks late");
    }

    #[pg_test]
    fn positions_of_sequences_are_kept_for_a_day_or_two() {
        let at = |day: i64| DAY + day * 24 * 60 * MINUTE_US;
        let keep = |now: i64, value: i64| sequence::keep(now, [("s.\"q\n\"", value)].into_iter());
        let kept = |now: i64| {
            sequence::kept(now).map(|kept| (kept.at, kept.values.get("s.\"q\n\"").copied()))
        };
        assert_eq!(kept(at(0)), None);
        keep(at(0), 10);
        keep(at(0) + MINUTE_US, 11);
        assert_eq!(kept(at(0) + MINUTE_US), Some((at(0), Some(10))), "not before a day is over");
        keep(at(1), 20);
        assert_eq!(kept(at(1)), Some((at(0), Some(10))), "the older one, so that it is a day");
        keep(at(2), 30);
        assert_eq!(kept(at(2)), Some((at(1), Some(20))));
        assert_eq!(kept(at(0)), None, "the clock went back");
    }
}
