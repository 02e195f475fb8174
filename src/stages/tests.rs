//! All stages on a scripted model, whose every branch flips and collapses where the test says.

use std::collections::BTreeMap;

use tempfile::TempDir;

use super::calibrate::calibrate;
use super::judge::{Judgements, judge};
use super::predict::{SealedPredictions, predict};
use super::residual_stream::read_residual_stream;
use super::screen::screen;
use super::sweep::sweep;
use super::verdict::{BranchVerdict, Reason, Threshold, Verdicts, Window, verdict};
use crate::events::{Event, Listener, Silent, Stage};
use crate::law::control_coordinate;
use crate::model::LanguageModel;
use crate::model::scripted::{Branch, ScriptedModel, ScriptedNeuron};
use crate::monitor::{Expected, Monitor};
use crate::oracles::Oracle;
use crate::record::fixture;
use crate::record::store::TrialStore;
use crate::record::{Manifest, RunFolder};
use crate::spec::ceiling::{Estimate, Predictor, TriggerPredictor};
use crate::spec::coherence::Detector;
use crate::spec::neurons::{Role, ScreenScore};
use crate::stop::{Stop, Stopped};
use crate::study::{Behavior, Contrast, NeuronGroup, Outcome, Prompt, Selection, Study};
use crate::units::{Horizon, NeuronId, Sign, TokenId};

const OPEN: NeuronId = NeuronId { layer: 0, index: 1 };
const CLOSED: NeuronId = NeuronId { layer: 1, index: 2 };
const SILENT: NeuronId = NeuronId { layer: 1, index: 3 };
const CALIBRATION: NeuronId = NeuronId { layer: 2, index: 4 };

/// `OPEN` flips at 0.62 and collapses at 1.31 budgets above zero; below, and in `CLOSED`, collapse comes first; nothing moves `SILENT`.
fn model() -> ScriptedModel {
    let branch = |flips_at, collapses_at| Branch {
        flips_at,
        flips_after: 0,
        collapses_at,
    };
    let neuron = |c0, positive, negative| ScriptedNeuron {
        c0,
        positive,
        negative,
        reads: Some(13),
        ..ScriptedNeuron::default()
    };
    let first = branch(Some(2.5), Some(0.9));
    ScriptedModel::two_languages(3, 8)
        .with_neuron(OPEN, neuron(0.2, branch(Some(0.62), Some(1.31)), first))
        .with_neuron(CLOSED, neuron(-0.1, first, branch(None, Some(1.7))))
        .with_neuron(SILENT, neuron(0.0, branch(None, None), branch(None, None)))
}

fn prompts(model: &ScriptedModel, texts: &[&str]) -> Vec<Prompt> {
    let prompt = |text: &&str| Prompt {
        id: (*text).into(),
        tokens: model.encode(text).unwrap(),
        text: (*text).into(),
        expect: BTreeMap::new(),
    };
    texts.iter().map(prompt).collect()
}

fn study(model: &ScriptedModel) -> Study {
    let mut study = fixture::study();
    study.model.shape = crate::model::LanguageModel::shape(model).clone();
    let asked = ["count", "please count", "count please", "count count"];
    let other = ["compte", "please compte", "compte please", "compte compte"];
    let calibrated = [
        "please please count",
        "count count count",
        "count please count",
    ];
    for (name, texts) in [
        ("generic", &["please", "please please"][..]),
        ("questions", &asked[..]),
        ("other", &other[..]),
        ("calibrated", &calibrated[..]),
    ] {
        study.prompts.insert(name.into(), prompts(model, texts));
    }
    let tokens = |name: &str, study: &Study| -> Vec<Vec<TokenId>> {
        study.prompts[name]
            .iter()
            .map(|p| p.tokens.clone())
            .collect()
    };
    let (one, un) = (model.encode("one").unwrap(), model.encode("un").unwrap());
    study.behaviors = vec![Behavior {
        outcomes: vec![Outcome {
            name: "flipped".into(),
            oracle: Oracle::Regex("^un deux".into()),
            flipped: true,
        }],
        contrast: Some(Contrast {
            original: tokens("questions", &study),
            perturbed: tokens("other", &study),
            prefill: vec![],
        }),
        target_tokens: un,
        control_tokens: one,
        ..study.behaviors[0].clone()
    }];
    let group = |name: &str, role, neurons: &[NeuronId], behaviors: &[&str]| NeuronGroup {
        name: name.into(),
        role,
        selection: Selection::Fixed(neurons.to_vec()),
        behaviors: behaviors.iter().map(|b| (*b).into()).collect(),
    };
    study.neurons = vec![
        group("calibration", Role::Calibration, &[CALIBRATION], &[]),
        group(
            "held_out",
            Role::HeldOut,
            &[OPEN, CLOSED, SILENT],
            &["routing"],
        ),
        group(
            "directions",
            Role::Control,
            &[NeuronId::random_direction(0, 0)],
            &["routing"],
        ),
    ];
    study.doses.magnitudes = vec![0.3, 0.6, 0.9, 1.2, 1.5, 2.0];
    study.doses.signs = vec![Sign::Positive, Sign::Negative];
    study.rollout.horizons = vec![Horizon(4), Horizon(6)];
    study.rollout.verdict_horizon = Horizon(6);
    study.calibration.steer_on = "calibrated".into();
    study.coherence.collapsed_if = vec![Detector::Repetition];
    study.ceiling.predictors = vec![
        Predictor::Constant,
        Predictor::Calibrated,
        Predictor::OneStep,
    ];
    study.ceiling.headline = Predictor::Calibrated;
    study.trigger.predictors = vec![TriggerPredictor::Expected, TriggerPredictor::Push];
    study.trigger.headline = TriggerPredictor::Push;
    study.trigger.margin = Some(0.05);
    study
}

struct Found {
    sealed: SealedPredictions,
    judgements: Judgements,
    verdicts: Verdicts,
}

fn run(study: &Study) -> Found {
    let model = model();
    let parent = TempDir::new().unwrap();
    let folder = RunFolder::create_or_open(parent.path()).unwrap();
    Manifest::new(study, &fixture::written(), 1)
        .write(&folder)
        .unwrap();
    let mut store = TrialStore::open_or_create(&folder.trials()).unwrap();
    let mut silent = Silent;
    let monitor = &mut Monitor::new(&mut silent, Stop::default(), Expected::of(study), 0);
    let residuals = read_residual_stream(study, &model).unwrap();
    let screening = screen(study, &residuals, &model).unwrap();
    let calibration =
        calibrate(study, &residuals, &screening, &model, &mut store, monitor).unwrap();
    let sealed = predict(study, screening, calibration)
        .seal(&folder, 0)
        .unwrap();
    sweep(study, &sealed, &model, &mut store, monitor).unwrap();
    let judgements = judge(study, &sealed, &model, &store, &mut |_| Ok(())).unwrap();
    let verdicts = verdict(study, &sealed, &judgements);
    Found {
        sealed,
        judgements,
        verdicts,
    }
}

fn branch(verdicts: &Verdicts, neuron: NeuronId, sign: Sign) -> &BranchVerdict {
    let of_neuron = verdicts
        .neurons
        .iter()
        .find(|v| v.neuron == neuron)
        .unwrap();
    of_neuron.branches.iter().find(|b| b.sign == sign).unwrap()
}

fn budgets(threshold: Threshold) -> f64 {
    assert!(threshold.reached(), "{threshold:?}");
    threshold.budgets()
}

#[test]
fn a_grid_gives_thresholds_between_its_doses_and_the_windows_that_were_scripted() {
    let found = run(&study(&model()));
    let open = branch(&found.verdicts, OPEN, Sign::Positive);
    assert_eq!(open.window, Window::Open);
    // Every prompt flips from one dose of the grid to the next: half of them, in the middle.
    assert!((budgets(open.triggers[1].trigger) - 0.75).abs() < 1e-9);
    assert!((budgets(open.ceiling) - 1.35).abs() < 1e-9);
    let expected = control_coordinate(1.35, 0.2);
    assert!((open.ceiling.coordinate() - expected).abs() < 1e-6);
    for (neuron, sign) in [(OPEN, Sign::Negative), (CLOSED, Sign::Positive)] {
        let Window::Closed { reason, evidence } = &branch(&found.verdicts, neuron, sign).window
        else {
            panic!("{neuron} {sign} is not closed");
        };
        assert_eq!(*reason, Reason::CollapseBeforeTrigger);
        assert!(evidence.contains("at most 0 of 4 flipped"), "{evidence}");
    }
    let silent = branch(&found.verdicts, SILENT, Sign::Positive);
    assert!(matches!(silent.window, Window::Censored { .. }));
    assert!(!silent.ceiling.reached() && silent.ceiling_interval.is_none());
    let open = |neuron| {
        let mut verdicts = found.verdicts.neurons.iter();
        verdicts.find(|v| v.neuron == neuron).unwrap().open
    };
    assert_eq!(
        [OPEN, CLOSED, SILENT].map(open),
        [Some(true), Some(false), None]
    );
}

#[test]
fn the_first_dose_counts_where_no_estimate_is_wanted() {
    let mut study = study(&model());
    study.thresholds.estimate = Estimate::Grid;
    let found = run(&study);
    let open = branch(&found.verdicts, OPEN, Sign::Positive);
    assert_eq!(budgets(open.triggers[1].trigger), 0.9);
    assert_eq!(budgets(open.ceiling), 1.5);
}

/// Asks the run to stop at the first progress of a stage.
struct StopsAt(Stage, Stop);

impl Listener for StopsAt {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Progress(progress) if progress.stage == self.0 => self.1.request(),
            _ => {}
        }
    }
}

#[test]
fn a_stopped_sweep_keeps_what_has_ended() {
    let (study, stop) = (study(&model()), Stop::default());
    let mut stopped_model = model();
    stopped_model.stop_on(stop.clone());
    let parent = TempDir::new().unwrap();
    let folder = RunFolder::create_or_open(parent.path()).unwrap();
    let mut store = TrialStore::open_or_create(&folder.trials()).unwrap();
    let residuals = read_residual_stream(&study, &stopped_model).unwrap();
    let screening = screen(&study, &residuals, &stopped_model).unwrap();
    let mut listener = StopsAt(Stage::Calibrate, stop.clone());
    let mut monitor = Monitor::new(&mut listener, stop, Expected::of(&study), 0);
    monitor.begin(Stage::Calibrate).unwrap();
    let model: &dyn LanguageModel = &stopped_model;
    let stopped = calibrate(
        &study,
        &residuals,
        &screening,
        model,
        &mut store,
        &mut monitor,
    );
    assert!(Stopped::is_cause_of(&stopped.unwrap_err()));
    // The first rollout told of progress; the second one was not begun.
    assert_eq!(store.count().unwrap(), 1);
    let reached = monitor.reached();
    // Three prompts: unsteered, and at six doses of two signs.
    assert_eq!((reached.kept, reached.planned), (1, 39));
    assert_eq!(monitor.begin(Stage::Predict), Err(Stopped));
    let again = read_residual_stream(&study, model);
    assert!(again.is_err(), "a stopped model stays stopped");
}

#[test]
fn a_search_encloses_the_scripted_thresholds() {
    let mut study = study(&model());
    study.doses.tolerance = Some(0.02);
    study.doses.magnitudes = vec![0.5, 1.0, 2.0];
    let found = run(&study);
    let open = branch(&found.verdicts, OPEN, Sign::Positive);
    assert!((budgets(open.triggers[1].trigger) - 0.62).abs() <= 0.02);
    assert!((budgets(open.ceiling) - 1.31).abs() <= 0.02);
    let curve = |neuron, sign| {
        let curves = found.judgements.curves.iter();
        curves
            .clone()
            .find(|c| c.neuron == neuron && c.sign == sign)
            .unwrap()
    };
    let searched = curve(OPEN, Sign::Positive);
    assert!(searched.points.iter().filter(|p| !p.why.is_grid()).count() >= 8);
    assert_eq!(searched.next_dose(&study), None, "the search has ended");
    // Where nothing happens there is nothing to search.
    assert_eq!(curve(SILENT, Sign::Positive).points.len(), 3);
    let calibrated = &found.sealed.predictions().calibration.thresholds;
    let ceilings: Vec<f64> = calibrated.iter().filter_map(|t| t.ceiling).collect();
    assert_eq!(
        ceilings.len(),
        2,
        "both branches of the calibration neuron collapse"
    );
    assert!(
        ceilings.iter().all(|m| (m - 1.5).abs() <= 0.02),
        "{ceilings:?}"
    );
}

#[test]
fn the_forecast_is_right_where_the_push_foretells_the_trigger() {
    let found = run(&study(&model()));
    let predictions = found.sealed.predictions();
    let push = predictions.push("routing", OPEN, Sign::Positive).unwrap();
    assert!((push.trigger.unwrap() - 0.62).abs() < 0.3, "{push:?}");
    assert_eq!(
        predictions
            .push("routing", SILENT, Sign::Negative)
            .unwrap()
            .trigger,
        None
    );
    let forecasts: Vec<_> = predictions.forecasts.iter().map(|f| f.open).collect();
    assert_eq!(forecasts, [Some(true), Some(false), Some(false)]);
    let score = found.verdicts.scoreboard.forecasts.last().unwrap();
    // The silent neuron was censored, and cannot be scored.
    assert_eq!((score.right, score.scored, score.undecided), (2, 2, 1));
    assert_eq!((score.foretold, score.open_foretold), (1, 1));
    // Steps say where text collapses: the calibration neuron, which is not scripted, at 1.5 budgets.
    let steps = predictions
        .calibration
        .step_ceiling(CALIBRATION, Sign::Positive);
    assert!((steps.unwrap()[1].unwrap() - 1.5).abs() < 0.3, "{steps:?}");
}

#[test]
fn scores_of_every_measured_neuron_are_compared_with_control() {
    let found = run(&study(&model()));
    let scores = &found.sealed.predictions().screening.scores[0];
    assert_eq!(scores.neurons.len(), 4, "three neurons and a direction");
    let direction = scores
        .neurons
        .iter()
        .find(|n| n.neuron.direction().is_some())
        .unwrap();
    assert!(direction.push.is_some() && direction.contrast_budgets.is_none());
    let open = scores.neurons.iter().find(|n| n.neuron == OPEN).unwrap();
    // It reads the word that the contrast puts in.
    assert!(open.contrast_budgets.unwrap() > 0.0);
    assert_eq!(open.coherence, Some(1.0));
    let attribution = &found.verdicts.attribution[0];
    assert_eq!(attribution.neurons, 3, "directions have no activation");
    // Too few for a correlation, too few of a kind for an area.
    assert!(
        attribution
            .scores
            .iter()
            .all(|s| s.correlation.is_none() && s.area.is_none())
    );
    assert!(attribution.alignment.is_none());
    let sizes = scores
        .neurons
        .iter()
        .map(|n| n.size(ScreenScore::OneStepPush, 0));
    let best = sizes
        .zip(&scores.neurons)
        .max_by(|a, b| a.0.partial_cmp(&b.0).unwrap());
    assert_eq!(
        best.unwrap().1.neuron,
        OPEN,
        "the push finds the open neuron"
    );
}
