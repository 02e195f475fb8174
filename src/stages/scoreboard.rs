//! Scoreboard: how the sealed predictions fared on held-out neurons.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::predict::{CeilingEstimate, Forecast, SealedPredictions};
use super::verdict::{BranchVerdict, NeuronVerdict, Threshold};
use crate::spec::ceiling::{Predictor, TriggerPredictor};
use crate::spec::neurons::Role;
use crate::stats::{self, Interval};
use crate::study::Study;
use crate::units::{Horizon, NeuronId, Sign};

/// Compares what was sealed with what was measured.
pub fn scoreboard(
    study: &Study,
    sealed: &SealedPredictions,
    neurons: &[NeuronVerdict],
) -> Scoreboard {
    let held_out: Vec<&NeuronVerdict> =
        neurons.iter().filter(|n| n.role == Role::HeldOut).collect();
    let board = Board {
        study,
        sealed,
        held_out: &held_out,
    };
    Scoreboard {
        ceilings: (study.ceiling.predictors.iter().enumerate())
            .map(|(place, &predictor)| board.ceiling_score(place, predictor))
            .collect(),
        triggers: board.trigger_scores(),
        forecasts: board.forecast_scores(),
    }
}

/// What is scored.
struct Board<'a> {
    study: &'a Study,
    sealed: &'a SealedPredictions,
    held_out: &'a [&'a NeuronVerdict],
}

impl Board<'_> {
    /// A measured threshold as the law's coordinate, in which predictions are made, whatever the study's own coordinate is.
    fn law(&self, neuron: NeuronId, sign: Sign, threshold: Threshold) -> f64 {
        let calibration = &self.sealed.predictions().calibration;
        calibration.of(neuron).coordinate(sign, threshold.budgets())
    }

    /// Every held-out branch.
    fn branches(&self) -> impl Iterator<Item = (&NeuronVerdict, &BranchVerdict)> {
        (self.held_out.iter())
            .flat_map(|&verdict| verdict.branches.iter().map(move |branch| (verdict, branch)))
    }

    fn ceiling_score(&self, place: usize, predictor: Predictor) -> CeilingScore {
        let predicted: BTreeMap<(NeuronId, Sign), CeilingEstimate> =
            (self.sealed.predictions().ceilings.iter())
                .filter_map(|ceiling| Some(((ceiling.neuron, ceiling.sign), ceiling.by[place]?)))
                .collect();
        let mut errors: BTreeMap<NeuronId, Vec<f64>> = BTreeMap::new();
        let mut intervals = Vec::new();
        let mut censored = 0;
        for (verdict, branch) in self.branches() {
            let estimate = predicted.get(&(verdict.neuron, branch.sign));
            let coordinate = self.law(verdict.neuron, branch.sign, branch.ceiling);
            match (branch.ceiling, estimate) {
                (Threshold::At { .. }, Some(estimate)) => {
                    errors
                        .entry(verdict.neuron)
                        .or_default()
                        .push((estimate.coordinate - coordinate).abs());
                }
                (Threshold::Above { .. }, _) => censored += 1,
                (_, None) => {}
            }
            if let Some(interval) = estimate.and_then(|estimate| estimate.interval) {
                intervals.push((interval, branch.ceiling.reached(), coordinate));
            }
        }
        let (from, to) = self.study.ceiling.bulk;
        let depth = |neuron: &NeuronId| self.study.model.shape.relative_depth(neuron.layer);
        let bulk = |neuron: &NeuronId| (from..=to).contains(&depth(neuron));
        CeilingScore {
            predictor,
            overall: self.error_estimate(errors.values()),
            bulk: self.error_estimate(errors.iter().filter(|(n, _)| bulk(n)).map(|(_, e)| e)),
            coverage: self.coverage(&intervals),
            censored,
        }
    }

    /// How many measured ceilings lie in their intervals. A bound inside an interval decides nothing, and is left out.
    fn coverage(&self, intervals: &[(Interval, bool, f64)]) -> Option<Coverage> {
        let decided: Vec<bool> = (intervals.iter())
            .filter_map(|(interval, reached, coordinate)| match reached {
                true => Some((interval.low..=interval.high).contains(coordinate)),
                false => (*coordinate > interval.high).then_some(false),
            })
            .collect();
        let inside = decided.iter().filter(|inside| **inside).count();
        let widths: Vec<f64> = intervals.iter().map(|(i, _, _)| i.high - i.low).collect();
        Some(Coverage {
            inside,
            branches: decided.len(),
            interval: stats::wilson(inside, decided.len(), self.study.thresholds.confidence),
            width: stats::mean(&widths)?,
        })
    }

    /// `errors`: the absolute errors of each neuron.
    fn error_estimate<'a>(
        &self,
        errors: impl Iterator<Item = &'a Vec<f64>>,
    ) -> Option<ErrorEstimate> {
        let clusters: Vec<Vec<f64>> = errors.cloned().collect();
        let all = clusters.concat();
        let (confidence, seed) = (self.study.thresholds.confidence, self.study.seed);
        Some(ErrorEstimate {
            mean_absolute_error: stats::mean(&all)?,
            interval: stats::cluster_bootstrap(&clusters, stats::mean, confidence, seed)?,
            branches: all.len(),
            neurons: clusters.len(),
        })
    }

    fn trigger_scores(&self) -> Vec<TriggerScore> {
        let verdict = self.study.rollout.verdict_place();
        let sealed = (self.study.trigger.predictors.iter())
            .map(|&predictor| TriggerSource::Sealed(predictor));
        let shorter = (self.study.rollout.horizons[..verdict].iter())
            .map(|&horizon| TriggerSource::Horizon(horizon));
        sealed
            .chain(shorter)
            .map(|source| self.trigger_score(source))
            .collect()
    }

    fn trigger_score(&self, source: TriggerSource) -> TriggerScore {
        let verdict_place = self.study.rollout.verdict_place();
        let mut errors: BTreeMap<NeuronId, Vec<f64>> = BTreeMap::new();
        let (mut missed, mut false_alarms) = (0, 0);
        for (verdict, branch) in self.branches() {
            let predicted = self.predicted_trigger(source, verdict, branch);
            let trigger = branch.triggers[verdict_place].trigger;
            let coordinate = self.law(verdict.neuron, branch.sign, trigger);
            match (trigger, predicted) {
                (Threshold::At { .. }, Some(predicted)) => {
                    let error = (predicted - coordinate).abs();
                    errors.entry(verdict.neuron).or_default().push(error);
                }
                (Threshold::At { .. }, None) => missed += 1,
                (Threshold::Above { .. }, Some(predicted)) => {
                    let ceiling = self.sealed.predictions().headline_ceiling(
                        self.study,
                        verdict.neuron,
                        branch.sign,
                    );
                    false_alarms += usize::from(ceiling.is_none_or(|ceiling| predicted < ceiling));
                }
                (Threshold::Above { .. }, None) => {}
            }
        }
        TriggerScore {
            source,
            overall: self.error_estimate(errors.values()),
            missed,
            false_alarms,
        }
    }

    /// The predicted trigger of a branch, as a coordinate.
    fn predicted_trigger(
        &self,
        source: TriggerSource,
        verdict: &NeuronVerdict,
        branch: &BranchVerdict,
    ) -> Option<f64> {
        let predictions = self.sealed.predictions();
        match source {
            TriggerSource::Sealed(predictor) => {
                let place = (self.study.trigger.predictors.iter()).position(|p| *p == predictor)?;
                predictions
                    .trigger(&verdict.behavior, verdict.neuron, branch.sign)?
                    .by[place]
            }
            TriggerSource::Horizon(horizon) => {
                let at = branch.triggers.iter().find(|t| t.horizon == horizon)?;
                let ratio = (predictions.ratios.iter())
                    .find(|r| r.horizon == horizon && r.behavior == verdict.behavior)
                    .map_or(1.0, |r| r.ratio);
                let budgets = at.trigger.reached().then(|| at.trigger.budgets() * ratio)?;
                let neuron = predictions.calibration.of(verdict.neuron);
                Some(neuron.coordinate(branch.sign, budgets))
            }
        }
    }

    fn forecast_scores(&self) -> Vec<ForecastScore> {
        let forecasts = &self.sealed.predictions().forecasts;
        let mut scores: Vec<ForecastScore> = (self.study.behaviors.iter())
            .map(|behavior| {
                let of_behavior: Vec<&Forecast> = (forecasts.iter())
                    .filter(|f| f.behavior == behavior.name)
                    .collect();
                self.forecast_score(&behavior.name, &of_behavior)
            })
            .collect();
        let all: Vec<&Forecast> = forecasts.iter().collect();
        scores.push(self.forecast_score("all", &all));
        scores
    }

    fn forecast_score(&self, name: &str, forecasts: &[&Forecast]) -> ForecastScore {
        let measured: BTreeMap<(&str, NeuronId), Option<bool>> = (self.held_out.iter())
            .map(|verdict| ((&verdict.behavior[..], verdict.neuron), verdict.open))
            .collect();
        let pairs: BTreeSet<_> = (forecasts.iter())
            .filter_map(|f| {
                let key = (&f.behavior[..], f.neuron);
                let found = measured.get(&key).copied().flatten()?;
                Some((key, f.open?, found))
            })
            .collect();
        let scored = pairs.len();
        let count = |wanted: &dyn Fn(bool, bool) -> bool| {
            (pairs.iter())
                .filter(|(_, forecast, found)| wanted(*forecast, *found))
                .count()
        };
        let right = count(&|forecast, found| forecast == found);
        let open = count(&|_, found| found);
        ForecastScore {
            behavior: name.to_owned(),
            scored,
            right,
            interval: stats::wilson(right, scored, self.study.thresholds.confidence),
            majority: open.max(scored - open),
            open,
            open_foretold: count(&|forecast, found| forecast && found),
            foretold: count(&|forecast, _| forecast),
            undecided: forecasts.len() - scored,
        }
    }
}

/// How the sealed predictions fared on held-out neurons.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scoreboard {
    /// One entry per predictor, in the order of the study.
    pub ceilings: Vec<CeilingScore>,
    /// One entry per trigger predictor in the order of the study, then one per horizon before the verdict's.
    pub triggers: Vec<TriggerScore>,
    /// Open/closed forecasts, one entry per behaviour, then one named `all`.
    pub forecasts: Vec<ForecastScore>,
}

/// A predictor's error in the law's cosθ over held-out (neuron, behaviour, branch) triples whose ceiling was reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CeilingScore {
    /// Which predictor.
    pub predictor: Predictor,
    /// Mean absolute error overall; absent when nothing could be compared.
    pub overall: Option<ErrorEstimate>,
    /// The same in bulk layers.
    pub bulk: Option<ErrorEstimate>,
    /// How many measured ceilings lie in the predicted intervals; absent when none were predicted.
    pub coverage: Option<Coverage>,
    /// Branches left out because the grid ended before the ceiling.
    pub censored: usize,
}

/// How often a prediction interval held what was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Coverage {
    /// Branches whose measured ceiling lay inside. A ceiling beyond the doses counts as inside where the interval reaches beyond them.
    pub inside: usize,
    /// Branches with an interval and a ceiling, or a bound that decides.
    pub branches: usize,
    /// Wilson interval of the share inside.
    pub interval: Option<Interval>,
    /// Mean width of the intervals in cosθ.
    pub width: f64,
}

/// What a trigger is predicted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TriggerSource {
    /// A sealed predictor.
    Sealed(TriggerPredictor),
    /// The trigger measured at a shorter horizon, times the ratio that was fitted on the calibration neurons. Not sealed: it needs
    /// short rollouts, and says where long ones are worth their time.
    Horizon(Horizon),
}

/// A predictor's error in cosθ over held-out (neuron, behaviour, branch) triples whose trigger at the verdict horizon was reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TriggerScore {
    /// What the trigger was predicted from.
    pub source: TriggerSource,
    /// Mean absolute error; absent when nothing could be compared.
    pub overall: Option<ErrorEstimate>,
    /// Branches with a measured trigger for which none was predicted.
    pub missed: usize,
    /// Branches without a measured trigger for which one below the predicted ceiling was predicted.
    pub false_alarms: usize,
}

/// A mean absolute error with its bootstrap interval over neurons.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ErrorEstimate {
    /// Mean absolute error in cosθ.
    pub mean_absolute_error: f64,
    /// Bootstrap interval.
    pub interval: Interval,
    /// Branches compared.
    pub branches: usize,
    /// Neurons they belong to.
    pub neurons: usize,
}

/// How often the sealed open/closed forecast was right.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForecastScore {
    /// Name of the behaviour, or `all`.
    pub behavior: String,
    /// Forecasts that could be scored.
    pub scored: usize,
    /// Forecasts that were right.
    pub right: usize,
    /// Wilson interval of the share that was right; absent when nothing was scored.
    pub interval: Option<Interval>,
    /// Size of the majority class: what always saying the commoner answer would have got right.
    pub majority: usize,
    /// Neurons found open.
    pub open: usize,
    /// Neurons found open that were forecast to be.
    pub open_foretold: usize,
    /// Neurons that were forecast to be open.
    pub foretold: usize,
    /// Neurons left out because the measurement was censored or no prediction could be made.
    pub undecided: usize,
}
