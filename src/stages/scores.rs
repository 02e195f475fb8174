//! Scores of neurons for a behaviour, before any rollout: passive contrasts, attributions by gradient, single pushed steps.

use serde::{Deserialize, Serialize};

use super::features::length;
use super::push;
use super::residual_stream::ResidualStream;
use super::step::Steps;
use crate::model::{LanguageModel, Observed, Probe, Sequence};
use crate::spec::neurons::ScreenScore;
use crate::stats::{self, SplitMix64};
use crate::study::{Behavior, Contrast, Study};
use crate::units::{NeuronId, Sign, TokenId};

/// What forward and backward passes say about every neuron of the model for one behaviour.
pub struct Readings<'a> {
    study: &'a Study,
    behavior: &'a Behavior,
    model: &'a dyn LanguageModel,
    residuals: &'a ResidualStream,
    contrast: Option<ContrastReading>,
    gradient: Option<GradientReading>,
    /// The readout axis, `[d_model]`.
    axis: Option<Vec<f32>>,
}

/// Two forward passes per pair, read at the last token. By layer, then neuron: `[layers · d_ff]`.
struct ContrastReading {
    /// Mean `Δa`, perturbed minus original.
    mean: Vec<f64>,
    /// Mean `Δa²`.
    square: Vec<f64>,
    ffn_skip_ratio: Option<f64>,
}

/// One forward and one backward pass per prompt, read at the last token. By layer, then neuron: `[layers · d_ff]`.
struct GradientReading {
    /// Mean gradient of the logit difference with respect to the activation.
    gradient: Vec<f64>,
    /// Mean gradient times activation.
    times_activation: Vec<f64>,
}

impl<'a> Readings<'a> {
    /// Makes the passes that the behaviour allows.
    pub fn new(
        study: &'a Study,
        behavior: &'a Behavior,
        residuals: &'a ResidualStream,
        model: &'a dyn LanguageModel,
    ) -> anyhow::Result<Self> {
        let axis = (!behavior.target_tokens.is_empty()).then(|| readout_axis(behavior, model));
        let contrast = (behavior.contrast.as_ref())
            .map(|contrast| read_contrast(contrast, axis.as_deref(), model))
            .transpose()?;
        let gradient = (axis.is_some())
            .then(|| read_gradient(study, behavior, model))
            .transpose()?;
        Ok(Self {
            study,
            behavior,
            model,
            residuals,
            contrast,
            gradient,
            axis,
        })
    }

    /// All scores of these neurons but the push, which costs steps of each neuron's own.
    pub fn passive(&self, neurons: &[NeuronId]) -> Vec<NeuronScores> {
        neurons.iter().map(|&neuron| self.of(neuron)).collect()
    }

    /// All scores of these neurons.
    pub fn scores(&self, neurons: &[NeuronId]) -> anyhow::Result<Vec<NeuronScores>> {
        let mut scores = self.passive(neurons);
        if self.axis.is_some() {
            let prompts = push::decision_prompts(self.study, self.behavior);
            let steps = Steps {
                model: self.model,
                prompts: &prompts,
                strengths: &[self.study.calibration.push],
            };
            let changes = steps.logit_changes(&self.sites(neurons), self.behavior)?;
            for (scores, change) in scores.iter_mut().zip(changes) {
                scores.push = Some(change);
            }
        }
        Ok(scores)
    }

    /// FFN/skip ratio `|d·FFN_out| / |d·block_input|` at the last layer, mean of both passes over all pairs (arXiv 2604.27401).
    pub fn ffn_skip_ratio(&self) -> Option<f64> {
        self.contrast.as_ref()?.ffn_skip_ratio
    }

    fn sites(&self, neurons: &[NeuronId]) -> Vec<(NeuronId, f64)> {
        (neurons.iter())
            .map(|&neuron| (neuron, self.residuals.budget(self.model, neuron).budget))
            .collect()
    }

    fn of(&self, neuron: NeuronId) -> NeuronScores {
        let budget = self.residuals.budget(self.model, neuron).budget;
        let write = self.model.effective_write(neuron);
        // A random direction has no activation: what is read off activations does not exist for it.
        let place = (neuron.direction().is_none())
            .then(|| neuron.layer * self.model.shape().d_ff + neuron.index);
        let direct = self.axis.as_ref().map(|axis| dot(axis, &write));
        let contrast = self.contrast.as_ref().zip(place);
        let change = contrast.map(|(read, at)| (read.mean[at], read.square[at].sqrt()));
        let gradient = self.gradient.as_ref().zip(place);
        let finite = |x: f64| if x.is_finite() { x } else { 0.0 };
        NeuronScores {
            neuron,
            // A neuron without a write direction has no budget to divide by; it moves nothing.
            contrast_budgets: change.map(|(mean, _)| finite(mean / budget)),
            direct_importance: change.zip(direct).map(|((mean, _), d)| d * mean),
            direct_importance_rms: change.zip(direct).map(|((_, rms), d)| (d * rms).abs()),
            coherence: change.map(|(mean, rms)| finite(mean.abs() / rms)),
            gradient_activation: gradient.map(|(read, at)| read.times_activation[at]),
            gradient_budgets: gradient.map(|(read, at)| finite(read.gradient[at] * budget)),
            push: None,
            readout_alignment: (self.axis.as_ref())
                .map(|axis| finite(dot(axis, &write) / (length(axis) * length(&write)))),
        }
    }
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

fn read_contrast(
    contrast: &Contrast,
    axis: Option<&[f32]>,
    model: &dyn LanguageModel,
) -> anyhow::Result<ContrastReading> {
    let pairs = contrast.original.len();
    let sequences = last_tokens(contrast.original.iter().chain(&contrast.perturbed));
    let probe = Probe {
        activations: true,
        residuals: axis.is_some(),
        ffn_outputs: axis.is_some(),
        embedded: axis.is_some(),
        ..Probe::default()
    };
    let mut activations: Vec<Vec<f32>> = Vec::with_capacity(sequences.len());
    let mut ratios = Vec::new();
    model.observe(&sequences, probe, &mut |_, observed| {
        if let Some(axis) = axis {
            ratios.push(ffn_skip_ratio(axis, &observed, model));
        }
        activations.push(observed.activations.concat());
    })?;
    let (original, perturbed) = activations.split_at(pairs);
    let mean_of = |of: &dyn Fn(f64) -> f64| {
        let mut mean = vec![0.0; original.first().map_or(0, Vec::len)];
        for (a, b) in original.iter().zip(perturbed) {
            for (mean, (&a, &b)) in mean.iter_mut().zip(a.iter().zip(b)) {
                *mean += of(f64::from(b) - f64::from(a)) / pairs as f64;
            }
        }
        mean
    };
    Ok(ContrastReading {
        mean: mean_of(&|change| change),
        square: mean_of(&|change| change * change),
        ffn_skip_ratio: stats::mean(&ratios).filter(|ratio| ratio.is_finite()),
    })
}

/// `|d·FFN_out| / |d·block_input|` at the last layer and position.
fn ffn_skip_ratio(axis: &[f32], observed: &Observed, model: &dyn LanguageModel) -> f64 {
    let last = model.shape().layers - 1;
    let input = match last.checked_sub(1) {
        Some(before) => &observed.residuals[before],
        None => &observed.embedded,
    };
    let output = &observed.ffn_outputs[last];
    let added = match model.ffn_norm(last) {
        None => output.clone(),
        Some(norm) => norm.apply(output),
    };
    dot(axis, &added).abs() / dot(axis, input).abs()
}

fn read_gradient(
    study: &Study,
    behavior: &Behavior,
    model: &dyn LanguageModel,
) -> anyhow::Result<GradientReading> {
    let prompts = push::decision_prompts(study, behavior);
    let prompts: Vec<&[TokenId]> = prompts.iter().map(Vec::as_slice).collect();
    let neurons = model.shape().layers * model.shape().d_ff;
    let mut reading = GradientReading {
        gradient: vec![0.0; neurons],
        times_activation: vec![0.0; neurons],
    };
    let (targets, controls) = (&behavior.target_tokens, &behavior.control_tokens);
    model.attributions(&prompts, targets, controls, &mut |_, read| {
        let (gradients, activations) = (read.gradients.concat(), read.activations.concat());
        for (i, (&gradient, &activation)) in gradients.iter().zip(&activations).enumerate() {
            let gradient = f64::from(gradient) / prompts.len() as f64;
            reading.gradient[i] += gradient;
            reading.times_activation[i] += gradient * f64::from(activation);
        }
    })?;
    Ok(reading)
}

/// Each sequence, observed at its last token.
fn last_tokens<'a>(sequences: impl Iterator<Item = &'a Vec<TokenId>>) -> Vec<Sequence<'a>> {
    let observed = |tokens: &'a Vec<TokenId>| Sequence {
        tokens,
        from: tokens.len() - 1,
    };
    sequences.map(observed).collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    (a.iter().zip(b))
        .map(|(&x, &y)| f64::from(x) * f64::from(y))
        .sum()
}

/// Scores of every measured neuron for one behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BehaviorScores {
    /// Name of the behaviour.
    pub behavior: String,
    /// FFN/skip ratio at the last layer; absent without a contrast and a readout axis.
    pub ffn_skip_ratio: Option<f64>,
    /// One entry per neuron that is measured on the behaviour, sorted.
    pub neurons: Vec<NeuronScores>,
}

/// Scores of one neuron, signed where they have a direction. Absent: what the behaviour, or a random direction, does not allow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NeuronScores {
    /// The neuron.
    pub neuron: NeuronId,
    /// `mean Δa / B`.
    pub contrast_budgets: Option<f64>,
    /// `mean (d·v)·Δa`.
    pub direct_importance: Option<f64>,
    /// Root mean square of `(d·v)·Δa` over pairs.
    pub direct_importance_rms: Option<f64>,
    /// `|mean Δa| / RMS Δa`: 1 when all pairs move the neuron alike.
    pub coherence: Option<f64>,
    /// Mean gradient of the logit difference times activation.
    pub gradient_activation: Option<f64>,
    /// Mean gradient times `B`: logits per budget, to first order.
    pub gradient_budgets: Option<f64>,
    /// Mean change of the logit difference after one step of `calibration.push` budgets: above zero, below zero.
    pub push: Option<[f64; 2]>,
    /// `cos(v, d)` between write direction and readout axis.
    pub readout_alignment: Option<f64>,
}

impl NeuronScores {
    /// The size of a score, larger is better; absent where it does not exist.
    pub fn size(&self, score: ScreenScore, seed: u64) -> Option<f64> {
        match score {
            ScreenScore::ContrastBudgets => self.contrast_budgets.map(f64::abs),
            ScreenScore::DirectImportance => self.direct_importance.map(f64::abs),
            ScreenScore::DirectImportanceRms => self.direct_importance_rms,
            ScreenScore::OneStepPush => self.push.map(|[up, down]| up.max(down).max(0.0)),
            ScreenScore::GradientActivation => self.gradient_activation.map(f64::abs),
            ScreenScore::GradientBudgets => self.gradient_budgets.map(f64::abs),
            ScreenScore::Random => Some(random_order(self.neuron, seed)),
        }
    }

    /// The branch that a score favours.
    pub fn sign(&self, score: ScreenScore) -> Sign {
        let direction = match score {
            ScreenScore::OneStepPush => self.push.map(|[up, down]| up - down),
            ScreenScore::GradientActivation | ScreenScore::GradientBudgets => self.gradient_budgets,
            // The branch that moves the neuron as the contrast does.
            _ => self.contrast_budgets,
        };
        match direction {
            Some(direction) if direction < 0.0 => Sign::Negative,
            _ => Sign::Positive,
        }
    }
}

/// A number in 0–1 of a neuron's own.
fn random_order(neuron: NeuronId, seed: u64) -> f64 {
    let mut random = SplitMix64(seed ^ ((neuron.layer as u64) << 32) ^ neuron.index as u64);
    random.next_u64();
    (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// The order in which scores are reported.
pub const ALL: [ScreenScore; 7] = [
    ScreenScore::OneStepPush,
    ScreenScore::GradientBudgets,
    ScreenScore::GradientActivation,
    ScreenScore::DirectImportance,
    ScreenScore::DirectImportanceRms,
    ScreenScore::ContrastBudgets,
    ScreenScore::Random,
];
