//! `reachspec inspect`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::Serialize;

use super::{Failure, print_json, say};
use crate::hub::{HubModel, Network};
use crate::model::checkpoint::Checkpoint;
use crate::model::tensors::Order;
use crate::model::{ModelError, ModelHeader};
use crate::units::bytes;

/// Describe a model: what reachspec sees in its folder, and what a study on it costs in memory
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  reachspec inspect specs/models/bilingual
  reachspec inspect ~/models/Llama-3.2-1B --quick
  reachspec inspect specs/models/bilingual --json | jq .shape
  reachspec inspect owner/name@COMMIT")]
pub struct Args {
    /// Folder with config.json, tokenizer.json and safetensors weights; or `owner/name@commit` of the Hugging Face hub,
    /// downloaded into its cache where it is not there (HF_HUB_OFFLINE=1 forbids it)
    model: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Do not read the down projections for their write norms
    #[arg(long)]
    quick: bool,
}

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let card = card(&args)
        .with_context(|| format!("cannot use the model `{}`", args.model.display()))
        .map_err(Failure::Unusable)?;
    match args.json {
        true => print_json(&card),
        false => say(card.to_text().trim_end()),
    }
}

fn card(args: &Args) -> anyhow::Result<Card> {
    let Some((repository, revision)) = at_the_hub(&args.model) else {
        if !args.model.exists() {
            return Err(anyhow!(
                "there is no such folder; a model of the Hugging Face hub is written owner/name@commit"
            ));
        }
        return Ok(Card::of(&args.model, folder_name(&args.model), args.quick)?);
    };
    let model = HubModel {
        repository,
        revision,
        allow_moving: false,
    };
    let folder = model
        .locate(Network::from_environment())
        .map_err(|error| anyhow!("{error}; {}", error.help()))?;
    let commit = folder_name(&folder);
    Ok(Card::of(
        &folder,
        format!("{repository}@{commit}"),
        args.quick,
    )?)
}

/// Repository and revision, where the argument reads `owner/name@revision` and is not the path of something that is there.
fn at_the_hub(model: &Path) -> Option<(&str, &str)> {
    let (repository, revision) = model.to_str()?.split_once('@')?;
    let plain = |text: &str, also: &str| {
        text.starts_with(|first: char| first.is_ascii_alphanumeric())
            && text
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || also.contains(c))
    };
    let named = repository.split('/').count() <= 2
        && repository.split('/').all(|part| plain(part, "-_."))
        && plain(revision, "-_./");
    (named && !model.exists()).then_some((repository, revision))
}

/// What `inspect` says about a model.
#[derive(Debug, Serialize)]
struct Card {
    name: String,
    shape: crate::model::Shape,
    attention: Attention,
    parameters: usize,
    stored_as: Vec<String>,
    tokens: usize,
    end_of_text: Vec<EndOfText>,
    chat_template: ChatTemplate,
    hook_site: String,
    norm_placement: &'static str,
    memory: Memory,
    write_norms: Option<Vec<WriteNorms>>,
    /// SHA-256 by file name.
    files: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Attention {
    query_heads: usize,
    key_value_heads: usize,
    head_width: usize,
}

#[derive(Debug, Serialize)]
struct EndOfText {
    id: u32,
    text: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum ChatTemplate {
    None,
    Usable,
    Unusable(String),
}

#[derive(Debug, Serialize)]
struct Memory {
    weights_bytes: usize,
    /// Keys and values of one token of one rollout.
    cache_bytes_per_token: usize,
}

/// `‖v‖` over the neurons of a layer.
#[derive(Debug, Serialize)]
struct WriteNorms {
    layer: usize,
    min: f32,
    median: f32,
    max: f32,
}

impl Card {
    fn of(folder: &Path, name: String, quick: bool) -> Result<Self, ModelError> {
        let header = ModelHeader::read(folder)?;
        let checkpoint = Checkpoint::open(folder)?;
        let family = header.family.as_ref();
        let (sizes, anatomy) = (family.sizes(), family.anatomy());
        let parameters = header.shape.parameters;
        let text = |id| header.codec.token_text(id).unwrap_or_default();
        let end_of_text = header.end_of_text.iter();
        let cache = 2 * sizes.layers * sizes.heads.kv_width();
        Ok(Self {
            name,
            attention: Attention {
                query_heads: sizes.heads.query,
                key_value_heads: sizes.heads.kv,
                head_width: sizes.heads.dim,
            },
            parameters,
            stored_as: header.stored_as.clone(),
            tokens: header.codec.len(),
            end_of_text: end_of_text
                .map(|&id| EndOfText { id, text: text(id) })
                .collect(),
            chat_template: match header.codec.chat_template() {
                Ok(false) => ChatTemplate::None,
                Ok(true) => ChatTemplate::Usable,
                Err(problem) => ChatTemplate::Unusable(problem.to_owned()),
            },
            hook_site: format!("input of {}", anatomy.down_projection),
            norm_placement: anatomy.norms,
            memory: Memory {
                weights_bytes: parameters * size_of::<f32>(),
                cache_bytes_per_token: cache * size_of::<f32>(),
            },
            write_norms: match quick {
                true => None,
                false => Some(write_norms(&header, &checkpoint)?),
            },
            shape: header.shape,
            files: header.files,
        })
    }

    fn to_text(&self) -> String {
        let shape = &self.shape;
        let neurons = shape.layers * shape.d_ff;
        let ends: Vec<String> = (self.end_of_text.iter())
            .map(|end| format!("{} {:?}", end.id, end.text))
            .collect();
        let template = match &self.chat_template {
            ChatTemplate::None => "none: give `text` prompts".to_owned(),
            ChatTemplate::Usable => "yes".to_owned(),
            ChatTemplate::Unusable(problem) => format!("unusable: {problem}"),
        };
        let rows = [
            (
                "family",
                format!(
                    "{}: {} layers, residual width {}",
                    shape.family, shape.layers, shape.d_model
                ),
            ),
            (
                "neurons",
                format!("{} per layer, {} in all", shape.d_ff, grouped(neurons)),
            ),
            (
                "attention",
                format!(
                    "{} query heads, {} key-value heads of width {}",
                    self.attention.query_heads,
                    self.attention.key_value_heads,
                    self.attention.head_width
                ),
            ),
            (
                "parameters",
                format!(
                    "{}, stored as {}",
                    grouped(self.parameters),
                    self.stored_as.join(" and ")
                ),
            ),
            ("context", format!("{} tokens", grouped(shape.context))),
            (
                "vocabulary",
                format!(
                    "{} rows, {} tokens",
                    grouped(shape.vocab),
                    grouped(self.tokens)
                ),
            ),
            (
                "end of text",
                if ends.is_empty() {
                    "none: rollouts run to the last horizon".into()
                } else {
                    ends.join(", ")
                },
            ),
            ("chat template", template),
            ("hook site", self.hook_site.to_owned()),
            ("norms", self.norm_placement.to_owned()),
            (
                "memory",
                format!(
                    "{} for the weights in f32, {} per token of each rollout (KV cache)",
                    bytes(self.memory.weights_bytes),
                    bytes(self.memory.cache_bytes_per_token)
                ),
            ),
        ];
        let mut text = format!("{}\n", self.name);
        for (key, value) in rows {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {key:<14} {value}");
        }
        if let Some(norms) = &self.write_norms {
            let _ = writeln!(
                text,
                "  write norms    layer        min     median        max"
            );
            for n in norms {
                let _ = writeln!(
                    text,
                    "  {:20} {:10.4} {:10.4} {:10.4}",
                    n.layer, n.min, n.median, n.max
                );
            }
        }
        text.push_str("  files, SHA-256\n");
        for (name, hash) in &self.files {
            let _ = writeln!(text, "    {hash}  {name}");
        }
        text
    }
}

/// Lengths of the write directions of every layer.
fn write_norms(
    header: &ModelHeader,
    checkpoint: &Checkpoint,
) -> Result<Vec<WriteNorms>, ModelError> {
    let (width, inner) = (header.shape.d_model, header.shape.d_ff);
    let anatomy = header.family.anatomy();
    (0..header.shape.layers)
        .map(|layer| {
            let name = anatomy
                .down_projection
                .replace(".N.", &format!(".{layer}."))
                + ".weight";
            let mut squares = vec![0.0_f64; inner];
            let square = |value: f32| f64::from(value) * f64::from(value);
            match anatomy.order {
                Order::OutputMajor => {
                    for row in checkpoint
                        .values(&name, &[width, inner])?
                        .chunks_exact(inner)
                    {
                        row.iter()
                            .zip(&mut squares)
                            .for_each(|(v, sum)| *sum += square(*v));
                    }
                }
                Order::InputMajor => {
                    let values = checkpoint.values(&name, &[inner, width])?;
                    for (direction, sum) in values.chunks_exact(width).zip(&mut squares) {
                        *sum = direction.iter().copied().map(square).sum();
                    }
                }
            }
            let mut norms: Vec<f32> = squares.iter().map(|sum| sum.sqrt() as f32).collect();
            norms.sort_by(f32::total_cmp);
            // A layer has at least one neuron: the configuration is checked.
            let (low, high) = (norms[(inner - 1) / 2], norms[inner / 2]);
            Ok(WriteNorms {
                layer,
                min: norms[0],
                median: (low + high) / 2.0,
                max: norms[inner - 1],
            })
        })
        .collect()
}

/// The folder's own name, also for `.` and for a path that ends in `/`.
fn folder_name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    match whole.file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => whole.display().to_string(),
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_models_are_told_from_folders() {
        let hub = |text| at_the_hub(Path::new(text));
        assert_eq!(hub("a/b-1.5@main"), Some(("a/b-1.5", "main")));
        assert_eq!(hub("gpt2@0123"), Some(("gpt2", "0123")));
        for folder in ["a/b", "./a@b", "/a@b", "a/b/c@d", "a/b@", "../x@y", "."] {
            assert_eq!(hub(folder), None, "{folder}");
        }
    }

    #[test]
    fn numbers_read_well() {
        assert_eq!(grouped(12), "12");
        assert_eq!(grouped(260_032), "260,032");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
