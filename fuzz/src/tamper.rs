//! Changes to a record that the input of a target spells, byte by byte: to a JSON value at a place, to a cell of the trial store, to raw
//! bytes. Whoever can change a record can hash it again as well, so hashes and seals are renewed where the input asks for it.

use std::fs;
use std::path::Path;

use reachspec::record::Manifest;
use reachspec::record::canonical;
use reachspec::record::folder::{RunFolder, render_json};
use reachspec::record::store::TrialStore;
use reachspec::stages::judge::Judgements;
use reachspec::stages::predict::{Predictions, Seal};
use reachspec::stages::verdict::Verdicts;
use rusqlite::Connection;
use rusqlite::types::Value as Cell;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The bytes of an input, read one after another; zeros when they are at an end.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    /// The next `count` bytes, or those that are left.
    pub fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        (usize::from(self.byte()) << 8 | usize::from(self.byte())) % end
    }

    /// A text of up to 31 bytes.
    fn text(&mut self) -> String {
        let length = usize::from(self.byte() % 32);
        String::from_utf8_lossy(self.take(length)).into_owned()
    }
}

/// Changes a value at a place: the place is a walk from the root, a byte for each step.
pub fn change(root: &mut Value, bytes: &mut Bytes<'_>) {
    let other = place(root, &mut Bytes(&bytes.0[..bytes.0.len().min(4)])).clone();
    let at = place(root, bytes);
    let kind = bytes.byte() % 10;
    match (kind, at) {
        (0, at) => *at = constant(bytes),
        (1, at) => *at = Value::String(bytes.text()),
        (2, at) => *at = other,
        (3, Value::Array(list)) => {
            if !list.is_empty() {
                list.remove(bytes.below(list.len()));
            }
        }
        (3, Value::Object(map)) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            if !keys.is_empty() {
                map.remove(&keys[bytes.below(keys.len())]);
            }
        }
        (4, Value::Array(list)) => {
            if !list.is_empty() {
                let copied = list[bytes.below(list.len())].clone();
                let count = usize::from(bytes.byte() % 40) + 1;
                let at = bytes.below(list.len());
                list.splice(at..at, std::iter::repeat_n(copied, count));
            }
        }
        (5, Value::Array(list)) => list.reverse(),
        (6, Value::Array(list)) => list.truncate(usize::from(bytes.byte())),
        (7, Value::Array(list)) if list.len() > 1 => {
            let (one, two) = (bytes.below(list.len()), bytes.below(list.len()));
            list.swap(one, two);
        }
        (_, Value::Number(number)) => {
            let value = number.as_f64().unwrap_or(0.0);
            let factors = [-1.0, 0.0, 2.0, 0.5, 1e6, 1e-6, 1e300, 1e-300];
            let changed = value * factors[bytes.below(factors.len())];
            *number = match number.is_f64() {
                true => serde_json::Number::from_f64(changed).unwrap_or_else(|| 0.into()),
                false => (changed as i64)
                    .saturating_add(i64::from(bytes.byte() as i8))
                    .into(),
            };
        }
        (_, Value::Object(map)) => {
            map.insert(bytes.text(), constant(bytes));
        }
        (_, at) => *at = constant(bytes),
    }
}

fn place<'v>(root: &'v mut Value, bytes: &mut Bytes<'_>) -> &'v mut Value {
    let mut at = root;
    for _ in 0..bytes.byte() % 12 {
        let step = usize::from(bytes.byte());
        let is_leaf = match &*at {
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => true,
        };
        if is_leaf {
            break;
        }
        at = match at {
            Value::Array(list) => {
                let step = step % list.len();
                &mut list[step]
            }
            Value::Object(map) => {
                let step = step % map.len();
                map.values_mut().nth(step).expect("below its length")
            }
            leaf => leaf,
        };
    }
    at
}

fn constant(bytes: &mut Bytes<'_>) -> Value {
    let constants = [
        json!(null),
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(1e308),
        json!(-1e308),
        json!(1e-320),
        json!(u64::MAX),
        json!(i64::MIN),
        json!(1u64 << 32),
        json!(true),
        json!(false),
        json!(""),
        json!([]),
        json!({}),
        json!([0, 0]),
        json!("\u{202e}</script>"),
        json!(65536),
        json!("x".repeat(300)),
    ];
    constants[usize::from(bytes.byte()) % constants.len()].clone()
}

/// Tables of the trial store with their primary keys and the columns that are changed.
const TABLES: [(&str, &str, &[&str]); 7] = [
    (
        "trials",
        "id",
        &[
            "prompt", "setting", "layer", "neuron", "dose", "seed", "ended", "tokens", "nll",
            "cosines", "text",
        ],
    ),
    ("prompts", "id", &["tokens", "id"]),
    ("settings", "id", &["json", "id"]),
    ("keys", "key", &["key", "trial"]),
    ("names", "id", &["name", "id"]),
    ("outcomes", "id", &["json", "id"]),
    (
        "judgements",
        "behavior, trial, prompt_id",
        &[
            "behavior",
            "trial",
            "prompt_id",
            "outcome",
            "mean_nll",
            "spans",
        ],
    ),
];

/// Changes a cell of the trial store, or removes a row. What SQLite refuses is left undone.
pub fn change_store(path: &Path, bytes: &mut Bytes<'_>) {
    let Ok(connection) = Connection::open(path) else {
        return;
    };
    let _ = connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = MEMORY");
    let (table, key, columns) = TABLES[usize::from(bytes.byte()) % TABLES.len()];
    let row = i64::from(bytes.byte());
    let rows = format!(
        "({key}) IN (SELECT {key} FROM {table} LIMIT 1 OFFSET ?1 % max(1, (SELECT count(*) FROM {table})))"
    );
    let kind = bytes.byte() % 8;
    if kind == 0 {
        let _ = connection.execute(&format!("DELETE FROM {table} WHERE {rows}"), [row]);
        return;
    }
    let column = columns[usize::from(bytes.byte()) % columns.len()];
    let sql = format!("UPDATE OR REPLACE {table} SET {column} = ?2 WHERE {rows}");
    let _ = connection.execute(&sql, (row, cell(kind, bytes)));
}

fn cell(kind: u8, bytes: &mut Bytes<'_>) -> Cell {
    let length = usize::from(bytes.byte() % 64);
    match kind {
        1 => Cell::Null,
        2 => Cell::Integer(i64::from(bytes.byte())),
        3 => {
            Cell::Integer([i64::MIN, i64::MAX, -1, 1 << 32, 1 << 20][usize::from(bytes.byte()) % 5])
        }
        4 => Cell::Real([f64::INFINITY, -0.0, 1e300, 0.1, -1.5][usize::from(bytes.byte()) % 5]),
        5 => Cell::Text(bytes.text()),
        _ => Cell::Blob(bytes.take(length).to_vec()),
    }
}

/// `predictions.json`.
#[derive(Serialize, Deserialize)]
struct SealedFile {
    seal: Seal,
    sealed: Predictions,
}

/// `verdicts.json`.
#[derive(Serialize, Deserialize)]
struct VerdictsFile {
    judgements: Judgements,
    verdicts: Verdicts,
}

/// `manifest.json`.
#[derive(Serialize, Deserialize)]
struct ManifestFile {
    sha256: String,
    manifest: Manifest,
}

fn read<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn write<T: Serialize>(path: &Path, value: &T) {
    fs::write(path, render_json(value)).expect("a folder that can be written");
}

/// Writes every hash and seal anew, so that the record fits itself as far as hashes go. What cannot be read stays as it is.
pub fn hash_again(folder: &Path) {
    let Ok(run) = RunFolder::open(folder) else {
        return;
    };
    let Some(mut file) = read::<ManifestFile>(&run.manifest()) else {
        return;
    };
    let manifest = &mut file.manifest;
    manifest.study_sha256 = manifest.study.hash();
    manifest.prompts_sha256 = (manifest.study.prompts.iter())
        .map(|(name, set)| (name.clone(), canonical::hash(set)))
        .collect();
    let mut seal = String::new();
    if let Some(mut sealed) = read::<SealedFile>(&run.predictions()) {
        sealed.sealed.study = manifest.study.question_hash();
        sealed.seal.sha256 = canonical::hash(&sealed.sealed);
        seal.clone_from(&sealed.seal.sha256);
        write(&run.predictions(), &sealed);
    }
    if let Some(mut verdicts) = read::<VerdictsFile>(&run.verdicts()) {
        verdicts.verdicts.study.clone_from(&manifest.study_sha256);
        verdicts.verdicts.seal = seal;
        write(&run.verdicts(), &verdicts);
    }
    if let Some(evidence) = &mut manifest.evidence {
        if let Ok(hashes) = run.hash_evidence() {
            evidence.files.extend(hashes);
        }
        let store = TrialStore::open_read_only(&run.trials());
        if let Ok(digest) = store.and_then(|store| store.check()) {
            evidence.trials = digest;
        }
    }
    file.sha256 = canonical::hash(&file.manifest);
    write(&run.manifest(), &file);
}
