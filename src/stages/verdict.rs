//! Verdict: triggers, ceilings, windows, and how the sealed predictions fared.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::judge::{Curve, DosePoint, Judgements};
use super::predict::{Forecast, SealedPredictions};
use super::screen::Group;
use crate::model::Shape;
use crate::spec::ceiling::{Coordinate, Predictor};
use crate::spec::neurons::Role;
use crate::stats::{self, Interval};
use crate::study::Study;
use crate::units::{Horizon, NeuronId, Sign};

/// Draws triggers, ceilings and windows from the curves, and scores the sealed predictions.
pub fn verdict(study: &Study, sealed: &SealedPredictions, judgements: &Judgements) -> Verdicts {
    let shape = &study.model.shape;
    let groups = &sealed.predictions().screening.groups;
    let mut neurons: BTreeMap<(&str, NeuronId), NeuronVerdict> = BTreeMap::new();
    for curve in &judgements.curves {
        let branch = branch_verdict(study, shape, curve);
        (neurons.entry((&curve.behavior, curve.neuron)))
            .or_insert_with(|| NeuronVerdict {
                behavior: curve.behavior.clone(),
                neuron: curve.neuron,
                role: role(groups, &curve.behavior, curve.neuron),
                open: None,
                branches: Vec::new(),
            })
            .branches
            .push(branch);
    }
    let mut neurons: Vec<NeuronVerdict> = neurons.into_values().collect();
    for neuron in &mut neurons {
        neuron.open = either_open(&neuron.branches);
    }
    Verdicts {
        study: study.hash(),
        seal: sealed.seal().sha256.clone(),
        scoreboard: scoreboard(study, shape, sealed, &neurons),
        neurons,
    }
}

fn role(groups: &[Group], behavior: &str, neuron: NeuronId) -> Role {
    (groups.iter())
        .find(|group| {
            group.behaviors.iter().any(|b| b == behavior) && group.neurons.contains(&neuron)
        })
        .map_or(Role::Control, |group| group.role)
}

/// Open when one branch is; unknown when none is and one was censored.
fn either_open(branches: &[BranchVerdict]) -> Option<bool> {
    if branches.iter().any(|branch| branch.window == Window::Open) {
        return Some(true);
    }
    let censored = branches
        .iter()
        .any(|branch| matches!(branch.window, Window::Censored { .. }));
    (!censored).then_some(false)
}

fn branch_verdict(study: &Study, shape: &Shape, curve: &Curve) -> BranchVerdict {
    let branch = Branch {
        study,
        shape,
        curve,
    };
    let horizons = &study.rollout.horizons;
    let triggers: Vec<Option<usize>> = (0..horizons.len()).map(|h| branch.trigger(h)).collect();
    let ceiling = branch.ceiling(horizons.len() - 1);
    let judged = (horizons.iter())
        .position(|&h| h == study.rollout.verdict_horizon)
        .expect("the verdict horizon is one of the horizons");
    BranchVerdict {
        sign: curve.sign,
        triggers: (horizons.iter().zip(&triggers))
            .map(|(&horizon, &trigger)| HorizonThreshold {
                horizon,
                trigger: branch.threshold(trigger),
            })
            .collect(),
        ceiling: branch.threshold(ceiling),
        window: branch.window(judged, triggers[judged], ceiling),
    }
}

/// One curve with what its verdict depends on. Doses are named by their place in the grid.
struct Branch<'a> {
    study: &'a Study,
    shape: &'a Shape,
    curve: &'a Curve,
}

impl Branch<'_> {
    /// The first dose at which enough prompts have flipped without collapse.
    fn trigger(&self, horizon: usize) -> Option<usize> {
        self.first(self.study.thresholds.flip_share, |point| {
            point.horizons[horizon].flipped
        })
    }

    /// The first dose at which enough rollouts have collapsed.
    fn ceiling(&self, horizon: usize) -> Option<usize> {
        self.first(self.study.thresholds.collapse_share, |point| {
            point.horizons[horizon].collapsed
        })
    }

    fn first(&self, share: f64, count: impl Fn(&DosePoint) -> usize) -> Option<usize> {
        let needed = share * self.curve.prompts as f64;
        self.curve
            .points
            .iter()
            .position(|point| count(point) as f64 >= needed)
    }

    fn threshold(&self, dose: Option<usize>) -> Threshold {
        let at = |point: &DosePoint| {
            let coordinate = match self.study.thresholds.coordinate {
                Coordinate::Law => point.law_coordinate,
                Coordinate::Measured => point.measured_coordinate,
            };
            (point.budgets, coordinate)
        };
        match dose {
            Some(i) => {
                let (budgets, coordinate) = at(&self.curve.points[i]);
                Threshold::At {
                    budgets,
                    coordinate,
                }
            }
            None => {
                let (budgets, coordinate) = at(self.largest());
                Threshold::Above {
                    budgets,
                    coordinate,
                }
            }
        }
    }

    fn largest(&self) -> &DosePoint {
        self.curve.points.last().expect("a dose grid is not empty")
    }

    fn window(&self, horizon: usize, trigger: Option<usize>, ceiling: Option<usize>) -> Window {
        match (trigger, ceiling) {
            (Some(_), None) => Window::Open,
            (Some(trigger), Some(ceiling)) if trigger < ceiling => Window::Open,
            (_, Some(ceiling)) => self.closed_by_collapse(horizon, ceiling),
            (None, None) => self.unreached(horizon),
        }
    }

    fn closed_by_collapse(&self, horizon: usize, ceiling: usize) -> Window {
        let points = &self.curve.points;
        let depth = self.shape.relative_depth(self.curve.neuron.layer);
        let before = best_flip(&points[..ceiling], horizon);
        let mut evidence = format!(
            "collapsed in {} of {} at g = {}; before that at most {} of {} flipped",
            points[ceiling].horizons.last().map_or(0, |h| h.collapsed),
            self.curve.prompts,
            number(points[ceiling].budgets),
            before,
            self.curve.prompts,
        );
        let late = self.study.reasons.late_depth;
        let reason = if depth >= late {
            evidence += &format!("; relative depth {depth:.2}, late from {late:.2} on");
            Reason::TooLate
        } else {
            Reason::CollapseBeforeTrigger
        };
        Window::Closed { reason, evidence }
    }

    /// Neither threshold was reached.
    fn unreached(&self, horizon: usize) -> Window {
        let last = self.largest();
        let shortfall = last.law_coordinate - last.measured_coordinate;
        let reached = format!(
            "up to g = {} at most {} of {} flipped and {} collapsed",
            number(last.budgets),
            best_flip(&self.curve.points, horizon),
            self.curve.prompts,
            self.curve
                .points
                .iter()
                .filter_map(|p| p.horizons.last())
                .map(|h| h.collapsed)
                .max()
                .unwrap_or(0),
        );
        if shortfall > self.study.reasons.cap_shortfall {
            let evidence = format!(
                "{reached}; measured cosθ {:.3} where the law says {:.3}",
                last.measured_coordinate, last.law_coordinate
            );
            return Window::Closed {
                reason: Reason::NormalisationCap,
                evidence,
            };
        }
        Window::Censored { evidence: reached }
    }
}

fn best_flip(points: &[DosePoint], horizon: usize) -> usize {
    points
        .iter()
        .map(|point| point.horizons[horizon].flipped)
        .max()
        .unwrap_or(0)
}

/// Three significant digits, for evidence in words.
fn number(x: f64) -> String {
    let digits = if x >= 100.0 {
        0
    } else if x >= 10.0 {
        1
    } else {
        2
    };
    format!("{x:.digits$}")
}

fn scoreboard(
    study: &Study,
    shape: &Shape,
    sealed: &SealedPredictions,
    neurons: &[NeuronVerdict],
) -> Scoreboard {
    let held_out: Vec<&NeuronVerdict> =
        neurons.iter().filter(|n| n.role == Role::HeldOut).collect();
    let ceilings = (study.ceiling.predictors.iter().enumerate())
        .map(|(i, &predictor)| ceiling_score(study, shape, sealed, &held_out, i, predictor))
        .collect();
    let forecasts = &sealed.predictions().forecasts;
    let mut scores: Vec<ForecastScore> = (study.behaviors.iter())
        .map(|behavior| {
            let of_behavior: Vec<&Forecast> = forecasts
                .iter()
                .filter(|f| f.behavior == behavior.name)
                .collect();
            forecast_score(study, &behavior.name, &of_behavior, &held_out)
        })
        .collect();
    let all: Vec<&Forecast> = forecasts.iter().collect();
    scores.push(forecast_score(study, "all", &all, &held_out));
    Scoreboard {
        ceilings,
        forecasts: scores,
    }
}

fn ceiling_score(
    study: &Study,
    shape: &Shape,
    sealed: &SealedPredictions,
    held_out: &[&NeuronVerdict],
    place: usize,
    predictor: Predictor,
) -> CeilingScore {
    let predicted: BTreeMap<(NeuronId, Sign), f64> = (sealed.predictions().ceilings.iter())
        .filter_map(|ceiling| {
            Some((
                (ceiling.neuron, ceiling.sign),
                ceiling.by[place]?.coordinate,
            ))
        })
        .collect();
    let mut errors: BTreeMap<NeuronId, Vec<f64>> = BTreeMap::new();
    let mut censored = 0;
    for verdict in held_out {
        for branch in &verdict.branches {
            match (
                branch.ceiling,
                predicted.get(&(verdict.neuron, branch.sign)),
            ) {
                (Threshold::At { coordinate, .. }, Some(predicted)) => {
                    errors
                        .entry(verdict.neuron)
                        .or_default()
                        .push((predicted - coordinate).abs());
                }
                (Threshold::Above { .. }, _) => censored += 1,
                (_, None) => {}
            }
        }
    }
    let (from, to) = study.ceiling.bulk;
    let bulk = |neuron: &NeuronId| (from..=to).contains(&shape.relative_depth(neuron.layer));
    CeilingScore {
        predictor,
        overall: error_estimate(study, errors.values()),
        bulk: error_estimate(
            study,
            errors.iter().filter(|(n, _)| bulk(n)).map(|(_, e)| e),
        ),
        censored,
    }
}

/// `errors`: the absolute errors of each neuron.
fn error_estimate<'a>(
    study: &Study,
    errors: impl Iterator<Item = &'a Vec<f64>>,
) -> Option<ErrorEstimate> {
    let clusters: Vec<Vec<f64>> = errors.cloned().collect();
    let all = clusters.concat();
    Some(ErrorEstimate {
        mean_absolute_error: stats::mean(&all)?,
        interval: stats::cluster_bootstrap(
            &clusters,
            stats::mean,
            study.thresholds.confidence,
            study.seed,
        )?,
        branches: all.len(),
        neurons: clusters.len(),
    })
}

fn forecast_score(
    study: &Study,
    name: &str,
    forecasts: &[&Forecast],
    held_out: &[&NeuronVerdict],
) -> ForecastScore {
    let measured: BTreeMap<(&str, NeuronId), Option<bool>> = (held_out.iter())
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
    let right = pairs
        .iter()
        .filter(|(_, forecast, found)| forecast == found)
        .count();
    let open = pairs.iter().filter(|(_, _, found)| *found).count();
    ForecastScore {
        behavior: name.to_owned(),
        scored,
        right,
        interval: stats::wilson(right, scored, study.thresholds.confidence),
        majority: open.max(scored - open),
        open,
        undecided: forecasts.len() - scored,
    }
}

/// The study's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdicts {
    /// Hash of the study.
    pub study: String,
    /// Hash of the seal.
    pub seal: String,
    /// One entry per neuron and behaviour, sorted by behaviour, neuron.
    pub neurons: Vec<NeuronVerdict>,
    /// How the predictions fared on held-out neurons.
    pub scoreboard: Scoreboard,
}

/// The verdict on one neuron and one behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeuronVerdict {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// Its role.
    pub role: Role,
    /// Open on either branch; absent when no branch is open and one is censored.
    pub open: Option<bool>,
    /// One entry per measured branch.
    pub branches: Vec<BranchVerdict>,
}

/// The verdict on one branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BranchVerdict {
    /// The branch.
    pub sign: Sign,
    /// Trigger at each horizon of the study.
    pub triggers: Vec<HorizonThreshold>,
    /// Ceiling at the longest horizon.
    pub ceiling: Threshold,
    /// Open, or closed with its reason, at the verdict horizon.
    pub window: Window,
}

/// A trigger at one horizon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HorizonThreshold {
    /// The horizon.
    pub horizon: Horizon,
    /// The trigger.
    pub trigger: Threshold,
}

/// A threshold on a branch: a grid dose, or a bound where the grid ended first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// Reached at this dose.
    At {
        /// `|g|`, in budgets.
        budgets: f64,
        /// Coordinate along the branch.
        coordinate: f64,
    },
    /// Not reached up to this dose, the largest of the grid.
    Above {
        /// `|g|`, in budgets.
        budgets: f64,
        /// Coordinate along the branch.
        coordinate: f64,
    },
}

/// The verdict on a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The trigger lies below the ceiling.
    Open,
    /// It does not.
    Closed {
        /// Why.
        reason: Reason,
        /// The evidence, in words with its figures.
        evidence: String,
    },
    /// The dose grid ended before either threshold was reached: nothing is known.
    Censored {
        /// The evidence, in words with its figures.
        evidence: String,
    },
}

/// Why a window is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The output collapses before the behaviour flips.
    CollapseBeforeTrigger,
    /// The write is too late to propagate.
    TooLate,
    /// A normalisation caps how far the neuron can push.
    NormalisationCap,
}

/// How the sealed predictions fared on held-out neurons.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scoreboard {
    /// One entry per predictor, in the order of the study.
    pub ceilings: Vec<CeilingScore>,
    /// Open/closed forecasts, one entry per behaviour, then one named `all`.
    pub forecasts: Vec<ForecastScore>,
}

/// A predictor's error in cosθ over held-out (neuron, behaviour, branch) triples whose ceiling was reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CeilingScore {
    /// Which predictor.
    pub predictor: Predictor,
    /// Mean absolute error overall; absent when nothing could be compared.
    pub overall: Option<ErrorEstimate>,
    /// The same in bulk layers.
    pub bulk: Option<ErrorEstimate>,
    /// Branches left out because the grid ended before the ceiling.
    pub censored: usize,
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
    /// Neurons left out because the measurement was censored or no prediction could be made.
    pub undecided: usize,
}
