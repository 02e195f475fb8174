//! What was censored, failed or could not be fitted: said, so that nobody has to guess.

use crate::report::format::{counted, keyword, listed, thousands};
use crate::report::input::Input;
use crate::stages::verdict::Window;

/// Sentences; empty when nothing was left out.
pub fn build(input: &Input) -> Vec<String> {
    let mut sentences = Vec::new();
    sentences.extend(censored(input));
    sentences.extend(undecided(input));
    sentences.extend(without_interval(input));
    sentences.extend(few_neurons(input));
    sentences.extend(unfitted(input));
    sentences.extend(calibration(input));
    sentences.extend(ceilings(input));
    sentences.extend(forecasts(input));
    sentences
}

fn censored(input: &Input) -> Option<String> {
    let branches = input.verdicts.neurons.iter().flat_map(|v| &v.branches);
    let total = branches.clone().count();
    let censored = branches
        .filter(|b| matches!(b.window, Window::Censored { .. }))
        .count();
    (censored > 0).then(|| {
        format!("{} of {} censored: the doses ended before a threshold that the verdict needs. Larger doses would tell.", thousands(censored), counted(total, "branch"))
    })
}

fn undecided(input: &Input) -> Option<String> {
    let branches = input.verdicts.neurons.iter().flat_map(|v| &v.branches);
    let undecided = branches
        .filter(|b| matches!(b.window, Window::Undecided { .. }))
        .count();
    (undecided > 0).then(|| {
        format!(
            "{} undecided: the trigger lies below the ceiling, but their {} intervals overlap. More prompts would tell.",
            counted(undecided, "branch"),
            input.confidence()
        )
    })
}

fn without_interval(input: &Input) -> Option<String> {
    let branches = input.verdicts.neurons.iter().flat_map(|v| &v.branches);
    // A ceiling beyond the doses needs none: it is a bound.
    let without = branches
        .filter(|b| b.ceiling.reached() && b.ceiling_interval.is_none())
        .count();
    (without > 0).then(|| {
        format!(
            "{} without an interval of trigger and ceiling: one prompt is too few to resample. Their windows are open or closed by the estimates alone.",
            counted(without, "branch")
        )
    })
}

/// Errors have intervals over neurons, which are resampled.
fn few_neurons(input: &Input) -> Option<String> {
    const TOO_FEW: usize = 4;
    let scores = &input.verdicts.scoreboard.ceilings;
    let compared = scores
        .iter()
        .filter_map(|score| Some(score.overall?.neurons));
    let neurons = compared.max().filter(|neurons| *neurons < TOO_FEW)?;
    Some(format!(
        "Too few neurons for an interval of the errors: {neurons}. Those that are given are resampled from so few that they come out too narrow, or as a point."
    ))
}

fn unfitted(input: &Input) -> Option<String> {
    let names: Vec<String> = (input.predictions.predictors.iter())
        .filter(|p| !p.is_fitted())
        .map(|p| keyword(p.predictor))
        .collect();
    (!names.is_empty()).then(|| {
        format!(
            "{} could not be fitted ({}) and made no prediction.",
            counted(names.len(), "predictor"),
            listed(&names)
        )
    })
}

fn calibration(input: &Input) -> Option<String> {
    let calibration = &input.predictions.calibration;
    let branches = calibration.ceilings().count();
    let never = calibration
        .ceilings()
        .filter(|branch| branch.ceiling.is_none())
        .count();
    (never > 0).then(|| {
        format!(
            "{never} of {} of the calibration neurons did not collapse within the doses: medians count them above every number, the regression at their largest dose.",
            counted(branches, "branch")
        )
    })
}

fn ceilings(input: &Input) -> Option<String> {
    let headline = input.study.ceiling.headline;
    let score = (input.verdicts.scoreboard.ceilings.iter()).find(|s| s.predictor == headline)?;
    (score.censored > 0).then(|| {
        format!(
            "{} took no part in the ceiling errors, because the grid ended before the ceiling.",
            counted(score.censored, "held-out branch")
        )
    })
}

fn forecasts(input: &Input) -> Option<String> {
    let all = input
        .verdicts
        .scoreboard
        .forecasts
        .iter()
        .find(|f| f.behavior == "all")?;
    (all.undecided > 0).then(|| {
        format!(
            "{} could not be scored: the measurement was censored or undecided, or there was no prediction.",
            counted(all.undecided, "open/closed forecast")
        )
    })
}
