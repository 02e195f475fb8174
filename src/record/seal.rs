//! Sealing predictions before the first held-out rollout, and reading them back only if the seal still fits.

use serde::{Deserialize, Serialize};

use super::error::RecordError;
use super::folder::RunFolder;
use super::reading;
use super::{canonical, clock};
use crate::stages::predict::{Predictions, Seal, SealedPredictions};

/// What `predictions.json` holds.
#[derive(Serialize, Deserialize)]
struct SealedFile {
    seal: Seal,
    sealed: Predictions,
}

impl Predictions {
    /// Writes the predictions behind a seal. The same predictions keep the seal that they have, and its time; those of another question
    /// are kept beside the new as `predictions.superseded-N.json`.
    ///
    /// `trials_before`: how many steered trials of held-out or control neurons are recorded already.
    ///
    /// # Errors
    /// If the file cannot be written, a number is not finite, or the file that is there does not fit its own seal, or says something else
    /// of the same question: what was sealed, and perhaps published, is not replaced in silence.
    pub fn seal(
        self,
        run: &RunFolder,
        trials_before: usize,
    ) -> Result<SealedPredictions, RecordError> {
        let sha256 = canonical::hash(&self);
        if run.predictions().exists() {
            let earlier = SealedPredictions::load(run)?;
            if earlier.seal.sha256 == sha256 {
                return Ok(earlier);
            }
            if earlier.predictions.study == self.study {
                return Err(not_what_was_sealed(run, &earlier.seal.sha256, &sha256));
            }
            set_aside(run)?;
        }
        let file = SealedFile {
            seal: Seal {
                sha256,
                sealed_at: clock::now(),
                trials_before,
            },
            sealed: self,
        };
        run.write_json(&run.predictions(), &file)?;
        // Read back, so that a run never goes on from predictions that nobody could check.
        SealedPredictions::load(run)
    }
}

impl SealedPredictions {
    /// Reads sealed predictions.
    ///
    /// # Errors
    /// If there are none, or they are not those that were sealed.
    pub fn load(run: &RunFolder) -> Result<Self, RecordError> {
        let path = run.predictions();
        if !path.exists() {
            let problem = "nothing was predicted yet: the run has not come that far; run its spec again to continue it";
            return Err(RecordError::unusable(&path, problem));
        }
        let SealedFile { seal, sealed } = reading::read_json(&path)?;
        let found = canonical::hash(&sealed);
        if found != seal.sha256 {
            let problem = format!(
                "the predictions are not those that were sealed: their SHA-256 is {found}, the seal says {}",
                seal.sha256
            );
            return Err(RecordError::integrity(&path, problem));
        }
        Ok(Self {
            predictions: sealed,
            seal,
        })
    }
}

/// The same question has got another answer than the sealed one.
fn not_what_was_sealed(run: &RunFolder, sealed: &str, now: &str) -> RecordError {
    let problem = format!(
        "these predictions were sealed as {sealed}, and the same study now gives {now}: the trials that they come from were changed, or another machine or program made them; restore trials.sqlite from a copy, go on where they were sealed, or start anew with `--fresh` (which sets this record aside)"
    );
    RecordError::integrity(&run.predictions(), problem)
}

fn set_aside(run: &RunFolder) -> Result<(), RecordError> {
    let (from, to) = (
        run.predictions(),
        (1..)
            .map(|number| run.superseded_predictions(number))
            .find(|path| !path.exists())
            .expect("there are more numbers than files"),
    );
    std::fs::rename(&from, &to).map_err(|e| RecordError::io("move", &from, e))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::record::error::ErrorKind;
    use crate::stages::calibrate::{Calibration, NeuronCalibration};
    use crate::stages::screen::Screening;
    use crate::units::NeuronId;
    use std::fs;
    use tempfile::TempDir;

    pub fn predictions(budget: f64) -> Predictions {
        of_study("s", budget)
    }

    fn of_study(study: &str, budget: f64) -> Predictions {
        Predictions {
            study: study.into(),
            screening: Screening {
                groups: vec![],
                screens: vec![],
                scores: vec![],
            },
            calibration: Calibration {
                positions: 3,
                layers: vec![],
                neurons: vec![NeuronCalibration {
                    neuron: NeuronId { layer: 0, index: 3 },
                    write_norm: 0.1,
                    budget,
                    c0: 1.0 / 3.0,
                    normed: None,
                    features: None,
                }],
                pushes: vec![],
                thresholds: vec![],
            },
            predictors: vec![],
            ceilings: vec![],
            trigger_predictors: vec![],
            triggers: vec![],
            ratios: vec![],
            forecasts: vec![],
        }
    }

    #[test]
    fn the_same_predictions_keep_their_seal() {
        let parent = TempDir::new().unwrap();
        let run = RunFolder::create_or_open(parent.path()).unwrap();
        let missing = SealedPredictions::load(&run).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Usage);

        let first = predictions(2.5).seal(&run, 0).unwrap();
        let bytes = fs::read(run.predictions()).unwrap();
        let again = predictions(2.5).seal(&run, 77).unwrap();
        assert_eq!(again.seal(), first.seal());
        assert_eq!(again.seal().trials_before, 0);
        assert_eq!(fs::read(run.predictions()).unwrap(), bytes);
        let loaded = SealedPredictions::load(&run).unwrap();
        assert_eq!(canonical::hash(loaded.predictions()), first.seal().sha256);
    }

    #[test]
    fn predictions_of_another_question_supersede_and_nothing_is_lost() {
        let parent = TempDir::new().unwrap();
        let run = RunFolder::create_or_open(parent.path()).unwrap();
        of_study("a", 1.0).seal(&run, 0).unwrap();
        let first = fs::read(run.predictions()).unwrap();
        of_study("b", 2.0).seal(&run, 5).unwrap();
        let second = fs::read(run.predictions()).unwrap();
        let third = of_study("c", 3.0).seal(&run, 9).unwrap();
        assert_eq!(third.seal().trials_before, 9);
        assert_eq!(fs::read(run.superseded_predictions(1)).unwrap(), first);
        assert_eq!(fs::read(run.superseded_predictions(2)).unwrap(), second);
    }

    #[test]
    fn what_was_sealed_of_a_study_is_not_replaced_by_something_else() {
        let parent = TempDir::new().unwrap();
        let run = RunFolder::create_or_open(parent.path()).unwrap();
        predictions(1.0).seal(&run, 0).unwrap();
        let bytes = fs::read(run.predictions()).unwrap();
        let error = predictions(2.0).seal(&run, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(error.to_string().contains("--fresh"), "{error}");
        assert_eq!(fs::read(run.predictions()).unwrap(), bytes);
        assert!(!run.superseded_predictions(1).exists());
    }

    #[test]
    fn tampering_is_found_wherever_a_byte_changes() {
        let parent = TempDir::new().unwrap();
        let run = RunFolder::create_or_open(parent.path()).unwrap();
        let sealed = predictions(2.5).seal(&run, 0).unwrap();
        let bytes = fs::read(run.predictions()).unwrap();
        let seal_at = |name: &str| {
            let text = String::from_utf8(bytes.clone()).unwrap();
            text.find(&format!("\"{name}\"")).unwrap()
                ..text[text.find(&format!("\"{name}\"")).unwrap()..]
                    .find('\n')
                    .unwrap()
                    + text.find(&format!("\"{name}\"")).unwrap()
        };
        // When it was sealed and after how many trials stand outside what is hashed; the manifest holds the hash of the whole file.
        let outside = [seal_at("sealed_at"), seal_at("trials_before")];
        for at in 0..bytes.len() {
            if outside.iter().any(|range| range.contains(&at)) {
                continue;
            }
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(run.predictions(), &changed).unwrap();
            let error = SealedPredictions::load(&run).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "byte {at}: {error}");
            assert!(
                predictions(9.0).seal(&run, 0).is_err(),
                "a broken seal is not papered over"
            );
        }
        fs::write(run.predictions(), &bytes).unwrap();
        assert_eq!(SealedPredictions::load(&run).unwrap().seal(), sealed.seal());
    }

    #[test]
    fn what_is_not_a_number_cannot_be_sealed() {
        let parent = TempDir::new().unwrap();
        let run = RunFolder::create_or_open(parent.path()).unwrap();
        let error = predictions(f64::NAN).seal(&run, 0).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("sealed.calibration.neurons[0].budget"),
            "{error}"
        );
        assert!(!run.predictions().exists());
    }
}
