//! Every choice that the method leaves open, with the value that this study gave it, and how to run it again.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::asked::spec_name;
use crate::report::format::{fixed, keyword};
use crate::report::input::Input;
use crate::report::text::{clip, shell_path, shell_word};

/// Longest oracle shown, in characters; the study in the record has all of it.
const LONGEST_ORACLE: usize = 400;

/// One choice.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Choice {
    /// Key of the spec.
    pub key: String,
    /// Its value in this study.
    pub value: String,
    /// What it decides.
    pub meaning: &'static str,
}

/// One command line.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Command {
    /// What to type.
    pub line: String,
    /// What it does.
    pub purpose: &'static str,
}

/// Choices in the order of the spec.
pub fn choices(input: &Input) -> Vec<Choice> {
    let mut choices = vec![choice(
        "seed",
        input.study.seed.to_string(),
        "seed of every random choice",
    )];
    choices.extend(behaviors(input));
    choices.extend(doses(input));
    choices.extend(calibration(input));
    choices.extend(ceiling(input));
    choices.extend(coherence(input));
    choices.extend(thresholds(input));
    choices
}

fn choice(key: impl Into<String>, value: impl Into<String>, meaning: &'static str) -> Choice {
    Choice {
        key: key.into(),
        value: value.into(),
        meaning,
    }
}

fn number(value: f64) -> String {
    // Shortest form that reads back equal: these are the numbers that were written.
    value.to_string()
}

fn behaviors(input: &Input) -> Vec<Choice> {
    let mut choices = Vec::new();
    for behavior in &input.study.behaviors {
        let key = format!("behaviors.{}", behavior.name);
        for outcome in &behavior.outcomes {
            let oracle = crate::record::canonical::json(&outcome.oracle);
            let (oracle, left_out) = clip(&oracle, LONGEST_ORACLE);
            let value = if left_out > 0 {
                format!("{oracle}…")
            } else {
                oracle
            };
            choices.push(choice(
                format!("{key}.outcomes.{}", outcome.name),
                value,
                if outcome.flipped {
                    "oracle of a class that counts as a flip"
                } else {
                    "oracle of a class that does not count as a flip"
                },
            ));
        }
        choices.push(choice(
            format!("{key}.expected_trigger"),
            number(behavior.expected_trigger),
            "trigger (cosθ) that the sealed forecast compares with the predicted ceiling",
        ));
    }
    choices
}

fn doses(input: &Input) -> Vec<Choice> {
    let doses = &input.study.doses;
    let magnitudes: Vec<String> = doses
        .magnitudes
        .iter()
        .map(|m| number((m * 1e6).round() / 1e6))
        .collect();
    vec![
        choice("doses.unit", keyword(doses.unit), "unit of the magnitudes"),
        choice(
            "doses.grid",
            magnitudes.join(" "),
            "magnitudes that every branch is measured at",
        ),
        choice(
            "doses.tolerance",
            (doses.tolerance).map_or("no search".into(), number),
            "how closely a search encloses trigger and ceiling with further doses, in budgets",
        ),
        choice(
            "doses.apply",
            keyword(doses.apply),
            "positions at which the dose is added",
        ),
    ]
}

fn calibration(input: &Input) -> Vec<Choice> {
    let calibration = &input.study.calibration;
    vec![
        choice(
            "calibration.prompts",
            calibration.prompts.clone(),
            "generic text on which residual norms are read",
        ),
        choice(
            "calibration.positions",
            keyword(calibration.positions),
            "tokens at which they are read",
        ),
        choice(
            "calibration.statistic",
            keyword(calibration.statistic),
            "how norms over positions become one number",
        ),
        choice(
            "calibration.steer_on",
            calibration.steer_on.clone(),
            "prompts on which the calibration neurons are steered, and every branch is pushed for single steps",
        ),
        choice(
            "calibration.contrast",
            calibration.contrast.clone().unwrap_or("none".into()),
            "the same requests in the other mode, whose answers are what a coherent flip would say",
        ),
        choice(
            "calibration.rollout_prompts",
            calibration.rollout_prompts.to_string(),
            "how many of them",
        ),
        choice(
            "calibration.push",
            number(calibration.push),
            "strength of the one-step push behind the screen and the survival of writes, in budgets",
        ),
    ]
}

fn ceiling(input: &Input) -> Vec<Choice> {
    let ceiling = &input.study.ceiling;
    let predictors: Vec<String> = ceiling.predictors.iter().map(keyword).collect();
    let triggers: Vec<String> = (input.study.trigger.predictors.iter())
        .map(keyword)
        .collect();
    vec![
        choice(
            "ceiling.predictors",
            predictors.join(" "),
            "ceiling predictors that are scored",
        ),
        choice(
            "ceiling.headline",
            keyword(ceiling.headline),
            "the predictor behind the sealed forecast",
        ),
        choice(
            "ceiling.constant",
            number(ceiling.constant),
            "m* of `constant`",
        ),
        choice(
            "ceiling.kappa",
            ceiling.kappa.map_or("fitted".into(), number),
            "κ of `participation_ratio`: m* = κ·√(1 − λ₁/Σλ)",
        ),
        choice(
            "ceiling.interval",
            number(ceiling.interval),
            "level of the prediction intervals",
        ),
        choice(
            "trigger.predictors",
            triggers.join(" "),
            "trigger predictors that are scored",
        ),
        choice(
            "trigger.headline",
            keyword(input.study.trigger.headline),
            "the trigger predictor behind the sealed forecast",
        ),
        choice(
            "trigger.margin",
            input.study.trigger.margin.map_or("fitted".into(), number),
            "how far below the ceiling, in cosθ, the trigger must be predicted for an open forecast",
        ),
        choice(
            "ceiling.bulk",
            format!("{} to {}", number(ceiling.bulk.0), number(ceiling.bulk.1)),
            "relative depths of bulk layers",
        ),
    ]
}

fn coherence(input: &Input) -> Vec<Choice> {
    let coherence = &input.study.coherence;
    let deciding: Vec<String> = coherence.collapsed_if.iter().map(keyword).collect();
    let (likelihood, repetition, distinct) = (
        coherence.likelihood,
        coherence.repetition,
        coherence.distinct,
    );
    vec![
        choice(
            "coherence.collapsed_if",
            deciding.join(" "),
            "a rollout has collapsed when one of these fires",
        ),
        choice(
            "coherence.likelihood",
            format!(
                "margin {}, clean_quantile {}",
                number(likelihood.margin),
                number(likelihood.clean_quantile)
            ),
            "mean negative log-likelihood under the unsteered model exceeds the clean rollouts' quantile by the margin (nats per token)",
        ),
        choice(
            "coherence.repetition",
            format!(
                "max_period {}, min_repeats {}, min_tokens {}",
                repetition.max_period, repetition.min_repeats, repetition.min_tokens
            ),
            "a block of tokens repeats immediately",
        ),
        choice(
            "coherence.distinct",
            format!("n {}, below {}", distinct.n, number(distinct.below)),
            "too few n-grams are distinct",
        ),
    ]
}

fn thresholds(input: &Input) -> Vec<Choice> {
    let (thresholds, reasons) = (&input.study.thresholds, input.study.reasons);
    vec![
        choice(
            "thresholds.flip_share",
            number(thresholds.flip_share),
            "share of flipped prompts that makes a trigger",
        ),
        choice(
            "thresholds.collapse_share",
            number(thresholds.collapse_share),
            "share of collapsed rollouts that makes a ceiling",
        ),
        choice(
            "thresholds.coordinate",
            keyword(thresholds.coordinate),
            "coordinate of triggers and ceilings: the law's, or the measured cosθ",
        ),
        choice(
            "thresholds.estimate",
            keyword(thresholds.estimate),
            "how thresholds are read off the shares at the doses: interpolated on a monotone fit, or the first dose of the grid",
        ),
        choice(
            "thresholds.resamples",
            thresholds.resamples.to_string(),
            "bootstrap resamples of the prompts behind the interval of each threshold",
        ),
        choice(
            "thresholds.confidence",
            fixed(thresholds.confidence, 3),
            "level of the intervals",
        ),
        choice(
            "verdict.horizon",
            input.verdict_horizon().to_string(),
            "horizon of the verdict, in tokens",
        ),
        choice(
            "verdict.reasons.late_survival",
            number(reasons.late_survival),
            "share of the open branches' median survival off the write's own axis below which a closed branch is called too late",
        ),
        choice(
            "verdict.reasons.cap_margin",
            number(reasons.cap_margin),
            "distance from the largest reachable cosθ within which a largest dose that reached neither threshold is called capped",
        ),
    ]
}

/// How to rerun.
pub fn rerun(input: &Input) -> Vec<Command> {
    let spec = shell_path(Path::new(spec_name(input.spec_file)));
    let name = shell_word(&input.study.name);
    let command = |line: String, purpose| Command { line, purpose };
    vec![
        command(format!("reachspec check {spec}"), "validate the spec"),
        command(
            format!("reachspec run {spec}"),
            "run it; a run that was interrupted continues",
        ),
        command(
            format!("reachspec report runs/{name}"),
            "render this report from the record",
        ),
        command(
            format!("reachspec verify runs/{name}"),
            "recompute seal, hashes and every derived figure from the stored trials",
        ),
        command(
            format!("reachspec export runs/{name} --table trials --format csv"),
            "every rollout with its judgement",
        ),
    ]
}
