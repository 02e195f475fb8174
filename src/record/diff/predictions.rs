//! What two runs predicted.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{largest_first, moved};
use crate::record::RunRecord;
use crate::record::by_key::{self, KeyChange};
use crate::record::canonical;
use crate::stages::predict::Predictions;
use crate::study::Study;
use crate::units::{NeuronId, Sign};

/// What was predicted otherwise.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct PredictionChanges {
    /// Numbers that were fitted, such as `one_step.half_width`.
    pub fitted: Vec<KeyChange>,
    /// Ceilings.
    pub ceilings: Vec<PredictedChange>,
    /// Triggers.
    pub triggers: Vec<PredictedChange>,
    /// Forecasts, open or closed.
    pub forecasts: Vec<ForecastChange>,
    /// Parts of what the predictions rest on that are not the same, such as `calibration.neurons` (the budgets).
    pub foundations: Vec<String>,
}

/// A threshold that was predicted elsewhere, by a predictor that both runs have.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct PredictedChange {
    /// Name of the behaviour; null for ceilings, which are the same under every behaviour.
    pub behavior: Option<String>,
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// The predictor.
    pub predictor: String,
    /// How far the prediction has moved, in cosθ; null where only one run predicts a threshold.
    pub size: Option<f64>,
    /// The first run's prediction, in cosθ along the branch; null where it predicts none.
    pub first: Option<f64>,
    /// The second run's.
    pub second: Option<f64>,
}

/// A neuron for which something else was forecast.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ForecastChange {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// The first run's forecast: whether the window is open; null where that could not be said.
    pub first: Option<bool>,
    /// The second run's.
    pub second: Option<bool>,
}

impl PredictionChanges {
    /// Whether the same was predicted, from the same.
    pub fn is_empty(&self) -> bool {
        self.predicted() == 0 && self.fitted.is_empty() && self.foundations.is_empty()
    }

    /// How many predictions differ: ceilings, triggers and forecasts.
    pub fn predicted(&self) -> usize {
        self.ceilings.len() + self.triggers.len() + self.forecasts.len()
    }
}

/// Compares what was sealed.
pub fn changes(first: &RunRecord, second: &RunRecord, tolerance: f64) -> PredictionChanges {
    if first.sealed.seal().sha256 == second.sealed.seal().sha256 {
        return PredictionChanges::default();
    }
    let (one, other) = (first.sealed.predictions(), second.sealed.predictions());
    PredictionChanges {
        fitted: by_key::changes(&fitted(one), &fitted(other), &|_| false),
        ceilings: predicted(&ceilings(one), &ceilings(other), tolerance),
        triggers: predicted(
            &triggers(first.study(), one),
            &triggers(second.study(), other),
            tolerance,
        ),
        forecasts: forecasts(one, other),
        foundations: foundations(one, other),
    }
}

/// Every fitted number under a name. Where it comes from, in words, is none.
fn fitted(predictions: &Predictions) -> Value {
    let mut all = Map::new();
    for fitted in &predictions.predictors {
        let numbers = json!({
            "parameter": fitted.parameter,
            "regression": fitted.regression,
            "half_width": fitted.half_width,
        });
        all.insert(fitted.predictor.name().into(), numbers);
    }
    for fitted in &predictions.trigger_predictors {
        let name = format!("{} for {}", fitted.predictor.name(), fitted.behavior);
        all.insert(name, json!({"margin": fitted.margin}));
    }
    for ratio in &predictions.ratios {
        let name = format!("horizon {} for {}", ratio.horizon, ratio.behavior);
        all.insert(
            name,
            json!({"ratio": ratio.ratio, "branches": ratio.branches}),
        );
    }
    Value::Object(all)
}

/// Behaviour, neuron, branch and predictor.
type Place = (Option<String>, NeuronId, Sign, &'static str);

fn ceilings(predictions: &Predictions) -> BTreeMap<Place, Option<f64>> {
    let mut all = BTreeMap::new();
    for ceiling in &predictions.ceilings {
        for (fitted, estimate) in predictions.predictors.iter().zip(&ceiling.by) {
            let place = (None, ceiling.neuron, ceiling.sign, fitted.predictor.name());
            all.insert(place, estimate.map(|estimate| estimate.coordinate));
        }
    }
    all
}

fn triggers(study: &Study, predictions: &Predictions) -> BTreeMap<Place, Option<f64>> {
    let mut all = BTreeMap::new();
    for trigger in &predictions.triggers {
        for (predictor, &at) in study.trigger.predictors.iter().zip(&trigger.by) {
            let behavior = Some(trigger.behavior.clone());
            all.insert(
                (behavior, trigger.neuron, trigger.sign, predictor.name()),
                at,
            );
        }
    }
    all
}

/// What both runs predict, and not the same.
fn predicted(
    first: &BTreeMap<Place, Option<f64>>,
    second: &BTreeMap<Place, Option<f64>>,
    tolerance: f64,
) -> Vec<PredictedChange> {
    let both = (first.iter()).filter_map(|(place, &one)| Some((place, one, *second.get(place)?)));
    let mut changed: Vec<PredictedChange> = both
        .filter(|(_, one, other)| one != other)
        .filter(|(_, one, other)| moved(*one, *other).is_none_or(|size| size > tolerance))
        .map(
            |((behavior, neuron, sign, predictor), first, second)| PredictedChange {
                behavior: behavior.clone(),
                neuron: *neuron,
                sign: *sign,
                predictor: (*predictor).to_owned(),
                size: moved(first, second),
                first,
                second,
            },
        )
        .collect();
    changed.sort_by(|a, b| largest_first(a.size, b.size));
    changed
}

fn forecasts(first: &Predictions, second: &Predictions) -> Vec<ForecastChange> {
    let there: BTreeMap<(&str, NeuronId), Option<bool>> = (second.forecasts.iter())
        .map(|forecast| ((forecast.behavior.as_str(), forecast.neuron), forecast.open))
        .collect();
    (first.forecasts.iter())
        .filter_map(|forecast| {
            let other = *there.get(&(forecast.behavior.as_str(), forecast.neuron))?;
            (forecast.open != other).then(|| ForecastChange {
                behavior: forecast.behavior.clone(),
                neuron: forecast.neuron,
                first: forecast.open,
                second: other,
            })
        })
        .collect()
}

/// Parts of what the predictions rest on that are not the same.
fn foundations(first: &Predictions, second: &Predictions) -> Vec<String> {
    let parts = |predictions: &Predictions| {
        let calibration = &predictions.calibration;
        [
            ("screening", canonical::hash(&predictions.screening)),
            (
                "calibration.positions",
                canonical::hash(&calibration.positions),
            ),
            ("calibration.layers", canonical::hash(&calibration.layers)),
            ("calibration.neurons", canonical::hash(&calibration.neurons)),
            ("calibration.pushes", canonical::hash(&calibration.pushes)),
            (
                "calibration.thresholds",
                canonical::hash(&calibration.thresholds),
            ),
        ]
    };
    let pairs = parts(first).into_iter().zip(parts(second));
    (pairs.filter(|((_, one), (_, other))| one != other))
        .map(|((name, _), _)| name.to_owned())
        .collect()
}
