//! When a rollout has collapsed: named detectors, and the rule that combines them.

use std::collections::{BTreeMap, BTreeSet};

use crate::oracles::{Judge, OracleError};
use crate::spec::coherence::{Detector, DistinctSpec, RepetitionSpec};
use crate::stats;
use crate::study::Coherence;
use crate::units::TokenId;

/// The part of a rollout that is judged: its first tokens up to a horizon.
#[derive(Clone, Debug)]
pub struct Excerpt<'a> {
    /// Generated tokens.
    pub tokens: &'a [TokenId],
    /// Negative log-likelihood of each under the unsteered model (nats).
    pub nll: &'a [f32],
    /// Their text.
    pub text: String,
    /// The prompt's expected values.
    pub expect: &'a BTreeMap<String, String>,
}

impl Excerpt<'_> {
    /// Mean negative log-likelihood (nats per token); infinite for an empty rollout, which no model writes on purpose.
    pub fn mean_nll(&self) -> f64 {
        let nll: Vec<f64> = self.nll.iter().map(|&x| f64::from(x)).collect();
        stats::mean(&nll).unwrap_or(f64::INFINITY)
    }
}

/// The collapse detectors of a study.
pub struct CollapseRule<'a> {
    settings: &'a Coherence,
    oracle: Option<Judge>,
}

/// What the detectors say of one excerpt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Every detector that fires, in the order of [`Detector`].
    pub fired: Vec<Detector>,
    /// Whether one of those that decide is among them.
    pub collapsed: bool,
}

impl<'a> CollapseRule<'a> {
    /// The rule of a study.
    ///
    /// # Errors
    /// If the oracle does not compile, which resolution rules out.
    pub fn new(settings: &'a Coherence) -> Result<Self, OracleError> {
        let oracle = settings
            .oracle
            .as_ref()
            .map(|oracle| oracle.compile())
            .transpose()?;
        Ok(Self { settings, oracle })
    }

    /// The detectors that are evaluated, in the order of [`Detector`], each with whether it decides.
    pub fn detectors(&self) -> Vec<(Detector, bool)> {
        let mut all = vec![
            Detector::Likelihood,
            Detector::Repetition,
            Detector::Distinct,
        ];
        all.extend(self.oracle.as_ref().map(|_| Detector::Oracle));
        (all.into_iter())
            .map(|d| (d, self.settings.collapsed_if.contains(&d)))
            .collect()
    }

    /// Mean negative log-likelihood (nats per token) above which a rollout is too unlikely, from those of clean rollouts.
    pub fn likelihood_limit(&self, clean: &[f64]) -> f64 {
        let likelihood = &self.settings.likelihood;
        let clean = stats::quantile(clean, likelihood.clean_quantile).unwrap_or(0.0);
        clean + likelihood.margin
    }

    /// Evaluates every detector.
    pub fn examine(&self, excerpt: &Excerpt<'_>, likelihood_limit: f64) -> Finding {
        let fires = |detector| match detector {
            Detector::Likelihood => excerpt.mean_nll() > likelihood_limit,
            Detector::Repetition => repeats(excerpt.tokens, &self.settings.repetition),
            Detector::Distinct => lacks_distinct(excerpt.tokens, &self.settings.distinct),
            Detector::Oracle => (self.oracle.as_ref())
                .is_some_and(|judge| judge.judge(&excerpt.text, excerpt.expect).holds),
        };
        let fired: Vec<_> = (self.detectors().into_iter())
            .filter(|&(d, _)| fires(d))
            .collect();
        Finding {
            collapsed: fired.iter().any(|&(_, decides)| decides),
            fired: fired.into_iter().map(|(d, _)| d).collect(),
        }
    }
}

/// Whether a detector fires on any text of so many tokens: if on none of one token over and over, then on no other.
pub fn can_fire(settings: &Coherence, detector: Detector, tokens: usize) -> bool {
    match detector {
        Detector::Repetition => {
            let RepetitionSpec {
                min_repeats,
                min_tokens,
                ..
            } = settings.repetition;
            min_repeats.max(min_tokens) <= tokens
        }
        Detector::Distinct => {
            let DistinctSpec { n, below } = settings.distinct;
            1.0 < below * (tokens + 1).saturating_sub(n) as f64
        }
        Detector::Likelihood | Detector::Oracle => true,
    }
}

/// Whether a rollout has come into a loop: a block of at most `max_period` tokens stands `min_repeats` times in a row, over at least `min_tokens` tokens.
pub fn repeats(tokens: &[TokenId], settings: &RepetitionSpec) -> bool {
    (1..=settings.max_period.min(tokens.len())).any(|period| {
        // A run of n tokens that equal the one a period before makes n + period tokens of copies.
        let needed =
            (settings.min_tokens).max(period.saturating_mul(settings.min_repeats)) - period;
        let mut run = 0;
        (period..tokens.len()).any(|i| {
            run = if tokens[i] == tokens[i - period] {
                run + 1
            } else {
                0
            };
            run >= needed
        })
    })
}

/// Whether too few n-grams are distinct. Texts of fewer than two n-grams have none to compare.
fn lacks_distinct(tokens: &[TokenId], settings: &DistinctSpec) -> bool {
    let grams: Vec<&[TokenId]> = tokens.windows(settings.n).collect();
    let distinct: BTreeSet<_> = grams.iter().collect();
    grams.len() >= 2 && (distinct.len() as f64) < settings.below * grams.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::coherence::LikelihoodSpec;

    #[test]
    fn loops_are_found_and_lists_are_not() {
        let settings = RepetitionSpec::default();
        let looped = |tokens: &[u32]| repeats(tokens, &settings);
        assert!(looped(&[9, 5, 5, 5, 5, 5, 5]));
        assert!(
            !looped(&[9, 5, 5, 5, 5, 5, 1]),
            "five copies are fewer than six tokens"
        );
        assert!(looped(&[1, 2, 3, 1, 2, 3, 1, 2, 3]));
        assert!(!looped(&[1, 2, 3, 1, 2, 3, 1, 2]));
        assert!(!looped(&[1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert!(!looped(&[]));
    }

    #[test]
    fn distinct_bigrams() {
        let settings = DistinctSpec::default();
        assert!(lacks_distinct(&[1, 1, 1, 1, 1], &settings));
        assert!(!lacks_distinct(&[1, 2, 3, 4], &settings));
        assert!(!lacks_distinct(&[1], &settings));
    }

    #[test]
    fn what_can_fire_fires_on_one_token_over_and_over() {
        let mut settings = Coherence {
            collapsed_if: Vec::new(),
            likelihood: LikelihoodSpec::default(),
            repetition: RepetitionSpec::default(),
            distinct: DistinctSpec::default(),
            oracle: None,
        };
        let sizes = [(1_usize, 2_usize), (2, 5), (3, 9), (40, 2)];
        for (tokens, (few, many)) in (0..12).flat_map(|n| sizes.map(|size| (n, size))) {
            let alike = vec![7; tokens];
            (
                settings.repetition.min_repeats,
                settings.repetition.min_tokens,
            ) = (few.max(2), many);
            (settings.distinct.n, settings.distinct.below) = (few, 1.0 / many as f64);
            let can = |detector| can_fire(&settings, detector, tokens);
            assert_eq!(
                can(Detector::Repetition),
                repeats(&alike, &settings.repetition)
            );
            assert_eq!(
                can(Detector::Distinct),
                lacks_distinct(&alike, &settings.distinct)
            );
        }
    }
}
