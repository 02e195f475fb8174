//! The answer first: one plain sentence per behaviour, then how the predictions fared, then what to be careful about.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{attribution, classes, forecasts, scoreboard};
use crate::report::format::{coordinate, counted, fixed, keyword, percent, thousands};
use crate::report::input::Input;
use crate::report::text::label;
use crate::report::wording::{neuron_label, reason_phrase};
use crate::spec::neurons::Role;
use crate::stages::judge::Baseline;
use crate::stages::verdict::{NeuronVerdict, Window};
use crate::stats;

/// Fewer prompts than this make shares coarse enough to say so.
const FEW_PROMPTS: usize = 20;
/// From fewer prompts than this, resampling makes intervals that are too narrow: few resamples differ.
const TOO_FEW_PROMPTS: usize = 6;
/// The same of the positions of the residual stream, and of what is read there.
const TOO_FEW_POSITIONS: usize = 16;
/// An unsteered collapse share above this is worth a warning.
const UNSTEERED_COLLAPSE: f64 = 0.1;
/// Share of prompts above which the unsteered model flips too often to pass over.
const UNSTEERED_FLIPS: f64 = 0.1;

/// The answer of the study.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Answer {
    /// One per behaviour.
    pub behaviors: Vec<BehaviorAnswer>,
    /// How well the ceilings were predicted, in a sentence.
    pub prediction: String,
    /// How the sealed open/closed forecast fared, in a sentence.
    pub forecast: String,
    /// What gradient attribution says of control, one sentence per behaviour.
    pub attribution: Vec<String>,
    /// Of typed behaviours: which of the classes that count as a flip are reached, in sentences.
    pub classes: Vec<String>,
    /// What a reader must know before believing the above; often empty.
    pub cautions: Vec<String>,
}

/// The answer for one behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct BehaviorAnswer {
    /// Name of the behaviour.
    pub name: String,
    /// The answer in one sentence.
    pub sentence: String,
    /// Held-out neurons with an open window.
    pub open: usize,
    /// Held-out neurons measured.
    pub neurons: usize,
    /// Held-out neurons that are open, undecided, closed, censored: those that exist.
    pub parts: Vec<Part>,
    /// Branches of the held-out neurons by verdict, in a sentence.
    pub branches: String,
    /// The same count on controls, which are neurons or random directions, in a sentence; absent without any.
    pub controls: Option<String>,
}

/// A part of the held-out neurons.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Part {
    /// `open`, `undecided`, `closed` or `censored`.
    pub kind: &'static str,
    /// How many neurons.
    pub count: usize,
    /// Share of the held-out neurons in percent, with one decimal and a point.
    pub width: String,
}

/// Builds the answer.
pub fn build(input: &Input) -> Answer {
    let names = input.study.behaviors.iter().map(|b| b.name.as_str());
    Answer {
        behaviors: names.map(|name| behavior(input, name)).collect(),
        prediction: scoreboard::prediction_sentence(input),
        forecast: forecasts::sentence(input),
        attribution: attribution::sentences(input),
        classes: classes::build(input).map_or(Vec::new(), |classes| classes.sentences),
        cautions: cautions(input),
    }
}

fn behavior(input: &Input, name: &str) -> BehaviorAnswer {
    let of_role = |role: Role| -> Vec<&NeuronVerdict> {
        let all = input.verdicts_of(name).iter().copied();
        all.filter(|v| v.role == role).collect()
    };
    let (held_out, controls) = (of_role(Role::HeldOut), of_role(Role::Control));
    let count = |kind: &str| held_out.iter().filter(|v| neuron_label(v) == kind).count();
    let open = count("open");
    let parts = ["open", "undecided", "closed", "censored"].map(|kind| (kind, count(kind)));
    BehaviorAnswer {
        name: name.to_owned(),
        sentence: sentence(input, name, open, &held_out),
        open,
        neurons: held_out.len(),
        parts: (parts.into_iter().filter(|(_, count)| *count > 0))
            .map(|(kind, count)| Part {
                kind,
                count,
                width: format!("{:.1}", 100.0 * count as f64 / held_out.len() as f64),
            })
            .collect(),
        branches: branches(input, &held_out),
        controls: (!controls.is_empty()).then(|| {
            let open = controls.iter().filter(|v| v.open == Some(true)).count();
            let unknown = controls.iter().filter(|v| v.open.is_none()).count();
            let undecided = match unknown {
                0 => String::new(),
                unknown => format!(", {} not decided", thousands(unknown)),
            };
            format!(
                "For comparison, {} of {} open{undecided}.",
                thousands(open),
                counted(controls.len(), "control")
            )
        }),
    }
}

fn sentence(input: &Input, name: &str, open: usize, held_out: &[&NeuronVerdict]) -> String {
    let name = &label(name, 80);
    let (total, horizon) = (held_out.len(), input.verdict_horizon());
    let unknown = held_out.iter().filter(|v| v.open.is_none()).count();
    let found = match (open, total) {
        (_, 0) => return format!("No held-out neuron was measured on {name}."),
        (0, _) if unknown > 0 => format!(
            "Of {} none is shown to control {name} coherently",
            counted(total, "held-out neuron")
        ),
        (0, 1) => format!("The one held-out neuron does not control {name} coherently"),
        (0, _) => format!(
            "None of the {} controls {name} coherently",
            counted(total, "held-out neuron")
        ),
        (1, _) => format!(
            "1 of {} controls {name} coherently",
            counted(total, "held-out neuron")
        ),
        _ => format!(
            "{} of {} control {name} coherently",
            thousands(open),
            counted(total, "held-out neuron")
        ),
    };
    let why = match open {
        0 if unknown == total => format!("no window could be decided within {horizon} tokens"),
        0 if unknown > 0 => format!(
            "{} could not be decided within {horizon} tokens, the others are closed",
            thousands(unknown)
        ),
        0 => format!(
            "on no branch does the trigger lie below the collapse ceiling within {horizon} tokens"
        ),
        _ => format!("the trigger lies below the collapse ceiling within {horizon} tokens"),
    };
    let error = match headline_error(input, held_out) {
        Some((error, branches)) => format!(
            "; the sealed ceiling ({}) is off by {} in cosθ on average over {}.",
            keyword(input.study.ceiling.headline),
            fixed(error, 2),
            counted(branches, "branch")
        ),
        None => format!(
            "; no ceiling by the headline predictor ({}) could be compared with a measured one.",
            keyword(input.study.ceiling.headline)
        ),
    };
    format!("{found}: {why}{error}")
}

/// Mean absolute error of the headline predictor over these neurons' reached ceilings, and their number.
fn headline_error(input: &Input, verdicts: &[&NeuronVerdict]) -> Option<(f64, usize)> {
    let errors: Vec<f64> = (verdicts.iter())
        .flat_map(|v| v.branches.iter().map(|branch| (v.neuron, branch)))
        .filter(|(_, branch)| branch.ceiling.reached())
        .filter_map(|(neuron, branch)| {
            let predicted = input.headline(neuron, branch.sign)?.coordinate;
            Some((input.law_ceiling(neuron, branch) - predicted).abs())
        })
        .collect();
    Some((stats::mean(&errors)?, errors.len()))
}

fn branches(input: &Input, verdicts: &[&NeuronVerdict]) -> String {
    let horizon = input.study.rollout.verdict_place();
    let branches = || verdicts.iter().flat_map(|v| &v.branches);
    let windows: Vec<&Window> = branches().map(|b| &b.window).collect();
    let by_itself = branches()
        .filter(|b| matches!(b.window, Window::Undecided { .. }))
        .filter(|b| b.triggers[horizon].trigger.budgets() == 0.0)
        .count();
    let mut reasons = BTreeMap::new();
    for window in &windows {
        if let Window::Closed { reason, .. } = window {
            *reasons.entry(*reason).or_insert(0) += 1;
        }
    }
    let count = |wanted: fn(&Window) -> bool| windows.iter().filter(|w| wanted(w)).count();
    let censored = count(|w| matches!(w, Window::Censored { .. }));
    let undecided = count(|w| matches!(w, Window::Undecided { .. })) - by_itself;
    let mut tallies = vec![format!("{} open", thousands(count(|w| *w == Window::Open)))];
    if undecided > 0 {
        tallies.push(format!(
            "{} undecided because the intervals of trigger and ceiling overlap",
            thousands(undecided)
        ));
    }
    if by_itself > 0 {
        tallies.push(format!(
            "{} undecided because the unsteered model flips by itself",
            thousands(by_itself)
        ));
    }
    tallies.extend(
        reasons
            .iter()
            .map(|(reason, n)| format!("{} closed {}", thousands(*n), reason_phrase(*reason))),
    );
    if censored > 0 {
        tallies.push(format!(
            "{} censored because the doses ended first",
            thousands(censored)
        ));
    }
    match windows.len() {
        0 => String::new(),
        n => format!(
            "Of {}: {}.",
            counted(n, "signed branch"),
            tallies.join("; ")
        ),
    }
}

/// What a reader must know before believing the rest, the gravest first; often nothing.
pub fn cautions(input: &Input) -> Vec<String> {
    let mut cautions = Vec::new();
    for baseline in &input.judgements.baselines {
        cautions.extend(unsteered_cautions(input, baseline));
    }
    if input.seal.trials_before > 0 {
        cautions.push(format!(
            "Not prospective throughout: {} of held-out or control neurons already stood in the record when these predictions were sealed (the run was extended, or its earlier predictions were lost).",
            counted(input.seal.trials_before, "steered trial")
        ));
    }
    cautions.extend(input.judgements.baselines.iter().filter_map(few_prompts));
    cautions.extend(few_positions(input.predictions.calibration.positions));
    cautions
}

fn few_positions(positions: usize) -> Option<String> {
    (positions < TOO_FEW_POSITIONS).then(|| {
        format!(
            "Too little generic text: budgets, alignments and spectra were read at {} of it, and have no interval.",
            counted(positions, "position")
        )
    })
}

fn few_prompts(baseline: &Baseline) -> Option<String> {
    let (name, prompts) = (&baseline.behavior, baseline.prompts);
    if prompts == 1 {
        return Some(format!(
            "Too few prompts for an interval for {name}: 1. It decides every share alone; thresholds have no interval, and windows are open or closed by the estimates."
        ));
    }
    if (1..TOO_FEW_PROMPTS).contains(&prompts) {
        return Some(format!(
            "Too few prompts for an interval for {name}: {prompts}. Those of thresholds are resampled from so few that they come out too narrow, and a share moves by {} points with one prompt.",
            fixed(100.0 / prompts as f64, 0)
        ));
    }
    (1..FEW_PROMPTS).contains(&prompts).then(|| {
        format!(
            "Few prompts for {name}: {prompts}, so that one prompt moves a share by {} points and intervals are wide.",
            fixed(100.0 / prompts as f64, 0)
        )
    })
}

/// What the unsteered model's answers do to triggers and ceilings.
fn unsteered_cautions(input: &Input, baseline: &Baseline) -> Vec<String> {
    let mut cautions = Vec::new();
    let (name, prompts) = (&baseline.behavior, baseline.prompts);
    let horizon = input.verdict_horizon();
    let Some(shares) = baseline.horizons.iter().find(|h| h.horizon == horizon) else {
        return cautions;
    };
    let of_all = |count: usize| count as f64 / prompts.max(1) as f64;
    if of_all(shares.flipped) >= input.study.thresholds.flip_share {
        cautions.push(format!(
            "The unsteered model already shows the flipped behaviour {name} on {} of prompts: its triggers say nothing.",
            percent(shares.flipped, prompts)
        ));
    } else if of_all(shares.flipped) > UNSTEERED_FLIPS {
        cautions.push(format!(
            "The unsteered model already shows the flipped behaviour {name} on {} of prompts: its triggers come that much sooner.",
            percent(shares.flipped, prompts)
        ));
    }
    if of_all(shares.collapsed) > UNSTEERED_COLLAPSE {
        cautions.push(format!(
            "The unsteered model already counts as collapsed on {} of prompts for {name}: its ceilings are too low.",
            percent(shares.collapsed, prompts)
        ));
    }
    cautions
}

/// A mean absolute error with what it rests on.
pub fn error_phrase(estimate: &stats::Interval, confidence: f64) -> String {
    format!(
        "{}% interval {}–{}",
        fixed(100.0 * confidence, 0),
        coordinate(estimate.low),
        coordinate(estimate.high)
    )
}
