//! What a report is made from: the record of a run, borrowed, without anything that varies between reruns of the same study.

use super::index::Index;
use crate::oracles::Span;
use crate::stages::calibrate::NeuronCalibration;
use crate::stages::judge::{Curve, DosePoint, HorizonShares, Judgements};
use crate::stages::predict::{CeilingEstimate, Predictions, Seal};
use crate::stages::search::DoseReason;
use crate::stages::verdict::{BranchVerdict, HorizonThreshold, NeuronVerdict, Threshold, Verdicts};
use crate::study::Study;
use crate::units::{Dose, Horizon, NeuronId, Sign};

/// Everything that a report shows.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The study.
    pub study: &'a Study,
    /// Its hash.
    pub study_hash: &'a str,
    /// Name of the spec file; a folder in front of it is not shown.
    pub spec_file: &'a str,
    /// Name and version of the program that made the run.
    pub program: &'a str,
    /// The seal of the predictions.
    pub seal: &'a Seal,
    /// What was sealed.
    pub predictions: &'a Predictions,
    /// Dose–response curves and baselines.
    pub judgements: &'a Judgements,
    /// The answer.
    pub verdicts: &'a Verdicts,
    /// Where each neuron and branch stands in them.
    pub index: Index<'a>,
    /// How many trials are in the record; a run that lacks one has no report.
    pub trials: usize,
    /// Sample rollouts, as gathered by [`super::samples::gather`].
    pub samples: Vec<Sample>,
}

/// One rollout to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron whose window it illustrates.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// Where on the branch.
    pub kind: SampleKind,
    /// `|g|`, in budgets; 0 for the unsteered rollout.
    pub budgets: f64,
    /// Identifier of the prompt.
    pub prompt_id: String,
    /// The prompt as a person reads it.
    pub prompt: String,
    /// Text, outcome and rule.
    pub rollout: SampleRollout,
}

/// Where on a branch a sample was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SampleKind {
    /// Without steering.
    DoseZero,
    /// At the first dose at or past the trigger or, without one, at the dose below the ceiling with the most flips.
    AtTrigger,
    /// At the first dose at or beyond the ceiling or, where it was never reached, at the largest dose.
    BeyondCeiling,
}

/// A rollout's text with its judgement at the verdict horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct SampleRollout {
    /// The text.
    pub text: String,
    /// Outcome class, `other` or `collapse`.
    pub outcome: String,
    /// Whether the outcome counts as a flip.
    pub flipped: bool,
    /// The deciding rule, in words.
    pub rule: String,
    /// The bytes of the text that decided; absent where none in particular did.
    pub span: Option<Span>,
}

/// Where sample rollouts come from: the trial store.
pub trait SampleSource {
    /// The rollout of one prompt under one behaviour, judged at the study's verdict horizon; unsteered without a `steering`.
    /// `None` when there is no such trial.
    fn sample(
        &self,
        behavior: &str,
        prompt_id: &str,
        steering: Option<(NeuronId, Dose)>,
    ) -> Option<SampleRollout>;
}

impl<'a> Input<'a> {
    /// The horizon of the verdict.
    pub(super) fn verdict_horizon(&self) -> Horizon {
        self.study.rollout.verdict_horizon
    }

    /// Verdicts of one behaviour, sorted by neuron.
    pub(super) fn verdicts_of(&self, behavior: &str) -> &[&'a NeuronVerdict] {
        self.index.verdicts(behavior)
    }

    /// The ceilings predicted for a branch, one per predictor; empty when nothing was predicted for it.
    pub(super) fn predicted(&self, neuron: NeuronId, sign: Sign) -> &'a [Option<CeilingEstimate>] {
        self.index.ceilings(neuron, sign)
    }

    /// The headline predictor's ceiling of a branch.
    pub(super) fn headline(&self, neuron: NeuronId, sign: Sign) -> Option<CeilingEstimate> {
        let headline = self.study.ceiling.headline;
        let place = (self.predictions.predictors.iter()).position(|p| p.predictor == headline)?;
        self.predicted(neuron, sign).get(place).copied().flatten()
    }

    /// The dose–response curve of a branch.
    pub(super) fn curve(&self, behavior: &str, neuron: NeuronId, sign: Sign) -> Option<&'a Curve> {
        self.index.curve(behavior, neuron, sign)
    }

    /// Budget, alignment and norm of a neuron.
    pub(super) fn calibration(&self, neuron: NeuronId) -> Option<&'a NeuronCalibration> {
        self.index.calibration(neuron)
    }

    /// The largest share of prompts that flipped without collapse at any dose of a branch, at the verdict horizon.
    pub(super) fn best_flip(&self, behavior: &str, neuron: NeuronId, sign: Sign) -> Option<f64> {
        let curve = self.curve(behavior, neuron, sign)?;
        let flips =
            (curve.points.iter()).filter_map(|p| Some(p.at(self.verdict_horizon())?.flipped));
        (curve.prompts > 0).then(|| flips.max().unwrap_or(0) as f64 / curve.prompts as f64)
    }

    /// The level of the intervals, such as `95%`.
    pub(super) fn confidence(&self) -> String {
        super::format::level(self.study.thresholds.confidence)
    }

    /// A ceiling as the law's coordinate, in which predictions are made, whatever the study's own coordinate is.
    pub(super) fn law_ceiling(&self, neuron: NeuronId, branch: &BranchVerdict) -> f64 {
        let neuron = self.predictions.calibration.of(neuron);
        neuron.coordinate(branch.sign, branch.ceiling.budgets())
    }

    /// Whether a layer counts as bulk.
    pub(super) fn is_bulk(&self, layer: usize) -> bool {
        let (from, to) = self.study.ceiling.bulk;
        (from..=to).contains(&self.study.model.shape.relative_depth(layer))
    }
}

impl BranchVerdict {
    /// The trigger at a horizon, with its interval.
    pub(super) fn at(&self, horizon: Horizon) -> Option<&HorizonThreshold> {
        self.triggers.iter().find(|t| t.horizon == horizon)
    }

    /// The trigger at a horizon.
    pub fn trigger(&self, horizon: Horizon) -> Option<Threshold> {
        self.at(horizon).map(|t| t.trigger)
    }

    /// From the trigger to the ceiling in cosθ (or to the ceiling's bound), where both are known to that extent.
    pub(super) fn width(&self, horizon: Horizon) -> Option<f64> {
        let trigger = self.trigger(horizon).filter(Threshold::reached)?;
        Some(self.ceiling.coordinate() - trigger.coordinate())
    }
}

impl DosePoint {
    /// Whether the dose stands in the grid, so that every branch has it.
    pub(super) fn of_grid(&self) -> bool {
        self.why == DoseReason::Grid
    }

    /// Outcomes at a horizon.
    pub(super) fn at(&self, horizon: Horizon) -> Option<&HorizonShares> {
        self.horizons.iter().find(|h| h.horizon == horizon)
    }
}
