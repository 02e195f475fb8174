//! What was derived from the rollouts, derived again: texts, calibration, predictions and verdicts.

use super::{Check, Intact, difference};
use crate::record::error::RecordError;
use crate::record::folder::{RunFolder, render_json};
use crate::record::reading::read_file;
use crate::record::run_record::VerdictsFile;
use crate::report::format::{counted, thousands};
use crate::stages::calibrate;
use crate::stages::judge::Judgements;
use crate::stages::predict::predict;
use crate::stages::verdict::verdict;

/// Every rollout's text is that of its tokens.
pub fn texts(run: &RunFolder, intact: &Intact) -> Check {
    let mut check = Check::new("texts");
    let mut count = 0;
    let read = intact.store.for_each(|key, trial| {
        count += 1;
        let text = intact.text.decode(&trial.rollout().tokens);
        if let Some(difference) = difference::of_texts(trial.text(), &text) {
            check.problem(
                "trials.sqlite",
                format!("text of trial {key}: {difference}"),
            );
        }
        Ok::<(), RecordError>(())
    });
    if let Err(error) = read {
        check.failure(run, &error);
    }
    check.of(format!("{} with their tokens", counted(count, "text")))
}

/// What the rollouts of the calibration neurons say. Budgets and spectra take the weights: they stand as they were sealed.
pub fn calibration(run: &RunFolder, intact: &Intact) -> Check {
    let mut check = Check::new("calibration");
    let (study, predictions) = (&intact.manifest.study, intact.sealed.predictions());
    let (screening, sealed) = (&predictions.screening, &predictions.calibration);
    let mut rollouts = 0;
    let mut count = |_| {
        rollouts += 1;
        Ok(())
    };
    let (text, store) = (&intact.text, &intact.store);
    match calibrate::rederive(study, screening, sealed, text, store, &mut count) {
        Err(error) => check.problem(run.name_of(&run.trials()), format!("{error:#}")),
        Ok(derived) => {
            if let Some(difference) = difference::of_values(sealed, &derived) {
                check.problem("predictions.json", format!("calibration: {difference}"));
            }
        }
    }
    check.of(format!(
        "thresholds of the calibration neurons, from {}",
        counted(rollouts / study.rollout.horizons.len(), "judged rollout")
    ))
}

/// What the predictors make of the calibration.
pub fn predictions(intact: &Intact) -> Check {
    let mut check = Check::new("predictions");
    let (study, sealed) = (&intact.manifest.study, intact.sealed.predictions());
    let derived = predict(study, sealed.screening.clone(), sealed.calibration.clone());
    if let Some(difference) = difference::of_values(sealed, &derived) {
        check.problem("predictions.json", difference);
    }
    check.of(format!(
        "{}, {} and {}",
        counted(derived.predictors.len(), "fitted predictor"),
        counted(derived.ceilings.len(), "predicted ceiling"),
        counted(derived.forecasts.len(), "forecast")
    ))
}

/// `verdicts.json` from judgements that were derived again; hands on what it should hold.
pub fn verdicts(
    run: &RunFolder,
    intact: &Intact,
    judgements: Option<Judgements>,
) -> (Check, Option<VerdictsFile>) {
    let Some(judgements) = judgements else {
        let why = "the judgements could not be derived again";
        return (Check::not_compared("verdicts", why), None);
    };
    let mut check = Check::new("verdicts");
    let verdicts = verdict(&intact.manifest.study, &intact.sealed, &judgements);
    let derived = VerdictsFile {
        judgements,
        verdicts,
    };
    let text = render_json(&derived);
    match read_file(&run.verdicts()) {
        Err(error) => check.problem("verdicts.json", error.to_string()),
        Ok(recorded) if recorded == text.as_bytes() => {}
        Ok(recorded) => {
            // As a value, a file takes many times its length.
            let alike = (recorded.len() <= 2 * text.len()).then_some(&recorded);
            let value = alike.and_then(|r| serde_json::from_slice::<serde_json::Value>(r).ok());
            let difference = (value.and_then(|value| difference::of_values(&value, &derived)))
                .unwrap_or_else(|| "the file is not as reachspec writes it".into());
            check.problem("verdicts.json", difference);
        }
    }
    let compared = format!(
        "{} on {}: {} bytes",
        counted(derived.verdicts.neurons.len(), "verdict"),
        counted(derived.judgements.curves.len(), "curve"),
        thousands(text.len())
    );
    (check.of(compared), Some(derived))
}
