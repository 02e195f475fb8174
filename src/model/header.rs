//! Everything about a model folder that can be known without reading its weights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::LlamaConfig;
use super::tokenizer::TextCodec;
use super::{ModelError, Shape};

/// A model folder's configuration, tokenizer and tensor list, checked against each other.
pub struct ModelHeader {
    /// The folder.
    pub folder: PathBuf,
    /// The configuration.
    pub config: LlamaConfig,
    /// What the law needs of it.
    pub shape: Shape,
    /// Tokenizer and chat template.
    pub codec: TextCodec,
    /// SHA-256 (lower-case hex) by file name, of every file that influences results.
    pub files: BTreeMap<String, String>,
    /// End-of-text tokens.
    pub end_of_text: Vec<u32>,
}

impl ModelHeader {
    /// Reads a model folder without its weights beyond the safetensors headers (their bytes are hashed, not loaded).
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let _ = folder;
        unimplemented!("helper `model`")
    }
}
