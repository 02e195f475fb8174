//! What the unsteered model does, and how the collapse detectors compare.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::figures::outcomes::names;
use crate::report::format::{NOTHING, fixed, keyword, share};
use crate::report::input::Input;

/// The unsteered model on one behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Baseline {
    /// Name of the behaviour.
    pub behavior: String,
    /// Number of prompts.
    pub prompts: usize,
    /// Whether the behaviour has several classes, so that a flip is more than one column.
    pub typed: bool,
    /// Names of the outcome columns: the classes, `other`, `collapse`.
    pub classes: Vec<String>,
    /// One per horizon.
    pub rows: Vec<BaselineRow>,
}

/// The unsteered model at one horizon.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct BaselineRow {
    /// The horizon, in tokens.
    pub horizon: String,
    /// Prompts that count as flipped.
    pub flipped: String,
    /// Prompts by outcome class.
    pub outcomes: Vec<String>,
    /// Mean negative log-likelihood above which the detector `likelihood` fires.
    pub likelihood_limit: String,
}

/// Detectors on one behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Comparison {
    /// Name of the behaviour.
    pub behavior: String,
    /// Rollouts that the deciding rule calls collapsed.
    pub collapsed: String,
    /// One per detector.
    pub rows: Vec<DetectorRow>,
}

/// One detector.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct DetectorRow {
    /// Which.
    pub detector: String,
    /// Whether it decides.
    pub decides: bool,
    /// Rollouts on which it fires.
    pub fired: String,
    /// Rollouts on which it agrees with the deciding rule.
    pub agreed: String,
}

/// Baselines of all behaviours.
pub fn baselines(input: &Input) -> Vec<Baseline> {
    (input.judgements.baselines.iter())
        .map(|b| baseline(input, b))
        .collect()
}

fn baseline(input: &Input, baseline: &crate::stages::judge::Baseline) -> Baseline {
    let behavior = input
        .study
        .behaviors
        .iter()
        .find(|b| b.name == baseline.behavior);
    let classes: Vec<String> = behavior.map_or_else(Vec::new, |b| {
        b.outcomes.iter().map(|o| o.name.clone()).collect()
    });
    let row = |(i, shares): (usize, &crate::stages::judge::HorizonShares)| BaselineRow {
        horizon: shares.horizon.to_string(),
        flipped: share(shares.flipped, baseline.prompts),
        outcomes: shares
            .outcomes
            .iter()
            .map(|n| share(*n, baseline.prompts))
            .collect(),
        likelihood_limit: (baseline.likelihood_limits.get(i))
            .map_or(NOTHING.into(), |l| fixed(*l, 3)),
    };
    Baseline {
        behavior: baseline.behavior.clone(),
        prompts: baseline.prompts,
        typed: classes.len() > 1,
        classes: names(&classes),
        rows: baseline.horizons.iter().enumerate().map(row).collect(),
    }
}

/// Comparisons of all behaviours with rollouts.
pub fn comparisons(input: &Input) -> Option<Vec<Comparison>> {
    let comparisons: Vec<Comparison> = (input.judgements.detectors.iter())
        .filter(|d| d.rollouts > 0)
        .map(|d| Comparison {
            behavior: d.behavior.clone(),
            collapsed: share(d.collapsed, d.rollouts),
            rows: (d.detectors.iter())
                .map(|one| DetectorRow {
                    detector: keyword(one.detector),
                    decides: one.decides,
                    fired: share(one.fired, d.rollouts),
                    agreed: share(one.agreed, d.rollouts),
                })
                .collect(),
        })
        .collect();
    (!comparisons.is_empty()).then_some(comparisons)
}
