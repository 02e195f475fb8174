//! Windows of one behaviour's branches: thresholds first, then what they say together, then why the closed ones are closed.

use super::calibrate::NeuronCalibration;
use super::judge::{Baseline, Curve, DosePoint};
use super::predict::{Predictions, SealedPredictions};
use super::threshold::{Estimated, Estimator, Kind};
use super::verdict::{
    BranchVerdict, ClassReach, FirstReach, HorizonThreshold, Reason, Threshold, ThresholdInterval,
    Window,
};
use crate::spec::ceiling::Coordinate;
use crate::stats;
use crate::study::{Behavior, Study};
use crate::units::{NeuronId, Sign};

/// Where the branches that others are compared with leave less than this off their own axis, nothing can be late: it is rounding.
const LEAST_SURVIVAL: f64 = 0.01;

/// The verdicts on the branches of one behaviour, in the order of its curves.
pub fn branch_verdicts(
    study: &Study,
    sealed: &SealedPredictions,
    behavior: &Behavior,
    baseline: &Baseline,
    curves: &[&Curve],
) -> Vec<BranchVerdict> {
    let predictions = sealed.predictions();
    let estimator = Estimator::new(&study.thresholds, baseline.prompts, study.seed);
    let mut verdicts: Vec<BranchVerdict> = (curves.iter())
        .map(|curve| {
            Branch {
                study,
                behavior,
                baseline,
                curve,
                neuron: predictions.calibration.of(curve.neuron),
            }
            .verdict(&estimator)
        })
        .collect();
    let comparison = Comparison::new(study, predictions, behavior, curves, &verdicts);
    for (curve, verdict) in curves.iter().zip(&mut verdicts) {
        comparison.explain(curve, verdict);
    }
    verdicts
}

/// One curve with what its verdict depends on.
struct Branch<'a> {
    study: &'a Study,
    behavior: &'a Behavior,
    baseline: &'a Baseline,
    curve: &'a Curve,
    neuron: &'a NeuronCalibration,
}

impl Branch<'_> {
    /// Everything but the reason of a closed window.
    fn verdict(&self, estimator: &Estimator<'_>) -> BranchVerdict {
        let estimate = |kind, horizon| self.curve.estimate(estimator, self.baseline, kind, horizon);
        let horizons = &self.study.rollout.horizons;
        let triggers: Vec<HorizonThreshold> = (horizons.iter().enumerate())
            .map(|(place, &horizon)| {
                let found = estimate(Kind::Trigger, place);
                HorizonThreshold {
                    horizon,
                    trigger: self.threshold(found.at),
                    interval: self.interval(&found),
                }
            })
            .collect();
        let ceiling = estimate(Kind::Ceiling, horizons.len() - 1);
        let verdict = BranchVerdict {
            sign: self.curve.sign,
            ceiling: self.threshold(ceiling.at),
            ceiling_interval: self.interval(&ceiling),
            triggers,
            window: Window::Open,
            classes: self.classes(),
        };
        BranchVerdict {
            window: self.window(&verdict),
            ..verdict
        }
    }

    fn threshold(&self, at: Option<f64>) -> Threshold {
        match at {
            Some(budgets) => Threshold::At {
                budgets,
                coordinate: self.coordinate(budgets),
            },
            None => {
                let budgets = self.largest().budgets;
                Threshold::Above {
                    budgets,
                    coordinate: self.coordinate(budgets),
                }
            }
        }
    }

    fn interval(&self, found: &Estimated) -> Option<ThresholdInterval> {
        let (low, high) = found.interval?;
        Some(ThresholdInterval {
            low: self.threshold(Some(low)),
            high: self.threshold(high),
        })
    }

    /// The study's coordinate at a dose; measured ones are interpolated between doses.
    fn coordinate(&self, budgets: f64) -> f64 {
        if self.study.thresholds.coordinate == Coordinate::Law {
            return self.neuron.coordinate(self.curve.sign, budgets);
        }
        let points = &self.curve.points;
        let above = points.partition_point(|point| point.budgets < budgets);
        let (from, start) = match above.checked_sub(1) {
            Some(below) => (points[below].budgets, points[below].measured_coordinate),
            None => (0.0, self.neuron.coordinate(self.curve.sign, 0.0)),
        };
        match points.get(above) {
            None => start,
            Some(to) => {
                let share = (budgets - from) / (to.budgets - from);
                start + share * (to.measured_coordinate - start)
            }
        }
    }

    fn largest(&self) -> &DosePoint {
        self.curve.points.last().expect("a dose grid is not empty")
    }

    /// What the thresholds say; why a window is closed is for [`Comparison`] to say.
    fn window(&self, verdict: &BranchVerdict) -> Window {
        let horizon = self.study.rollout.verdict_place();
        let HorizonThreshold {
            trigger, interval, ..
        } = &verdict.triggers[horizon];
        let closed = |evidence| Window::Closed {
            reason: Reason::CollapseBeforeTrigger,
            evidence,
        };
        match (*trigger, verdict.ceiling) {
            (Threshold::Above { .. }, Threshold::Above { .. }) => Window::Censored {
                evidence: self.reached(horizon),
            },
            (Threshold::At { budgets: 0.0, .. }, _) => Window::Undecided {
                evidence:
                    "the unsteered model flips by itself: nothing is known of what a dose does"
                        .into(),
            },
            (Threshold::At { budgets, .. }, ceiling) if budgets < ceiling.budgets() => {
                match overlap(*interval, verdict.ceiling_interval) {
                    true => Window::Undecided {
                        evidence: self.overlapping(verdict, *interval),
                    },
                    false => Window::Open,
                }
            }
            (_, ceiling) => closed(self.collapsed(horizon, ceiling.budgets())),
        }
    }

    fn overlapping(&self, verdict: &BranchVerdict, trigger: Option<ThresholdInterval>) -> String {
        let shown = |interval: Option<ThresholdInterval>| match interval {
            None => "unknown".to_owned(),
            Some(ThresholdInterval { low, high }) => match high.reached() {
                true => format!("{}–{}", number(low.coordinate()), number(high.coordinate())),
                false => format!("{} to beyond the doses", number(low.coordinate())),
            },
        };
        format!(
            "the intervals overlap: trigger {}, ceiling {}",
            shown(trigger),
            shown(verdict.ceiling_interval)
        )
    }

    /// What collapsed at the ceiling, and what had flipped before.
    fn collapsed(&self, horizon: usize, ceiling: f64) -> String {
        let points = &self.curve.points;
        let at = points
            .partition_point(|point| point.budgets < ceiling)
            .min(points.len() - 1);
        let count = |point: &DosePoint| point.horizons.last().map_or(0, |h| h.collapsed);
        format!(
            "the ceiling, interpolated, lies at g = {}; {} of {} collapsed at g = {}, and before that at most {} of {} flipped",
            number(ceiling),
            count(&points[at]),
            self.curve.prompts,
            number(points[at].budgets),
            best_flip(&points[..at], horizon),
            self.curve.prompts,
        )
    }

    /// How far a branch came that reached neither threshold.
    fn reached(&self, horizon: usize) -> String {
        let collapsed = (self.curve.points.iter())
            .filter_map(|point| point.horizons.last())
            .map(|h| h.collapsed)
            .max();
        format!(
            "up to g = {} at most {} of {} flipped and {} collapsed",
            number(self.largest().budgets),
            best_flip(&self.curve.points, horizon),
            self.curve.prompts,
            collapsed.unwrap_or(0),
        )
    }

    /// When each class of a typed behaviour is reached.
    fn classes(&self) -> Vec<ClassReach> {
        let outcomes = &self.behavior.outcomes;
        if outcomes.len() < 2 {
            return Vec::new();
        }
        let needed = self.study.thresholds.flip_share;
        (outcomes.iter().enumerate())
            .map(|(class, outcome)| ClassReach {
                class: outcome.name.clone(),
                most: self
                    .shares()
                    .map(|(_, shares)| shares.outcomes[class])
                    .max()
                    .unwrap_or(0),
                seen: self.first(class, 0.0),
                reached: self.first(class, needed),
            })
            .collect()
    }

    /// Every dose and horizon with its outcomes.
    fn shares(&self) -> impl Iterator<Item = (f64, &super::judge::HorizonShares)> {
        (self.curve.points.iter())
            .flat_map(|point| point.horizons.iter().map(|shares| (point.budgets, shares)))
    }

    /// The smallest dose, and apart from it the shortest horizon, at which prompts fall into a class, and at least this share of them.
    fn first(&self, class: usize, needed: f64) -> Option<FirstReach> {
        let enough = || {
            self.shares().filter(move |(_, shares)| {
                let count = shares.outcomes[class];
                let share = count as f64 / self.curve.prompts.max(1) as f64;
                count > 0 && stats::reaches(share, needed)
            })
        };
        Some(FirstReach {
            budgets: enough().map(|(budgets, _)| budgets).reduce(f64::min)?,
            horizon: enough().map(|(_, shares)| shares.horizon).min()?,
        })
    }
}

/// Whether the trigger's interval reaches up to the ceiling's.
fn overlap(trigger: Option<ThresholdInterval>, ceiling: Option<ThresholdInterval>) -> bool {
    let (Some(trigger), Some(ceiling)) = (trigger, ceiling) else {
        return false;
    };
    match (trigger.high, ceiling.low) {
        (Threshold::At { budgets: high, .. }, low) => high >= low.budgets(),
        (Threshold::Above { .. }, _) => true,
    }
}

/// What the closed branches of a behaviour are compared with.
struct Comparison<'a> {
    study: &'a Study,
    predictions: &'a Predictions,
    behavior: &'a Behavior,
    /// Median survival of the branches that are open, or of those in bulk layers, and which of the two.
    survival: Option<(f64, &'static str)>,
    /// Median trigger of the branches that have one, as a coordinate.
    trigger: Option<f64>,
}

impl<'a> Comparison<'a> {
    fn new(
        study: &'a Study,
        predictions: &'a Predictions,
        behavior: &'a Behavior,
        curves: &[&Curve],
        verdicts: &[BranchVerdict],
    ) -> Self {
        let mut comparison = Self {
            study,
            predictions,
            behavior,
            survival: None,
            trigger: None,
        };
        let horizon = study.rollout.verdict_place();
        let branches = || curves.iter().zip(verdicts);
        let survivals = |wanted: &dyn Fn(&Curve, &BranchVerdict) -> bool| {
            let found: Vec<f64> = branches()
                .filter(|(curve, verdict)| wanted(curve, verdict))
                .filter_map(|(curve, _)| comparison.survival_of(curve.neuron, curve.sign))
                .collect();
            stats::median(&found)
        };
        let (from, to) = study.ceiling.bulk;
        let depth = |curve: &Curve| study.model.shape.relative_depth(curve.neuron.layer);
        let open = survivals(&|_, verdict| verdict.window == Window::Open);
        let bulk = survivals(&|curve, _| (from..=to).contains(&depth(curve)));
        let triggers: Vec<f64> = (verdicts.iter())
            .map(|verdict| verdict.triggers[horizon].trigger)
            .filter(Threshold::reached)
            .map(|trigger| trigger.coordinate())
            .collect();
        comparison.survival = (open.map(|median| (median, "open branches")))
            .or(bulk.map(|median| (median, "branches in bulk layers")))
            .filter(|(median, _)| *median > LEAST_SURVIVAL);
        comparison.trigger = stats::median(&triggers);
        comparison
    }

    fn survival_of(&self, neuron: NeuronId, sign: Sign) -> Option<f64> {
        Some(
            self.predictions
                .push(&self.behavior.name, neuron, sign)?
                .survival,
        )
    }

    /// Says why a window is closed, where that is more than collapse; and tells a cap from a grid that ended too soon.
    fn explain(&self, curve: &Curve, verdict: &mut BranchVerdict) {
        match &mut verdict.window {
            Window::Closed { reason, evidence } => {
                if let Some(late) = self.late(curve) {
                    *reason = Reason::TooLate;
                    *evidence = format!("{evidence}; {late}");
                }
            }
            Window::Censored { evidence } => {
                if let Some(cap) = self.capped(curve) {
                    verdict.window = Window::Closed {
                        reason: Reason::NormalisationCap,
                        evidence: format!("{evidence}; {cap}"),
                    };
                }
            }
            Window::Open | Window::Undecided { .. } => {}
        }
    }

    /// The evidence that a write is too late to propagate.
    fn late(&self, curve: &Curve) -> Option<String> {
        let push = self
            .predictions
            .push(&self.behavior.name, curve.neuron, curve.sign)?;
        let (median, of) = self.survival?;
        (push.survival < self.study.reasons.late_survival * median).then(|| {
            format!(
                "{} of the write survives off its own axis to the final norm ({} of the change of the logits), where the median of {of} is {}",
                number(push.survival),
                number(push.logit_survival),
                number(median)
            )
        })
    }

    /// The evidence that a norm caps the neuron below what it would need.
    fn capped(&self, curve: &Curve) -> Option<String> {
        let neuron = self.predictions.calibration.of(curve.neuron);
        neuron.normed?;
        let cap = neuron.cap(curve.sign);
        let (expected, margin) = (
            self.behavior.expected_trigger,
            self.study.reasons.cap_margin,
        );
        let ceiling = (self.predictions)
            .headline_ceiling(self.study, curve.neuron, curve.sign)
            .filter(|ceiling| cap < *ceiling);
        let largest = (curve.points.last()).map_or(0.0, |point| point.law_coordinate);
        let why = match (self.trigger, ceiling) {
            (Some(trigger), _) if cap < trigger => {
                format!("below the median trigger here, {}", number(trigger))
            }
            (None, _) if cap < expected => {
                format!("below the expected trigger, {}", number(expected))
            }
            (_, Some(ceiling)) => format!("below the predicted ceiling, {}", number(ceiling)),
            _ if cap - largest <= margin => {
                format!("and the largest dose came to {}", number(largest))
            }
            _ => return None,
        };
        let cap = number(cap);
        Some(format!(
            "the norm after the feed-forward caps cosθ at {cap}, {why}"
        ))
    }
}

fn best_flip(points: &[DosePoint], horizon: usize) -> usize {
    (points.iter())
        .map(|point| point.horizons[horizon].flipped)
        .max()
        .unwrap_or(0)
}

/// Three significant digits, for evidence in words.
fn number(x: f64) -> String {
    let digits = match x.abs() {
        x if x >= 100.0 => 0,
        x if x >= 10.0 => 1,
        _ => 2,
    };
    format!("{x:.digits$}")
}
