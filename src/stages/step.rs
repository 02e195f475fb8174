//! Single forward steps of many neurons on the same contexts: steered, unsteered, and what becomes of the logits. No token is generated.

use crate::model::{Cell, FirstStep, LanguageModel, ModelError, Steering};
use crate::spec::doses::Apply;
use crate::study::Behavior;
use crate::units::{Dose, NeuronId, Sign, TokenId};

/// Branches in the order in which they are pushed.
pub const SIGNS: [Sign; 2] = [Sign::Positive, Sign::Negative];

/// Cells of one call of the model, about: bounds the memory of a push of many neurons.
const CELLS: usize = 1 << 14;

/// Steps of many neurons on the same prompts.
pub struct Steps<'a> {
    /// The model.
    pub model: &'a dyn LanguageModel,
    /// The prompts; the step is that of their last token.
    pub prompts: &'a [Vec<TokenId>],
    /// Strengths of the push, in budgets.
    pub strengths: &'a [f64],
}

/// Which step was made: indices of the site, the sign in [`SIGNS`], the strength and the prompt.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub site: usize,
    pub sign: usize,
    pub strength: usize,
    pub prompt: usize,
}

/// An unsteered step.
pub struct Clean {
    /// `[vocab]`
    pub logits: Vec<f32>,
    /// `[d_model]`, before the final norm.
    pub residual: Vec<f32>,
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
        let before: f64 = (self.clean()?.iter())
            .map(|clean| difference(behavior, &clean.logits))
            .sum();
        let after = self.sums(sites, &|_, step| Ok(difference(behavior, step.logits)))?;
        let prompts = self.prompts.len() as f64;
        Ok(after
            .into_iter()
            .map(|signs| signs.map(|strengths| (strengths[0] - before) / prompts))
            .collect())
    }

    /// Sums over prompts of a number of each step: per site, above zero and below zero, by strength. Added in the order of prompts,
    /// whatever the order of the steps.
    ///
    /// # Errors
    /// Those of the model and of `number`.
    pub fn sums(
        &self,
        sites: &[(NeuronId, f64)],
        number: &dyn Fn(Place, &FirstStep<'_>) -> Result<f64, ModelError>,
    ) -> Result<Vec<[Vec<f64>; 2]>, ModelError> {
        let empty = || vec![vec![0.0; self.prompts.len()]; self.strengths.len()];
        let mut numbers: Vec<[Vec<Vec<f64>>; 2]> =
            sites.iter().map(|_| [empty(), empty()]).collect();
        self.each(sites, &mut |place, step| {
            let found = number(place, &step)?;
            numbers[place.site][place.sign][place.strength][place.prompt] = found;
            Ok(())
        })?;
        let sum = |prompts: Vec<f64>| prompts.into_iter().sum::<f64>();
        Ok((numbers.into_iter())
            .map(|signs| signs.map(|strengths| strengths.into_iter().map(sum).collect()))
            .collect())
    }

    /// The unsteered steps, one per prompt.
    ///
    /// # Errors
    /// Those of the model.
    pub fn clean(&self) -> Result<Vec<Clean>, ModelError> {
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

    /// Every step: of each site, sign, strength and prompt, in any order. A neuron that writes nothing has no budget, and makes no step.
    ///
    /// # Errors
    /// Those of the model, which refuses doses that its number type does not hold, and of `visit`.
    pub fn each(
        &self,
        sites: &[(NeuronId, f64)],
        visit: &mut dyn FnMut(Place, FirstStep<'_>) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let per_site = SIGNS.len() * self.strengths.len() * self.prompts.len();
        let at_a_time = (CELLS / per_site.max(1)).max(1);
        for (chunk, some) in sites.chunks(at_a_time).enumerate() {
            let first = chunk * at_a_time;
            let mut places = Vec::new();
            let mut cells = Vec::new();
            for (site, &(neuron, budget)) in some.iter().enumerate() {
                if budget == f64::INFINITY {
                    continue;
                }
                for (sign, factor) in SIGNS.map(Sign::factor).into_iter().enumerate() {
                    for (strength, budgets) in self.strengths.iter().enumerate() {
                        let dose = Dose((factor * budgets * budget) as f32);
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

/// One step on a prompt.
pub fn cell(prompt: &[TokenId], steered: Option<(NeuronId, Dose)>) -> Cell<'_> {
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
pub fn difference(behavior: &Behavior, logits: &[f32]) -> f64 {
    let mean = |tokens: &[TokenId]| {
        let sum: f64 = (tokens.iter())
            .map(|&t| f64::from(logits[t as usize]))
            .sum();
        sum / tokens.len().max(1) as f64
    };
    mean(&behavior.target_tokens) - mean(&behavior.control_tokens)
}
