//! Against the paper: its claims that this study can speak to, and what was found here.

use super::{attribution, layers, scoreboard};
use crate::report::format::{NOTHING, coordinate, counted, fixed, interval, level, listed};
use crate::report::input::Input;
use crate::report::text::label;
use crate::spec::neurons::Role;
use crate::stages::verdict::{BranchVerdict, Window};
use crate::stats;

/// The published ceiling error in cosθ, on 15 neurons: overall.
const PUBLISHED_ERROR: f64 = 0.14;
/// The published collapse multiples of Llama and Qwen models lie between these.
const PUBLISHED_MULTIPLES: (f64, f64) = (1.37, 1.65);

/// One sentence per claim.
pub fn build(input: &Input) -> Vec<String> {
    let mut sentences = Vec::new();
    sentences.extend(gradients(input));
    sentences.extend(axes(input));
    let behaviors = &input.study.behaviors;
    sentences.extend(
        behaviors
            .iter()
            .filter_map(|b| without_control(input, &b.name)),
    );
    sentences.extend(
        behaviors
            .iter()
            .filter_map(|b| layers::late_layers(input, &b.name)),
    );
    sentences
        .extend((behaviors.iter()).filter_map(|b| trigger(input, &b.name, b.expected_trigger)));
    sentences.extend(multiple(input));
    sentences.extend(error(input));
    sentences
}

/// Anti-prediction, over all behaviours.
fn gradients(input: &Input) -> Option<String> {
    let found = attribution::gradient_verdicts(input);
    let of = |wanted: &str| -> Vec<String> {
        let names = found.iter().filter(|(_, says)| *says == wanted);
        names.map(|(name, _)| label(name, 60)).collect()
    };
    let parts: Vec<String> = ["anti-predicts", "predicts", "says nothing"]
        .iter()
        .map(|wanted| (wanted, of(wanted)))
        .filter(|(_, names)| !names.is_empty())
        .map(|(wanted, names)| format!("it {wanted} on {}", listed(&names)))
        .collect();
    (!parts.is_empty()).then(|| {
        format!(
            "The paper: local gradient attribution anti-predicts control. Here: {}.",
            listed(&parts)
        )
    })
}

/// Where controllers write, for behaviours that have both open and closed neurons.
fn axes(input: &Input) -> impl Iterator<Item = String> {
    let of_all = input.verdicts.attribution.iter();
    of_all.filter_map(|found| {
        Some(format!(
            "The paper: controllers write off the readout axis. Here, on {}: {}.",
            label(&found.behavior, 60),
            attribution::axis(found.alignment.as_ref()?)
        ))
    })
}

/// The paper has controllers for each of its behaviours.
fn without_control(input: &Input, behavior: &str) -> Option<String> {
    let held_out = || (input.verdicts_of(behavior).iter()).filter(|v| v.role == Role::HeldOut);
    let open = held_out().filter(|v| v.open == Some(true)).count();
    let decided = held_out().filter(|v| v.open.is_some()).count();
    (open == 0 && decided > 0).then(|| {
        format!(
            "The paper finds single neurons that control behaviours of its kinds. Here: none of {} that could be decided opens a window on {}.",
            counted(decided, "held-out neuron"),
            label(behavior, 60)
        )
    })
}

/// The measured triggers of open branches beside the published one.
fn trigger(input: &Input, behavior: &str, expected: f64) -> Option<String> {
    let branches = input.verdicts_of(behavior).iter().flat_map(|v| &v.branches);
    let triggers: Vec<f64> = branches
        .filter(|branch| branch.window == Window::Open)
        .filter_map(|branch| branch.trigger(input.verdict_horizon()))
        .map(|trigger| trigger.coordinate())
        .collect();
    let [low, high] = [0.25, 0.75].map(|share| stats::quantile(&triggers, share));
    Some(format!(
        "The study expects triggers at cosθ {} on {} (the paper: about 0.3 for mode switches, 0.45 for refusal, 0.6 for task framing). Here: median {} over {}, middle half {}–{}.",
        expected,
        label(behavior, 60),
        coordinate(stats::median(&triggers)?),
        counted(triggers.len(), "open branch"),
        coordinate(low?),
        coordinate(high?),
    ))
}

/// The measured collapse multiple beside the published ones.
fn multiple(input: &Input) -> Option<String> {
    let reached = |branch: &&BranchVerdict| branch.ceiling.reached();
    let multiples: Vec<f64> = (input.verdicts.neurons.iter())
        .filter(|verdict| verdict.role == Role::HeldOut)
        .flat_map(|verdict| verdict.branches.iter().filter(reached))
        .map(|branch| branch.ceiling.budgets())
        .collect();
    let median = stats::median(&multiples)?;
    let (low, high) = PUBLISHED_MULTIPLES;
    Some(format!(
        "The paper: one collapse multiple m* per model, {low}–{high} over Llama and Qwen models, 0.31 for Gemma. Here: median {} over {} with a reached ceiling, from {} to {} in the middle nine tenths.",
        fixed(median, 2),
        counted(multiples.len(), "held-out branch"),
        stats::quantile(&multiples, 0.05).map_or(NOTHING.into(), |m| fixed(m, 2)),
        stats::quantile(&multiples, 0.95).map_or(NOTHING.into(), |m| fixed(m, 2)),
    ))
}

/// The best predictor's error beside the published one.
fn error(input: &Input) -> Option<String> {
    let best = scoreboard::best(&input.verdicts.scoreboard.ceilings)?;
    let estimate = best.overall?;
    let error = estimate.mean_absolute_error;
    let against = if estimate.interval.high < PUBLISHED_ERROR {
        "smaller"
    } else if estimate.interval.low > PUBLISHED_ERROR {
        "larger"
    } else {
        "not shown to be smaller or larger"
    };
    Some(format!(
        "The paper: ceilings are off by 0.14 in cosθ on 15 neurons of other models, 0.07 in bulk layers. Here: {} with the best predictor, {} ({} interval {}; {}): {against}.",
        coordinate(error),
        best.predictor.name(),
        level(input.study.thresholds.confidence),
        interval(estimate.interval),
        counted(estimate.neurons, "neuron"),
    ))
}
