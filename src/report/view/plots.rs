//! The sections that consist of figures.

use schemars::JsonSchema;
use serde::Serialize;

use super::Figures;
use crate::report::figures::ceilings::Pair;
use crate::report::figures::{self, outcomes::Bars, slug};
use crate::report::format::{budgets, coordinate, keyword};
use crate::report::input::Input;
use crate::report::interest::{best_branch, most_telling};
use crate::spec::neurons::Role;
use crate::stages::judge::DosePoint;
use crate::stages::verdict::NeuronVerdict;
use crate::study::Behavior;
use crate::units::Sign;

/// Figures of one behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Plots {
    /// Name of the behaviour.
    pub behavior: String,
    /// Names of its figures.
    pub figures: Vec<String>,
}

/// Measured cosθ against the law.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Saturation {
    /// Name of the figure.
    pub figure: String,
    /// Mean absolute difference between measured and law, in cosθ.
    pub difference: String,
    /// Whether a norm after the feed-forward caps the coordinate.
    pub capped: bool,
}

/// Predicted against measured ceilings: one figure per fitted predictor.
pub fn ceilings(input: &Input, figures: &mut Figures) -> Option<Vec<String>> {
    let predictors = input.predictions.predictors.iter().enumerate();
    let names: Vec<String> = predictors
        .map(|(place, fitted)| (fitted.predictor, pairs(input, place)))
        .filter(|(_, pairs)| !pairs.is_empty())
        .map(|(predictor, pairs)| figures.add(figures::ceilings::draw(&keyword(predictor), &pairs)))
        .collect();
    (!names.is_empty()).then_some(names)
}

/// Held-out branches with a prediction of predictor number `place`.
fn pairs(input: &Input, place: usize) -> Vec<Pair> {
    let held_out = input
        .verdicts
        .neurons
        .iter()
        .filter(|v| v.role == Role::HeldOut);
    held_out
        .flat_map(|verdict| {
            verdict
                .branches
                .iter()
                .map(move |branch| (verdict.neuron, branch))
        })
        .filter_map(|(neuron, branch)| {
            let predicted = input
                .predicted(neuron, branch.sign)
                .get(place)
                .copied()
                .flatten()?;
            Some(Pair {
                predicted: predicted.coordinate,
                measured: input.law_ceiling(neuron, branch),
                reached: branch.ceiling.reached(),
                bulk: input.is_bulk(neuron.layer),
            })
        })
        .filter(|pair| pair.predicted.is_finite() && pair.measured.is_finite())
        .collect()
}

/// Dose–response curves of the most telling neurons.
pub fn dose_response(input: &Input, figures: &mut Figures) -> Option<Vec<Plots>> {
    each_behavior(input, |place, behavior| {
        (most_telling(input, &behavior.name, input.study.report.curves).into_iter())
            .map(|verdict| figures.add(figures::dose_response::draw(input, place, verdict)))
            .collect()
    })
}

/// Measured cosθ against the law.
pub fn saturation(input: &Input, figures: &mut Figures) -> Option<Saturation> {
    let difference = figures::saturation::mean_difference(input)?;
    Some(Saturation {
        figure: figures.add(figures::saturation::draw(input)?),
        difference: coordinate(difference),
        capped: figures::saturation::is_capped(input),
    })
}

/// Outcome classes over horizons, for behaviours with more than one class.
pub fn outcomes(input: &Input, figures: &mut Figures) -> Option<Vec<Plots>> {
    each_behavior(input, |place, behavior| {
        if behavior.outcomes.len() < 2 {
            return Vec::new();
        }
        let unsteered = unsteered_bars(input, place, behavior);
        let telling = most_telling(input, &behavior.name, input.study.report.curves);
        let steered = telling
            .into_iter()
            .filter_map(|v| steered_bars(input, place, behavior, v));
        (unsteered.into_iter().chain(steered))
            .map(|bars| figures.add(figures::outcomes::draw(bars)))
            .collect()
    })
}

fn each_behavior(
    input: &Input,
    mut draw: impl FnMut(usize, &Behavior) -> Vec<String>,
) -> Option<Vec<Plots>> {
    let behaviors = input.study.behaviors.iter().enumerate();
    let plots: Vec<Plots> = behaviors
        .map(|(place, behavior)| Plots {
            behavior: behavior.name.clone(),
            figures: draw(place, behavior),
        })
        .filter(|plots| !plots.figures.is_empty())
        .collect();
    (!plots.is_empty()).then_some(plots)
}

fn classes(behavior: &Behavior) -> Vec<String> {
    behavior.outcomes.iter().map(|o| o.name.clone()).collect()
}

fn unsteered_bars<'a>(input: &Input<'a>, place: usize, behavior: &Behavior) -> Option<Bars<'a>> {
    let baseline = (input.judgements.baselines.iter()).find(|b| b.behavior == behavior.name)?;
    Some(Bars {
        name: format!("outcomes-{}-{}-unsteered", place + 1, slug(&behavior.name)),
        title: "unsteered".into(),
        classes: classes(behavior),
        prompts: baseline.prompts,
        horizons: &baseline.horizons,
    })
}

fn steered_bars<'a>(
    input: &Input<'a>,
    place: usize,
    behavior: &Behavior,
    verdict: &NeuronVerdict,
) -> Option<Bars<'a>> {
    let branch = best_branch(input, verdict)?;
    let curve = input.curve(&behavior.name, verdict.neuron, branch.sign)?;
    let horizon = input.verdict_horizon();
    let flips = |p: &&DosePoint| p.at(horizon).map_or(0, |h| h.flipped);
    // A neuron that flips nothing has the classes of the unsteered model.
    let flipping = curve.points.iter().rev().filter(|p| flips(p) > 0);
    let point = flipping.max_by_key(flips)?;
    let sign = match branch.sign {
        Sign::Positive => "",
        Sign::Negative => "−",
    };
    Some(Bars {
        name: format!(
            "outcomes-{}-{}-{}",
            place + 1,
            slug(&behavior.name),
            slug(&verdict.neuron.to_string())
        ),
        title: format!(
            "{} at g = {sign}{} (cosθ {sign}{})",
            verdict.neuron,
            budgets(point.budgets),
            coordinate(point.law_coordinate)
        ),
        classes: classes(behavior),
        prompts: curve.prompts,
        horizons: &point.horizons,
    })
}
