//! The largest and the smallest number in a step of a series, as far as they are known: averages are shared out to the steps that
//! an interval lies in, but a peak is of one moment. What is said of a step never contradicts itself.

use super::spread::{self, Spread};
use crate::series::{Part, Peak};

/// What of a row a step gets.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    /// Which part.
    pub part: Part,
    /// In which units.
    pub unit: u64,
    /// Whether its peaks, which are of one moment.
    pub peak: Peak,
    /// Samples of the whole row.
    pub samples: u64,
}

impl Cut {
    /// The part of a number of the row that belongs to the step; `of_work` where it is of clients at work, of which there were
    /// none in quiet time.
    pub fn of(&self, number: u64, of_work: bool) -> u64 {
        if of_work { self.part.of_work(number, self.unit) } else { self.part.of(number, self.unit) }
    }
}

/// What is known of one number in a step.
#[derive(Debug, Clone, Default)]
pub struct Extent {
    /// The largest number that is known to be in the step.
    peak: u64,
    /// The largest number of parts that may have it elsewhere.
    beyond: u64,
    /// Samples of rows whose peak need not have been in the step, and of them those of which the number is known all the
    /// same: all found the same, or most, and nothing happened then.
    vague: u64,
    same: u64,
    /// Samples by number: of what is known to be in the step, and of all that may be.
    known: Spread,
    possible: Spread,
    /// By how many parts of a sample the places together may be off: of a row that is cut, each is rounded.
    rounding: u64,
}

impl Extent {
    /// Takes how many samples of a row are of one place of a spread; `of_work` as in [`Cut::of`].
    pub fn add(&mut self, place: usize, found: u64, of_work: bool, cut: &Cut) {
        if of_work && cut.peak == Peak::Quiet {
            return;
        }
        let shared = cut.of(found, of_work);
        self.rounding = self.rounding.saturating_add(u64::from(cut.part.share() < 1.0));
        let is_it = match cut.peak {
            Peak::Here => {
                self.known.add(place as u8, shared);
                self.possible.add(place as u8, shared);
                return;
            }
            // As it mostly was.
            Peak::Quiet => found.saturating_mul(2) >= cut.samples.max(1),
            Peak::Elsewhere => found >= cut.samples.max(1) && spread::is_exact(place),
        };
        let least = u64::from(spread::least(place));
        if is_it {
            let all = cut.part.of(cut.samples, cut.unit);
            self.peak = self.peak.max(least);
            self.same = self.same.saturating_add(all);
            self.known.add(place as u8, all);
            self.possible.add(place as u8, all);
        } else if cut.peak == Peak::Elsewhere && shared > 0 {
            self.beyond = self.beyond.max(least);
            self.possible.add(place as u8, shared);
        }
    }

    /// Takes the peak of a row; `is_spread` where its spread is taken, too, which tells more.
    pub fn add_peak(&mut self, peak: u64, is_spread: bool, of_work: bool, cut: &Cut) {
        if of_work && cut.peak == Peak::Quiet {
            return;
        }
        // So is the number of all its samples.
        self.rounding = self.rounding.saturating_add(u64::from(cut.part.share() < 1.0));
        if cut.peak == Peak::Here {
            self.peak = self.peak.max(peak);
        } else if peak > 0 {
            self.vague = self.vague.saturating_add(cut.part.of(cut.samples, cut.unit));
            if !is_spread {
                self.beyond = self.beyond.max(peak);
            }
        }
    }

    fn unknown(&self) -> u64 {
        self.vague.saturating_sub(self.same)
    }

    /// The largest number that is known, whatever there may be beside.
    pub fn highest(&self) -> u64 {
        self.peak
    }

    /// The largest number; `None` where for more than half of so many samples nobody knows it, or where a part of a row had more
    /// than all of which it is known.
    pub fn peak(&self, samples: u64) -> Option<u64> {
        let known = self.unknown().saturating_mul(2) <= samples && self.beyond <= self.peak;
        known.then_some(self.peak)
    }

    /// The smallest number; `None` where the largest is unknown, or a part of a row had less than all of which it is known.
    pub fn least(&self, samples: u64) -> Option<u32> {
        self.peak(samples)?;
        let least = self.possible.min(samples, self.rounding)?;
        let certain = samples.saturating_sub(self.unknown());
        let known = self.known.min(certain, self.rounding).unwrap_or(least);
        (least >= known).then_some(least)
    }

    /// An average, within what is known: parts are rounded, and what came at the end of a quiet time was not there in it.
    pub fn within(&self, mean: f64, samples: u64) -> f64 {
        let mean = self.least(samples).map_or(mean, |least| mean.max(f64::from(least)));
        self.peak(samples).map_or(mean, |peak| mean.min(peak as f64))
    }
}
