//! Content-derived keys: a trial is named by what decides its rollout, so that stores from anywhere can be merged, and a trial that
//! was made once is never made again.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::canonical;
use crate::model::{Cell, Steering};
use crate::spec::coherence::RepetitionSpec;
use crate::spec::doses::{Apply, StepWindow};
use crate::spec::rollout::SampleSpec;
use crate::study::ModelIdentity;
use crate::units::TokenId;

/// SHA-256 over a model's file hashes and number type: two models with the same fingerprint generate the same tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ModelFingerprint(String);

impl ModelFingerprint {
    /// The fingerprint of a model. Name and folder are no part of it.
    pub fn of(model: &ModelIdentity) -> Self {
        Self(canonical::hash(&(
            &model.files,
            model.dtype,
            model.device.kind(),
        )))
    }

    /// A fingerprint as recorded.
    pub(super) fn recorded(hex: String) -> Self {
        Self(hex)
    }

    /// Lower-case hex.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Key of a trial: the first 128 bits of the SHA-256 of the canonical JSON of everything that decides its rollout.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrialKey([u8; 16]);

impl TrialKey {
    /// The key of a rollout by this model.
    pub fn of(model: &ModelFingerprint, cell: &Cell<'_>) -> Self {
        let inputs = RolloutInputs {
            model: model.as_str(),
            prompt: cell.prompt,
            steering: cell.steering.map(ExactSteering::from),
            horizon: cell.horizon,
            stop_at_end: cell.stop_at_end,
            stop_at_loop: cell.stop_at_loop,
            sample: cell.sample,
        };
        let digest = Sha256::digest(canonical::json(&inputs));
        Self(std::array::from_fn(|i| digest[i]))
    }

    /// The key's 16 bytes.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A key from its 16 bytes.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for TrialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&canonical::hex(&self.0))
    }
}

impl fmt::Debug for TrialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrialKey({self})")
    }
}

impl FromStr for TrialKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is no trial key: 32 digits 0–9, a–f are expected");
        // `from_str_radix` alone would accept a leading `+`.
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(bad());
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| bad())?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// Seed of one rollout's random stream, from the study's seed and what the rollout is about, so that it depends neither on the
/// order of trials nor on the horizon: a longer rollout begins with the shorter one.
pub fn rollout_seed(
    study_seed: u64,
    prompt: &[TokenId],
    steering: Option<Steering>,
    sample: SampleSpec,
) -> u64 {
    let inputs = (
        study_seed,
        prompt,
        steering.map(ExactSteering::from),
        sample,
    );
    let digest = Sha256::digest(canonical::json(&inputs));
    u64::from_be_bytes(std::array::from_fn(|i| digest[i]))
}

/// What decides a rollout. The field names are part of every key: renaming one orphans the trials of earlier runs.
#[derive(Serialize)]
struct RolloutInputs<'a> {
    model: &'a str,
    prompt: &'a [TokenId],
    steering: Option<ExactSteering>,
    horizon: usize,
    stop_at_end: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_at_loop: Option<RepetitionSpec>,
    sample: Option<(SampleSpec, u64)>,
}

/// A steering with its dose as the bits that enter the forward pass.
#[derive(Serialize)]
struct ExactSteering {
    layer: usize,
    index: usize,
    dose_bits: u32,
    apply: Apply,
    window: Option<StepWindow>,
}

impl From<Steering> for ExactSteering {
    fn from(steering: Steering) -> Self {
        Self {
            layer: steering.neuron.layer,
            index: steering.neuron.index,
            // `+ 0.0` makes −0 and 0, which do the same, one number.
            dose_bits: (steering.dose.0 + 0.0).to_bits(),
            apply: steering.apply,
            window: steering.window,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{Dose, NeuronId};
    use std::collections::BTreeSet;

    fn steering(dose: f32) -> Steering {
        Steering {
            neuron: NeuronId { layer: 1, index: 2 },
            dose: Dose(dose),
            apply: Apply::Generation,
            window: None,
        }
    }

    fn cell(prompt: &[TokenId]) -> Cell<'_> {
        Cell {
            prompt,
            steering: Some(steering(0.5)),
            horizon: 8,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        }
    }

    /// Frozen: a change here orphans every recorded trial, and needs a new version of the store.
    #[test]
    fn keys_never_change() {
        let model = ModelFingerprint::recorded("ab".repeat(32));
        let key = TrialKey::of(&model, &cell(&[1, 2, 3]));
        // hashlib.sha256(json.dumps({...}, sort_keys=True, separators=(",", ":"))).hexdigest()[:32] in Python
        assert_eq!(key.to_string(), "74a7d730abc24dcae16e6dffa767107b");
        assert_eq!(key.to_string().parse(), Ok(key));
    }

    #[test]
    fn whatever_decides_the_rollout_changes_the_key() {
        let model = ModelFingerprint::recorded("ab".repeat(32));
        let base = cell(&[1, 2, 3]);
        let steered = |change: fn(&mut Steering)| {
            let mut steering = steering(0.5);
            change(&mut steering);
            Cell {
                steering: Some(steering),
                ..base.clone()
            }
        };
        let sample = SampleSpec {
            temperature: 0.7,
            top_p: None,
            top_k: None,
        };
        let cells = [
            base.clone(),
            cell(&[1, 2]),
            cell(&[12, 3]),
            Cell {
                steering: None,
                ..base.clone()
            },
            Cell {
                horizon: 9,
                ..base.clone()
            },
            Cell {
                stop_at_end: false,
                ..base.clone()
            },
            Cell {
                sample: Some((sample, 1)),
                ..base.clone()
            },
            Cell {
                sample: Some((sample, 2)),
                ..base.clone()
            },
            steered(|s| s.neuron.layer = 2),
            steered(|s| s.neuron.index = 1),
            steered(|s| s.dose.0 = -0.5),
            steered(|s| s.dose.0 = f32::from_bits(0.5_f32.to_bits() + 1)),
            steered(|s| s.dose.0 = 0.0),
            steered(|s| s.apply = Apply::All),
            steered(|s| s.window = Some(StepWindow { from: 0, to: 1 })),
        ];
        let mut keys: BTreeSet<TrialKey> = cells
            .iter()
            .map(|cell| TrialKey::of(&model, cell))
            .collect();
        keys.insert(TrialKey::of(
            &ModelFingerprint::recorded("cd".repeat(32)),
            &base,
        ));
        keys.insert(TrialKey::of(&model, &steered(|s| s.dose.0 = -0.0)));
        assert_eq!(keys.len(), cells.len() + 1);
    }

    #[test]
    fn seeds_differ_by_study_prompt_and_steering() {
        let sample = SampleSpec {
            temperature: 1.0,
            top_p: Some(0.9),
            top_k: None,
        };
        let seeds = BTreeSet::from([
            rollout_seed(0, &[1], None, sample),
            rollout_seed(1, &[1], None, sample),
            rollout_seed(0, &[2], None, sample),
            rollout_seed(0, &[1], Some(steering(0.5)), sample),
            rollout_seed(0, &[1], Some(steering(0.6)), sample),
        ]);
        assert_eq!(seeds.len(), 5);
    }

    #[test]
    fn malformed_keys_are_refused() {
        for text in [
            "",
            "12",
            &"g".repeat(32),
            &format!("+{}", "0".repeat(31)),
            &"ä".repeat(16),
        ] {
            assert!(text.parse::<TrialKey>().is_err(), "{text}");
        }
    }
}
