//! Attribution against control: do the scores of neurons, computed before any rollout, say which of them control a behaviour?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::judge::{Curve, Judgements};
use super::predict::SealedPredictions;
use super::scores::{self, BehaviorScores, NeuronScores};
use super::verdict::NeuronVerdict;
use crate::spec::neurons::ScreenScore;
use crate::stats::{self, Interval};
use crate::study::Study;
use crate::units::NeuronId;

/// Bootstrap resamples of the neurons.
const RESAMPLES: usize = 1000;
/// Fewer neurons than this say nothing about a rank correlation.
const LEAST_NEURONS: usize = 8;
/// Fewer open, or fewer closed neurons than this say nothing about what tells them apart.
const LEAST_OF_A_KIND: usize = 3;

/// Compares every score with measured control, behaviour by behaviour. Control of a neuron: the largest share of prompts that flipped
/// without collapse at any dose of either branch, at the verdict horizon. Random directions have no activation, and are left out.
pub fn attribution(
    study: &Study,
    sealed: &SealedPredictions,
    judgements: &Judgements,
    neurons: &[NeuronVerdict],
) -> Vec<BehaviorAttribution> {
    (sealed.predictions().screening.scores.iter())
        .map(|scores| of_behavior(study, scores, judgements, neurons))
        .collect()
}

/// A measured neuron.
#[derive(Clone, Copy)]
struct Measured<'a> {
    scores: &'a NeuronScores,
    control: f64,
    open: Option<bool>,
}

fn of_behavior(
    study: &Study,
    scores: &BehaviorScores,
    judgements: &Judgements,
    neurons: &[NeuronVerdict],
) -> BehaviorAttribution {
    let control = control(study, &scores.behavior, judgements);
    let open: BTreeMap<NeuronId, Option<bool>> = (neurons.iter())
        .filter(|verdict| verdict.behavior == scores.behavior)
        .map(|verdict| (verdict.neuron, verdict.open))
        .collect();
    let measured: Vec<Measured<'_>> = (scores.neurons.iter())
        .filter(|of_neuron| of_neuron.neuron.direction().is_none())
        .filter_map(|of_neuron| {
            Some(Measured {
                scores: of_neuron,
                control: *control.get(&of_neuron.neuron)?,
                open: open.get(&of_neuron.neuron).copied().flatten(),
            })
        })
        .collect();
    BehaviorAttribution {
        behavior: scores.behavior.clone(),
        neurons: measured.len(),
        scores: (scores::ALL.iter())
            .filter_map(|&score| score_control(study, score, &measured))
            .collect(),
        alignment: alignment(study, &measured),
    }
}

/// The largest share that flipped without collapse, by neuron.
fn control(study: &Study, behavior: &str, judgements: &Judgements) -> BTreeMap<NeuronId, f64> {
    let horizon = study.rollout.verdict_place();
    let best = |curve: &Curve| {
        let flipped = curve.points.iter().map(|p| p.horizons[horizon].flipped);
        flipped.max().unwrap_or(0) as f64 / curve.prompts.max(1) as f64
    };
    let mut control = BTreeMap::new();
    for curve in judgements.curves.iter().filter(|c| c.behavior == behavior) {
        let of_neuron: &mut f64 = control.entry(curve.neuron).or_default();
        *of_neuron = of_neuron.max(best(curve));
    }
    control
}

fn score_control(
    study: &Study,
    score: ScreenScore,
    measured: &[Measured<'_>],
) -> Option<ScoreControl> {
    let sized: Vec<(f64, &Measured<'_>)> = (measured.iter())
        .filter_map(|of| Some((of.scores.size(score, study.seed)?, of)))
        .collect();
    let pairs: Vec<(f64, f64)> = sized.iter().map(|(size, of)| (*size, of.control)).collect();
    let decided: Vec<(f64, bool)> = (sized.iter())
        .filter_map(|(size, of)| Some((*size, of.open?)))
        .collect();
    let (confidence, seed) = (study.thresholds.confidence, study.seed);
    let interval = |values: bool| match values {
        true => stats::bootstrap(&pairs, stats::spearman, RESAMPLES, confidence, seed),
        false => stats::bootstrap(&decided, stats::area_under_roc, RESAMPLES, confidence, seed),
    };
    let correlation = (pairs.len() >= LEAST_NEURONS)
        .then(|| stats::spearman(&pairs))
        .flatten();
    let area = enough_of_both(&decided)
        .then(|| stats::area_under_roc(&decided))
        .flatten();
    (!pairs.is_empty()).then(|| ScoreControl {
        score,
        neurons: pairs.len(),
        correlation,
        correlation_interval: correlation.and_then(|_| interval(true)),
        area,
        area_interval: area.and_then(|_| interval(false)),
    })
}

/// Whether there are enough open and enough closed neurons to compare.
fn enough_of_both(decided: &[(f64, bool)]) -> bool {
    let open = decided.iter().filter(|(_, open)| *open).count();
    open.min(decided.len() - open) >= LEAST_OF_A_KIND
}

/// `|cos(v, d)|` of open neurons against that of closed ones.
fn alignment(study: &Study, measured: &[Measured<'_>]) -> Option<Alignment> {
    let decided: Vec<(f64, bool)> = (measured.iter())
        .filter_map(|of| Some((of.scores.readout_alignment?.abs(), of.open?)))
        .collect();
    enough_of_both(&decided).then_some(())?;
    let of = |items: &[(f64, bool)], wanted: bool| {
        let found: Vec<f64> = (items.iter())
            .filter(|(_, open)| *open == wanted)
            .map(|(alignment, _)| *alignment)
            .collect();
        stats::median(&found)
    };
    let difference = |items: &[(f64, bool)]| Some(of(items, true)? - of(items, false)?);
    Some(Alignment {
        controllers: decided.iter().filter(|(_, open)| *open).count(),
        of_controllers: of(&decided, true)?,
        others: decided.iter().filter(|(_, open)| !open).count(),
        of_others: of(&decided, false)?,
        difference: stats::bootstrap(
            &decided,
            difference,
            RESAMPLES,
            study.thresholds.confidence,
            study.seed,
        )?,
    })
}

/// Scores against control for one behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BehaviorAttribution {
    /// Name of the behaviour.
    pub behavior: String,
    /// Measured neurons, of every role but calibration.
    pub neurons: usize,
    /// One entry per score that the behaviour has.
    pub scores: Vec<ScoreControl>,
    /// Where open neurons write, against the readout axis; absent without an axis, or unless there are three of
    /// each.
    pub alignment: Option<Alignment>,
}

/// One score against control.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScoreControl {
    /// Which score; its size is compared.
    pub score: ScreenScore,
    /// Neurons that have it.
    pub neurons: usize,
    /// Spearman's rank correlation with control; absent with fewer than 8 neurons, or when control or
    /// score is the same for all.
    pub correlation: Option<f64>,
    /// Bootstrap interval over neurons.
    pub correlation_interval: Option<Interval>,
    /// Area under the ROC curve for open against closed, undecided neurons left out; absent unless there are three of
    /// each.
    pub area: Option<f64>,
    /// Bootstrap interval over neurons.
    pub area_interval: Option<Interval>,
}

/// `|cos(v, d)|` to the readout axis.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Alignment {
    /// Open neurons.
    pub controllers: usize,
    /// Their median.
    pub of_controllers: f64,
    /// Closed neurons.
    pub others: usize,
    /// Their median.
    pub of_others: f64,
    /// Bootstrap interval, over neurons, of the difference of the medians.
    pub difference: Interval,
}
