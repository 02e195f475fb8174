//! Reading trials.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Row};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::TrialStore;
use super::write::Setting;
use crate::model::{Rollout, Steering};
use crate::record::canonical;
use crate::record::error::{RecordError, is_of_another_kind};
use crate::record::key::{ModelFingerprint, TrialKey};
use crate::record::packing::{unpack_measurements, unpack_tokens};
use crate::record::trial::{Trial, TrialInputs};
use crate::units::{Dose, NeuronId};

/// Columns of a trial, in the order in which [`trial_at`] reads them.
pub(super) const COLUMNS: &str = "prompts.tokens, settings.json, trials.seed, trials.layer, trials.neuron, trials.dose, \
     trials.ended, trials.tokens, trials.nll, trials.cosines, trials.text";

/// What [`COLUMNS`] is read from, behind a table that has `trial`.
pub(super) const JOINS: &str = "JOIN trials ON trials.id = trial \
     JOIN prompts ON prompts.id = trials.prompt JOIN settings ON settings.id = trials.setting";

/// What is said to have failed where a key is none.
const READ_KEYS: &str = "read its table `keys`";

/// Fingerprint of all trials of a store, with their judgements: the same for the same ones, in whatever order they were recorded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreDigest {
    /// Number of trials.
    pub trials: usize,
    /// SHA-256 over the trials in the order of their keys, then over the judgements; lower-case hex.
    pub sha256: String,
}

impl TrialStore {
    /// Number of trials.
    pub fn count(&self) -> Result<usize, RecordError> {
        let count = self
            .connection
            .query_row("SELECT count(*) FROM keys", [], |row| row.get::<_, i64>(0));
        count
            .map(|n| n as usize)
            .map_err(|e| self.error("count its trials", e))
    }

    /// How many trials a store holds, for a list: read only, without waiting for whoever writes to it. None when that cannot be said.
    pub fn glimpse(path: &Path) -> Option<usize> {
        if !path.is_file() {
            return None;
        }
        let store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        let patience = Duration::from_millis(50);
        store.connection.busy_timeout(patience).ok()?;
        store.check_kind().ok()?;
        store.count().ok()
    }

    /// Whether a trial is recorded.
    pub fn contains(&self, key: &TrialKey) -> Result<bool, RecordError> {
        let known = || {
            self.connection
                .prepare_cached("SELECT 1 FROM keys WHERE key = ?1")?
                .exists([key.bytes()])
        };
        known().map_err(|e| self.error("look up a trial", e))
    }

    /// The keys of all trials: 16 bytes each.
    pub fn keys(&self) -> Result<HashSet<TrialKey>, RecordError> {
        let read = || {
            let mut statement = self.connection.prepare("SELECT key FROM keys")?;
            let keys = statement.query_map([], |row| Ok(TrialKey::from_bytes(row.get(0)?)))?;
            keys.collect::<rusqlite::Result<HashSet<_>>>()
        };
        read().map_err(|e| self.error(READ_KEYS, e))
    }

    /// How many steered trials there are of each neuron.
    pub fn steered_counts(&self) -> Result<BTreeMap<NeuronId, usize>, RecordError> {
        let read = || {
            let mut statement = self.connection.prepare(
                "SELECT layer, neuron, count(*) FROM trials WHERE layer IS NOT NULL GROUP BY layer, neuron",
            )?;
            let counts = statement.query_map([], |row| {
                let [layer, index, count]: [i64; 3] = [row.get(0)?, row.get(1)?, row.get(2)?];
                Ok((
                    NeuronId {
                        layer: layer as usize,
                        index: index as usize,
                    },
                    count as usize,
                ))
            })?;
            counts.collect::<rusqlite::Result<BTreeMap<_, _>>>()
        };
        read().map_err(|e| self.error("count its trials", e))
    }

    /// A trial by its key.
    pub fn get(&self, key: &TrialKey) -> Result<Option<Trial>, RecordError> {
        get(&self.connection, &self.path, key)
    }

    /// Calls `visit` with every trial in the order of the keys, one at a time in memory.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` fails with.
    pub fn for_each<E: From<RecordError>>(
        &self,
        mut visit: impl FnMut(TrialKey, Trial) -> Result<(), E>,
    ) -> Result<(), E> {
        let error = |source| E::from(self.error("read its trials", source));
        // CROSS JOIN keeps the order of the loops: keys outside.
        let sql = format!("SELECT {COLUMNS}, key FROM keys CROSS {JOINS} ORDER BY key");
        let mut statement = self.connection.prepare(&sql).map_err(error)?;
        let mut rows = statement.query([]).map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            let key = row.get(11).map_err(|e| self.error(READ_KEYS, e))?;
            let key = TrialKey::from_bytes(key);
            visit(key, trial_at(row, &self.path)?)?;
        }
        Ok(())
    }

    /// Reads everything, and checks that each trial stands under the key of its content and that the file is sound.
    ///
    /// # Errors
    /// An integrity error that says which trial is not what was recorded.
    pub fn check(&self) -> Result<StoreDigest, RecordError> {
        self.check_file()?;
        let mut sha256 = Sha256::new();
        let mut trials = 0;
        self.for_each(|key, trial| {
            if trial.key() != key {
                return Err(self.integrity(format!(
                    "trial {key} holds the rollout of {}: the row was changed",
                    trial.key()
                )));
            }
            let rollout = trial.rollout();
            let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            let outcome = (
                &rollout.tokens,
                rollout.ended,
                bits(&rollout.nll),
                bits(&rollout.cosines),
                trial.text(),
            );
            sha256.update(key.bytes());
            sha256.update(canonical::json(&outcome));
            trials += 1;
            Ok::<(), RecordError>(())
        })?;
        self.add_judgements(&mut sha256)?;
        if trials != self.count()? {
            return Err(self.integrity("some keys have lost their trials: the file was changed"));
        }
        Ok(StoreDigest {
            trials,
            sha256: canonical::hex(&sha256.finalize()),
        })
    }

    /// Adds every judgement to a digest, in an order that does not depend on how the rows were inserted.
    fn add_judgements(&self, sha256: &mut Sha256) -> Result<(), RecordError> {
        let error = |e| self.error("read its judgements", e);
        let mut judgements = self
            .connection
            .prepare(
                "SELECT behavior.name, prompt.name, key, outcomes.json, mean_nll, spans FROM judgements
                 LEFT JOIN names AS behavior ON behavior.id = behavior
                 LEFT JOIN names AS prompt ON prompt.id = prompt_id
                 LEFT JOIN keys USING (trial)
                 LEFT JOIN outcomes ON outcomes.id = outcome
                 ORDER BY behavior.name, prompt.name, key",
            )
            .map_err(error)?;
        let mut rows = judgements.query([]).map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            for column in 0..6 {
                let value = row.get_ref(column).map_err(error)?;
                let bytes = value.as_bytes_or_null().map_err(|_| {
                    self.integrity("a judgement cannot be read: the file was changed")
                })?;
                // A length before each value: no two different rows give the same bytes.
                let bytes = bytes.unwrap_or_default();
                sha256.update((bytes.len() as u64).to_le_bytes());
                sha256.update(bytes);
            }
        }
        Ok(())
    }

    fn check_file(&self) -> Result<(), RecordError> {
        let error = |e| self.error("be checked", e);
        let found = self
            .connection
            .query_row("PRAGMA integrity_check(1)", [], |row| {
                row.get::<_, String>(0)
            });
        match found.map_err(error)? {
            ok if ok == "ok" => {}
            problem => return Err(self.integrity(format!("the file is damaged: {problem}"))),
        }
        let orphans = self.connection.query_row(
            "SELECT count(*) FROM trials WHERE id NOT IN (SELECT trial FROM keys)",
            [],
            |row| row.get::<_, i64>(0),
        );
        match orphans.map_err(error)? {
            0 => Ok(()),
            count => Err(self.integrity(format!(
                "{count} trials have lost their keys: the file was changed"
            ))),
        }
    }
}

/// A trial by its key.
pub(super) fn get(
    connection: &Connection,
    path: &Path,
    key: &TrialKey,
) -> Result<Option<Trial>, RecordError> {
    let error = |source| RecordError::store("read a trial", path, source);
    let sql = format!("SELECT {COLUMNS} FROM keys {JOINS} WHERE key = ?1");
    let mut statement = connection.prepare_cached(&sql).map_err(error)?;
    let trial = statement
        .query_row([key.bytes()], |row| Ok(trial_at(row, path)))
        .optional();
    trial.map_err(error)?.transpose()
}

/// The trial in a row that begins with [`COLUMNS`].
pub(super) fn trial_at(row: &Row<'_>, path: &Path) -> Result<Trial, RecordError> {
    let raw = RawTrial::read(row).map_err(|e| match is_of_another_kind(&e) {
        true => {
            let problem = format!("a trial is none any more: the row was changed ({e})");
            RecordError::integrity(path, problem)
        }
        false => RecordError::store("read a trial", path, e),
    })?;
    let text = raw.text.clone();
    raw.unpack().ok_or_else(|| {
        RecordError::integrity(
            path,
            format!("a trial with the text {text:?} is no trial any more: the row was changed"),
        )
    })
}

/// A trial as it is stored.
struct RawTrial {
    prompt: Vec<u8>,
    setting: String,
    seed: Option<i64>,
    layer: Option<i64>,
    neuron: Option<i64>,
    dose: Option<f64>,
    ended: bool,
    tokens: Vec<u8>,
    nll: Vec<u8>,
    cosines: Vec<u8>,
    text: String,
}

impl RawTrial {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            prompt: row.get(0)?,
            setting: row.get(1)?,
            seed: row.get(2)?,
            layer: row.get(3)?,
            neuron: row.get(4)?,
            dose: row.get(5)?,
            ended: row.get(6)?,
            tokens: row.get(7)?,
            nll: row.get(8)?,
            cosines: row.get(9)?,
            text: row.get(10)?,
        })
    }

    fn unpack(self) -> Option<Trial> {
        let setting: Setting = serde_json::from_str(&self.setting).ok()?;
        let steering = match (self.layer, self.neuron, self.dose) {
            (None, None, None) => None,
            (Some(layer), Some(neuron), Some(dose)) => Some(Steering {
                neuron: NeuronId {
                    layer: layer.try_into().ok()?,
                    index: neuron.try_into().ok()?,
                },
                dose: Dose(exact(dose)?),
                apply: setting.apply?,
                window: setting.window,
            }),
            _ => return None,
        };
        let sample = match (setting.sample, self.seed) {
            (None, None) => None,
            (Some(spec), Some(seed)) => Some((spec, seed.cast_unsigned())),
            _ => return None,
        };
        let inputs = TrialInputs {
            model: ModelFingerprint::recorded(setting.model),
            prompt: unpack_tokens(&self.prompt)?,
            steering,
            horizon: setting.horizon,
            stop_at_end: setting.stop_at_end,
            stop_at_loop: setting.stop_at_loop,
            sample,
        };
        let rollout = Rollout {
            tokens: unpack_tokens(&self.tokens)?,
            ended: self.ended,
            nll: unpack_measurements(&self.nll, false)?,
            cosines: unpack_measurements(&self.cosines, true)?,
        };
        (rollout.nll.len() == rollout.tokens.len())
            .then(|| Trial::recorded(inputs, rollout, self.text))
    }
}

/// The single-precision number that was stored in double precision.
fn exact(stored: f64) -> Option<f32> {
    let single = stored as f32;
    (f64::from(single) == stored).then_some(single)
}
