//! Detectors of vacuum.

use super::{Detector, Judgement};
use crate::facts::Facts;
use crate::threshold::{Threshold, Thresholds};

/// The detector.
pub static DETECTOR: Detector =
    Detector { name: "vacuum", kinds: &[], thresholds: THRESHOLDS, detect };

static THRESHOLDS: &[Threshold] = &[];

fn detect(_facts: &Facts, _thresholds: &Thresholds, _judgement: &mut Judgement) {}
