//! Screen: which neurons are measured.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::residual_stream::ResidualStream;
use crate::model::{Cell, LanguageModel, Observed, Probe, Sequence, Steering};
use crate::spec::doses::Apply;
use crate::spec::neurons::{Role, ScreenScore};
use crate::study::{Behavior, Contrast, NeuronGroup, Selection, Study};
use crate::units::{Dose, NeuronId, Sign, TokenId};

/// Chooses the neurons of every group. Neurons that a screen chooses stand in no group before it and in no fixed group at all, so
/// that roles stay disjoint.
pub fn screen(
    study: &Study,
    residuals: &ResidualStream,
    model: &dyn LanguageModel,
) -> anyhow::Result<Screening> {
    let mut taken: BTreeSet<NeuronId> = (study.neurons.iter())
        .filter_map(|group| match &group.selection {
            Selection::Fixed(neurons) => Some(neurons),
            Selection::Screen { .. } => None,
        })
        .flatten()
        .copied()
        .collect();
    let mut screening = Screening {
        groups: Vec::new(),
        screens: Vec::new(),
    };
    for group in &study.neurons {
        let neurons = match &group.selection {
            Selection::Fixed(neurons) => neurons.clone(),
            Selection::Screen { .. } => {
                let result = run_screen(study, group, &taken, residuals, model)?;
                let mut neurons: Vec<_> =
                    result.chosen.iter().map(|scored| scored.neuron).collect();
                neurons.sort();
                taken.extend(&neurons);
                screening.screens.push(result);
                neurons
            }
        };
        screening.groups.push(Group {
            name: group.name.clone(),
            role: group.role,
            behaviors: group.behaviors.clone(),
            neurons,
        });
    }
    Ok(screening)
}

/// Scores every free neuron of the screen's layers, and takes the best.
fn run_screen(
    study: &Study,
    group: &NeuronGroup,
    taken: &BTreeSet<NeuronId>,
    residuals: &ResidualStream,
    model: &dyn LanguageModel,
) -> anyhow::Result<ScreenResult> {
    let Selection::Screen {
        behavior,
        score,
        top,
        per_layer,
        layers,
    } = &group.selection
    else {
        anyhow::bail!("the group `{}` has no screen", group.name);
    };
    let free: Vec<NeuronId> = (layers.iter())
        .flat_map(|&layer| (0..model.shape().d_ff).map(move |index| NeuronId { layer, index }))
        .filter(|neuron| !taken.contains(neuron))
        .collect();
    let mut scored = score_neurons(
        study,
        study.behavior(behavior),
        *score,
        &free,
        residuals,
        model,
    )?;
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.neuron.cmp(&b.neuron)));
    let mut of_layer = vec![0; model.shape().layers];
    let mut chosen = Vec::new();
    for candidate in &scored {
        let count = if *per_layer {
            &mut of_layer[candidate.neuron.layer]
        } else {
            &mut of_layer[0]
        };
        if *count < *top {
            *count += 1;
            chosen.push(candidate.clone());
        }
    }
    Ok(ScreenResult {
        group: group.name.clone(),
        behavior: behavior.clone(),
        score: *score,
        scored: scored.len(),
        chosen,
    })
}

fn score_neurons(
    study: &Study,
    behavior: &Behavior,
    score: ScreenScore,
    neurons: &[NeuronId],
    residuals: &ResidualStream,
    model: &dyn LanguageModel,
) -> anyhow::Result<Vec<Scored>> {
    if score == ScreenScore::OneStepPush {
        return one_step_push(study, behavior, neurons, residuals, model);
    }
    let contrast = (behavior.contrast.as_ref()).ok_or_else(|| {
        anyhow::anyhow!(
            "the behaviour `{}` has no contrast to screen",
            behavior.name
        )
    })?;
    let changes = activation_changes(contrast, model)?;
    let axis = readout_axis(behavior, model);
    Ok((neurons.iter())
        .map(|&neuron| {
            let of_pairs: Vec<f64> = changes
                .iter()
                .map(|pair| pair.at(neuron, model.shape().d_ff))
                .collect();
            let mean = of_pairs.iter().sum::<f64>() / of_pairs.len() as f64;
            let square = of_pairs.iter().map(|x| x * x).sum::<f64>() / of_pairs.len() as f64;
            let direct = dot(&axis, &model.write_direction(neuron));
            let signed = match score {
                ScreenScore::ContrastBudgets => mean / residuals.budget(model, neuron).budget,
                ScreenScore::DirectImportance => direct * mean,
                ScreenScore::DirectImportanceRms => (direct * square.sqrt()).abs() * mean.signum(),
                ScreenScore::OneStepPush => unreachable!("handled above"),
            };
            // The branch that moves the neuron as the contrast does.
            scored(neuron, signed.abs(), mean)
        })
        .collect())
}

fn scored(neuron: NeuronId, score: f64, direction: f64) -> Scored {
    Scored {
        neuron,
        // A neuron without a write direction has no budget to divide by; it moves nothing.
        score: if score.is_finite() { score } else { 0.0 },
        sign: if direction < 0.0 {
            Sign::Negative
        } else {
            Sign::Positive
        },
    }
}

/// `Δa` of every neuron between the last tokens of a pair, perturbed minus original: per layer `[d_ff]`, one after the other.
struct ActivationChange(Vec<f32>);

impl ActivationChange {
    fn at(&self, neuron: NeuronId, d_ff: usize) -> f64 {
        f64::from(self.0[neuron.layer * d_ff + neuron.index])
    }
}

/// Two forward passes per pair, read at the last token.
fn activation_changes(
    contrast: &Contrast,
    model: &dyn LanguageModel,
) -> anyhow::Result<Vec<ActivationChange>> {
    let last = |tokens: &[TokenId]| tokens.len() - 1;
    let sequences: Vec<Sequence<'_>> = (contrast.original.iter().chain(&contrast.perturbed))
        .map(|tokens| Sequence {
            tokens,
            from: last(tokens),
        })
        .collect();
    let mut activations = Vec::new();
    let probe = Probe {
        activations: true,
        ..Probe::default()
    };
    model.observe(
        &sequences,
        probe,
        &mut |_,
              Observed {
                  activations: layers,
                  ..
              }| {
            activations.push(layers.concat());
        },
    )?;
    let (original, perturbed) = activations.split_at(contrast.original.len());
    Ok((original.iter().zip(perturbed))
        .map(|(a, b)| ActivationChange(b.iter().zip(a).map(|(b, a)| b - a).collect()))
        .collect())
}

/// `d = mean W_U[targets] − mean W_U[controls]` (arXiv 2604.27401), `[d_model]`.
fn readout_axis(behavior: &Behavior, model: &dyn LanguageModel) -> Vec<f32> {
    let mut axis = vec![0.0; model.shape().d_model];
    for (tokens, sign) in [
        (&behavior.target_tokens, 1.0),
        (&behavior.control_tokens, -1.0),
    ] {
        for &token in tokens {
            for (sum, x) in axis.iter_mut().zip(model.readout_direction(token)) {
                *sum += sign * x / tokens.len() as f32;
            }
        }
    }
    axis
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&x, &y)| f64::from(x) * f64::from(y))
        .sum()
}

/// One steered forward step per sign, read where the contrast is decided when the behaviour has one.
fn one_step_push(
    study: &Study,
    behavior: &Behavior,
    neurons: &[NeuronId],
    residuals: &ResidualStream,
    model: &dyn LanguageModel,
) -> anyhow::Result<Vec<Scored>> {
    let prompts: Vec<&[TokenId]> = match &behavior.contrast {
        Some(contrast) => contrast.original.iter().map(Vec::as_slice).collect(),
        None => study
            .prompts_of(behavior)
            .iter()
            .map(|prompt| &prompt.tokens[..])
            .collect(),
    };
    let prompts = &prompts[..prompts.len().min(ScreenScore::PUSHED_PROMPTS)];
    let cell = |prompt, steering| Cell {
        prompt,
        steering,
        horizon: 1,
        stop_at_end: true,
        stop_at_loop: None,
        sample: None,
    };
    let difference = |logits: &[f32]| {
        let mean = |tokens: &[TokenId]| {
            tokens
                .iter()
                .map(|&t| f64::from(logits[t as usize]))
                .sum::<f64>()
                / tokens.len().max(1) as f64
        };
        mean(&behavior.target_tokens) - mean(&behavior.control_tokens)
    };
    let clean: Vec<Cell<'_>> = prompts.iter().map(|prompt| cell(prompt, None)).collect();
    let mut baseline = vec![0.0; clean.len()];
    model.first_steps(&clean, &mut |i, step| baseline[i] = difference(step.logits))?;

    let signs = [Sign::Positive, Sign::Negative];
    let mut cells = Vec::with_capacity(neurons.len() * 2 * prompts.len());
    for &neuron in neurons {
        let budget = residuals.budget(model, neuron).budget;
        for sign in signs {
            let dose = Dose((sign.factor() * study.calibration.push * budget) as f32);
            for prompt in prompts {
                cells.push(cell(
                    prompt,
                    dose.0.is_finite().then_some(Steering {
                        neuron,
                        dose,
                        apply: Apply::Generation,
                        window: None,
                    }),
                ));
            }
        }
    }
    let mut change = vec![0.0; cells.len()];
    model.first_steps(&cells, &mut |i, step| {
        change[i] = difference(step.logits) - baseline[i % baseline.len()];
    })?;
    Ok((neurons.iter().zip(change.chunks_exact(2 * prompts.len())))
        .map(|(&neuron, change)| {
            let (up, down) = change.split_at(prompts.len());
            let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
            let (up, down) = (mean(up), mean(down));
            scored(
                neuron,
                up.max(down).max(0.0),
                if up >= down { 1.0 } else { -1.0 },
            )
        })
        .collect())
}

/// Every neuron of the study, and the scores that chose some of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Screening {
    /// The groups of the study with their neurons, in the order of the spec.
    pub groups: Vec<Group>,
    /// Scores of the neurons that a screen chose, one entry per screened group.
    pub screens: Vec<ScreenResult>,
}

/// A group with its neurons.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Name in the report.
    pub name: String,
    /// What the group is for.
    pub role: Role,
    /// Names of the behaviours it is measured on; empty for calibration neurons.
    pub behaviors: Vec<String>,
    /// The neurons, sorted.
    pub neurons: Vec<NeuronId>,
}

impl Group {
    /// Whether its neurons fit the predictors.
    pub fn is_calibration(&self) -> bool {
        self.role == Role::Calibration
    }
}

/// What a screen found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScreenResult {
    /// Name of the group it filled.
    pub group: String,
    /// Name of the behaviour whose contrast was screened.
    pub behavior: String,
    /// The score that ranked.
    pub score: ScreenScore,
    /// How many neurons were scored.
    pub scored: usize,
    /// The chosen neurons, best first.
    pub chosen: Vec<Scored>,
}

/// A neuron with its score.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scored {
    /// The neuron.
    pub neuron: NeuronId,
    /// The score, at least 0; larger is better.
    pub score: f64,
    /// The branch that the score favours.
    pub sign: Sign,
}
