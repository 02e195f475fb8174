//! Plan: what a run would do, before it does anything.

use std::time::Instant;

use serde::Serialize;

use super::{push, step_ceiling, trial_plan};
use crate::model::decoder::Sizes;
use crate::model::lanes::{Lanes, Load, Memory, PROGRAM};
use crate::model::{Cell, LanguageModel, ModelError, Resources, Steering, tensor};
use crate::spec::ceiling::Predictor;
use crate::spec::doses::Apply;
use crate::spec::model::{Device, Dtype};
use crate::spec::neurons::{Role, ScreenScore};
use crate::spec::summary;
use crate::study::{Behavior, Selection, Study};
use crate::units::{Dose, NeuronId, TokenId};

/// What a run would do. Counts are upper bounds where a screen has yet to choose, and where rollouts may end early.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    /// Name of the study.
    pub study: String,
    /// Hash of the study.
    pub study_sha256: String,
    /// The model: its folder's name, or `owner/name@commit`.
    pub model: String,
    /// One entry per group of neurons.
    pub groups: Vec<PlannedGroup>,
    /// One entry per behaviour.
    pub behaviors: Vec<PlannedBehavior>,
    /// Signed doses per neuron, without dose 0.
    pub doses: usize,
    /// Single forward steps of screens, scores and pushes.
    pub screen_steps: usize,
    /// Rollouts, clean ones included.
    pub trials: usize,
    /// Generated tokens, if no rollout ends before the longest horizon.
    pub tokens: usize,
    /// Floating-point operations of the rollouts, with the second reading that gives their likelihood.
    pub operations: f64,
    /// Memory of the run.
    pub memory: PlannedMemory,
    /// Time of the rollouts; none unless it was measured.
    pub seconds: Option<PlannedTime>,
}

/// What a run holds in memory.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PlannedMemory {
    /// What holds it, in bytes.
    pub parts: Memory,
    /// All of it, at most.
    pub peak: usize,
    /// What may be used.
    pub allowed: usize,
    /// Rollouts in flight.
    pub rollouts: usize,
}

/// How long the rollouts take, in seconds, from a short trial of the model.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PlannedTime {
    /// When all rollouts of a prompt have the same text, so that they share the most.
    pub least: f64,
    /// When no two of them do.
    pub most: f64,
}

/// A group of neurons.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedGroup {
    /// Name in the report.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// How many neurons.
    pub neurons: usize,
    /// Whether a screen chooses them.
    pub screened: bool,
}

/// A behaviour.
#[derive(Clone, Debug, Serialize)]
pub struct PlannedBehavior {
    /// Its name.
    pub name: String,
    /// How many prompts.
    pub prompts: usize,
    /// Tokens of the longest one.
    pub longest_prompt: usize,
}

/// Plans a study on a model of these sizes.
///
/// # Errors
/// When the model does not fit into the memory.
pub fn plan(study: &Study, sizes: &Sizes, resources: Resources) -> Result<Plan, ModelError> {
    let size = summary::size(study);
    let tokens = size.trials * study.rollout.longest().0;
    Ok(Plan {
        study: study.name.clone(),
        study_sha256: study.hash(),
        model: study.model.name.clone(),
        groups: (study.neurons.iter())
            .map(|group| PlannedGroup {
                name: group.name.clone(),
                role: group.role,
                neurons: group.selection.len(),
                screened: matches!(group.selection, Selection::Screen { .. }),
            })
            .collect(),
        behaviors: (study.behaviors.iter())
            .map(|behavior| {
                let prompts = study.prompts_of(behavior);
                PlannedBehavior {
                    name: behavior.name.clone(),
                    prompts: prompts.len(),
                    longest_prompt: prompts.iter().map(|p| p.tokens.len()).max().unwrap_or(0),
                }
            })
            .collect(),
        doses: size.doses,
        screen_steps: screen_steps(study) + score_steps(study) + push_steps(study),
        trials: size.trials,
        tokens,
        // Two operations per parameter and token, once to generate and once to score (Kaplan et al. 2020, section 2.1).
        operations: 4.0 * study.model.shape.parameters as f64 * tokens as f64,
        memory: memory(study, sizes, resources, size.trials)?,
        seconds: None,
    })
}

/// Tokens of a trial rollout.
const TRIAL_TOKENS: usize = 8;

/// Floating-point operations of a trial, at most: about a second or two.
const TRIAL_OPERATIONS: f64 = 2e11;

/// Measures how long the planned rollouts take, by a few made-up ones. Nothing of them is looked at or kept.
///
/// # Errors
/// Those of the model.
pub fn measure(
    study: &Study,
    model: &dyn LanguageModel,
    plan: &Plan,
) -> anyhow::Result<PlannedTime> {
    let tokens = TRIAL_TOKENS.min(study.rollout.longest().0);
    let affordable = TRIAL_OPERATIONS / (4.0 * study.model.shape.parameters as f64 * tokens as f64);
    let count = (affordable as usize).clamp(1, plan.memory.rollouts);
    let mut prompts: Vec<Vec<TokenId>> = (study.behaviors.iter())
        .flat_map(|behavior| study.prompts_of(behavior))
        .map(|prompt| prompt.tokens.clone())
        .collect();
    let neurons = neurons(study);
    let alike = seconds_per_token(model, &prompts[..1], &neurons, count, tokens)?;
    // Another last token for each, so that no two texts agree from there on; what stands before it is shared as in the study.
    let vocab = study.model.shape.vocab;
    prompts = (0..count)
        .map(|i| {
            let mut prompt = prompts[i % prompts.len()].clone();
            *prompt.last_mut().expect("prompts are not empty") = (i % vocab) as TokenId;
            prompt
        })
        .collect();
    let apart = seconds_per_token(model, &prompts, &neurons, count, tokens)?;
    let steps = plan.screen_steps as f64 * alike;
    let of_all = |per_token: f64| plan.tokens as f64 * per_token + steps;
    // Short trials are noisy.
    Ok(PlannedTime {
        least: of_all(alike.min(apart)),
        most: of_all(apart.max(alike)),
    })
}

/// Time per generated token of `count` rollouts that hardly push.
fn seconds_per_token(
    model: &dyn LanguageModel,
    prompts: &[Vec<TokenId>],
    neurons: &[NeuronId],
    count: usize,
    tokens: usize,
) -> anyhow::Result<f64> {
    let cells: Vec<Cell<'_>> = (0..count)
        .map(|i| Cell {
            prompt: &prompts[i % prompts.len()],
            steering: Some(Steering {
                // A direction: a neuron may write nothing, and a dose that changes nothing is refused.
                neuron: NeuronId::random_direction(neurons[i % neurons.len()].layer, 0),
                dose: Dose(1e-3),
                apply: Apply::Generation,
                window: None,
            }),
            horizon: tokens,
            stop_at_end: false,
            stop_at_loop: None,
            sample: None,
        })
        .collect();
    let started = Instant::now();
    model.rollouts(&cells, &mut |_, _| Ok(()))?;
    Ok(started.elapsed().as_secs_f64() / (count * tokens) as f64)
}

/// The study's neurons; where a screen has yet to choose, some of its layers.
fn neurons(study: &Study) -> Vec<NeuronId> {
    (study.neurons.iter())
        .flat_map(|group| match &group.selection {
            Selection::Fixed(neurons) => neurons.clone(),
            Selection::Screen { layers, .. } => (layers.iter().cycle())
                .take(group.selection.len())
                .map(|&layer| NeuronId { layer, index: 0 })
                .collect(),
        })
        .collect()
}

/// The memory of the sweep, the largest of the stages.
fn memory(
    study: &Study,
    sizes: &Sizes,
    resources: Resources,
    trials: usize,
) -> Result<PlannedMemory, ModelError> {
    let prompts = study.prompts.values().flatten();
    let longest = prompts.map(|prompt| prompt.tokens.len()).max().unwrap_or(1);
    let (parts, rollouts) = match (study.model.dtype, study.model.device) {
        (Dtype::F32, Device::Cpu) => {
            // As cells count them. Clean rollouts share all but the last token of their prompt in any case.
            let prompt = match study.doses.apply {
                Apply::Generation => 1,
                Apply::All => longest,
            };
            let load = Load {
                parameters: study.model.shape.parameters,
                cells: trials.min(trial_plan::BATCH),
                capacity: prompt + study.rollout.longest().0 - 1,
                prefix: longest - 1,
                prompt,
            };
            let lanes = Lanes::new(sizes, load, resources)?;
            (Memory::of(sizes, load, lanes), lanes.count * lanes.slots)
        }
        _ => tensor_memory(study, sizes, trials, longest),
    };
    Ok(PlannedMemory {
        parts,
        peak: parts.peak(),
        allowed: resources.memory,
        rollouts,
    })
}

/// The same on candle tensors: a batch at a time, whose keys and values are copied when they grow.
fn tensor_memory(study: &Study, sizes: &Sizes, trials: usize, longest: usize) -> (Memory, usize) {
    let bytes = match study.model.dtype {
        Dtype::F32 => 4,
        Dtype::Bf16 | Dtype::F16 => 2,
    };
    let rollouts = trials.min(tensor::BATCH);
    let positions = longest + study.rollout.longest().0;
    let rows = rollouts * longest * (6 * sizes.d_model + 3 * sizes.d_ff);
    let memory = Memory {
        program: PROGRAM,
        weights: study.model.shape.parameters * bytes,
        buffers: (rows + rollouts * sizes.vocab) * bytes,
        cache: 2 * rollouts * positions * 2 * sizes.layers * sizes.heads.kv_width() * bytes,
    };
    (memory, rollouts)
}

/// Forward passes behind the scores of every measured neuron, at most.
fn score_steps(study: &Study) -> usize {
    let measured = |behavior: &Behavior| {
        (study.neurons.iter())
            .filter(|group| group.behaviors.contains(&behavior.name))
            .map(|group| group.selection.len())
            .sum::<usize>()
    };
    let of_behavior = |behavior: &Behavior| {
        let prompts = study.prompts_of(behavior).len();
        let contrast = behavior
            .contrast
            .as_ref()
            .map_or(0, |c| 2 * c.original.len());
        let on_axis = match behavior.target_tokens.is_empty() {
            true => 0,
            false => {
                let steps = |score: ScreenScore| score.forward_steps(measured(behavior), prompts);
                steps(ScreenScore::OneStepPush) + steps(ScreenScore::GradientBudgets)
            }
        };
        contrast + on_axis
    };
    study.behaviors.iter().map(of_behavior).sum()
}

/// Single steps on the calibration prompts, at most: for survival, for triggers, and for ceilings on two kinds of text.
fn push_steps(study: &Study) -> usize {
    let neurons: usize = study
        .neurons
        .iter()
        .map(|group| group.selection.len())
        .sum();
    let prompts = study
        .calibration_prompts()
        .len()
        .min(ScreenScore::PUSHED_PROMPTS);
    let strengths = push::STRENGTHS.len();
    let of_behavior = |behavior: &Behavior| match behavior.target_tokens.is_empty() {
        true => prompts,
        false => prompts * (1 + strengths),
    };
    let tips: usize = study.behaviors.iter().map(of_behavior).sum();
    let plain = match study.ceiling.predictors.contains(&Predictor::OneStep) {
        true => strengths * step_ceiling::POINTS,
        false => 0,
    };
    let flipped = match study.calibration_contrast().is_empty() {
        true => 0,
        false => 2 * strengths * step_ceiling::POINTS,
    };
    2 * neurons * (tips + plain + flipped)
}

/// Forward passes that the screens need.
fn screen_steps(study: &Study) -> usize {
    (study.neurons.iter())
        .filter_map(|group| match &group.selection {
            Selection::Fixed(_) => None,
            Selection::Screen {
                behavior,
                score,
                layers,
                ..
            } => {
                let prompts = study.prompts_of(study.behavior(behavior)).len();
                let neurons = layers.len() * study.model.shape.d_ff;
                Some(score.forward_steps(neurons, prompts))
            }
        })
        .sum()
}
