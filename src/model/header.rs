//! Everything about a model folder that can be known without reading its weights.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::checkpoint::{Checkpoint, dtype_name};
use super::decoder::Decoder;
use super::families::{self, Family};
use super::json;
use super::keys::Keys;
use super::tensors::Tensors;
use super::tokenizer::TextCodec;
use super::{ModelError, Shape};
use crate::files;
use crate::record::canonical::hex;

const CONFIG: &str = "config.json";
const GENERATION: &str = "generation_config.json";
/// Longer ones are no configurations, in bytes: those of published models have some thousands.
const LONGEST: u64 = 4 << 20;
/// Files beside the weights that influence results, where they are.
const HASHED: [&str; 5] = [
    CONFIG,
    GENERATION,
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// A model folder's configuration, tokenizer and tensor list, checked against each other.
pub struct ModelHeader {
    /// The folder.
    pub folder: PathBuf,
    /// The configuration.
    pub family: Box<dyn Family>,
    /// What the law needs of it.
    pub shape: Shape,
    /// Tokenizer and chat template.
    pub codec: TextCodec,
    /// SHA-256 (lower-case hex) by file name, of every file that influences results.
    pub files: BTreeMap<String, String>,
    /// Number types in which the weights are stored, sorted.
    pub stored_as: Vec<String>,
    /// End-of-text tokens.
    pub end_of_text: Vec<u32>,
}

impl ModelHeader {
    /// Reads a model folder without its weights beyond the safetensors headers (their bytes are hashed, not loaded).
    ///
    /// # Errors
    /// A file is missing, damaged, not supported, or does not fit another one; the error names it.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let (family, ends) = read_config(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        let expected = checkpoint.check_family(family.as_ref())?;
        checkpoint.check_ties(&expected)?;
        let shape = families::shape(family.as_ref(), &expected);
        let stored_as: BTreeSet<String> = (expected.iter())
            .filter_map(|tensor| Some(dtype_name(checkpoint.stored(&tensor.name)?.dtype)))
            .collect();
        let codec = TextCodec::read(folder)?;
        check_vocabulary(folder, shape.vocab, &codec)?;
        Ok(Self {
            folder: folder.to_owned(),
            codec,
            files: hash_files(folder, &checkpoint)?,
            end_of_text: end_of_text(folder, ends, shape.vocab)?,
            stored_as: stored_as.into_iter().collect(),
            shape,
            family,
        })
    }

    /// Reads the weights.
    ///
    /// # Errors
    /// A damaged checkpoint, or one whose every logit is the same whatever comes before.
    pub fn decoder(&self) -> Result<Decoder, ModelError> {
        let checkpoint = Checkpoint::open(&self.folder)?;
        let decoder = self.family.build(&mut Tensors::of(&checkpoint))?;
        match decoder.silenced_by() {
            None => Ok(decoder),
            Some(part) => {
                let problem = format!(
                    "{part} is all zeros, so no token depends on what a neuron writes: the checkpoint is damaged; fetch or convert it again"
                );
                Err((self.folder.as_path(), problem).into())
            }
        }
    }
}

/// The configuration, and the end-of-text tokens that it names.
fn read_config(folder: &Path) -> Result<(Box<dyn Family>, Vec<u32>), ModelError> {
    let file = folder.join(CONFIG);
    let text = files::read_text(&file, LONGEST).map_err(|e| {
        let problem = format!("cannot be read: {e}; give a model folder in Hugging Face form");
        ModelError::from((file.as_path(), problem))
    })?;
    families::read(&text).map_err(|problem| {
        // Some say themselves what to do.
        let remedy = match problem.contains(';') {
            true => "",
            false => "; correct the file, or fetch it again",
        };
        (file.as_path(), problem + remedy).into()
    })
}

/// The end-of-text tokens: those of `generation_config.json` where it names any, as in transformers' `generate`, else those of
/// `config.json`.
fn end_of_text(folder: &Path, configured: Vec<u32>, vocab: usize) -> Result<Vec<u32>, ModelError> {
    let file = folder.join(GENERATION);
    let problem = |problem: String| ModelError::from((file.as_path(), problem));
    let ids = match files::read_text(&file, LONGEST) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(e) => {
            let remedy = files::remedy(&e);
            return Err(problem(format!("cannot be read: {e}; {remedy}")));
        }
        Ok(text) => {
            let generation: Value = serde_json::from_str(&text)
                .map_err(|e| problem(format!("not valid JSON: {e}; fetch it again")))?;
            json::check_keys(text.as_bytes())
                .map_err(|e| problem(format!("{e}; correct the file, or fetch it again")))?;
            let object = (generation.as_object())
                .ok_or_else(|| problem("is not a mapping; fetch it again".into()))?;
            Keys(object).token_ids("eos_token_id").map_err(problem)?
        }
    };
    let ids = match ids.is_empty() {
        true => configured,
        false => ids,
    };
    match ids.iter().find(|id| **id as usize >= vocab) {
        None => Ok(ids),
        Some(id) => Err((
            folder,
            format!(
                "`eos_token_id` is {id}, beyond the vocabulary of {vocab}; correct {GENERATION} or {CONFIG}"
            ),
        )
            .into()),
    }
}

/// Every token needs a row of the embedding. Rows without a token are padding.
fn check_vocabulary(folder: &Path, vocab: usize, codec: &TextCodec) -> Result<(), ModelError> {
    let problem = match codec.last_token() {
        None => "has no tokens; fetch it again".to_owned(),
        Some((id, name)) if id as usize >= vocab => format!(
            "has the token {name:?} with id {id}, but `vocab_size` in {CONFIG} is {vocab}: this tokenizer belongs to another model"
        ),
        Some(_) => return Ok(()),
    };
    Err((folder.join("tokenizer.json").as_path(), problem).into())
}

/// SHA-256 by file name.
fn hash_files(
    folder: &Path,
    checkpoint: &Checkpoint,
) -> Result<BTreeMap<String, String>, ModelError> {
    let beside = HASHED.iter().map(|name| folder.join(name));
    beside
        .filter(|file| file.is_file())
        .chain(checkpoint.files().iter().cloned())
        .map(|file| {
            let name = file.file_name().unwrap_or_default();
            let hash = sha256(&file)
                .map_err(|e| ModelError::from((file.as_path(), format!("cannot be read: {e}"))))?;
            check_blob(&file, &hash)?;
            Ok((name.to_string_lossy().into_owned(), hash))
        })
        .collect()
}

/// In the hub's cache a weight file is a link to a blob, and the blob is named after its SHA-256: a damaged one is found out.
fn check_blob(file: &Path, hash: &str) -> Result<(), ModelError> {
    let Ok(blob) = std::fs::read_link(file) else {
        return Ok(());
    };
    let part = |path: Option<&Path>| {
        let name = path.and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().into_owned()
    };
    let (folder, name) = (part(blob.parent()), part(Some(&blob)));
    let is_hash = name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    if folder != "blobs" || !is_hash || name == hash {
        return Ok(());
    }
    let blob = file.canonicalize().unwrap_or(blob);
    let problem = format!(
        "is damaged: its SHA-256 is not the one that the hub gives; delete {} and run the command again, to download it anew",
        blob.display()
    );
    Err((file, problem).into())
}

/// SHA-256 of a file's bytes in lower-case hex, read piece by piece.
fn sha256(file: &Path) -> std::io::Result<String> {
    let mut file = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hex(&hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}
