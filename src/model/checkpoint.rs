//! The weights of a model folder: safetensors, in one file or in shards.
//!
//! Opening reads only the safetensors headers. A tensor's bytes are read piece by piece when it is asked for, and converted to `f32` at once:
//! the weights are never in memory twice. They are not mapped: who cuts a file under a map ends every program that looks at it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use safetensors::Dtype;
use safetensors::tensor::Metadata;
use serde::Deserialize;

use super::ModelError;
use super::families::{self, Family};
use super::json;
use super::tensors::Expected;
use crate::files;

/// The file of weights that are in one file.
pub const SINGLE: &str = "model.safetensors";
/// The file that says in which shard a tensor lies.
pub const INDEX: &str = "model.safetensors.index.json";
const EMBEDDING: &str = "model.embed_tokens.weight";
const UNEMBEDDING: &str = "lm_head.weight";

/// Embeddings, and the unembeddings that may be tied to them.
const TIED: [(&str, &[&str]); 4] = [
    (EMBEDDING, &[UNEMBEDDING]),
    (
        "gpt_neox.embed_in.weight",
        &["embed_out.weight", UNEMBEDDING],
    ),
    ("transformer.wte.weight", &[UNEMBEDDING]),
    ("wte.weight", &[UNEMBEDDING]),
];

/// A larger header is a damaged file: 10,000 tensors are 1 MB. Read, it takes some ten times its length.
const LARGEST_HEADER: u64 = 8 << 20;
/// A larger index is none, for the same reason.
const LARGEST_INDEX: u64 = 16 << 20;
/// Bytes converted at a time; a multiple of every supported element size.
const PIECE: usize = 1 << 20;
/// Tensors named in one error, of each kind of problem.
const NAMED: usize = 20;

/// The tensors of a model folder.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    files: Vec<PathBuf>,
    tensors: BTreeMap<String, Stored>,
}

/// Where a tensor is stored, and as what.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Number type in the file.
    pub dtype: Dtype,
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// Index into [`Checkpoint::files`].
    file: usize,
    /// First byte in the file.
    start: u64,
}

impl Checkpoint {
    /// Finds the safetensors files of `folder` and reads their headers; no weight is read.
    ///
    /// # Errors
    /// No safetensors in the folder, a damaged header, a file that is shorter or longer than its header says, or an index that does not
    /// agree with its shards.
    pub fn open(folder: &Path) -> Result<Self, ModelError> {
        let (files, index) = find_files(folder)?;
        let mut checkpoint = Self {
            folder: folder.to_owned(),
            files,
            tensors: BTreeMap::new(),
        };
        for file in 0..checkpoint.files.len() {
            checkpoint.add_file(file)?;
        }
        if let Some(index) = index {
            checkpoint.check_index(&index)?;
        }
        Ok(checkpoint)
    }

    /// The safetensors files, sorted by name.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// Whether the tensor is stored (see [`Checkpoint::stored`]).
    pub fn contains(&self, name: &str) -> bool {
        self.stored(name).is_some()
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// What is stored under a name, or under the other name that checkpoints of its family use for it.
    pub fn stored(&self, name: &str) -> Option<&Stored> {
        (self.tensors.get(name)).or_else(|| self.tensors.get(&other_name(name)?))
    }

    /// Reads a tensor's values as `f32`, row-major, from stored `f32`, `f16` or `bf16`.
    ///
    /// # Errors
    /// No such tensor, another shape than `dims`, another number type, or a value that is not finite.
    pub fn values(&self, name: &str, dims: &[usize]) -> Result<Vec<f32>, ModelError> {
        let stored = self
            .stored(name)
            .ok_or_else(|| self.problem(format!("tensor `{name}` is missing")))?;
        if stored.shape != dims {
            return Err(self.problem(misshapen(name, dims, stored)));
        }
        let values = self.read(name, stored)?;
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(ModelError::File {
                file: self.files[stored.file].display().to_string(),
                problem: format!(
                    "tensor `{name}` has the value {} at element {at}: the checkpoint is damaged; fetch or convert it again",
                    values[at]
                ),
            });
        }
        Ok(values)
    }

    /// Checks names, shapes and number types of all tensors against what is expected, without reading a weight, and lists everything
    /// that does not fit. Tensors for which `ignored` says yes may be stored or not.
    pub fn check(
        &self,
        expected: &[Expected],
        ignored: impl Fn(&str) -> bool,
    ) -> Result<(), ModelError> {
        let named: BTreeSet<&str> = expected.iter().map(|e| e.name.as_str()).collect();
        let mut problems = Vec::new();
        let mut missing = Vec::new();
        let mut known = BTreeSet::new();
        for Expected { name, dims } in expected {
            // Another name stands for this tensor only where it does not stand for one of its own.
            let other = other_name(name).filter(|other| !named.contains(other.as_str()));
            let found = [Some(name.clone()), other].into_iter().flatten();
            let Some(found) = found
                .into_iter()
                .find(|name| self.tensors.contains_key(name))
            else {
                missing.push(name.as_str());
                continue;
            };
            let stored = &self.tensors[&found];
            if stored.shape != *dims {
                problems.push(misshapen(name, dims, stored));
            }
            problems.extend(float(name, stored.dtype).err());
            known.insert(found);
        }
        let unexpected: Vec<&str> = self
            .names()
            .filter(|name| !known.contains(*name) && !ignored(name))
            .collect();
        let left_out = problems.len().saturating_sub(NAMED);
        problems.truncate(NAMED);
        if left_out > 0 {
            problems.push(format!(
                "{left_out} more tensors with another shape or type"
            ));
        }
        problems.extend(listed("missing", &missing));
        problems.extend(listed("unexpected", &unexpected));
        match problems.is_empty() {
            true => Ok(()),
            false => Err(self.problem(format!(
                "the weights do not fit config.json: {}; fetch both again, from the same model",
                problems.join("; ")
            ))),
        }
    }

    /// [`Checkpoint::check`] against what a family builds from it, which is returned.
    pub fn check_family(&self, family: &dyn Family) -> Result<Vec<Expected>, ModelError> {
        let (stored, layers) = (self.tensors.len(), family.sizes().layers);
        if layers > stored {
            // Before the list of what is expected grows as long as a damaged configuration says.
            return Err(self.problem(format!(
                "the weights do not fit config.json: tensors in the file: {stored}, layers: {layers}; fetch both again, from the same model"
            )));
        }
        let expected = families::expected(family)?;
        self.check(&expected, |name| family.ignores(name))?;
        Ok(expected)
    }

    /// Refuses a checkpoint that stores an unembedding of its own although the configuration ties it to the embedding: which of the
    /// two is meant cannot be known. `expected` are the tensors that the model is built from.
    pub fn check_ties(&self, expected: &[Expected]) -> Result<(), ModelError> {
        let is_used = |name: &str| {
            let mut named = expected.iter().map(|tensor| &tensor.name);
            named.any(|used| {
                used == name || other_name(used).as_deref() == Some(name) && used != EMBEDDING
            })
        };
        for (embedding, heads) in TIED {
            for head in heads {
                let pair = (self.tensors.get(embedding), self.tensors.get(*head));
                let (Some(one), Some(other)) = pair else {
                    continue;
                };
                if !is_used(head) && !self.same_bytes(one, other)? {
                    return Err(self.problem(format!(
                        "`{head}` differs from `{embedding}`, but `tie_word_embeddings` says that they are one; set it to false in config.json, or remove `{head}`"
                    )));
                }
            }
        }
        Ok(())
    }

    /// Whether two tensors are stored alike.
    fn same_bytes(&self, one: &Stored, other: &Stored) -> Result<bool, ModelError> {
        if (one.dtype, &one.shape) != (other.dtype, &other.shape) {
            return Ok(false);
        }
        let pieces = |stored: &Stored| {
            let path = &self.files[stored.file];
            let size = float("", stored.dtype).map_err(|problem| in_file(path, problem))?;
            let length = stored.shape.iter().product::<usize>() * size.size_in_bytes();
            let pieces = Pieces::open(path, stored.start, length);
            Ok::<_, ModelError>((pieces.map_err(|e| in_file(path, e.to_string()))?, path))
        };
        let ((mut one, path), (mut other, beside)) = (pieces(one)?, pieces(other)?);
        loop {
            let piece = one.next().map_err(|e| in_file(path, e.to_string()))?;
            if piece != other.next().map_err(|e| in_file(beside, e.to_string()))? {
                return Ok(false);
            }
            if piece.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Adds the tensors of one file.
    fn add_file(&mut self, file: usize) -> Result<(), ModelError> {
        let path = &self.files[file];
        let (data, metadata) = read_header(path).map_err(|problem| in_file(path, problem))?;
        // In their order, so that of several errors the same one is told.
        let tensors: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
        for (name, info) in tensors {
            let stored = Stored {
                dtype: info.dtype,
                shape: info.shape.clone(),
                file,
                start: data + info.data_offsets.0 as u64,
            };
            if self.tensors.insert(name.clone(), stored).is_some() {
                return Err(in_file(
                    path,
                    format!(
                        "tensor `{name}` is stored in another shard too; remove one of the two"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Every tensor of the index must lie in the shard that the index names.
    fn check_index(&self, index: &Shards) -> Result<(), ModelError> {
        for (name, shard) in index {
            let lies_there = self
                .tensors
                .get(name)
                .is_some_and(|stored| self.files[stored.file] == self.folder.join(shard));
            if !lies_there {
                return Err(in_file(
                    &self.folder.join(INDEX),
                    format!(
                        "says that `{name}` is in {shard}, and it is not; fetch the folder again"
                    ),
                ));
            }
        }
        Ok(())
    }

    /// All values of a tensor, as `f32`.
    fn read(&self, name: &str, stored: &Stored) -> Result<Vec<f32>, ModelError> {
        let path = &self.files[stored.file];
        let dtype = float(name, stored.dtype).map_err(|problem| in_file(path, problem))?;
        let unreadable = |e: std::io::Error| in_file(path, format!("cannot read `{name}`: {e}"));
        // The header was checked against the length of the file, so this is no more than the file holds.
        let count: usize = stored.shape.iter().product();
        let mut values = Vec::with_capacity(count);
        let length = count * dtype.size_in_bytes();
        let mut pieces = Pieces::open(path, stored.start, length).map_err(unreadable)?;
        loop {
            let piece = pieces.next().map_err(unreadable)?;
            if piece.is_empty() {
                break;
            }
            let length = piece.len() / dtype.size_in_bytes();
            let part = Tensor::from_raw_buffer(piece, dtype, &[length], &Device::Cpu)?;
            values.extend(part.to_dtype(DType::F32)?.to_vec1::<f32>()?);
        }
        Ok(values)
    }

    /// An error about the checkpoint as a whole.
    fn problem(&self, problem: String) -> ModelError {
        let whole = match self.files.as_slice() {
            [single] => single,
            _ => &self.folder,
        };
        in_file(whole, problem)
    }
}

/// A part of a file, read piece by piece.
struct Pieces {
    file: File,
    left: usize,
    piece: Vec<u8>,
}

impl Pieces {
    /// Of `length` bytes from `start` on.
    fn open(path: &Path, start: u64, length: usize) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start))?;
        Ok(Self {
            file,
            left: length,
            piece: vec![0; length.min(PIECE)],
        })
    }

    /// The next bytes, [`PIECE`] of them or what is left; none at the end.
    fn next(&mut self) -> std::io::Result<&[u8]> {
        let piece = &mut self.piece[..self.left.min(PIECE)];
        self.file.read_exact(piece).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => std::io::Error::other(
                "the file has become shorter since its header was read; run again when it is complete",
            ),
            _ => error,
        })?;
        self.left -= piece.len();
        Ok(piece)
    }
}

/// What is wrong with a header. Which of two overlapping tensors the library comes upon first is chance, and so is what it says then.
fn header_problem(error: &serde_json::Error) -> String {
    let said = error.to_string();
    match ["invalid offset", "invalid shape"]
        .iter()
        .any(|start| said.starts_with(start))
    {
        true => "the offsets of a tensor do not fit its shape, or those of another tensor".into(),
        false => said,
    }
}

/// The other name under which checkpoints hold a tensor: tied embeddings lie under either of two names, GPT-2's tensors with or
/// without a prefix, GPT-NeoX's unembedding under an old or a new name.
fn other_name(name: &str) -> Option<String> {
    match name {
        EMBEDDING => Some(UNEMBEDDING.to_owned()),
        "embed_out.weight" => Some(UNEMBEDDING.to_owned()),
        _ => name.strip_prefix("transformer.").map(str::to_owned),
    }
}

/// Name of a number type, as papers and configurations write it: `f32`, `bf16`.
pub fn dtype_name(dtype: Dtype) -> String {
    format!("{dtype:?}").to_lowercase()
}

/// Shard by tensor name.
pub type Shards = BTreeMap<String, String>;

/// The weight files of a folder, sorted, and the index when the weights are sharded.
fn find_files(folder: &Path) -> Result<(Vec<PathBuf>, Option<Shards>), ModelError> {
    let single = folder.join(SINGLE);
    if is_there(&single)? {
        return Ok((vec![single], None));
    }
    let index = folder.join(INDEX);
    if !is_there(&index)? {
        return Err(in_file(folder, no_weights(folder)));
    }
    let map = read_index(&index).map_err(|problem| in_file(&index, problem))?;
    let shards: BTreeSet<&String> = map.values().collect();
    let files = shards.into_iter().map(|shard| folder.join(shard)).collect();
    Ok((files, Some(map)))
}

/// Whether there is a file of this name; something else of this name is an error.
fn is_there(path: &Path) -> Result<bool, ModelError> {
    match files::not_regular(path) {
        Ok(None) => Ok(true),
        Ok(Some(kind)) => Err(in_file(
            path,
            format!("is {kind}, not a file; put the file there"),
        )),
        Err(e) if e.kind() == ErrorKind::NotFound && !path.is_symlink() => Ok(false),
        Err(e) => Err(in_file(
            path,
            format!("cannot be read: {e}; {}", files::remedy(&e)),
        )),
    }
}

/// Reads the index of sharded weights.
///
/// # Errors
/// The file cannot be read, is no index, or names something that is not a file of its own folder.
pub fn read_index(path: &Path) -> Result<Shards, String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: Shards,
    }
    let text = files::read_text(path, LARGEST_INDEX)
        .map_err(|e| format!("cannot be read: {e}; {}", files::remedy(&e)))?;
    let none = |e: serde_json::Error| format!("is not a safetensors index: {e}; fetch it again");
    let index: Index = serde_json::from_str(&text).map_err(none)?;
    json::check_keys(text.as_bytes()).map_err(none)?;
    for shard in index.weight_map.values() {
        // A shard is a file of this folder: an index cannot make us read elsewhere.
        if Path::new(shard).file_name() != Some(shard.as_ref()) {
            return Err(format!(
                "names the shard `{shard}`, which is not a plain file name; fetch it again"
            ));
        }
    }
    match index.weight_map.is_empty() {
        true => Err("has an empty `weight_map`; fetch it again".into()),
        false => Ok(index.weight_map),
    }
}

/// Why a folder has no weights that can be read.
fn no_weights(folder: &Path) -> String {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return "is not a folder that can be read; give a folder in Hugging Face form".into();
    };
    let names: BTreeSet<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let ends = |suffixes: &[&str]| {
        names
            .iter()
            .find(|name| suffixes.iter().any(|suffix| name.ends_with(suffix)))
    };
    if let Some(pickle) = ends(&[".bin", ".bin.index.json", ".pth", ".pt"]) {
        return format!(
            "has its weights only as a pickle ({pickle}), which can run code when it is read; convert it to safetensors: in Python, \
             `transformers.AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)`"
        );
    }
    if let Some(gguf) = ends(&[".gguf"]) {
        return format!(
            "has its weights as {gguf}; GGUF is not supported, use the original safetensors"
        );
    }
    if let Some(other) = ends(&[".safetensors"]) {
        return format!(
            "has {other}, but neither {SINGLE} nor {INDEX}; rename the file, or fetch the index"
        );
    }
    format!("has no {SINGLE} and no {INDEX}; give a folder in Hugging Face form")
}

/// Reads a safetensors header: where the data begin, and what they are. Names, offsets and shapes are checked against each other by the
/// safetensors crate; here, sizes are checked against the file before anything is allocated.
fn read_header(path: &Path) -> Result<(u64, Metadata), String> {
    let mut file =
        files::open(path).map_err(|e| format!("cannot be opened: {e}; {}", files::remedy(&e)))?;
    let length = file.metadata().map_err(|e| e.to_string())?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size)
        .map_err(|_| format!("is {length} bytes, too short for safetensors; fetch it again"))?;
    let size = u64::from_le_bytes(size);
    if size > LARGEST_HEADER || size > length - 8 {
        return Err(format!(
            "announces a header of {size} bytes in a file of {length}: it is cut short or not safetensors; fetch it again"
        ));
    }
    let mut header = vec![0; size as usize];
    file.read_exact(&mut header).map_err(|e| e.to_string())?;
    let damaged = |e: serde_json::Error| {
        format!(
            "has a damaged safetensors header: {}; fetch it again",
            header_problem(&e)
        )
    };
    let metadata: Metadata = serde_json::from_slice(&header).map_err(damaged)?;
    json::check_keys(&header).map_err(damaged)?;
    let data = 8 + size;
    let announced = data.saturating_add(metadata.data_len() as u64);
    match announced == length {
        true => Ok((data, metadata)),
        false => Err(format!(
            "has {length} bytes where its header announces {announced}: it was not fetched or copied completely; fetch it again"
        )),
    }
}

/// The number types that are read.
fn float(name: &str, dtype: Dtype) -> Result<DType, String> {
    match dtype {
        Dtype::F32 => Ok(DType::F32),
        Dtype::F16 => Ok(DType::F16),
        Dtype::BF16 => Ok(DType::BF16),
        other => Err(format!(
            "tensor `{name}` is stored as {}; f32, f16 and bf16 are supported",
            dtype_name(other)
        )),
    }
}

fn misshapen(name: &str, expected: &[usize], stored: &Stored) -> String {
    let found = &stored.shape;
    format!("tensor `{name}` has shape {found:?}, expected {expected:?}")
}

fn listed(kind: &str, names: &[&str]) -> Option<String> {
    let more = match names.len() {
        0 => return None,
        count if count > NAMED => format!(" and {} more", count - NAMED),
        _ => String::new(),
    };
    let named: Vec<String> = names
        .iter()
        .take(NAMED)
        .map(|name| format!("`{name}`"))
        .collect();
    Some(format!("{kind}: {}{more}", named.join(", ")))
}

fn in_file(path: &Path, problem: String) -> ModelError {
    (path, problem).into()
}
