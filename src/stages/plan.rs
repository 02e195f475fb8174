//! Plan: what a run would do, before it does anything.

use serde::Serialize;

use crate::model::decoder::Sizes;
use crate::model::lanes::Lanes;
use crate::model::tensor;
use crate::spec::doses::Apply;
use crate::spec::model::{Device, Dtype};
use crate::spec::neurons::Role;
use crate::spec::summary;
use crate::study::{Selection, Study};

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
    /// Forward steps of the screens.
    pub screen_steps: usize,
    /// Rollouts, clean ones included.
    pub trials: usize,
    /// Generated tokens, if no rollout ends before the longest horizon.
    pub tokens: usize,
    /// Floating-point operations of the rollouts, with the second reading that gives their likelihood.
    pub operations: f64,
    /// Memory of the run.
    pub memory: PlannedMemory,
}

/// What a run holds in memory, in bytes; the program itself and its buffers come on top.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct PlannedMemory {
    /// The weights, in the number type of the computation.
    pub weights: usize,
    /// Keys and values of the rollouts in flight, and of their prompts.
    pub cache: usize,
    /// Rollouts in flight.
    pub rollouts: usize,
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

/// Plans a study on a model of these sizes, on `threads` threads.
pub fn plan(study: &Study, sizes: &Sizes, threads: usize) -> Plan {
    let size = summary::size(study);
    let tokens = size.trials * study.rollout.longest().0;
    Plan {
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
        screen_steps: screen_steps(study),
        trials: size.trials,
        tokens,
        // Two operations per parameter and token, once to generate and once to score (Kaplan et al. 2020, section 2.1).
        operations: 4.0 * study.model.shape.parameters as f64 * tokens as f64,
        memory: memory(study, sizes, threads, size.trials),
    }
}

/// The same on candle tensors: a batch at a time, whose keys and values are copied when they grow.
fn tensor_memory(study: &Study, sizes: &Sizes, trials: usize, longest: usize) -> PlannedMemory {
    let bytes = match study.model.dtype {
        Dtype::F32 => 4,
        Dtype::Bf16 | Dtype::F16 => 2,
    };
    let rollouts = trials.min(tensor::BATCH);
    let positions = longest + study.rollout.longest().0;
    PlannedMemory {
        weights: study.model.shape.parameters * bytes,
        cache: 2 * rollouts * positions * 2 * sizes.layers * sizes.heads.kv_width() * bytes,
        rollouts,
    }
}

/// The memory of the sweep, the largest of the stages.
fn memory(study: &Study, sizes: &Sizes, threads: usize, trials: usize) -> PlannedMemory {
    let sets = (study.behaviors.iter()).map(|behavior| study.prompts_of(behavior));
    let prompts: Vec<usize> = sets
        .chain([study.calibration_prompts()])
        .flat_map(|prompts| prompts.iter().map(|prompt| prompt.tokens.len()))
        .collect();
    let longest = prompts.iter().copied().max().unwrap_or(1);
    // As `Cell::own_positions` counts them, and the prompt's last token is read with the rest.
    let own = match study.doses.apply {
        Apply::Generation => 1,
        Apply::All => longest,
    };
    let capacity = own + study.rollout.longest().0;
    if (study.model.dtype, study.model.device) != (Dtype::F32, Device::Cpu) {
        return tensor_memory(study, sizes, trials, longest);
    }
    let lanes = Lanes::new(sizes, threads, trials, capacity);
    // Rollouts start in the order of their prompts, so that only a few prompts are in flight at a time.
    let per_prompt = (trials / prompts.len().max(1)).max(1);
    let in_flight = (lanes.count * lanes.slots / per_prompt + lanes.count).min(prompts.len());
    let position = 2 * sizes.layers * sizes.heads.kv_width() * size_of::<f32>();
    PlannedMemory {
        weights: study.model.shape.parameters * size_of::<f32>(),
        cache: lanes.cache_bytes(sizes) + in_flight * (longest - 1) * position,
        rollouts: lanes.count * lanes.slots,
    }
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
