//! Each check, on a small record that it fits but for one thing.

use super::*;
use crate::oracles::Oracle;
use crate::record::fixture;
use crate::spec::ceiling::{Predictor, TriggerPredictor};
use crate::stages::predict::Forecast;
use crate::stages::scoreboard::ForecastScore;
use crate::study::Outcome;
use crate::units::{Horizon, Sign};

/// What is wrong, in the words of a check; a change that makes it so.
type Case<T> = (&'static str, fn(&mut T));

fn broken() -> Outcome {
    Outcome {
        name: "broken".into(),
        oracle: Oracle::Regex("(".into()),
        flipped: true,
    }
}

#[test]
fn studies_that_no_spec_makes_are_found() {
    of_study(&fixture::study()).unwrap();
    let cases: [Case<Study>; 14] = [
        ("horizons do not increase", |s| s.rollout.horizons.clear()),
        ("horizons do not increase", |s| {
            s.rollout.horizons[1] = Horizon(4)
        }),
        ("horizons do not increase", |s| {
            s.rollout.horizons[1] = Horizon(64)
        }),
        ("horizon 7 of the verdict", |s| {
            s.rollout.verdict_horizon = Horizon(7)
        }),
        ("magnitudes", |s| s.doses.magnitudes.clear()),
        ("magnitudes", |s| s.doses.magnitudes[0] = -1.0),
        ("signs", |s| s.doses.signs = vec![Sign::Positive; 2]),
        ("finer than 0.0001", |s| s.doses.tolerance = Some(1e-300)),
        ("`routing` has no prompts", |s| {
            drop(s.prompts.remove("questions"))
        }),
        ("`held_out` are measured", |s| {
            s.neurons[0].behaviors.push("x".into())
        }),
        ("expression `(`", |s| s.behaviors[0].outcomes.push(broken())),
        ("prompt set `generic`", |s| {
            drop(s.prompts.remove("generic"))
        }),
        ("headline of the ceiling", |s| {
            s.ceiling.headline = Predictor::Calibrated
        }),
        ("headline of the trigger", |s| {
            s.trigger.headline = TriggerPredictor::Push
        }),
    ];
    for (words, change) in cases {
        let mut study = fixture::study();
        change(&mut study);
        let problem = of_study(&study).unwrap_err();
        assert!(problem.contains(words), "{words:?} is not in: {problem}");
    }
    let mut study = fixture::study();
    study.thresholds.resamples = usize::MAX;
    assert!(of_study(&study).unwrap_err().contains("resamples"));
}

#[test]
fn predictions_of_something_else_are_found() {
    let study = fixture::study();
    of_predictions(&study, &fixture::predictions(&study)).unwrap();
    let cases: [Case<Predictions>; 8] = [
        ("1 layers are calibrated", |p| {
            p.calibration.layers.pop();
        }),
        ("of the group `held_out`", |p| p.calibration.neurons.clear()),
        ("not sorted", |p| {
            let twice = p.calibration.neurons[0].clone();
            p.calibration.neurons.push(twice);
        }),
        ("does not have", |p| {
            p.calibration.neurons[0].neuron.layer = 2
        }),
        ("L1.3 with a predicted ceiling", |p| {
            p.ceilings[0].neuron.layer = 1
        }),
        ("not those of the study", |p| p.predictors.clear()),
        ("estimates of 1 predictors", |p| p.ceilings[0].by.clear()),
        ("behaviour `x`", |p| {
            p.forecasts.push(Forecast {
                neuron: fixture::NEURON,
                behavior: "x".into(),
                open: None,
            });
        }),
    ];
    for (words, change) in cases {
        let mut predictions = fixture::predictions(&study);
        change(&mut predictions);
        let problem = of_predictions(&study, &predictions).unwrap_err();
        assert!(problem.contains(words), "{words:?} is not in: {problem}");
    }
}

/// More right than scored.
fn impossible() -> ForecastScore {
    ForecastScore {
        behavior: "routing".into(),
        scored: 1,
        right: usize::MAX,
        interval: None,
        majority: 1,
        open: 0,
        open_foretold: 0,
        foretold: 0,
        undecided: 0,
    }
}

#[test]
fn results_of_something_else_are_found() {
    let study = fixture::study();
    let predictions = fixture::predictions(&study);
    let judgements = Judgements {
        baselines: vec![],
        curves: vec![],
        detectors: vec![],
    };
    let verdicts = fixture::verdicts(&study, "seal");
    of_results(&study, &predictions, &judgements, &verdicts).unwrap();
    let cases: [Case<Verdicts>; 4] = [
        ("no parts of each other", |v| {
            v.scoreboard.forecasts.push(impossible())
        }),
        ("L1.3 with a verdict", |v| v.neurons[0].neuron.layer = 1),
        ("behaviour `x`", |v| v.neurons[0].behavior = "x".into()),
        ("a trigger for each horizon", |v| {
            v.neurons[0].branches[0].triggers.clear()
        }),
    ];
    for (words, change) in cases {
        let mut verdicts = verdicts.clone();
        change(&mut verdicts);
        let problem = of_results(&study, &predictions, &judgements, &verdicts).unwrap_err();
        assert!(problem.contains(words), "{words:?} is not in: {problem}");
    }
}
