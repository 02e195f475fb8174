//! A ceiling without a rollout: the dose at which a single steered step says what the unsteered model finds too unlikely.
//!
//! Ours. A rollout has collapsed when its likelihood under the unsteered model is too low. Its first wrong token tells most of it: at
//! contexts that lie along the unsteered answers, one position is steered, the likeliest token `k` is taken, and its surprise
//! `−log p(k)` under the unsteered model is averaged over contexts. Where that mean crosses the study's own limit of the likelihood
//! lies the ceiling.

use super::push::STRENGTHS;
use super::step::{SIGNS, Steps};
use crate::model::kernels::{LogSumExp, argmax};
use crate::model::{LanguageModel, ModelError};
use crate::units::{NeuronId, TokenId};

/// Contexts at which a step is made.
pub const POINTS: usize = 16;

/// Levels of the surprise, in units of the limit of the likelihood; the middle one is the limit itself.
pub const LEVELS: [f64; 3] = [0.5, 1.0, 2.0];

/// Place of the limit itself among [`LEVELS`].
pub const LIMIT: usize = 1;

/// The doses in budgets at which the surprise crosses each of [`LEVELS`]; none where no push of [`STRENGTHS`] does.
pub type Crossings = [Option<f64>; LEVELS.len()];

/// Contexts along answers: each prompt with beginnings of its answer, of lengths that are spread over it. `texts`: prompts with answers.
pub fn contexts<'a>(
    texts: impl Iterator<Item = (&'a Vec<TokenId>, &'a Vec<TokenId>)>,
    count: usize,
) -> Vec<Vec<TokenId>> {
    // Eighths of an answer, in an order that spreads them over few prompts as well.
    const EIGHTHS: [usize; 8] = [0, 4, 2, 6, 1, 5, 3, 7];
    let texts: Vec<_> = texts.filter(|(_, answer)| !answer.is_empty()).collect();
    (0..if texts.is_empty() { 0 } else { count })
        .map(|point| {
            let (prompt, answer) = texts[point % texts.len()];
            let eighth = EIGHTHS[(point + point / texts.len()) % EIGHTHS.len()];
            // The last token of an answer is never read.
            let length = (1 + eighth * answer.len() / EIGHTHS.len()).min(answer.len() - 1);
            [&prompt[..], &answer[..length]].concat()
        })
        .collect()
}

/// Where the surprise of each site crosses the levels: above zero, below zero. `sites`: neurons with their budgets; `limit`: nats.
///
/// # Errors
/// Those of the model.
pub fn crossings(
    model: &dyn LanguageModel,
    sites: &[(NeuronId, f64)],
    contexts: &[Vec<TokenId>],
    limit: f64,
) -> Result<Vec<[Crossings; SIGNS.len()]>, ModelError> {
    let steps = Steps {
        model,
        prompts: contexts,
        strengths: &STRENGTHS,
    };
    let clean: Vec<(LogSumExp, Vec<f32>)> = (steps.clean()?.into_iter())
        .map(|clean| (LogSumExp::of(&clean.logits), clean.logits))
        .collect();
    let surprises = steps.sums(sites, &|place, step| {
        let (total, logits) = &clean[place.prompt];
        let token = argmax(step.logits).ok_or_else(|| ModelError::NotFinite {
            what: "a logit",
            place: format!("a step of {}", sites[place.site].0),
        })?;
        Ok(f64::from(total.negative_log_likelihood(logits[token])))
    })?;
    let count = contexts.len().max(1) as f64;
    let of_branch = |sums: Vec<f64>| {
        LEVELS.map(|level| {
            let level = level * limit * count;
            crossing(&STRENGTHS, 0.0, &sums, level)
        })
    };
    Ok((surprises.into_iter())
        .map(|signs| signs.map(of_branch))
        .collect())
}

/// The dose at which the largest value so far rises above a level: interpolated between doses, from `start` at dose 0; `None` when it
/// does not.
pub fn crossing(doses: &[f64], start: f64, values: &[f64], level: f64) -> Option<f64> {
    if start > level {
        return Some(0.0);
    }
    let above = values.iter().position(|&value| value > level)?;
    let value = values[..above].iter().copied().fold(start, f64::max);
    let dose = above.checked_sub(1).map_or(0.0, |below| doses[below]);
    Some(dose + (doses[above] - dose) * (level - value) / (values[above] - value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crossings_are_first_and_interpolated() {
        let doses = [1.0, 2.0, 3.0];
        assert_eq!(crossing(&doses, 0.0, &[2.0, 1.0, 5.0], 1.0), Some(0.5));
        assert_eq!(crossing(&doses, -2.0, &[-1.0, 1.0, 2.0], 0.0), Some(1.5));
        assert_eq!(crossing(&doses, 0.0, &[0.0, 0.5, 0.9], 1.0), None);
        assert_eq!(crossing(&doses, 3.0, &[0.0, 0.0, 0.0], 1.0), Some(0.0));
    }

    #[test]
    fn contexts_lie_along_the_answers() {
        let prompts = [vec![1, 2], vec![3]];
        let answers = [vec![10, 11, 12, 13, 14, 15, 16, 17], vec![20, 21]];
        let contexts = contexts(prompts.iter().zip(&answers), 8);
        assert_eq!(contexts.len(), 8);
        let of_first: std::collections::BTreeSet<usize> =
            (contexts.iter().step_by(2)).map(Vec::len).collect();
        assert!(of_first.len() >= 3, "{contexts:?}");
        assert!(
            contexts
                .iter()
                .all(|c| !c.contains(&17) && !c.contains(&21))
        );
        assert!(super::contexts([].into_iter(), 8).is_empty());
    }
}
