//! What single pushed steps on the calibration prompts say of every neuron: the dose at which a behaviour tips, the doses at which its
//! text turns unlikely, and how much of a push survives to the final norm off its own axis.

use serde::{Deserialize, Serialize};

use super::calibrate::NeuronCalibration;
use super::features::unit;
use super::step::{Clean, SIGNS, Steps, cell, difference};
use super::step_ceiling::{self, Crossings};
use crate::coherence::CollapseRule;
use crate::model::{Cell, FirstStep, LanguageModel, ModelError};
use crate::spec::ceiling::{Predictor, TriggerPredictor};
use crate::spec::neurons::ScreenScore;
use crate::stats;
use crate::study::{Behavior, Study};
use crate::units::{NeuronId, Sign, TokenId};

/// Strengths at which every branch is pushed, in budgets.
pub const STRENGTHS: [f64; 6] = [0.6, 0.9, 1.25, 1.5, 1.8, 2.2];

/// The prompts on which a behaviour is pushed for a screen, read where its contrast is decided when it has one.
pub fn decision_prompts(study: &Study, behavior: &Behavior) -> Vec<Vec<TokenId>> {
    let prompts: Vec<Vec<TokenId>> = match &behavior.contrast {
        Some(contrast) => contrast.original.clone(),
        None => (study.prompts_of(behavior).iter())
            .map(|prompt| prompt.tokens.clone())
            .collect(),
    };
    (prompts.into_iter())
        .take(ScreenScore::PUSHED_PROMPTS)
        .collect()
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

/// Pushes every neuron, for every behaviour. Sorted by behaviour, neuron, branch.
pub fn on_calibration_prompts(
    study: &Study,
    neurons: &[NeuronCalibration],
    model: &dyn LanguageModel,
) -> anyhow::Result<Vec<Push>> {
    let sites: Vec<(NeuronId, f64)> = neurons.iter().map(|n| (n.neuron, n.budget)).collect();
    let mut pushes = Vec::new();
    for behavior in &study.behaviors {
        pushes.extend(of_behavior(study, behavior, neurons, &sites, model)?);
    }
    let on_answers = study.ceiling.predictors.contains(&Predictor::OneStep);
    let on_flips = study.trigger.predictors.contains(&TriggerPredictor::Push);
    if on_answers || on_flips {
        let texts = Texts::new(study, model)?;
        if on_answers {
            let all = step_ceiling::crossings(model, &sites, &texts.plain(), texts.limit)?;
            for (place, push) in pushes.iter_mut().enumerate() {
                let site = place / SIGNS.len() % sites.len();
                push.ceiling = Some(all[site][place % SIGNS.len()]);
            }
        }
        if on_flips {
            flipped_ceilings(&mut pushes, neurons, &texts, model)?;
        }
    }
    Ok(pushes)
}

fn of_behavior(
    study: &Study,
    behavior: &Behavior,
    neurons: &[NeuronCalibration],
    sites: &[(NeuronId, f64)],
    model: &dyn LanguageModel,
) -> Result<Vec<Push>, ModelError> {
    let prompts = calibration_prompts(study, behavior, model)?;
    let survivals = survivals(study, neurons, sites, &prompts, model)?;
    let triggers = match behavior.target_tokens.is_empty() {
        true => vec![[None; 2]; sites.len()],
        false => triggers(behavior, sites, &prompts, model)?,
    };
    let mut pushes = Vec::new();
    for (((neuron, _), triggers), survivals) in sites.iter().zip(triggers).zip(survivals) {
        for ((sign, trigger), [survival, logit_survival]) in
            SIGNS.into_iter().zip(triggers).zip(survivals)
        {
            pushes.push(Push {
                behavior: behavior.name.clone(),
                neuron: *neuron,
                sign,
                trigger,
                ceiling: None,
                flipped_ceiling: None,
                survival,
                logit_survival,
            });
        }
    }
    Ok(pushes)
}

/// The dose at which the mean target-minus-control logit difference rises above 0, per site: above zero, below zero.
fn triggers(
    behavior: &Behavior,
    sites: &[(NeuronId, f64)],
    prompts: &[Vec<TokenId>],
    model: &dyn LanguageModel,
) -> Result<Vec<[Option<f64>; 2]>, ModelError> {
    let steps = Steps {
        model,
        prompts,
        strengths: &STRENGTHS,
    };
    let clean: f64 = (steps.clean()?.iter())
        .map(|clean| difference(behavior, &clean.logits))
        .sum();
    let sums = steps.sums(sites, &|_, step| Ok(difference(behavior, step.logits)))?;
    let crossing = |sums: Vec<f64>| step_ceiling::crossing(&STRENGTHS, clean, &sums, 0.0);
    Ok((sums.into_iter())
        .map(|signs| signs.map(crossing))
        .collect())
}

/// Adds the ceiling on flipped text to the pushes that have a trigger.
fn flipped_ceilings(
    pushes: &mut [Push],
    neurons: &[NeuronCalibration],
    texts: &Texts,
    model: &dyn LanguageModel,
) -> Result<(), ModelError> {
    let contexts = texts.flipped();
    if contexts.is_empty() {
        return Ok(());
    }
    let budget = |neuron: NeuronId| {
        let found = neurons.binary_search_by_key(&neuron, |n| n.neuron);
        found.map_or(0.0, |place| neurons[place].budget)
    };
    let mut sites: Vec<(NeuronId, f64)> = (pushes.iter())
        .filter(|push| push.trigger.is_some())
        .map(|push| (push.neuron, budget(push.neuron)))
        .collect();
    sites.sort_by_key(|site| site.0);
    sites.dedup_by_key(|site| site.0);
    let all = step_ceiling::crossings(model, &sites, &contexts, texts.limit)?;
    for push in pushes.iter_mut().filter(|push| push.trigger.is_some()) {
        let found = sites.binary_search_by_key(&push.neuron, |site| site.0);
        let sign = usize::from(push.sign == Sign::Negative);
        push.flipped_ceiling = found.ok().map(|site| all[site][sign]);
    }
    Ok(())
}

/// The calibration prompts with the answers of the unsteered model, and those of their contrast.
struct Texts {
    prompts: Vec<Vec<TokenId>>,
    answers: Vec<Vec<TokenId>>,
    /// The answers to the paired prompts; empty without a contrast.
    flipped: Vec<Vec<TokenId>>,
    /// Negative log-likelihood per token above which a text counts as collapsed.
    limit: f64,
}

impl Texts {
    fn new(study: &Study, model: &dyn LanguageModel) -> anyhow::Result<Self> {
        let prompts: Vec<Vec<TokenId>> = (study.calibration_prompts().iter())
            .map(|prompt| prompt.tokens.clone())
            .collect();
        let contrast: Vec<Vec<TokenId>> = (study.calibration_contrast().iter())
            .map(|prompt| prompt.tokens.clone())
            .collect();
        let (flipped, _) = answers(study, &contrast, model)?;
        let (answers, likelihoods) = answers(study, &prompts, model)?;
        let rule = CollapseRule::new(&study.coherence)?;
        Ok(Self {
            flipped,
            limit: rule.likelihood_limit(&likelihoods),
            prompts,
            answers,
        })
    }

    /// Prompts with beginnings of their own answers.
    fn plain(&self) -> Vec<Vec<TokenId>> {
        let answers = self.prompts.iter().zip(&self.answers);
        step_ceiling::contexts(answers, step_ceiling::POINTS)
    }

    /// Prompts with beginnings of the answers to their contrast: what a coherent flip would say.
    fn flipped(&self) -> Vec<Vec<TokenId>> {
        let answers = self.prompts.iter().zip(&self.flipped);
        step_ceiling::contexts(answers, 2 * step_ceiling::POINTS)
    }
}

/// The unsteered answers, and their mean negative log-likelihood.
fn answers(
    study: &Study,
    prompts: &[Vec<TokenId>],
    model: &dyn LanguageModel,
) -> anyhow::Result<(Vec<Vec<TokenId>>, Vec<f64>)> {
    let cells: Vec<Cell<'_>> = (prompts.iter())
        .map(|prompt| super::sweep::cell(study, prompt, None))
        .collect();
    let mut answers = vec![Vec::new(); cells.len()];
    let mut likelihoods = vec![0.0; cells.len()];
    model.rollouts(&cells, &mut |i, rollout| {
        let nll: Vec<f64> = rollout.nll.iter().map(|&x| f64::from(x)).collect();
        likelihoods[i] = stats::mean(&nll).unwrap_or(0.0);
        answers[i] = rollout.tokens;
        Ok(())
    })?;
    Ok((answers, likelihoods))
}

/// What survives of each push of `calibration.push` budgets off its own axis, in the residual stream before the final norm and in the
/// logits; per site: above zero, below zero.
fn survivals(
    study: &Study,
    neurons: &[NeuronCalibration],
    sites: &[(NeuronId, f64)],
    prompts: &[Vec<TokenId>],
    model: &dyn LanguageModel,
) -> Result<Vec<[[f64; 2]; 2]>, ModelError> {
    let axes: Vec<Vec<f32>> = (neurons.iter())
        .map(|n| unit(model.effective_write(n.neuron)))
        .collect();
    let steps = Steps {
        model,
        prompts,
        strengths: &[study.calibration.push],
    };
    let clean = steps.clean()?;
    let mut shares = vec![vec![[[0.0; 2]; 2]; prompts.len()]; sites.len()];
    steps.each(sites, &mut |place, step| {
        let survival = survival(&clean[place.prompt], &step, &axes[place.site], model)?;
        shares[place.site][place.prompt][place.sign] = survival;
        Ok(())
    })?;
    let mean = |of_site: Vec<[[f64; 2]; 2]>| {
        let share = |sign: usize, part: usize| {
            of_site.iter().map(|p| p[sign][part]).sum::<f64>() / of_site.len().max(1) as f64
        };
        [0, 1].map(|sign| [0, 1].map(|part| share(sign, part)))
    };
    Ok(shares.into_iter().map(mean).collect())
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
    differences()
        .map(|x| (x - mean).powi(2))
        .sum::<f64>()
        .sqrt()
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
    /// The dose in budgets at which the mean target-minus-control logit difference rises above 0; absent without a readout axis, or
    /// when none of [`STRENGTHS`] brings it there.
    pub trigger: Option<f64>,
    /// The doses at which the text turns unlikely, on the model's own answers; absent without the predictor `one_step`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Crossings>,
    /// The same on flipped text, where there is a trigger and the calibration prompts have a contrast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipped_ceiling: Option<Crossings>,
    /// How much of the change survives to the final norm off the write's own axis: the share of the change of the last residual stream
    /// that is orthogonal to the effective write. 0 for a write that nothing reads.
    pub survival: f64,
    /// How much of the change of the logits the part along the axis does not explain.
    pub logit_survival: f64,
}
