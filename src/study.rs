//! What was decided: an immutable study with every default filled in, every file read and every reference resolved.
//!
//! No stage ever sees what was written ([`crate::spec`]). Two spec files that mean the same resolve to the same [`Study`] and
//! so to the same [`Study::hash`], wherever they lie on disk.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::Shape;
use crate::oracles::Oracle;
use crate::spec::ceiling::{
    CalibrationPositions, Coordinate, Estimate, Predictor, ReasonsSpec, Statistic, TriggerPredictor,
};
use crate::spec::coherence::{Detector, DistinctSpec, LikelihoodSpec, RepetitionSpec};
use crate::spec::doses::{Apply, DoseUnit, StepWindow};
use crate::spec::model::{Device, Dtype};
use crate::spec::neurons::{Role, ScreenScore};
use crate::spec::report::ReportSpec;
use crate::spec::rollout::SampleSpec;
use crate::units::{Horizon, NeuronId, Sign, TokenId};

/// A study, ready to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Study {
    /// Name of the study.
    pub name: String,
    /// Title of the report.
    pub title: String,
    /// What the study asks.
    pub description: String,
    /// Identity of the model: what was asked for, and the hashes of what was found.
    pub model: ModelIdentity,
    /// Seed of every random choice.
    pub seed: u64,
    /// Every prompt set that is used, by name.
    pub prompts: BTreeMap<String, Vec<Prompt>>,
    /// Behaviours, sorted by name.
    pub behaviors: Vec<Behavior>,
    /// Groups of neurons in the order of the spec.
    pub neurons: Vec<NeuronGroup>,
    /// The dose grid.
    pub doses: Doses,
    /// How texts are generated.
    pub rollout: Rollout,
    /// How coherence budgets are measured.
    pub calibration: Calibration,
    /// How the collapse ceiling is predicted.
    pub ceiling: Ceiling,
    /// How the trigger is predicted.
    pub trigger: Trigger,
    /// When a rollout counts as collapsed.
    pub coherence: Coherence,
    /// Shares at which a dose counts as flipped or collapsed.
    pub thresholds: Thresholds,
    /// Criteria for the reasons of closed windows.
    pub reasons: ReasonsSpec,
    /// What the reports show.
    pub report: ReportSpec,
}

/// Which model is studied. `folder` says where it was found on this machine and is no part of the study's identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// The folder's name, or `owner/name@commit`.
    pub name: String,
    /// Where it was found.
    #[serde(skip)]
    pub folder: PathBuf,
    /// SHA-256 (lower-case hex) by file name: configuration, weights, tokenizer, chat template.
    pub files: BTreeMap<String, String>,
    /// Sizes and kind.
    pub shape: Shape,
    /// Number types in which the weights are stored, such as `bf16`.
    pub stored_as: Vec<String>,
    /// Number type of the computation.
    pub dtype: Dtype,
    /// Where to compute.
    pub device: Device,
}

/// One prompt, encoded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Unique in its set.
    pub id: String,
    /// What the model reads.
    pub tokens: Vec<TokenId>,
    /// The prompt as a person reads it: the text, or the last user message.
    pub text: String,
    /// Values that oracles compare answers with.
    pub expect: BTreeMap<String, String>,
}

/// A behaviour and its judge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Behavior {
    /// Name of the behaviour.
    pub name: String,
    /// What it is, for the report; may be empty.
    pub description: String,
    /// Name of the prompt set.
    pub prompts: String,
    /// Outcome classes in order, the first whose oracle is true wins. A behaviour with `flipped_when` has the one class `flipped`.
    pub outcomes: Vec<Outcome>,
    /// The contrast for the screen.
    pub contrast: Option<Contrast>,
    /// Tokens at the positive end of the readout axis.
    pub target_tokens: Vec<TokenId>,
    /// Tokens at the negative end of the readout axis.
    pub control_tokens: Vec<TokenId>,
    /// Expected trigger as cosθ.
    pub expected_trigger: f64,
}

impl Behavior {
    /// Name of an outcome class: those of `outcomes`, then `other`, then `collapse`.
    pub fn class_name(&self, class: usize) -> &str {
        match class.checked_sub(self.outcomes.len()) {
            None => &self.outcomes[class].name,
            Some(0) => "other",
            Some(_) => "collapse",
        }
    }
}

/// An outcome class.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Name of the class.
    pub name: String,
    /// The oracle that claims an answer for it.
    pub oracle: Oracle,
    /// Whether the class counts as a flip.
    pub flipped: bool,
}

/// Pairs of prompts for the contrastive screen, each with the prefill already encoded.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Contrast {
    /// Original prompts, with the prefill, in the order of the behaviour's set.
    pub original: Vec<Vec<TokenId>>,
    /// Perturbed prompts, with the prefill, in the same order.
    pub perturbed: Vec<Vec<TokenId>>,
    /// The prefill: what stands behind a prompt where the answer is decided.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefill: Vec<TokenId>,
}

/// A group of neurons in one role.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeuronGroup {
    /// Name in the report.
    pub name: String,
    /// What the group is for.
    pub role: Role,
    /// The neurons, or the screen that chooses them.
    pub selection: Selection,
    /// Names of the behaviours it is measured on, in the order of [`Study::behaviors`]; empty for calibration neurons.
    pub behaviors: Vec<String>,
}

/// How a group's neurons are chosen.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// Known from the spec (listed, or drawn by seed): sorted, without repeats.
    Fixed(Vec<NeuronId>),
    /// Chosen by a screen when the study runs, never from among the neurons fixed in any group.
    Screen {
        /// Name of the behaviour whose contrast is screened.
        behavior: String,
        /// The score that ranks.
        score: ScreenScore,
        /// How many.
        top: usize,
        /// Whether `top` is counted in each layer.
        per_layer: bool,
        /// Layers to choose from, increasing.
        layers: Vec<usize>,
    },
}

impl Selection {
    /// How many neurons it chooses.
    #[allow(clippy::len_without_is_empty, reason = "no selection is empty")]
    pub fn len(&self) -> usize {
        match self {
            Selection::Fixed(neurons) => neurons.len(),
            Selection::Screen {
                top,
                per_layer: true,
                layers,
                ..
            } => top * layers.len(),
            Selection::Screen { top, .. } => *top,
        }
    }
}

/// The doses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Doses {
    /// Unit of the magnitudes.
    pub unit: DoseUnit,
    /// Increasing, above 0.
    pub magnitudes: Vec<f64>,
    /// Further doses between them until trigger and ceiling are enclosed this closely, in budgets; none when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tolerance: Option<f64>,
    /// Branches, positive first, without repeats.
    pub signs: Vec<Sign>,
    /// Steered positions.
    pub apply: Apply,
    /// Steered generation steps; all when absent.
    pub window: Option<StepWindow>,
}

/// How texts are generated.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rollout {
    /// Increasing; the last one is the length of every rollout.
    pub horizons: Vec<Horizon>,
    /// Sampling; greedy when absent.
    pub sample: Option<SampleSpec>,
    /// Whether a rollout stops at end-of-text.
    pub stop_at_end: bool,
    /// Whether a steered rollout stops when the detector `repetition` fires.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stop_at_collapse: bool,
    /// The horizon of the verdict, one of `horizons`.
    pub verdict_horizon: Horizon,
}

impl Rollout {
    /// Where the verdict horizon stands among the horizons.
    pub fn verdict_place(&self) -> usize {
        (self.horizons.iter())
            .position(|&horizon| horizon == self.verdict_horizon)
            .expect("the verdict horizon is one of the horizons")
    }

    /// The longest horizon: the length of every rollout.
    pub fn longest(&self) -> Horizon {
        *self
            .horizons
            .last()
            .expect("a resolved study has a horizon")
    }
}

/// How coherence budgets are measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// Name of the generic prompt set.
    pub prompts: String,
    /// Where the residual stream is read.
    pub positions: CalibrationPositions,
    /// How norms become one number.
    pub statistic: Statistic,
    /// Strength of the one-step push, in budgets.
    pub push: f64,
    /// Name of the prompt set on which the calibration neurons are steered.
    pub steer_on: String,
    /// Name of the set paired with it, in the other mode.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contrast: Option<String>,
    /// How many of those prompts are used.
    pub rollout_prompts: usize,
}

/// How the collapse ceiling is predicted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ceiling {
    /// The predictors to score, without repeats.
    pub predictors: Vec<Predictor>,
    /// The one behind the sealed forecast; one of `predictors`.
    pub headline: Predictor,
    /// `m*` of `constant`.
    pub constant: f64,
    /// `κ` of `participation_ratio`; fitted when absent.
    pub kappa: Option<f64>,
    /// Relative depths between which a layer is bulk, both included.
    pub bulk: (f64, f64),
    /// Level of the prediction intervals.
    pub interval: f64,
}

/// How the trigger is predicted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Trigger {
    /// The predictors to score, without repeats.
    pub predictors: Vec<TriggerPredictor>,
    /// The one behind the sealed forecast; one of `predictors`.
    pub headline: TriggerPredictor,
    /// Distance from trigger to ceiling in cosθ that makes an open forecast; fitted when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
}

/// When a rollout counts as collapsed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Coherence {
    /// Detectors that decide, sorted, without repeats.
    pub collapsed_if: Vec<Detector>,
    /// Settings of `likelihood`.
    pub likelihood: LikelihoodSpec,
    /// Settings of `repetition`.
    pub repetition: RepetitionSpec,
    /// Settings of `distinct`.
    pub distinct: DistinctSpec,
    /// The detector `oracle`.
    pub oracle: Option<Oracle>,
}

/// Shares at which a dose counts as flipped or collapsed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Thresholds {
    /// Least share of flipped prompts.
    pub flip_share: f64,
    /// Least share of collapsed rollouts.
    pub collapse_share: f64,
    /// Coordinate of triggers and ceilings.
    pub coordinate: Coordinate,
    /// How thresholds are read off the shares.
    pub estimate: Estimate,
    /// Bootstrap resamples of the prompts.
    pub resamples: usize,
    /// Level of the confidence intervals.
    pub confidence: f64,
}

impl Study {
    /// SHA-256 of the study's canonical JSON, in lower-case hex.
    pub fn hash(&self) -> String {
        crate::record::canonical::hash(self)
    }

    /// The hash of what is asked: without the title, the description, and what the reports show. Predictions are sealed for it, so that
    /// another title does not make a new seal.
    pub fn question_hash(&self) -> String {
        let question = Self {
            title: String::new(),
            description: String::new(),
            report: ReportSpec::default(),
            ..self.clone()
        };
        question.hash()
    }

    /// Keeps the first `limit` prompts of each behaviour, and their contrasts.
    pub fn limit_prompts(&mut self, limit: usize) {
        for behavior in &mut self.behaviors {
            (self.prompts.get_mut(&behavior.prompts))
                .into_iter()
                .for_each(|set| set.truncate(limit));
            if let Some(contrast) = &mut behavior.contrast {
                contrast.original.truncate(limit);
                contrast.perturbed.truncate(limit);
            }
        }
    }

    /// The behaviour of that name.
    ///
    /// # Panics
    /// If there is none: resolution guarantees that every name in a study is known.
    pub fn behavior(&self, name: &str) -> &Behavior {
        (self.behaviors.iter())
            .find(|b| b.name == name)
            .expect("a resolved study names known behaviours only")
    }

    /// The prompts of a behaviour.
    pub fn prompts_of(&self, behavior: &Behavior) -> &[Prompt] {
        &self.prompts[&behavior.prompts]
    }

    /// The prompts on which the calibration neurons are steered.
    pub fn calibration_prompts(&self) -> &[Prompt] {
        let prompts = &self.prompts[&self.calibration.steer_on];
        &prompts[..prompts.len().min(self.calibration.rollout_prompts)]
    }

    /// Their partners in the other mode; none without a contrast.
    pub fn calibration_contrast(&self) -> &[Prompt] {
        let Some(name) = &self.calibration.contrast else {
            return &[];
        };
        let prompts = &self.prompts[name];
        &prompts[..prompts.len().min(self.calibration.rollout_prompts)]
    }

    /// The generic prompts.
    pub fn generic_prompts(&self) -> &[Prompt] {
        &self.prompts[&self.calibration.prompts]
    }
}
