//! A trial: one rollout together with everything that decided it.

use super::error::RecordError;
use super::key::{ModelFingerprint, TrialKey};
use super::packing;
use crate::model::{self, Cell, Rollout, Steering, is_steered};
use crate::spec::coherence::RepetitionSpec;
use crate::spec::rollout::SampleSpec;
use crate::units::TokenId;

/// One finished rollout with what decided it. Its measurements are kept to 1/1024 (see [`packing`]), so that a trial that was just
/// made equals the one that is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Trial {
    inputs: TrialInputs,
    rollout: Rollout,
    text: String,
}

/// What decided a rollout: a [`Cell`] that owns its prompt, and the model.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TrialInputs {
    pub model: ModelFingerprint,
    pub prompt: Vec<TokenId>,
    pub steering: Option<Steering>,
    pub horizon: usize,
    pub stop_at_end: bool,
    pub stop_at_loop: Option<RepetitionSpec>,
    pub sample: Option<(SampleSpec, u64)>,
}

/// Most that a measurement may be: beyond it, single precision is coarser than what is kept.
const LARGEST_NLL: f32 = 1e6;

/// How far a cosine may lie outside [-1, 1] through rounding; it is put back to the end.
const COSINE_SLACK: f32 = 1e-3;

impl Trial {
    /// A trial to record.
    ///
    /// # Errors
    /// If a number is not finite or out of range, or the rollout's parts do not fit each other.
    pub fn new(
        model: &ModelFingerprint,
        cell: &Cell<'_>,
        mut rollout: Rollout,
        text: String,
    ) -> Result<Self, RecordError> {
        let inputs = TrialInputs {
            model: model.clone(),
            prompt: cell.prompt.to_vec(),
            steering: cell.steering,
            horizon: cell.horizon,
            stop_at_end: cell.stop_at_end,
            stop_at_loop: cell.stop_at_loop,
            sample: cell.sample,
        };
        keep(&inputs, &mut rollout).map_err(|problem| RecordError::Unrecordable {
            trial: inputs.to_string(),
            problem,
        })?;
        Ok(Self {
            inputs,
            rollout,
            text,
        })
    }

    /// A trial as recorded.
    pub(super) fn recorded(inputs: TrialInputs, rollout: Rollout, text: String) -> Self {
        Self {
            inputs,
            rollout,
            text,
        }
    }

    /// The trial's name, computed from what decided it.
    pub fn key(&self) -> TrialKey {
        TrialKey::of(&self.inputs.model, &self.cell())
    }

    /// The model's fingerprint.
    pub fn model(&self) -> &ModelFingerprint {
        &self.inputs.model
    }

    /// What was asked of the model.
    pub fn cell(&self) -> Cell<'_> {
        Cell {
            prompt: &self.inputs.prompt,
            steering: self.inputs.steering,
            horizon: self.inputs.horizon,
            stop_at_end: self.inputs.stop_at_end,
            stop_at_loop: self.inputs.stop_at_loop,
            sample: self.inputs.sample,
        }
    }

    /// The intervention; none for a clean rollout.
    pub fn steering(&self) -> Option<Steering> {
        self.inputs.steering
    }

    /// What the model generated.
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// The generated text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Checks a rollout, and rounds its measurements to what is kept.
fn keep(inputs: &TrialInputs, rollout: &mut Rollout) -> Result<(), String> {
    let (tokens, horizon) = (rollout.tokens.len(), inputs.horizon);
    if let Some(steering) = inputs.steering
        && (!steering.dose.0.is_finite() || steering.dose.0 == 0.0)
    {
        return Err(format!("its dose is {}", steering.dose.0));
    }
    if let Some((sample, _)) = inputs.sample
        && !(sample.temperature.is_finite() && sample.top_p.is_none_or(f64::is_finite))
    {
        return Err("its sampling settings are not finite".into());
    }
    if tokens > horizon {
        return Err(format!(
            "{tokens} tokens were generated, at most {horizon} were asked for"
        ));
    }
    if rollout.nll.len() != tokens {
        return Err(format!(
            "{} likelihoods for {tokens} tokens",
            rollout.nll.len()
        ));
    }
    steered_steps(inputs, rollout)?;
    for (step, nll) in rollout.nll.iter_mut().enumerate() {
        // The logarithm of a probability that rounds to 1 can come out a little above 0.
        if !(-COSINE_SLACK..=LARGEST_NLL).contains(nll) {
            return Err(format!(
                "the negative log-likelihood of token {step} is {nll}"
            ));
        }
        *nll = packing::kept(nll.max(0.0));
    }
    for (step, cosine) in rollout.cosines.iter_mut().enumerate() {
        if !(-1.0 - COSINE_SLACK..=1.0 + COSINE_SLACK).contains(cosine) {
            return Err(format!("the cosine at steered step {step} is {cosine}"));
        }
        *cosine = packing::kept(cosine.clamp(-1.0, 1.0));
    }
    Ok(())
}

/// An intervention that was asked for was made, at every step that it was asked for and at no other: each of them has a cosine.
fn steered_steps(inputs: &TrialInputs, rollout: &Rollout) -> Result<(), String> {
    let (tokens, cosines) = (rollout.tokens.len(), rollout.cosines.len());
    let Some(steering) = inputs.steering else {
        return match cosines {
            0 => Ok(()),
            _ => Err("it was not steered, and has cosines".into()),
        };
    };
    let steered = (0..tokens).filter(|step| is_steered(&steering, Some(*step)));
    let asked = steered.count();
    if asked == 0 {
        let from = steering.window.map_or(0, |window| window.from);
        return Err(format!(
            "it was never steered: the text ended after {tokens} tokens, and `doses.window` begins at step {from}; let the window begin \
             earlier, or take this prompt out"
        ));
    }
    match cosines == asked {
        true => Ok(()),
        false => Err(format!(
            "it has {cosines} cosines, and {asked} of its {tokens} steps were to be steered"
        )),
    }
}

impl std::fmt::Display for TrialInputs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.steering {
            Some(steering) => write!(f, "neuron {} at dose {}", steering.neuron, steering.dose.0)?,
            None => f.write_str("the unsteered model")?,
        }
        write!(f, " on the {}", model::shown(&self.prompt))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::spec::doses::{Apply, StepWindow};
    use crate::units::{Dose, NeuronId};
    use proptest::prelude::*;

    pub fn model() -> ModelFingerprint {
        ModelFingerprint::recorded("ab".repeat(32))
    }

    /// Any trial that can be recorded.
    pub fn any_trial() -> impl Strategy<Value = Trial> {
        let sample = (
            0.1_f64..2.0,
            proptest::option::of(0.1_f64..1.0),
            any::<u64>(),
        )
            .prop_map(|(temperature, top_p, seed)| {
                let spec = SampleSpec {
                    temperature,
                    top_p,
                    top_k: Some(40),
                };
                (spec, seed)
            });
        (
            proptest::collection::vec(0_u32..300_000, 1..6),
            proptest::option::of((
                0_usize..4,
                0_usize..4,
                0.25_f32..9.0,
                any::<bool>(),
                any::<bool>(),
            )),
            proptest::option::of((0_usize..3, 3_usize..9)),
            proptest::collection::vec((0_u32..300_000, 0.0_f32..30.0, -1.0_f32..1.0), 3..12),
            any::<(bool, bool)>(),
            proptest::option::of(sample),
            ".{0,20}",
        )
            .prop_map(
                |(prompt, steered, window, steps, (ended, stop_at_end), sample, text)| {
                    let window = window.map(|(from, to)| StepWindow { from, to });
                    let steering = steered.map(|(layer, index, dose, below, all)| Steering {
                        neuron: NeuronId { layer, index },
                        dose: Dose(if below { -dose } else { dose }),
                        apply: if all { Apply::All } else { Apply::Generation },
                        window,
                    });
                    let steered = |step| steering.is_some_and(|s| is_steered(&s, Some(step)));
                    let cosines = (steps.iter().enumerate()).filter(|(step, _)| steered(*step));
                    let rollout = Rollout {
                        tokens: steps.iter().map(|s| s.0).collect(),
                        ended,
                        nll: steps.iter().map(|s| s.1).collect(),
                        cosines: cosines.map(|(_, step)| step.2).collect(),
                    };
                    let cell = Cell {
                        prompt: &prompt,
                        steering,
                        horizon: 12,
                        stop_at_end,
                        stop_at_loop: None,
                        sample,
                    };
                    Trial::new(&model(), &cell, rollout, text).unwrap()
                },
            )
    }

    /// A small trial: neuron L0.`index` at a dose, or unsteered, on the prompt `[prompt]`.
    pub fn trial(prompt: TokenId, steered: Option<(usize, f32)>, text: &str) -> Trial {
        let steering = steered.map(|(index, dose)| Steering {
            neuron: NeuronId { layer: 0, index },
            dose: Dose(dose),
            apply: Apply::Generation,
            window: None,
        });
        let rollout = Rollout {
            tokens: vec![7, 300, 2],
            ended: true,
            nll: vec![0.25, 1.5, 0.0],
            cosines: steering.map_or(vec![], |_| vec![0.5, 0.25, -0.125]),
        };
        let cell = Cell {
            prompt: &[prompt],
            steering,
            horizon: 8,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        };
        Trial::new(&model(), &cell, rollout, text.into()).unwrap()
    }

    #[test]
    fn what_cannot_be_recorded_is_refused_with_its_coordinates() {
        let good = trial(5, Some((3, 1.5)), "x");
        let refused = |change: fn(&mut Rollout)| {
            let mut rollout = good.rollout().clone();
            change(&mut rollout);
            Trial::new(&model(), &good.cell(), rollout, String::new())
                .unwrap_err()
                .to_string()
        };
        let message = refused(|r| r.nll[1] = f32::NAN);
        assert!(
            message.contains("L0.3 at dose 1.5") && message.contains("token 1 is NaN"),
            "{message}"
        );
        assert!(refused(|r| r.nll[0] = f32::INFINITY).contains("inf"));
        assert!(refused(|r| r.nll[0] = -0.5).contains("-0.5"));
        assert!(refused(|r| r.cosines[2] = 1.5).contains("step 2 is 1.5"));
        assert!(refused(|r| r.cosines[2] = f32::NAN).contains("NaN"));
        assert!(refused(|r| r.nll.truncate(1)).contains("1 likelihoods for 3 tokens"));
        assert!(refused(|r| r.cosines.push(0.0)).contains("4 cosines"));
        assert!(refused(|r| r.cosines.truncate(2)).contains("2 cosines, and 3 of its 3 steps"));
        assert!(refused(|r| r.cosines.clear()).contains("0 cosines"));
        assert!(refused(|r| r.tokens = vec![1; 9]).contains("at most 8"));

        let mut cell = good.cell();
        cell.steering.as_mut().unwrap().dose = Dose(f32::INFINITY);
        assert!(Trial::new(&model(), &cell, good.rollout().clone(), String::new()).is_err());
        cell.steering.as_mut().unwrap().dose = Dose(0.0);
        assert!(Trial::new(&model(), &cell, good.rollout().clone(), String::new()).is_err());
    }

    #[test]
    fn a_window_has_as_many_steered_steps_as_the_text_allows() {
        let good = trial(5, Some((3, 1.5)), "x");
        let kept = |from, to, cosines| {
            let mut cell = good.cell();
            cell.steering.as_mut().unwrap().window = Some(StepWindow { from, to });
            let mut rollout = good.rollout().clone();
            rollout.cosines.truncate(cosines);
            let made = Trial::new(&model(), &cell, rollout, String::new());
            made.map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(
            (kept(0, 2, 2), kept(1, 9, 2), kept(2, 3, 1)),
            (Ok(()), Ok(()), Ok(()))
        );
        assert!(
            kept(1, 2, 2)
                .unwrap_err()
                .contains("2 cosines, and 1 of its 3")
        );
        let never = kept(3, 9, 0).unwrap_err();
        assert!(
            never.contains("never steered") && never.contains("step 3"),
            "{never}"
        );
    }

    #[test]
    fn rounding_noise_is_put_right() {
        let good = trial(5, Some((3, 1.5)), "x");
        let mut rollout = good.rollout().clone();
        (rollout.nll[2], rollout.cosines[0]) = (-1e-6, 1.000_01);
        let kept = Trial::new(&model(), &good.cell(), rollout, "x".into()).unwrap();
        assert_eq!(
            (kept.rollout().nll[2], kept.rollout().cosines[0]),
            (0.0, 1.0)
        );
    }
}
