//! Plan: what a run would do, before it does anything.

use serde::Serialize;

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

/// Plans a study.
pub fn plan(study: &Study) -> Plan {
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
