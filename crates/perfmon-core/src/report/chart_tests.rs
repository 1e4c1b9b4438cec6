//! Charts as readers see them.

use super::*;

const NOON: i64 = 1_795_262_400_000_000;

/// Shows a time of 2026-11-21 as the server does.
fn show(us: i64) -> String {
    let seconds = (us - NOON) / 1_000_000 + 12 * 3600;
    let day = 21 + seconds.div_euclid(86_400);
    let seconds = seconds.rem_euclid(86_400);
    format!(
        "2026-11-{day:02} {:02}:{:02}:{:02}+00",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

fn points(step_us: i64, means: &[Option<f64>]) -> Vec<Point> {
    let mut since_us = NOON;
    let mut point = |mean: &Option<f64>| {
        let point = Point {
            since_us,
            until_us: since_us + step_us,
            covered_ratio: f64::from(u8::from(mean.is_some())),
            calls: mean.map(|_| 100),
            total_exec_ms: mean.map(|ms| ms * 100.0),
            active_ratio: mean.map(|ms| ms * 100.0 / (step_us as f64 / 1000.0)),
        };
        since_us += step_us;
        point
    };
    means.iter().map(&mut point).collect()
}

fn drawn(trend: &Trend, changes: &[Change]) -> String {
    let mut out = String::new();
    assert!(chart(&mut out, trend, changes, &show));
    out
}

#[test]
fn bars_gaps_targets_and_changes() {
    let means = [Some(10.0), Some(20.0), None, Some(0.1), Some(40.0)];
    let mut trend = Trend { step_us: HOUR, target_ms: Some(30.0), points: points(HOUR, &means) };
    trend.points[1].covered_ratio = 0.5;
    let change = |at_us, kind: &str, name: &str| Change {
        at_us,
        kind: kind.to_owned(),
        name: name.to_owned(),
        ..Change::default()
    };
    let changes = [
        change(NOON + 4 * HOUR + 1, "setting", "work_mem"),
        change(NOON + 5 * HOUR, "mark", "deploy"),
        change(NOON, "mark", "before"),
    ];
    let expected = "\
Mean time of a statement, by hour. The target of 30.0 ms is marked with |.

```text
since                                                   mean  running
2026-11-21 12:00  ########               |           10.0 ms   <0.001
2026-11-21 13:00  ################       |           20.0 ms    0.001  50 % known
2026-11-21 14:00  (nothing recorded)
2026-11-21 15:00  #                      |           0.10 ms   <0.001
2026-11-21 16:00  #######################|########   40.0 ms    0.001  over, <- setting work_mem +1
```

";
    assert_eq!(drawn(&trend, &changes), expected);
}

#[test]
fn a_far_target_leaves_room_for_the_bars() {
    let trend = Trend {
        step_us: DAY,
        target_ms: Some(500.0),
        points: points(DAY, &[Some(1.0), Some(2.0)]),
    };
    let text = drawn(&trend, &[]);
    assert!(text.contains("The target of 500 ms is far above all of it."), "{text}");
    assert!(text.contains(&format!("2026-11-22  {}   2.00 ms", "#".repeat(BAR))), "{text}");
}

#[test]
fn a_long_gap_takes_one_line_but_for_what_changed_in_it() {
    let mut means = vec![None; 12];
    means[11] = Some(1.0);
    let trend = Trend { step_us: HOUR, target_ms: None, points: points(HOUR, &means) };
    let change = Change {
        at_us: NOON + 5 * HOUR,
        kind: "mark".to_owned(),
        name: "deploy".to_owned(),
        ..Change::default()
    };
    let text = drawn(&trend, &[change]);
    let lines: Vec<&str> = text.lines().skip(4).collect();
    assert!(lines[0].ends_with("12:00  (nothing recorded for 4 h)"), "{text}");
    assert!(lines[1].contains("16:00  (nothing recorded)   "), "{text}");
    assert!(lines[1].ends_with("<- mark deploy"), "{text}");
    assert!(lines[2].ends_with("17:00  (nothing recorded for 6 h)"), "{text}");
}

#[test]
fn an_idle_database_needs_no_bars() {
    let mut points = points(HOUR, &[Some(0.0), Some(0.0)]);
    for point in &mut points {
        point.calls = Some(0);
    }
    let text = drawn(&Trend { step_us: HOUR, target_ms: None, points }, &[]);
    assert_eq!(text, "There was no load at any time that is known.\n\n");
}

#[test]
fn a_long_rest_takes_one_line() {
    let means = [5.0, 0.0, 0.0, 0.0, 5.0, 0.0, 0.0].map(Some);
    let mut points = points(HOUR, &means);
    points.iter_mut().filter(|p| p.total_exec_ms == Some(0.0)).for_each(|p| p.calls = Some(0));
    let text = drawn(&Trend { step_us: HOUR, target_ms: None, points }, &[]);
    assert!(text.contains("13:00  (no load for 3 h)\n2026-11-21 16:00  ####"), "{text}");
    assert_eq!(text.matches("-        0\n").count(), 2, "{text}");
}

#[test]
fn without_calls_the_load_is_drawn() {
    let mut points = points(HOUR, &[Some(7200.0), Some(14_400.0)]);
    for point in &mut points {
        point.calls = None;
    }
    let text = drawn(&Trend { step_us: HOUR, target_ms: Some(1.0), points }, &[]);
    assert!(text.starts_with("Statements running on average, by hour.\n"), "{text}");
    assert!(text.contains(&format!("13:00  {}         -     0.40", "#".repeat(BAR))), "{text}");
}

#[test]
fn nothing_known_is_no_chart() {
    let trend = Trend { step_us: HOUR, target_ms: None, points: points(HOUR, &[None, None]) };
    assert!(!chart(&mut String::new(), &trend, &[], &show));
}

#[test]
fn a_hostile_name_stays_in_its_line() {
    let trend = Trend { step_us: HOUR, target_ms: None, points: points(HOUR, &[Some(1.0)]) };
    let change = Change {
        at_us: NOON + 1,
        kind: "table".to_owned(),
        name: "a\n```\n# b 日本語日本語日本語日本語".to_owned(),
        ..Change::default()
    };
    let text = drawn(&trend, &[change]);
    assert_eq!(text.lines().filter(|line| line.starts_with("```")).count(), 2, "{text}");
    assert!(text.lines().all(|line| width(line) <= WIDTH), "{text}");
}

#[test]
fn steps_suit_the_period() {
    assert_eq!(step_us(MINUTE, 5 * SECOND), 5 * SECOND);
    assert_eq!(step_us(5 * MINUTE, MINUTE), MINUTE);
    assert_eq!(step_us(HOUR, MINUTE), 2 * MINUTE);
    assert_eq!(step_us(DAY, MINUTE), HOUR);
    assert_eq!(step_us(DAY, HOUR), HOUR);
    assert_eq!(step_us(2 * DAY, MINUTE), 2 * HOUR);
    assert_eq!(step_us(3 * DAY, MINUTE), DAY);
    assert_eq!(step_us(30 * DAY, MINUTE), DAY);
    assert_eq!(step_us(365 * DAY, MINUTE), 14 * DAY);
    assert_eq!(step_us(HOUR, DAY), DAY);
    for days in 1..20_000 {
        let step = step_us(days * DAY, MINUTE);
        assert!(days * DAY / step < MOST_BARS || step == 364 * DAY, "{days}");
    }
}
