//! Comparisons of small records, changed in memory.

use tempfile::TempDir;

use super::Difference;
use super::inputs::InputKind;
use super::markdown::{FEW, markdown};
use super::verdicts::ThresholdKind;
use crate::record::RunRecord;
use crate::record::fixture::{self, NEURON};
use crate::stages::predict::Forecast;
use crate::stages::verdict::{NeuronVerdict, Threshold, ThresholdInterval, Window};
use crate::study::Study;
use crate::units::{NeuronId, Sign};

/// The folder of a run, and what was read from it.
struct Run {
    _folder: TempDir,
    record: RunRecord,
}

fn run(study: &Study) -> Run {
    let folder = TempDir::new().unwrap();
    fixture::finish(folder.path(), study);
    let record = RunRecord::load(folder.path()).unwrap();
    Run {
        _folder: folder,
        record,
    }
}

/// The fixture against itself after a change of what was read.
fn after(change: impl FnOnce(&mut RunRecord)) -> Difference {
    within(0.0, change)
}

fn within(tolerance: f64, change: impl FnOnce(&mut RunRecord)) -> Difference {
    let (first, mut second) = (run(&fixture::study()), run(&fixture::study()));
    change(&mut second.record);
    Difference::between(&first.record, &second.record, tolerance).unwrap()
}

/// The fixture against a run of a study that was changed.
fn of_study(change: impl FnOnce(&mut Study)) -> Difference {
    let mut study = fixture::study();
    change(&mut study);
    let (first, second) = (run(&fixture::study()), run(&study));
    Difference::between(&first.record, &second.record, 0.0).unwrap()
}

fn at(coordinate: f64) -> Threshold {
    let budgets = coordinate;
    Threshold::At {
        budgets,
        coordinate,
    }
}

fn above(coordinate: f64) -> Threshold {
    let budgets = coordinate;
    Threshold::Above {
        budgets,
        coordinate,
    }
}

#[test]
fn the_same_run_again_is_the_same() {
    let found = after(|record| {
        record.manifest.program = "reachspec 9".into();
        record.manifest.environment.threads = 7;
    });
    assert!(found.same);
    assert_eq!(
        found.conclusion,
        "The runs are the same: spec, model, prompts, predictions, rollouts, thresholds, verdicts and scoreboard."
    );
    let text = markdown(&found, Some(FEW));
    assert!(text.starts_with(&found.conclusion), "{text}");
    assert!(
        text.contains("and reachspec 9, which makes no difference"),
        "{text}"
    );
    assert!(!text.contains("##"), "{text}");
}

#[test]
fn thresholds_come_largest_first_and_bounds_last() {
    let change = |record: &mut RunRecord| {
        let branch = &mut record.verdicts.neurons[0].branches[0];
        branch.ceiling = at(0.74);
        branch.triggers[0].trigger = above(0.9);
        branch.triggers[1].trigger = above(0.25);
    };
    let found = after(change);
    let sizes: Vec<String> = (found.thresholds.iter())
        .map(|change| {
            format!(
                "{:?} {:?} {:.2}",
                change.kind,
                change.horizon.map(|h| h.0),
                change.size
            )
        })
        .collect();
    assert_eq!(
        sizes,
        [
            "Trigger Some(4) 0.15",
            "Ceiling None 0.01",
            "Trigger Some(8) 0.50"
        ]
    );
    assert_eq!(
        found.conclusion,
        "Different: 3 thresholds (largest: L0.3 + trigger at 4 0.750 → > 0.900); \
         same spec, same model, same prompts, same predictions, same rollouts, same verdicts, same scoreboard."
    );
    let text = markdown(&found, Some(1));
    assert!(
        text.contains("and 2 more (`--all` shows every one)"),
        "{text}"
    );
    assert!(markdown(&found, None).contains("bounds only"));
    // A bound against an estimate counts whatever the tolerance.
    let found = within(0.6, change);
    assert_eq!(found.thresholds.len(), 1);
    assert!(!found.same);
}

#[test]
fn the_smallest_change_counts_and_is_shown() {
    let found = after(|record| record.verdicts.neurons[0].branches[0].ceiling = at(0.75 + 1e-9));
    assert_eq!(found.thresholds[0].kind, ThresholdKind::Ceiling);
    let text = markdown(&found, None);
    assert!(text.contains("0.750000000 | 0.750000001 | 1e-9"), "{text}");
    let found = after(|record| {
        record.verdicts.neurons[0].branches[0].ceiling_interval = Some(ThresholdInterval {
            low: at(0.5),
            high: above(0.75),
        });
    });
    assert!(markdown(&found, None).contains("its interval only"));
    assert!(
        within(1e-6, |record| record.verdicts.neurons[0].branches[0]
            .ceiling = at(0.75 + 1e-9))
        .same
    );
}

#[test]
fn what_is_open_in_one_run_comes_first() {
    let other = NeuronId { layer: 0, index: 1 };
    let extended = |window: Window, open: Option<bool>| {
        let mut second = run(&fixture::study()).record;
        let verdict = &second.verdicts.neurons[0];
        let mut more = NeuronVerdict {
            neuron: other,
            ..verdict.clone()
        };
        (more.branches[0].window, more.open) = (window, open);
        second.verdicts.neurons.push(more);
        second
    };
    let evidence = || "so it is".to_owned();
    let mut first = extended(Window::Open, Some(true));
    let second = extended(
        Window::Undecided {
            evidence: evidence(),
        },
        None,
    );
    first.verdicts.neurons[0].branches[0].window = Window::Censored {
        evidence: evidence(),
    };
    first.verdicts.neurons[0].open = None;
    let found = Difference::between(&first, &second, 0.0).unwrap().verdicts;
    let neurons: Vec<_> = (found.neurons.iter())
        .map(|change| (change.neuron, change.first.as_str(), change.second.as_str()))
        .collect();
    assert_eq!(
        neurons,
        [(other, "open", "undecided"), (NEURON, "censored", "closed")]
    );
    assert_eq!(
        (found.windows[0].neuron, found.windows[1].neuron),
        (other, NEURON)
    );
}

#[test]
fn predictions_are_compared_by_neuron_branch_and_predictor() {
    let found = after(|record| {
        let sealed = &mut record.sealed;
        sealed.seal.sha256 = "other".into();
        sealed.predictions.ceilings[0].by[0]
            .as_mut()
            .unwrap()
            .coordinate = 0.75;
        sealed.predictions.forecasts[0].open = None;
        sealed.predictions.predictors[0].parameter = Some(1.5);
        sealed.predictions.calibration.neurons[0].budget = 2.75;
        sealed.predictions.forecasts.push(Forecast {
            neuron: NeuronId { layer: 1, index: 0 },
            behavior: "routing".into(),
            open: None,
        });
    });
    let predictions = &found.predictions;
    let ceiling = &predictions.ceilings[0];
    assert_eq!(
        (ceiling.neuron, ceiling.sign, ceiling.size),
        (NEURON, Sign::Positive, Some(0.125))
    );
    assert_eq!(
        (predictions.forecasts.len(), predictions.forecasts[0].second),
        (1, None)
    );
    assert_eq!(
        predictions.fitted[0].to_string(),
        "constant.parameter: 1.46 → 1.5"
    );
    assert_eq!(predictions.foundations, ["calibration.neurons"]);
    let sentence = &found.conclusion;
    assert!(
        sentence.starts_with(
            "Different: 2 predictions, 1 fitted number, what predictions rest on; same"
        ),
        "{sentence}"
    );
    // A seal alone, as another title does not even make, is no other prediction.
    let found = after(|record| record.sealed.seal.sha256 = "other".into());
    assert!(found.same, "{}", found.conclusion);
}

#[test]
fn spec_and_inputs_are_told_apart_and_no_prompt_is_shown() {
    let found = of_study(|study| {
        study.doses.magnitudes = vec![0.3, 1.2];
        study.thresholds.flip_share = 0.25;
        study
            .model
            .files
            .insert("model.safetensors".into(), "11".repeat(32));
        let questions = study.prompts.get_mut("questions").unwrap();
        questions[0].text = "a secret".into();
        questions.remove(1);
        questions.push(fixture::prompt(5, "another secret"));
    });
    let keys: Vec<&str> = found
        .spec
        .iter()
        .map(|change| change.key.as_str())
        .collect();
    assert_eq!(keys, ["doses.magnitudes", "thresholds.flip_share"]);
    let inputs: Vec<_> = (found.inputs.iter())
        .map(|input| (input.kind, input.name.as_str()))
        .collect();
    assert_eq!(
        inputs,
        [
            (InputKind::Model, "model.safetensors"),
            (InputKind::Prompts, "questions")
        ]
    );
    assert_eq!(
        found.inputs[1].note,
        "2 → 2 prompts, 1 gone, 1 new, 1 edited"
    );
    assert_eq!(
        (
            found.only_in_one.doses.first[0].magnitude,
            found.only_in_one.doses.second[0].magnitude
        ),
        (0.6, 1.2)
    );
    let written = markdown(&found, None) + &serde_json::to_string(&found).unwrap();
    assert!(!written.contains("secret"), "{written}");
    assert!(
        found
            .conclusion
            .contains("2 keys of the spec, model, prompts; same predictions"),
        "{}",
        found.conclusion
    );
}

#[test]
fn hostile_names_are_escaped() {
    let name = "a|b](javascript:x) <b>\u{202e}\u{1b}[31m\n# c";
    let hostile = || {
        let mut run = run(&fixture::study()).record;
        run.verdicts.neurons[0].behavior = name.into();
        run.manifest.study.behaviors[0].name = name.into();
        run.manifest.study.name = name.into();
        run
    };
    let (first, mut second) = (hostile(), hostile());
    second.verdicts.neurons[0].branches[0].window = Window::Open;
    second.verdicts.neurons[0].branches[0].ceiling = at(0.5);
    second.manifest.study.behaviors[0].description = name.into();
    second.manifest.study.name = format!("{name} 2");
    let text = markdown(&Difference::between(&first, &second, 0.0).unwrap(), None);
    let outside_code: String = text.replace("\\]", "").split('`').step_by(2).collect();
    for bad in ["](javascript", "<b>", "\n# c"] {
        assert!(!outside_code.contains(bad), "{bad:?}: {text}");
    }
    assert!(
        !text.contains('\u{202e}') && !text.contains('\u{1b}'),
        "{text}"
    );
    // No name ends a cell: all rows of a table have as many.
    for table in text.split("\n\n").filter(|part| part.starts_with('|')) {
        let cells = |row: &str| row.replace("\\|", "").matches('|').count();
        let first = table.lines().next().map(cells);
        assert!(
            table.lines().all(|row| Some(cells(row)) == first),
            "{table}"
        );
    }
}

/// The documented shape is the one that is written.
#[test]
fn the_json_has_the_shape_of_its_schema() {
    let schema = schemars::schema_for!(Difference).to_value();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let found = of_study(|study| {
        study.seed = 8;
        study.doses.signs.push(Sign::Negative);
        study.prompts.get_mut("questions").unwrap().pop();
    });
    let mut value = serde_json::to_value(&found).unwrap();
    assert!(validator.is_valid(&value), "{value}");
    value["thresholds"] = "none".into();
    assert!(!validator.is_valid(&value));
    assert!(found.only_in_one.signs.second == [Sign::Negative]);
}
