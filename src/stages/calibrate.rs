//! Calibrate: budgets, alignments and spectra from unsteered passes; thresholds of the calibration neurons from rollouts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::dose_range;
use super::features::{self, Features};
use super::judge::{Baseline, BehaviorJudge, Curve, Reader, RolloutJudgement};
use super::prompt_set::PromptSet;
use super::push::{self, Push};
use super::residual_stream::ResidualStream;
use super::screen::Screening;
use super::step_ceiling::Crossings;
use super::sweep::{self, Subject};
use super::threshold::{Estimator, Kind};
use crate::law::{self, NormedWrite};
use crate::model::{Detokenizer, LanguageModel};
use crate::monitor::Monitor;
use crate::record::store::TrialStore;
use crate::spec::ceiling::{Predictor, TriggerPredictor};
use crate::study::{Behavior, Study, Thresholds};
use crate::units::{NeuronId, Sign};

/// Measures every neuron's budget from the residual stream, pushes each for single steps, then steers the calibration neurons.
pub fn calibrate(
    study: &Study,
    residuals: &ResidualStream,
    screening: &Screening,
    model: &dyn LanguageModel,
    store: &mut TrialStore,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<Calibration> {
    let mut neurons = neuron_calibrations(residuals, screening, model)?;
    dose_range::check(study, &neurons)?;
    if study.ceiling.predictors.contains(&Predictor::Regression) {
        features::add(&mut neurons, model);
    }
    let pushes = push::on_calibration_prompts(study, &neurons, model)?;
    let behaviors = fitted_behaviors(study);
    let subjects = calibration_subjects(study, screening, &neurons, &behaviors);
    if !subjects.is_empty() {
        sweep::run(study, &subjects, model, store, monitor)?;
    }
    monitor.judging(None);
    let mut judged = |_| Ok(monitor.judged()?);
    let thresholds = calibration_thresholds(study, &subjects, model, store, &mut judged)?;
    Ok(Calibration {
        positions: residuals.positions,
        layers: (residuals.layers.iter().enumerate())
            .map(|(layer, of_layer)| LayerCalibration {
                layer,
                residual_norm: of_layer.norm,
                leading_share: of_layer.leading_share,
                participation_ratio: of_layer.participation_ratio,
            })
            .collect(),
        neurons,
        pushes,
        thresholds,
    })
}

/// A calibration with what rollouts decided derived from the store again: the thresholds. What takes the weights stays as it is. `keep`
/// gets the judgement of each rollout at each horizon.
pub fn rederive(
    study: &Study,
    screening: &Screening,
    calibration: &Calibration,
    text: &dyn Detokenizer,
    store: &TrialStore,
    keep: &mut dyn FnMut(RolloutJudgement) -> anyhow::Result<()>,
) -> anyhow::Result<Calibration> {
    let behaviors = fitted_behaviors(study);
    let subjects = calibration_subjects(study, screening, &calibration.neurons, &behaviors);
    Ok(Calibration {
        thresholds: calibration_thresholds(study, &subjects, text, store, keep)?,
        ..calibration.clone()
    })
}

/// Budget and alignment of every neuron of the study, sorted.
pub fn neuron_calibrations(
    residuals: &ResidualStream,
    screening: &Screening,
    model: &dyn LanguageModel,
) -> anyhow::Result<Vec<NeuronCalibration>> {
    let all: BTreeSet<NeuronId> = screening
        .groups
        .iter()
        .flat_map(|group| &group.neurons)
        .copied()
        .collect();
    (all.into_iter())
        .map(|neuron| {
            let budget = residuals.budget(model, neuron);
            anyhow::ensure!(
                budget.budget.is_finite() && budget.budget > 0.0,
                "neuron {neuron} has no coherence budget: ‖v‖ = {}, ‖r‖ = {}; take it out of `neurons`",
                budget.write_norm,
                residuals.layers[neuron.layer].norm,
            );
            Ok(NeuronCalibration {
                neuron,
                write_norm: budget.write_norm,
                budget: budget.budget,
                c0: budget.c0,
                normed: budget.normed,
                features: None,
            })
        })
        .collect()
}

/// The behaviours by which rollouts on the calibration prompts are judged. With the predictor `push` all of them, whose oracles can judge
/// these prompts then, with the calibration prompts in the place of their own; else one that nothing flips: collapse alone is judged.
pub fn fitted_behaviors(study: &Study) -> Vec<Behavior> {
    let on_calibration = |behavior: &Behavior| Behavior {
        prompts: study.calibration.steer_on.clone(),
        ..behavior.clone()
    };
    if study.trigger.predictors.contains(&TriggerPredictor::Push) {
        return study.behaviors.iter().map(on_calibration).collect();
    }
    (study.behaviors.first().into_iter())
        .map(|behavior| Behavior {
            name: String::new(),
            outcomes: Vec::new(),
            ..on_calibration(behavior)
        })
        .collect()
}

/// What the calibration neurons are steered on; nothing when there are none.
pub fn calibration_subjects<'a>(
    study: &'a Study,
    screening: &Screening,
    neurons: &'a [NeuronCalibration],
    behaviors: &'a [Behavior],
) -> Vec<Subject<'a>> {
    let calibration: BTreeSet<NeuronId> = (screening.groups.iter())
        .filter(|group| group.is_calibration())
        .flat_map(|group| group.neurons.iter().copied())
        .collect();
    let chosen = || neurons.iter().filter(|n| calibration.contains(&n.neuron));
    if calibration.is_empty() {
        return Vec::new();
    }
    (behaviors.iter())
        .map(|behavior| Subject {
            behavior,
            prompts: study.calibration_prompts(),
            neurons: chosen().collect(),
        })
        .collect()
}

/// The thresholds of the calibration neurons, from the store. Collapse is the same under every behaviour.
pub fn calibration_thresholds(
    study: &Study,
    subjects: &[Subject<'_>],
    text: &dyn Detokenizer,
    store: &TrialStore,
    keep: &mut dyn FnMut(RolloutJudgement) -> anyhow::Result<()>,
) -> anyhow::Result<Vec<CalibrationThresholds>> {
    let reader = Reader::new(study, text, store);
    // Points only: the predictors are fitted on many neurons, and none of these is scored.
    let points = Thresholds {
        resamples: 0,
        ..study.thresholds.clone()
    };
    let mut thresholds = Vec::new();
    for subject in subjects {
        let mut judge = BehaviorJudge::new(study, subject.behavior, subject.prompts, &reader)?;
        let baseline = judge.baseline(keep)?;
        for neuron in &subject.neurons {
            for curve in judge.curves(neuron, keep)? {
                thresholds.push(of_curve(study, &points, &baseline, &curve));
            }
        }
    }
    Ok(thresholds)
}

fn of_curve(
    study: &Study,
    points: &Thresholds,
    baseline: &Baseline,
    curve: &Curve,
) -> CalibrationThresholds {
    let last = study.rollout.horizons.len() - 1;
    let estimator = Estimator::new(points, curve.prompts, study.seed);
    // Without oracles nothing flips, and nothing is known of triggers.
    let judged = if curve.behavior.is_empty() {
        0
    } else {
        last + 1
    };
    CalibrationThresholds {
        behavior: curve.behavior.clone(),
        neuron: curve.neuron,
        sign: curve.sign,
        triggers: (0..judged)
            .map(|horizon| trigger(points, baseline, curve, horizon))
            .collect(),
        ceiling: curve.estimate(&estimator, baseline, Kind::Ceiling, last).at,
    }
}

/// The trigger over the prompts that have not flipped unsteered already: a calibration set may hold requests of both modes.
fn trigger(points: &Thresholds, baseline: &Baseline, curve: &Curve, horizon: usize) -> Option<f64> {
    let before = &baseline.horizons[horizon].flipped_prompts;
    let estimator = Estimator::new(points, curve.prompts - before.len(), 0);
    let hits: Vec<PromptSet> = std::iter::once(PromptSet::default())
        .chain(
            (curve.points.iter())
                .map(|point| point.horizons[horizon].flipped_prompts.without(before)),
        )
        .collect();
    let budgets: Vec<f64> = std::iter::once(0.0)
        .chain(curve.points.iter().map(|point| point.budgets))
        .collect();
    let hits: Vec<&PromptSet> = hits.iter().collect();
    estimator.estimate(Kind::Trigger, &budgets, &hits).at
}

/// What the generic prompts say about the model, and about each neuron of the study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// Number of positions at which the residual stream was read.
    pub positions: usize,
    /// One entry per layer, in order.
    pub layers: Vec<LayerCalibration>,
    /// One entry per neuron of the study, sorted.
    pub neurons: Vec<NeuronCalibration>,
    /// Single steered steps on the calibration prompts, one entry per behaviour, neuron and branch, in the order of behaviours.
    pub pushes: Vec<Push>,
    /// Thresholds of the calibration neurons on the calibration prompts, one entry per behaviour, neuron and branch.
    pub thresholds: Vec<CalibrationThresholds>,
}

impl Calibration {
    /// A neuron's calibration.
    ///
    /// # Panics
    /// If the neuron is not part of the study.
    pub fn of(&self, neuron: NeuronId) -> &NeuronCalibration {
        let found = self.neurons.binary_search_by_key(&neuron, |n| n.neuron);
        &self.neurons[found.expect("every neuron of a study is calibrated")]
    }

    /// The single steps of a branch, as they are decided for a behaviour.
    pub fn push(&self, behavior: &str, neuron: NeuronId, sign: Sign) -> Option<&Push> {
        let key = (behavior, neuron, sign);
        let found =
            (self.pushes).binary_search_by(|p| (p.behavior.as_str(), p.neuron, p.sign).cmp(&key));
        Some(&self.pushes[found.ok()?])
    }

    /// Where the single steps of a branch turn unlikely; the same under every behaviour.
    pub fn step_ceiling(&self, neuron: NeuronId, sign: Sign) -> Option<Crossings> {
        let first = self.pushes.first()?.behavior.as_str();
        self.push(first, neuron, sign)?.ceiling
    }

    /// The ceilings of the calibration neurons, each branch once.
    pub fn ceilings(&self) -> impl Iterator<Item = &CalibrationThresholds> {
        let first = self.thresholds.first().map(|t| t.behavior.as_str());
        (self.thresholds.iter()).filter(move |t| Some(t.behavior.as_str()) == first)
    }
}

/// The residual stream at the output of one block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerCalibration {
    /// The layer.
    pub layer: usize,
    /// `‖r_L‖` over positions (mean or median, as the study says).
    pub residual_norm: f64,
    /// `λ₁/Σλ` of the uncentred second moment: the share of the largest direction.
    pub leading_share: f64,
    /// `(Σλ)²/Σλ²`.
    pub participation_ratio: f64,
}

/// One neuron's coherence budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeuronCalibration {
    /// The neuron.
    pub neuron: NeuronId,
    /// `‖v‖`; behind a norm, the length of the effective write per activation unit at dose 0.
    pub write_norm: f64,
    /// `B = ‖r_L‖ / ‖v‖`, in activation units.
    pub budget: f64,
    /// `c0`: mean `cos(r_L, v)` over positions, before any dose; of the effective write where there is a norm.
    pub c0: f64,
    /// The write where a norm stands behind the feed-forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normed: Option<NormedWrite>,
    /// What the predictor `regression` reads; absent without that predictor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
}

impl NeuronCalibration {
    /// The law's coordinate along a branch (its own sign counted as positive) at `budgets` budgets.
    pub fn coordinate(&self, sign: Sign, budgets: f64) -> f64 {
        let g = sign.factor() * budgets;
        sign.factor()
            * match &self.normed {
                None => law::control_coordinate(g, self.c0),
                Some(normed) => normed.coordinate(g * self.budget),
            }
    }

    /// The dose in budgets at which the coordinate along a branch is `coordinate`; `None` where no dose reaches it.
    pub fn budgets_at(&self, sign: Sign, coordinate: f64) -> Option<f64> {
        const LARGEST: f64 = 1e4;
        if self.normed.is_none() {
            let along = sign.factor() * law::budgets_at(sign.factor() * coordinate, self.c0);
            return Some(along)
                .filter(|at| at.is_finite())
                .map(|at| at.max(0.0));
        }
        // Rises to the cap: halved until single precision tells no difference.
        let (mut low, mut high) = (0.0, LARGEST);
        (self.coordinate(sign, high) >= coordinate).then_some(())?;
        for _ in 0..60 {
            let middle = (low + high) / 2.0;
            match self.coordinate(sign, middle) < coordinate {
                true => low = middle,
                false => high = middle,
            }
        }
        Some(high)
    }

    /// The largest coordinate along a branch that any dose reaches: 1 without a norm behind the feed-forward.
    pub fn cap(&self, sign: Sign) -> f64 {
        (self.normed).map_or(1.0, |normed| sign.factor() * normed.cap(sign.factor()))
    }
}

/// Where one calibration neuron flips and collapses on one branch, in budgets.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CalibrationThresholds {
    /// The behaviour whose oracles judged; empty when only collapse was.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// The trigger at each horizon, absent where the doses ended before; empty when only collapse was judged.
    pub triggers: Vec<Option<f64>>,
    /// `m* = t*/B`, at the longest horizon; absent when the doses ended before.
    pub ceiling: Option<f64>,
}
