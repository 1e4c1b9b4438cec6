//! How many samples found how many sessions: percentiles over any window are right, since counts of samples add up.
//!
//! Numbers below 128 have a place each; above, a place holds a sixteenth of an octave, so that a number is at most 3 %
//! off. Samples that found none are not counted here: they are all others.

/// Places of a spread.
pub const PLACES: usize = EXACT + OCTAVES * PARTS;
/// Numbers that have a place of their own.
const EXACT: usize = 128;
/// Octaves above, and the parts of each.
const OCTAVES: usize = 7;
const PARTS: usize = 16;

/// The place of a number.
pub fn place(number: u32) -> usize {
    if (number as usize) < EXACT {
        return number as usize;
    }
    let octave = number.ilog2() as usize;
    let part = (number >> (octave - 4)) as usize & (PARTS - 1);
    (EXACT + (octave - 7) * PARTS + part).min(PLACES - 1)
}

/// The least number of a place.
pub fn least(place: usize) -> u32 {
    if place < EXACT {
        return place as u32;
    }
    let above = place.min(PLACES - 1) - EXACT;
    let (octave, part) = (above / PARTS + 7, above % PARTS);
    ((PARTS + part) << (octave - 4)) as u32
}

/// Whether a place is that of a single number.
pub fn is_exact(place: usize) -> bool {
    place < EXACT
}

/// What the numbers of a place are shown as: the middle.
pub fn middle(place: usize) -> f64 {
    let (least_number, next) = (least(place), least(place + 1));
    if place < EXACT || next <= least_number {
        return f64::from(least_number);
    }
    f64::from(least_number) + f64::from(next - 1 - least_number) / 2.0
}

/// Samples by place, added up over any time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spread {
    /// Place and samples, ascending; never the place of none.
    pairs: Vec<(u8, u64)>,
}

impl Spread {
    /// Adds samples.
    pub fn add(&mut self, place: u8, samples: u64) {
        if samples == 0 || place == 0 {
            return;
        }
        match self.pairs.binary_search_by_key(&place, |pair| pair.0) {
            Ok(at) => self.pairs[at].1 = self.pairs[at].1.saturating_add(samples),
            Err(at) => self.pairs.insert(at, (place, samples)),
        }
    }

    /// Samples that found a number of this place.
    pub fn at(&self, place: usize) -> u64 {
        let found = self.pairs.iter().find(|pair| usize::from(pair.0) == place);
        found.map_or(0, |pair| pair.1)
    }

    /// Samples that found any.
    pub fn samples(&self) -> u64 {
        self.pairs.iter().fold(0, |sum, pair| sum.saturating_add(pair.1))
    }

    /// The number that a share `q` of all samples did not exceed.
    pub fn quantile(&self, q: f64, samples: u64) -> Option<f64> {
        if samples == 0 {
            return None;
        }
        let rank = ((q * samples as f64).ceil() as u64).clamp(1, samples);
        let mut passed = samples.saturating_sub(self.samples());
        if rank <= passed {
            return Some(0.0);
        }
        for (place, count) in &self.pairs {
            passed = passed.saturating_add(*count);
            if rank <= passed {
                return Some(middle(usize::from(*place)));
            }
        }
        self.pairs.last().map(|pair| middle(usize::from(pair.0)))
    }

    /// The same where the largest number is known: nothing exceeds it, and what lies in its place is taken for it.
    pub fn quantile_below(&self, q: f64, samples: u64, peak: u64) -> Option<f64> {
        let most = u32::try_from(peak).unwrap_or(u32::MAX);
        let found = self.quantile(q, samples)?;
        let in_its_place = found > 0.0 && place(found as u32) == place(most);
        Some(if in_its_place { f64::from(most) } else { found.min(f64::from(most)) })
    }

    /// Variance of the numbers over so many samples.
    pub fn variance(&self, samples: u64) -> Option<f64> {
        let samples = (samples > 0).then_some(samples as f64)?;
        let moment = |power: i32| {
            let of = |(place, count): &(u8, u64)| {
                middle(usize::from(*place)).powi(power) * *count as f64 / samples
            };
            self.pairs.iter().map(of).sum::<f64>()
        };
        Some((moment(2) - moment(1).powi(2)).max(0.0))
    }

    /// The least number that any sample found; above 127 the least of its place. Samples of which no more than `rounding` are
    /// missing here are all here.
    pub fn min(&self, samples: u64, rounding: u64) -> Option<u32> {
        if samples == 0 {
            return None;
        }
        let found_some = self.samples().saturating_add(rounding) >= samples;
        let first = self.pairs.first().filter(|_| found_some);
        Some(first.map_or(0, |pair| least(usize::from(pair.0))))
    }
}
