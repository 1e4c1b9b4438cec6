//! How often findings are judged: as often as their cost allows.

/// One evaluation may take half a hundredth of a processor.
const SHARE: i64 = 200;
/// It may last a tenth of the time between two, most of which it then waits: for a disk, or on a busy machine.
const LASTING: i64 = 10;

/// What an evaluation took, microseconds: of a processor, and in all. A machine that is busy, which is when findings are
/// wanted most, makes it last, and not cost more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Took {
    /// Of a processor.
    pub cpu_us: i64,
    /// By the clock.
    pub wall_us: i64,
}

impl Took {
    /// Its cost, microseconds of a processor, as one number.
    pub fn cost_us(self) -> i64 {
        self.cpu_us.max(self.wall_us / (SHARE / LASTING)).max(0)
    }
}

/// The time between two evaluations of this cost, at least and at most so long.
pub fn pause_us(cost_us: i64, shortest_us: i64, longest_us: i64) -> i64 {
    cost_us.saturating_mul(SHARE).clamp(shortest_us.min(longest_us), longest_us)
}

/// What became of an evaluation that was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Became {
    /// It ran.
    Judged,
    /// It could not be tried: somebody else was at it, or there was nothing to judge.
    PutOff,
    /// It failed.
    Failed,
}

/// Whether evaluations fail by now, where they did before or not. That one was put off says nothing of it, so that the log has a
/// line when they begin to fail and one when they run again, whatever comes between.
pub fn fails(before: bool, became: Became) -> bool {
    match became {
        Became::Judged => false,
        Became::PutOff => before,
        Became::Failed => true,
    }
}

#[cfg(test)]
mod tests {
    use super::{Became, Took, fails, pause_us};

    const SECOND: i64 = 1_000_000;

    fn pause(cpu_ms: i64, wall_ms: i64) -> i64 {
        let took = Took { cpu_us: cpu_ms * 1000, wall_us: wall_ms * 1000 };
        pause_us(took.cost_us(), 60 * SECOND, 900 * SECOND) / SECOND
    }

    #[test]
    fn what_was_put_off_does_not_work_again() {
        use Became::{Failed, Judged, PutOff};
        let mut fail = false;
        let course = [PutOff, Failed, PutOff, Failed, PutOff, PutOff, Judged, PutOff, Failed];
        let changes = course.map(|became| {
            let before = fail;
            fail = fails(before, became);
            (before != fail).then_some(fail)
        });
        let (begins, ends) = (Some(true), Some(false));
        assert_eq!(changes, [None, begins, None, None, None, None, ends, None, begins]);
    }

    #[test]
    fn a_busy_machine_does_not_put_evaluations_off() {
        assert_eq!(pause(20, 30), 60);
        // Five times as long by the clock as by the processor.
        assert_eq!(pause(200, 1_000), 60);
        assert_eq!(pause(200, 5_900), 60);
        assert_eq!(pause(600, 900), 120);
        // What waits for a disk costs those who wait for it, too.
        assert_eq!(pause(200, 20_000), 200);
        assert_eq!(pause(10_000, 10_000), 900);
        assert_eq!(pause(-1, -1), 60);
        assert_eq!(pause_us(0, 60, 30), 30);
    }
}
