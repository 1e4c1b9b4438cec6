//! All that is known of pools: several looks, and what each group had step by step.

use super::forecast::{self, Exhaustion, Point, Season};
use super::limit::Kind;
use super::look::Look;
use super::{Group, Whose};
use crate::activity::group::Level;
use crate::threshold::Thresholds;

/// What the detectors know of pools.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pools {
    /// The last interval.
    pub last: Look,
    /// The last two, and all that is new.
    pub recent: Look,
    /// All of the window.
    pub window: Look,
    /// Only what stands at the end of the window is asked for, and what is new, not all that happened in it.
    pub standing: bool,
    /// Limits that will be reached: whose, which and how many, and when.
    pub exhaustion: Vec<(Whose, Kind, u32, Exhaustion)>,
    /// What groups had step by step.
    pub courses: Vec<Course>,
}

/// What a group had step by step, and in the hours of other days.
#[derive(Debug, Clone, PartialEq)]
pub struct Course {
    /// Whose sessions.
    pub whose: Whose,
    /// Open sessions by step of the window: what 95 % of samples did not exceed.
    pub open: Vec<Point>,
    /// Sessions that came, by steps of whole intervals: such a step tells how many came at a time, and no share of them.
    pub opened: Vec<u64>,
    /// Open sessions by hour of other days.
    pub other_days: Vec<Point>,
}

/// When limits will be reached: those of the server, of databases and of roles.
fn forecast(
    look: &Look,
    courses: &[Course],
    thresholds: &Thresholds,
) -> Vec<(Whose, Kind, u32, Exhaustion)> {
    let mut all = Vec::new();
    for group in &look.groups {
        let own = match group.whose.level {
            Level::Server => Kind::Server,
            Level::Database => Kind::Database,
            Level::User => Kind::Role,
            Level::Pool => continue,
        };
        let limit = group.limits.iter().find(|limit| limit.kind == own && limit.most > 0);
        let course = courses.iter().find(|course| course.whose == group.whose);
        let (Some(limit), Some(course)) = (limit, course) else { continue };
        let season = Season::of(&course.other_days, thresholds);
        let most = f64::from(limit.most);
        if let Some(found) = forecast::exhaustion(&course.open, &season, most, thresholds) {
            all.push((group.whose.clone(), own, limit.most, found));
        }
    }
    all
}

impl Pools {
    /// Says when limits will be reached.
    #[must_use]
    pub fn foreseen(mut self, thresholds: &Thresholds) -> Self {
        self.exhaustion = forecast(&self.window, &self.courses, thresholds);
        self
    }

    /// What a group had step by step.
    pub fn course_of(&self, whose: &Whose) -> Option<&Course> {
        let sorted = self.courses.binary_search_by(|course| course.whose.cmp(whose));
        let sorted = sorted.ok().and_then(|at| self.courses.get(at));
        sorted.or_else(|| self.courses.iter().find(|course| course.whose == *whose))
    }

    /// When the first of a group's limits will be reached.
    pub fn exhaustion_of(&self, group: &Group) -> Option<&Exhaustion> {
        let whose = &group.whose;
        let under = |(limited, kind, ..): &&(Whose, Kind, u32, Exhaustion)| {
            group.limits.iter().any(|limit| limit.kind == *kind)
                && match kind {
                    Kind::Server => true,
                    Kind::Database => limited.database == whose.database,
                    Kind::Role => limited.user == whose.user,
                    _ => false,
                }
        };
        let found = self.exhaustion.iter().filter(under).map(|found| &found.3);
        found.min_by(|a, b| a.hours.total_cmp(&b.hours))
    }
}

impl Pools {
    /// The stretches that count for what comes and goes within moments.
    pub fn looks(&self) -> impl Iterator<Item = &Look> {
        let window = (!self.standing).then_some(&self.window);
        [Some(&self.last), window].into_iter().flatten()
    }
}
