//! A small finished run for tests: one behaviour, two prompts, one held-out neuron at two doses.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::folder::RunFolder;
use super::manifest::{Manifest, Written};
use super::run_record::write_verdicts;
use super::seal;
use super::store::TrialStore;
use super::trial::{Trial, tests::trial};
use crate::model::Shape;
use crate::oracles::Span;
use crate::spec::ceiling::{
    CalibrationPositions, Coordinate, Estimate, Predictor, ReasonsSpec, Statistic, TriggerPredictor,
};
use crate::spec::coherence::{Detector, DistinctSpec, LikelihoodSpec, RepetitionSpec};
use crate::spec::doses::{Apply, DoseUnit};
use crate::spec::model::{Device, Dtype};
use crate::spec::neurons::Role;
use crate::spec::report::ReportSpec;
use crate::stages::calibrate::LayerCalibration;
use crate::stages::judge::{Judgements, RolloutJudgement};
use crate::stages::predict::{
    CeilingEstimate, FittedPredictor, Forecast, PredictedCeiling, Predictions,
};
use crate::stages::scoreboard::Scoreboard;
use crate::stages::screen::Group;
use crate::stages::verdict::{
    BranchVerdict, HorizonThreshold, NeuronVerdict, Reason, Threshold, Verdicts, Window,
};
use crate::study::{
    Behavior, Calibration, Ceiling, Coherence, Doses, ModelIdentity, NeuronGroup, Prompt, Rollout,
    Selection, Study, Thresholds, Trigger,
};
use crate::units::{Horizon, NeuronId, Sign};

/// The held-out neuron.
pub const NEURON: NeuronId = NeuronId { layer: 0, index: 3 };

/// A prompt of one token.
pub fn prompt(token: u32, text: &str) -> Prompt {
    Prompt {
        id: format!("p{token}"),
        tokens: vec![token],
        text: text.into(),
        expect: BTreeMap::new(),
    }
}

/// The study.
pub fn study() -> Study {
    let sets = [
        ("generic", vec![prompt(9, "Once")]),
        (
            "questions",
            vec![prompt(1, "What, \"who\"?"), prompt(2, "two\nlines")],
        ),
    ];
    Study {
        name: "fixture".into(),
        title: "Fixture".into(),
        description: String::new(),
        model: ModelIdentity {
            name: "toy".into(),
            folder: PathBuf::from("models/toy"),
            files: BTreeMap::from([("config.json".into(), "00".repeat(32))]),
            shape: Shape {
                family: "llama".into(),
                layers: 2,
                d_model: 8,
                d_ff: 16,
                vocab: 32,
                parameters: 1000,
                context: 64,
                norm_after_ffn: false,
            },
            stored_as: vec!["f32".into()],
            dtype: Dtype::F32,
            device: Device::Cpu,
        },
        seed: 7,
        prompts: sets
            .into_iter()
            .map(|(name, set)| (name.into(), set))
            .collect(),
        behaviors: vec![Behavior {
            name: "routing".into(),
            description: String::new(),
            prompts: "questions".into(),
            outcomes: vec![],
            contrast: None,
            target_tokens: vec![],
            control_tokens: vec![],
            expected_trigger: 0.3,
        }],
        neurons: vec![NeuronGroup {
            name: "held_out".into(),
            role: Role::HeldOut,
            selection: Selection::Fixed(vec![NEURON]),
            behaviors: vec!["routing".into()],
        }],
        doses: Doses {
            unit: DoseUnit::Budget,
            magnitudes: vec![0.3, 0.6],
            tolerance: None,
            signs: vec![Sign::Positive],
            apply: Apply::Generation,
            window: None,
        },
        rollout: Rollout {
            horizons: vec![Horizon(4), Horizon(8)],
            sample: None,
            stop_at_end: true,
            stop_at_collapse: false,
            verdict_horizon: Horizon(8),
        },
        calibration: Calibration {
            prompts: "generic".into(),
            positions: CalibrationPositions::Prompt,
            statistic: Statistic::Mean,
            push: 0.6,
            steer_on: "generic".into(),
            contrast: None,
            rollout_prompts: 4,
        },
        ceiling: Ceiling {
            predictors: vec![Predictor::Constant],
            headline: Predictor::Constant,
            constant: 1.46,
            kappa: None,
            bulk: (0.15, 0.85),
            interval: 0.9,
        },
        trigger: Trigger {
            predictors: vec![TriggerPredictor::Expected],
            headline: TriggerPredictor::Expected,
            margin: None,
        },
        coherence: Coherence {
            collapsed_if: vec![Detector::Likelihood],
            likelihood: LikelihoodSpec::default(),
            repetition: RepetitionSpec::default(),
            distinct: DistinctSpec::default(),
            oracle: None,
        },
        thresholds: Thresholds {
            flip_share: 0.5,
            collapse_share: 0.5,
            coordinate: Coordinate::Law,
            estimate: Estimate::Isotonic,
            confidence: 0.95,
            resamples: 400,
        },
        reasons: ReasonsSpec::default(),
        report: ReportSpec::default(),
    }
}

/// What was written.
pub fn written() -> Written<'static> {
    Written {
        spec_path: Path::new("specs/fixture.yaml"),
        spec_text: "schema: reachspec/study/v1\n",
        overrides: &[],
    }
}

/// Trials of every prompt at dose 0 and both doses.
pub fn trials() -> Vec<Trial> {
    let doses = [None, Some((NEURON.index, 0.75)), Some((NEURON.index, 1.5))];
    (1..=2)
        .flat_map(|prompt| {
            doses.map(|dose| {
                trial(
                    prompt,
                    dose,
                    &format!("said, \"{prompt}\" at {:?}", dose.map(|d| d.1)),
                )
            })
        })
        .collect()
}

/// The second dose flips, and collapses at the longer horizon.
pub fn judgements(trials: &[Trial]) -> Vec<RolloutJudgement> {
    let judge = |trial: &Trial, horizon: usize| {
        let high = trial.steering().is_some_and(|s| s.dose.0 > 1.0);
        let (outcome, rule) = match (high, horizon) {
            (true, 8) => ("collapse", "likelihood"),
            (true, _) => ("flipped", "contains \"x\", at the start"),
            _ => ("other", ""),
        };
        RolloutJudgement {
            trial: trial.key().to_string(),
            behavior: "routing".into(),
            prompt_id: format!("p{}", trial.cell().prompt[0]),
            horizon: Horizon(horizon),
            outcome: outcome.into(),
            flipped: outcome == "flipped",
            rule: rule.into(),
            span: (outcome == "flipped").then_some(Span { start: 1, end: 2 }),
            mean_nll: 0.5,
        }
    };
    trials
        .iter()
        .flat_map(|trial| [4, 8].map(|horizon| judge(trial, horizon)))
        .collect()
}

/// Predictions of the study.
pub fn predictions(study: &Study) -> Predictions {
    let mut predictions = seal::tests::predictions(2.5);
    predictions.study = study.question_hash();
    predictions.screening.groups.push(Group {
        name: "held_out".into(),
        role: Role::HeldOut,
        behaviors: vec!["routing".into()],
        neurons: vec![NEURON],
    });
    let layers = (0..2).map(|layer| LayerCalibration {
        layer,
        residual_norm: 0.25,
        leading_share: 0.5,
        participation_ratio: 4.0,
    });
    predictions.calibration.layers.extend(layers);
    predictions.predictors.push(FittedPredictor {
        predictor: Predictor::Constant,
        parameter: Some(1.46),
        regression: None,
        half_width: None,
        source: "given".into(),
    });
    predictions.ceilings.push(PredictedCeiling {
        neuron: NEURON,
        sign: Sign::Positive,
        by: vec![Some(CeilingEstimate {
            multiple: Some(1.46),
            coordinate: 0.875,
            interval: None,
        })],
    });
    predictions.forecasts.push(Forecast {
        neuron: NEURON,
        behavior: "routing".into(),
        open: Some(true),
    });
    predictions
}

/// Verdicts behind a seal.
pub fn verdicts(study: &Study, seal: &str) -> Verdicts {
    let reached = Threshold::At {
        budgets: 0.6,
        coordinate: 0.75,
    };
    let beyond = Threshold::Above {
        budgets: 0.6,
        coordinate: 0.75,
    };
    Verdicts {
        study: study.hash(),
        seal: seal.into(),
        neurons: vec![NeuronVerdict {
            behavior: "routing".into(),
            neuron: NEURON,
            role: Role::HeldOut,
            open: Some(false),
            branches: vec![BranchVerdict {
                sign: Sign::Positive,
                triggers: vec![
                    HorizonThreshold {
                        horizon: Horizon(4),
                        trigger: reached,
                        interval: None,
                    },
                    HorizonThreshold {
                        horizon: Horizon(8),
                        trigger: beyond,
                        interval: None,
                    },
                ],
                ceiling: reached,
                ceiling_interval: None,
                classes: vec![],
                window: Window::Closed {
                    reason: Reason::CollapseBeforeTrigger,
                    evidence: "collapse at 0.6, no flip".into(),
                },
            }],
        }],
        scoreboard: Scoreboard {
            ceilings: vec![],
            triggers: vec![],
            forecasts: vec![],
        },
        attribution: vec![],
    }
}

/// Writes a finished run of a study.
pub fn finish(root: &Path, study: &Study) {
    finish_with(root, study, predictions(study));
}

/// The same with other predictions.
pub fn finish_with(root: &Path, study: &Study, predictions: Predictions) {
    let run = RunFolder::create_or_open(root).unwrap();
    let mut manifest = Manifest::new(study, &written(), 2);
    manifest.write(&run).unwrap();
    let sealed = predictions.seal(&run, 0).unwrap();
    let mut store = TrialStore::open_or_create(&run.trials()).unwrap();
    let trials = trials();
    store.insert(&trials).unwrap();
    let mut writer = store.replace_judgements().unwrap();
    for judgement in judgements(&trials) {
        writer.push(judgement).unwrap();
    }
    writer.finish().unwrap();
    let judgements = Judgements {
        baselines: vec![],
        curves: vec![],
        detectors: vec![],
    };
    write_verdicts(&run, &judgements, &verdicts(study, &sealed.seal().sha256)).unwrap();
    let digest = store.check().unwrap();
    drop(store);
    manifest.finish(&run, digest, 1.5).unwrap();
    manifest.write(&run).unwrap();
}
