//! Single steered forward steps, in which no token is generated: how far a push moves the logits, and how much of it survives to the
//! final norm off its own axis.

use serde::{Deserialize, Serialize};

use super::calibrate::NeuronCalibration;
use crate::model::{Cell, FirstStep, LanguageModel, ModelError, Steering};
use crate::spec::doses::Apply;
use crate::spec::neurons::ScreenScore;
use crate::study::{Behavior, Study};
use crate::units::{Dose, NeuronId, Sign, TokenId};

/// Branches in the order in which they are pushed.
const SIGNS: [Sign; 2] = [Sign::Positive, Sign::Negative];

/// Cells of one call of the model, about: bounds the memory of a push of many neurons.
const CELLS: usize = 1 << 14;

/// The prompts on which a behaviour is pushed, read where its contrast is decided when it has one.
pub fn decision_prompts(study: &Study, behavior: &Behavior) -> Vec<Vec<TokenId>> {
    let prompts: Vec<Vec<TokenId>> = match &behavior.contrast {
        Some(contrast) => contrast.original.clone(),
        None => (study.prompts_of(behavior).iter())
            .map(|prompt| prompt.tokens.clone())
            .collect(),
    };
    prompts.into_iter().take(ScreenScore::PUSHED_PROMPTS).collect()
}

/// The first calibration prompts, continued to where the behaviour is decided. A calibration set may hold requests of both modes: those
/// on which the unsteered model leans to the target already are left out, unless all do.
fn calibration_prompts(
    study: &Study,
    behavior: &Behavior,
    model: &dyn LanguageModel,
) -> Result<Vec<Vec<TokenId>>, ModelError> {
    let prefill = (behavior.contrast.as_ref()).map_or(&[][..], |contrast| &contrast.prefill);
    let mut prompts: Vec<Vec<TokenId>> = (study.calibration_prompts().iter())
        .map(|prompt| [&prompt.tokens, prefill].concat())
        .filter(|tokens| tokens.len() <= study.model.shape.context)
        .collect();
    if !behavior.target_tokens.is_empty() {
        let cells: Vec<Cell<'_>> = prompts.iter().map(|prompt| cell(prompt, None)).collect();
        let mut leans = vec![false; cells.len()];
        model.first_steps(&cells, &mut |i, step| {
            leans[i] = difference(behavior, step.logits) > 0.0;
        })?;
        if leans.contains(&false) {
            let mut leans = leans.into_iter();
            prompts.retain(|_| leans.next() == Some(false));
        }
    }
    prompts.truncate(ScreenScore::PUSHED_PROMPTS);
    Ok(prompts)
}

/// Steps of many neurons on the same prompts.
pub struct Steps<'a> {
    /// The model.
    pub model: &'a dyn LanguageModel,
    /// The prompts; the step is that of their last token.
    pub prompts: &'a [Vec<TokenId>],
    /// Strengths of the push, in budgets.
    pub strengths: &'a [f64],
}

/// Which step was made.
#[derive(Clone, Copy, Debug)]
struct Place {
    site: usize,
    sign: usize,
    strength: usize,
    prompt: usize,
}

/// An unsteered step.
struct Clean {
    logits: Vec<f32>,
    residual: Vec<f32>,
}

impl Steps<'_> {
    /// Mean change of the behaviour's target-minus-control logit difference by the first strength, per site: above zero, below zero.
    /// `sites`: neurons with their budgets.
    ///
    /// # Errors
    /// Those of the model.
    pub fn logit_changes(
        &self,
        sites: &[(NeuronId, f64)],
        behavior: &Behavior,
    ) -> Result<Vec<[f64; 2]>, ModelError> {
        let clean = self.clean()?;
        let mut changes = vec![[0.0; 2]; sites.len()];
        self.each(sites, &mut |place, step| {
            let before = difference(behavior, &clean[place.prompt].logits);
            let change = difference(behavior, step.logits) - before;
            changes[place.site][place.sign] += change / self.prompts.len() as f64;
            Ok(())
        })?;
        Ok(changes)
    }

    fn clean(&self) -> Result<Vec<Clean>, ModelError> {
        let cells: Vec<Cell<'_>> = (self.prompts.iter())
            .map(|prompt| cell(prompt, None))
            .collect();
        let mut clean: Vec<Option<Clean>> = cells.iter().map(|_| None).collect();
        self.model.first_steps(&cells, &mut |i, step| {
            clean[i] = Some(Clean {
                logits: step.logits.to_vec(),
                residual: step.residual.to_vec(),
            });
        })?;
        Ok(clean.into_iter().flatten().collect())
    }

    /// Every step: of each site, sign, strength and prompt. A dose that is not finite makes no step.
    fn each(
        &self,
        sites: &[(NeuronId, f64)],
        visit: &mut dyn FnMut(Place, FirstStep<'_>) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let per_site = SIGNS.len() * self.strengths.len() * self.prompts.len();
        for (chunk, some) in sites.chunks((CELLS / per_site.max(1)).max(1)).enumerate() {
            let first = chunk * (CELLS / per_site.max(1)).max(1);
            let mut places = Vec::new();
            let mut cells = Vec::new();
            for (site, &(neuron, budget)) in some.iter().enumerate() {
                for (sign, factor) in SIGNS.map(Sign::factor).into_iter().enumerate() {
                    for (strength, budgets) in self.strengths.iter().enumerate() {
                        let dose = Dose((factor * budgets * budget) as f32);
                        if !dose.0.is_finite() {
                            continue;
                        }
                        for (prompt, tokens) in self.prompts.iter().enumerate() {
                            places.push(Place {
                                site: first + site,
                                sign,
                                strength,
                                prompt,
                            });
                            cells.push(cell(tokens, Some((neuron, dose))));
                        }
                    }
                }
            }
            let mut failed = None;
            self.model.first_steps(&cells, &mut |i, step| {
                if failed.is_none() {
                    failed = visit(places[i], step).err();
                }
            })?;
            failed.map_or(Ok(()), Err)?;
        }
        Ok(())
    }
}

fn cell(prompt: &[TokenId], steered: Option<(NeuronId, Dose)>) -> Cell<'_> {
    Cell {
        prompt,
        steering: steered.map(|(neuron, dose)| Steering {
            neuron,
            dose,
            apply: Apply::Generation,
            window: None,
        }),
        horizon: 1,
        stop_at_end: true,
        stop_at_loop: None,
        sample: None,
    }
}

/// Mean logit of the target tokens minus mean logit of the control tokens.
fn difference(behavior: &Behavior, logits: &[f32]) -> f64 {
    let mean = |tokens: &[TokenId]| {
        let sum: f64 = (tokens.iter()).map(|&t| f64::from(logits[t as usize])).sum();
        sum / tokens.len().max(1) as f64
    };
    mean(&behavior.target_tokens) - mean(&behavior.control_tokens)
}

/// Strengths at which every branch is pushed on the calibration prompts, in budgets: a trigger below the first is early, most text has
/// collapsed beyond the last.
pub const STRENGTHS: [f64; 6] = [0.2, 0.4, 0.6, 0.8, 1.0, 1.3];

/// Pushes every neuron on the first calibration prompts, as they are decided for each behaviour that has a readout axis. Survival is
/// read at `calibration.push` budgets. Without any such behaviour, the first one stands for all, and only survival is read.
pub fn on_calibration_prompts(
    study: &Study,
    neurons: &[NeuronCalibration],
    model: &dyn LanguageModel,
) -> anyhow::Result<Vec<Push>> {
    let sites: Vec<(NeuronId, f64)> = neurons.iter().map(|n| (n.neuron, n.budget)).collect();
    let directions: Vec<Vec<f32>> = (neurons.iter())
        .map(|n| unit(model.effective_write(n.neuron)))
        .collect();
    let mut pushes = Vec::new();
    for behavior in &study.behaviors {
        let prompts = calibration_prompts(study, behavior, model)?;
        let survivals = survivals(study, &sites, &directions, &prompts, model)?;
        let steps = Steps {
            model,
            prompts: &prompts,
            strengths: &STRENGTHS,
        };
        let margins = match behavior.target_tokens.is_empty() {
            true => vec![[Vec::new(), Vec::new()]; sites.len()],
            false => steps.margins(&sites, behavior)?,
        };
        for (((neuron, _), margins), survivals) in sites.iter().zip(margins).zip(survivals) {
            for ((sign, margins), survival) in SIGNS.into_iter().zip(margins).zip(survivals) {
                pushes.push(Push {
                    behavior: behavior.name.clone(),
                    neuron: *neuron,
                    sign,
                    margins,
                    survival: survival[0],
                    logit_survival: survival[1],
                });
            }
        }
    }
    Ok(pushes)
}

impl Steps<'_> {
    /// Mean target-minus-control logit difference by strength, 0 first; per site: above zero, below zero.
    fn margins(
        &self,
        sites: &[(NeuronId, f64)],
        behavior: &Behavior,
    ) -> Result<Vec<[Vec<f64>; 2]>, ModelError> {
        let share = 1.0 / self.prompts.len() as f64;
        let clean: f64 = (self.clean()?.iter())
            .map(|clean| difference(behavior, &clean.logits) * share)
            .sum();
        let mut start = vec![0.0; self.strengths.len() + 1];
        start[0] = clean;
        let mut margins = vec![[start.clone(), start]; sites.len()];
        self.each(sites, &mut |place, step| {
            let margin = difference(behavior, step.logits) * share;
            margins[place.site][place.sign][place.strength + 1] += margin;
            Ok(())
        })?;
        Ok(margins)
    }
}

/// What survives of each push off its own axis, in the residual stream before the final norm and in the logits; per site: above zero,
/// below zero. `directions`: unit vectors of the effective writes.
fn survivals(
    study: &Study,
    sites: &[(NeuronId, f64)],
    directions: &[Vec<f32>],
    prompts: &[Vec<TokenId>],
    model: &dyn LanguageModel,
) -> Result<Vec<[[f64; 2]; 2]>, ModelError> {
    let steps = Steps {
        model,
        prompts,
        strengths: &[study.calibration.push],
    };
    let clean = steps.clean()?;
    let mut survivals = vec![[[0.0; 2]; 2]; sites.len()];
    steps.each(sites, &mut |place, step| {
        let clean = &clean[place.prompt];
        let survival = survival(clean, &step, &directions[place.site], model)?;
        for (sum, part) in survivals[place.site][place.sign].iter_mut().zip(survival) {
            *sum += part / prompts.len() as f64;
        }
        Ok(())
    })?;
    Ok(survivals)
}

/// Shares of what a push changed that do not lie along its own axis: of the last residual stream's change, and of the logits' beyond
/// what the part along the axis gives by itself.
fn survival(
    clean: &Clean,
    step: &FirstStep<'_>,
    axis: &[f32],
    model: &dyn LanguageModel,
) -> Result<[f64; 2], ModelError> {
    let change: Vec<f32> = (step.residual.iter().zip(&clean.residual))
        .map(|(steered, clean)| steered - clean)
        .collect();
    let along: f64 = (change.iter().zip(axis))
        .map(|(&change, &axis)| f64::from(change) * f64::from(axis))
        .sum();
    let square: f64 = change.iter().map(|&x| f64::from(x).powi(2)).sum();
    let off = (square - along * along).max(0.0).sqrt() / square.sqrt().max(f64::MIN_POSITIVE);
    let alone: Vec<f32> = (clean.residual.iter().zip(axis))
        .map(|(&clean, &axis)| clean + (along as f32) * axis)
        .collect();
    let alone = model.logits_of(&alone)?;
    let whole = spread(step.logits, &clean.logits);
    let rest = spread(step.logits, &alone);
    Ok([off, (rest / whole.max(f64::MIN_POSITIVE)).min(1.0)])
}

/// Length of the difference of two lists of logits, apart from what moves all of them alike.
fn spread(a: &[f32], b: &[f32]) -> f64 {
    let differences = || a.iter().zip(b).map(|(&a, &b)| f64::from(a) - f64::from(b));
    let mean = differences().sum::<f64>() / a.len().max(1) as f64;
    differences().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt()
}

fn unit(direction: Vec<f32>) -> Vec<f32> {
    let length: f64 = direction.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    (direction.into_iter())
        .map(|x| (f64::from(x) * scale) as f32)
        .collect()
}

/// Single steered steps of one branch on the calibration prompts, as they are decided for a behaviour. Means over prompts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Push {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// Target-minus-control logit difference without a push, then at each of [`STRENGTHS`]; empty without a readout axis.
    pub margins: Vec<f64>,
    /// How much of the change survives to the final norm off the write's own axis: the share of the change of the last residual stream
    /// that is orthogonal to the effective write. 0 for a write that nothing reads.
    pub survival: f64,
    /// How much of the change of the logits the part along the axis does not explain.
    pub logit_survival: f64,
}
