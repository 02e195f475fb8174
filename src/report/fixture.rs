//! A made-up record for the report's tests: a small model, two behaviours, neurons whose windows are open, closed for every reason, and
//! censored. All numbers follow from smooth curves with known thresholds.

use std::collections::BTreeMap;

use super::input::{Input, SampleRollout, SampleSource, TrialFacts};
use super::samples;
use crate::law::control_coordinate;
use crate::model::Shape;
use crate::oracles::Oracle;
use crate::spec::ceiling::{CalibrationPositions, Coordinate, Predictor, ReasonsSpec, Statistic};
use crate::spec::coherence::{Detector, DistinctSpec, LikelihoodSpec, RepetitionSpec};
use crate::spec::doses::{Apply, DoseUnit};
use crate::spec::model::{Device, Dtype};
use crate::spec::neurons::{Role, ScreenScore};
use crate::spec::report::ReportSpec;
use crate::stages::calibrate::{self, CollapseMultiple, LayerCalibration, NeuronCalibration};
use crate::stages::judge::*;
use crate::stages::predict::*;
use crate::stages::screen::{Group, Scored, ScreenResult, Screening};
use crate::stages::verdict::*;
use crate::stats::{Interval, cluster_bootstrap, mean, wilson};
use crate::study::*;
use crate::units::{Dose, Horizon, NeuronId, Sign};

pub const GRID: [f64; 10] = [0.1, 0.2, 0.35, 0.5, 0.7, 0.9, 1.2, 1.6, 2.2, 3.0];
const HORIZONS: [usize; 3] = [8, 16, 28];
const PROMPTS: usize = 24;
const SIGNS: [Sign; 2] = [Sign::Positive, Sign::Negative];
const PREDICTORS: [Predictor; 3] = [
    Predictor::Constant,
    Predictor::ParticipationRatio,
    Predictor::Calibrated,
];

/// Everything that an [`Input`] borrows.
#[derive(Clone)]
pub struct Fixture {
    pub study: Study,
    pub shape: Shape,
    pub seal: Seal,
    pub predictions: Predictions,
    pub judgements: Judgements,
    pub verdicts: Verdicts,
    pub trials: TrialFacts,
    /// Texts by kind of outcome: other, flipped, collapse.
    pub texts: [String; 3],
}

impl Fixture {
    pub fn new() -> Self {
        let study = study();
        let held_out: Vec<NeuronId> = (0..9).map(|i| neuron(i % 6, 7 + 13 * i)).collect();
        let control = vec![neuron(1, 301), neuron(4, 12)];
        let mut neurons: Vec<(NeuronId, Role)> =
            held_out.into_iter().map(|n| (n, Role::HeldOut)).collect();
        neurons.extend(control.into_iter().map(|n| (n, Role::Control)));
        neurons.sort_by_key(|n| n.0);
        let predictions = predictions(&study, &neurons);
        let judgements = judgements(&study, &neurons);
        let verdicts = verdicts(&study, &neurons, &predictions, &judgements);
        let planned = 2 * neurons.len() * PROMPTS * (2 * GRID.len()) + 2 * PROMPTS;
        Self {
            study,
            shape: Shape {
                family: "llama".into(),
                layers: 6,
                d_model: 128,
                d_ff: 384,
                vocab: 332,
                context: 256,
                norm_after_ffn: false,
                parameters: 1_000_000,
            },
            seal: Seal {
                sha256: "5e".repeat(32),
                sealed_at: "2031-02-03T04:05:06Z".into(),
                trials_before: 0,
            },
            predictions,
            judgements,
            verdicts,
            trials: TrialFacts {
                planned,
                finished: planned,
                failed: 0,
            },
            texts: [
                "the red cat sees two small dogs .".into(),
                "el gato rojo ve dos perros pequeños .".into(),
                "gato gato gato gato gato gato gato gato".into(),
            ],
        }
    }

    pub fn input(&self) -> Input<'_> {
        let mut input = Input {
            study: &self.study,
            study_hash: "57d0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e",
            spec_file: "/home/someone/specs/two-modes.yaml",
            program_version: "0.1.0",
            shape: Some(&self.shape),
            seal: &self.seal,
            predictions: &self.predictions,
            judgements: &self.judgements,
            verdicts: &self.verdicts,
            trials: self.trials,
            samples: Vec::new(),
        };
        input.samples = samples::gather(&input, self);
        input
    }
}

impl SampleSource for Fixture {
    fn sample(
        &self,
        behavior: &str,
        prompt_id: &str,
        steering: Option<(NeuronId, Dose)>,
    ) -> Option<SampleRollout> {
        let place = prompt_id.rsplit('-').next()?.parse::<usize>().ok()?;
        let Some((neuron, dose)) = steering else {
            return Some(self.rollout(0, "no class claims it"));
        };
        let sign = if dose.0 > 0.0 {
            Sign::Positive
        } else {
            Sign::Negative
        };
        let curve = (self.judgements.curves.iter())
            .find(|c| (c.behavior.as_str(), c.neuron, c.sign) == (behavior, neuron, sign))?;
        let point = curve.points.iter().find(|p| p.dose == dose.0)?;
        let shares = point.horizons.last()?;
        Some(if place < shares.collapsed {
            self.rollout(2, "repetition: `gato` 8 times")
        } else if place < shares.collapsed + shares.flipped {
            self.rollout(1, "lexicon: 7 of 7 words")
        } else {
            self.rollout(0, "no class claims it")
        })
    }
}

impl Fixture {
    fn rollout(&self, kind: usize, rule: &str) -> SampleRollout {
        SampleRollout {
            text: self.texts[kind].clone(),
            outcome: ["other", "flipped", "collapse"][kind].into(),
            flipped: kind == 1,
            rule: rule.into(),
        }
    }
}

fn neuron(layer: usize, index: usize) -> NeuronId {
    NeuronId { layer, index }
}

fn outcome(name: &str, flipped: bool) -> Outcome {
    Outcome {
        name: name.into(),
        oracle: any_oracle(),
        flipped,
    }
}

fn any_oracle() -> Oracle {
    Oracle::Never
}

fn behavior(
    name: &str,
    description: &str,
    outcomes: Vec<Outcome>,
    expected_trigger: f64,
) -> Behavior {
    Behavior {
        name: name.into(),
        description: description.into(),
        prompts: format!("{name}-prompts"),
        outcomes,
        contrast: None,
        target_tokens: vec![],
        control_tokens: vec![],
        expected_trigger,
    }
}

fn prompts(name: &str, text: &str) -> (String, Vec<Prompt>) {
    let prompt = |i| Prompt {
        id: format!("{name}-{i}"),
        tokens: vec![1, 2, 3],
        text: format!("{text} {i}"),
        expect: BTreeMap::new(),
    };
    (
        format!("{name}-prompts"),
        (0..PROMPTS).map(prompt).collect(),
    )
}

fn study() -> Study {
    let group = |name: &str, role, behaviors: &[&str]| NeuronGroup {
        name: name.into(),
        role,
        selection: Selection::Fixed(vec![]),
        behaviors: behaviors.iter().map(|b| b.to_string()).collect(),
    };
    let both = ["language-routing", "refusal"];
    let mut groups = vec![
        group("calibration", Role::Calibration, &[]),
        group("pivots", Role::HeldOut, &both),
        group("random", Role::Control, &both),
    ];
    groups[1].selection = Selection::Screen {
        behavior: both[0].into(),
        score: ScreenScore::OneStepPush,
        top: 9,
        per_layer: false,
        layers: (0..6).collect(),
    };
    Study {
        name: "two-modes".into(),
        title: "Two modes of a small bilingual model".into(),
        description: "Can a single feed-forward neuron switch the language of the answer, or lift a refusal, without breaking the text?".into(),
        model: ModelIdentity {
            name: "bilingual".into(),
            folder: "/home/someone/specs/models/bilingual".into(),
            files: [("config.json", "c0"), ("model.safetensors", "ab"), ("tokenizer.json", "7e")]
                .map(|(name, hex)| (name.to_owned(), hex.repeat(32)))
                .into(),
            dtype: Dtype::F32,
            device: Device::Cpu,
        },
        seed: 7,
        prompts: [prompts("language-routing", "describe the picture"), prompts("refusal", "what is the code of box")].into(),
        behaviors: vec![
            behavior("language-routing", "Answer in Spanish where English was asked for.", vec![outcome("flipped", true)], 0.3),
            behavior(
                "refusal",
                "Answer where the model was taught to refuse.",
                vec![outcome("refusal", false), outcome("reach", true), outcome("bypass", true)],
                0.45,
            ),
        ],
        neurons: groups,
        doses: Doses {
            unit: DoseUnit::Budget,
            magnitudes: GRID.to_vec(),
            signs: SIGNS.to_vec(),
            apply: Apply::Generation,
            window: None,
        },
        rollout: Rollout {
            horizons: HORIZONS.map(Horizon).to_vec(),
            sample: None,
            stop_at_end: true,
            verdict_horizon: Horizon(28),
        },
        calibration: Calibration {
            prompts: "refusal-prompts".into(),
            positions: CalibrationPositions::Generation,
            statistic: Statistic::Mean,
            push: 0.6,
        },
        ceiling: Ceiling {
            predictors: PREDICTORS.to_vec(),
            headline: Predictor::Calibrated,
            constant: 1.46,
            kappa: None,
            bulk: (0.15, 0.85),
        },
        coherence: Coherence {
            collapsed_if: vec![Detector::Likelihood, Detector::Repetition],
            likelihood: LikelihoodSpec::default(),
            repetition: RepetitionSpec::default(),
            distinct: DistinctSpec::default(),
            oracle: None,
        },
        thresholds: Thresholds {
            flip_share: 0.5,
            collapse_share: 0.5,
            coordinate: Coordinate::Law,
            confidence: 0.95,
        },
        reasons: ReasonsSpec::default(),
        report: ReportSpec::default(),
    }
}

fn alignment(neuron: NeuronId) -> f64 {
    ((neuron.index * 7919 % 21) as f64 - 10.0) / 100.0
}

fn predictions(study: &Study, neurons: &[(NeuronId, Role)]) -> Predictions {
    let calibration: Vec<NeuronId> = (0..4).map(|i| neuron(i + 1, 200 + i)).collect();
    let of_role = |role| {
        neurons
            .iter()
            .filter(|n| n.1 == role)
            .map(|n| n.0)
            .collect::<Vec<_>>()
    };
    let members = [
        calibration.clone(),
        of_role(Role::HeldOut),
        of_role(Role::Control),
    ];
    let groups = (study.neurons.iter().zip(members))
        .map(|(g, neurons)| Group {
            name: g.name.clone(),
            role: g.role,
            behaviors: g.behaviors.clone(),
            neurons,
        })
        .collect();
    let chosen = (of_role(Role::HeldOut).into_iter().enumerate())
        .map(|(i, neuron)| Scored {
            neuron,
            score: 3.2 / (i + 1) as f64,
            sign: SIGNS[i % 2],
        })
        .collect();
    let parameters = [Some(1.46), None, Some(1.18)];
    Predictions {
        study: "study".into(),
        screening: Screening {
            groups,
            screens: vec![ScreenResult {
                group: "pivots".into(),
                behavior: "language-routing".into(),
                score: ScreenScore::OneStepPush,
                scored: 2304,
                chosen,
            }],
        },
        calibration: calibrate::Calibration {
            positions: 1740,
            layers: (0..6)
                .map(|layer| LayerCalibration {
                    layer,
                    residual_norm: 4.0 + 3.1 * layer as f64,
                    leading_share: 0.18 + 0.05 * layer as f64,
                    participation_ratio: 14.0 - 1.5 * layer as f64,
                })
                .collect(),
            neurons: (neurons.iter())
                .map(|(neuron, _)| NeuronCalibration {
                    neuron: *neuron,
                    write_norm: 0.8,
                    budget: 12.5,
                    c0: alignment(*neuron),
                })
                .collect(),
            multiples: (calibration
                .iter()
                .flat_map(|n| SIGNS.map(|s| (*n, s)))
                .enumerate())
            .map(|(i, (neuron, sign))| CollapseMultiple {
                neuron,
                sign,
                multiple: (i != 3).then_some(1.2),
            })
            .collect(),
        },
        predictors: (PREDICTORS.iter().zip(parameters))
            .map(|(predictor, parameter)| FittedPredictor {
                predictor: *predictor,
                parameter,
                source: match parameter {
                    Some(_) if *predictor == Predictor::Constant => "given in the spec".into(),
                    Some(_) => "median over 7 branches of 4 calibration neurons".into(),
                    None => "no fit: the spectrum of layer 0 is missing".into(),
                },
            })
            .collect(),
        ceilings: (neurons.iter().flat_map(|(n, _)| SIGNS.map(|s| (*n, s))))
            .map(|(neuron, sign)| PredictedCeiling {
                neuron,
                sign,
                by: parameters
                    .map(|p| p.map(|multiple| estimate(neuron, sign, multiple)))
                    .into(),
            })
            .collect(),
        forecasts: vec![],
    }
}

fn estimate(neuron: NeuronId, sign: Sign, multiple: f64) -> CeilingEstimate {
    CeilingEstimate {
        multiple,
        coordinate: along(neuron, sign, multiple),
    }
}

/// The law's coordinate along the branch.
fn along(neuron: NeuronId, sign: Sign, budgets: f64) -> f64 {
    control_coordinate(budgets, sign.factor() * alignment(neuron))
}

/// Where a branch flips and collapses, in budgets, at the longest horizon.
fn thresholds_of(place: usize, sign: Sign, typed: bool) -> (f64, f64) {
    let key = place * 4 + usize::from(sign == Sign::Negative) * 2 + usize::from(typed);
    match key % 11 {
        0 => (0.5, 1.15),
        1 => (0.4, 1.5),
        2 | 4 => (9.0, 0.95),
        3 => (9.0, 9.0),
        5 => (1.8, 1.05),
        6 | 9 => (9.0, 1.3),
        7 => (9.0, 1.1),
        8 => (0.85, 9.0),
        _ => (9.0, 0.8),
    }
}

fn logistic(budgets: f64, threshold: f64) -> f64 {
    1.0 / (1.0 + (-9.0 * (budgets - threshold)).exp())
}

fn judgements(study: &Study, neurons: &[(NeuronId, Role)]) -> Judgements {
    let mut curves = Vec::new();
    for behavior in &study.behaviors {
        for (place, (neuron, _)) in neurons.iter().enumerate() {
            curves.extend(SIGNS.map(|sign| curve(behavior, place, *neuron, sign)));
        }
    }
    Judgements {
        baselines: study.behaviors.iter().map(baseline).collect(),
        curves,
        detectors: (study.behaviors.iter())
            .map(|b| DetectorComparison {
                behavior: b.name.clone(),
                rollouts: 5280,
                collapsed: 1932,
                detectors: [
                    (Detector::Likelihood, true, 1890, 5238),
                    (Detector::Repetition, true, 1544, 4892),
                    (Detector::Distinct, false, 1731, 5001),
                ]
                .map(|(detector, decides, fired, agreed)| DetectorCount {
                    detector,
                    decides,
                    fired,
                    agreed,
                })
                .into(),
            })
            .collect(),
    }
}

fn baseline(behavior: &Behavior) -> Baseline {
    Baseline {
        behavior: behavior.name.clone(),
        prompts: PROMPTS,
        likelihood_limits: vec![1.121, 1.104, 1.098],
        horizons: HORIZONS
            .map(|h| shares(behavior, Horizon(h), 0.0, 0.0))
            .into(),
    }
}

fn curve(behavior: &Behavior, place: usize, neuron: NeuronId, sign: Sign) -> Curve {
    let (trigger, ceiling) = thresholds_of(place, sign, behavior.outcomes.len() > 1);
    let point = |budgets: f64| {
        let law = along(neuron, sign, budgets);
        DosePoint {
            budgets,
            dose: (sign.factor() * budgets * 12.5) as f32,
            law_coordinate: law,
            measured_coordinate: law + 0.05 * (6.0 * budgets).sin() / (1.0 + budgets),
            horizons: HORIZONS
                .map(|h| {
                    let late = 1.0 + (28 - h) as f64 / 60.0;
                    let collapsed = logistic(budgets, ceiling * late);
                    let flipped = logistic(budgets, trigger * late) * (1.0 - collapsed);
                    shares(behavior, Horizon(h), flipped, collapsed)
                })
                .into(),
        }
    };
    Curve {
        behavior: behavior.name.clone(),
        neuron,
        sign,
        prompts: PROMPTS,
        points: GRID.map(point).into(),
    }
}

fn shares(behavior: &Behavior, horizon: Horizon, flipped: f64, collapsed: f64) -> HorizonShares {
    let count = |share: f64| (share * PROMPTS as f64).round() as usize;
    let (flipped, collapsed) = (count(flipped), count(collapsed));
    let (flipped, rest) = (
        flipped.min(PROMPTS - collapsed),
        PROMPTS.saturating_sub(flipped + collapsed),
    );
    let outcomes = match behavior.outcomes.len() {
        1 => vec![flipped, rest, collapsed],
        _ => {
            let reach = if horizon.0 > 20 { flipped * 2 / 3 } else { 0 };
            vec![rest, reach, flipped - reach, 0, collapsed]
        }
    };
    HorizonShares {
        horizon,
        collapsed,
        flipped,
        outcomes,
    }
}

fn verdicts(
    study: &Study,
    neurons: &[(NeuronId, Role)],
    predictions: &Predictions,
    judgements: &Judgements,
) -> Verdicts {
    let mut verdicts = Vec::new();
    for behavior in &study.behaviors {
        for (neuron, role) in neurons {
            let curves = judgements
                .curves
                .iter()
                .filter(|c| c.behavior == behavior.name && c.neuron == *neuron);
            let branches: Vec<BranchVerdict> = curves.map(branch).collect();
            let any = |wanted: fn(&Window) -> bool| branches.iter().any(|b| wanted(&b.window));
            verdicts.push(NeuronVerdict {
                behavior: behavior.name.clone(),
                neuron: *neuron,
                role: *role,
                open: match (
                    any(|w| *w == Window::Open),
                    any(|w| matches!(w, Window::Censored { .. })),
                ) {
                    (true, _) => Some(true),
                    (false, true) => None,
                    _ => Some(false),
                },
                branches,
            });
        }
    }
    let scoreboard = scoreboard(study, predictions, &verdicts);
    Verdicts {
        study: "study".into(),
        seal: "seal".into(),
        neurons: verdicts,
        scoreboard,
    }
}

fn branch(curve: &Curve) -> BranchVerdict {
    let reached = |count: &dyn Fn(&DosePoint) -> usize| {
        let found = curve.points.iter().find(|p| 2 * count(p) >= curve.prompts);
        let last = &curve.points[curve.points.len() - 1];
        match found {
            Some(p) => Threshold::At {
                budgets: p.budgets,
                coordinate: p.law_coordinate,
            },
            None => Threshold::Above {
                budgets: last.budgets,
                coordinate: last.law_coordinate,
            },
        }
    };
    let triggers: Vec<HorizonThreshold> = (HORIZONS.iter().enumerate())
        .map(|(i, h)| HorizonThreshold {
            horizon: Horizon(*h),
            trigger: reached(&|p| p.horizons[i].flipped),
        })
        .collect();
    let ceiling = reached(&|p| p.horizons[2].collapsed);
    let trigger = triggers[2].trigger;
    let window = match (trigger.reached(), ceiling.reached()) {
        (true, _) if trigger.budgets() < ceiling.budgets() => Window::Open,
        (false, false) => Window::Censored { evidence: "the grid ended at g 3.00: at most 0 of 24 prompts flipped, at most 0 of 24 collapsed".into() },
        _ => Window::Closed {
            reason: [Reason::CollapseBeforeTrigger, Reason::TooLate, Reason::NormalisationCap][match curve.neuron.layer { 5 => 1, 3 => 2, _ => 0 }],
            evidence: format!("12 of 24 collapsed at g {:.2}, where at most 3 of 24 had flipped", ceiling.budgets()),
        },
    };
    BranchVerdict {
        sign: curve.sign,
        triggers,
        ceiling,
        window,
    }
}

fn scoreboard(study: &Study, predictions: &Predictions, verdicts: &[NeuronVerdict]) -> Scoreboard {
    let held_out: Vec<&NeuronVerdict> = verdicts
        .iter()
        .filter(|v| v.role == Role::HeldOut)
        .collect();
    let ceilings = (PREDICTORS.iter().enumerate())
        .map(|(i, predictor)| {
            let errors: Vec<Vec<f64>> = (held_out.iter())
                .map(|v| {
                    v.branches
                        .iter()
                        .filter(|b| b.ceiling.reached())
                        .filter_map(|b| {
                            let predicted = predictions
                                .ceilings
                                .iter()
                                .find(|c| (c.neuron, c.sign) == (v.neuron, b.sign))?
                                .by[i]?;
                            Some((predicted.coordinate - b.ceiling.coordinate()).abs())
                        })
                        .collect()
                })
                .filter(|e: &Vec<f64>| !e.is_empty())
                .collect();
            let all: Vec<f64> = errors.concat();
            let overall = mean(&all).map(|mean_absolute_error| ErrorEstimate {
                mean_absolute_error,
                interval: cluster_bootstrap(&errors, mean, 0.95, 7).unwrap_or(Interval {
                    low: 0.0,
                    high: 1.0,
                }),
                branches: all.len(),
                neurons: errors.len(),
            });
            CeilingScore {
                predictor: *predictor,
                overall,
                bulk: overall,
                censored: 6,
            }
        })
        .collect();
    let names = study
        .behaviors
        .iter()
        .map(|b| b.name.as_str())
        .chain(["all"]);
    let forecasts = names
        .map(|name| {
            let scored: Vec<bool> = held_out
                .iter()
                .filter(|v| name == "all" || v.behavior == name)
                .filter_map(|v| v.open)
                .collect();
            let open = scored.iter().filter(|o| **o).count();
            let right = scored.len() - scored.len() / 5;
            ForecastScore {
                behavior: name.into(),
                scored: scored.len(),
                right,
                interval: wilson(right, scored.len(), 0.95),
                majority: open.max(scored.len() - open),
                open,
                undecided: 1,
            }
        })
        .collect();
    Scoreboard {
        ceilings,
        forecasts,
    }
}
