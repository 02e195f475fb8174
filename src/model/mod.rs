//! The only door to a language model.
//!
//! [`LanguageModel`] is what the stages need: unsteered observation, and rollouts of which each has its own neuron and dose.
//! [`Transformer`] answers from real weights; [`scripted::ScriptedModel`] answers from a rule, so that the whole pipeline runs
//! in milliseconds in tests.

pub mod chat;
pub mod checkpoint;
mod choice;
pub mod decoder;
pub mod engine;
pub mod families;
mod group;
pub mod header;
pub mod kernels;
pub mod keys;
mod kv_cache;
mod lane;
pub mod lanes;
pub mod parts;
pub mod rope;
pub mod scripted;
pub mod tensor;
pub mod tensors;
pub mod tokenizer;
mod work;

use serde::{Deserialize, Serialize};

pub use engine::Transformer;
pub use header::ModelHeader;
pub use lanes::Resources;
pub use tensor::TensorTransformer;

use crate::spec::coherence::RepetitionSpec;
use crate::spec::doses::{Apply, StepWindow};
use crate::spec::model::{Device, Dtype};
use crate::spec::rollout::SampleSpec;
use crate::units::{Dose, NeuronId, TokenId, bytes};

/// Loads a model's weights onto a device: plain `f32` on a processor by the engine that is made for it, everything else through candle.
/// `resources` are for rollouts on a processor; they do not influence any result.
///
/// # Errors
/// A damaged checkpoint, too little memory, or a device that this machine or this build of the program does not have.
pub fn load(
    header: ModelHeader,
    dtype: Dtype,
    device: Device,
    resources: Resources,
) -> Result<Box<dyn LanguageModel>, ModelError> {
    if (dtype, device) == (Dtype::F32, Device::Cpu) {
        return Ok(Box::new(Transformer::load(header, resources)?));
    }
    let candle_device = match device {
        Device::Cpu => Ok(candle_core::Device::Cpu),
        Device::Cuda(number) => candle_core::Device::new_cuda(number.into()),
        Device::Metal => candle_core::Device::new_metal(0),
    };
    let candle_device = candle_device.map_err(|source| ModelError::Device {
        device: device.to_string(),
        source,
    })?;
    let number_type = match dtype {
        Dtype::F32 => candle_core::DType::F32,
        Dtype::Bf16 => candle_core::DType::BF16,
        Dtype::F16 => candle_core::DType::F16,
    };
    let model = TensorTransformer::load(header, &candle_device, number_type)?;
    Ok(Box::new(model))
}

/// Whether this build of the program can use a kind of device.
pub fn is_built_for(device: Device) -> bool {
    match device {
        Device::Cpu => true,
        Device::Cuda(_) => candle_core::utils::cuda_is_available(),
        Device::Metal => candle_core::utils::metal_is_available(),
    }
}

/// What a model is, as far as the law needs it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Shape {
    /// Architecture family, as `model_type` in `config.json`.
    pub family: String,
    /// Number of transformer blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Feed-forward neurons in each layer.
    pub d_ff: usize,
    /// Vocabulary size, as the unembedding has it.
    pub vocab: usize,
    /// Number of weights; tied ones count once.
    pub parameters: usize,
    /// Longest sequence in tokens.
    pub context: usize,
    /// Whether a normalisation stands between the down projection and the residual stream.
    pub norm_after_ffn: bool,
}

impl Shape {
    /// Depth of a layer from 0 (first) to 1 (last).
    pub fn relative_depth(&self, layer: usize) -> f64 {
        if self.layers < 2 {
            return 1.0;
        }
        layer as f64 / (self.layers - 1) as f64
    }
}

/// One neuron's intervention on a rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steering {
    /// The neuron.
    pub neuron: NeuronId,
    /// What is added to its activation.
    pub dose: Dose,
    /// The steered positions.
    pub apply: Apply,
    /// With [`Apply::Generation`]: the steered steps; all when absent.
    pub window: Option<StepWindow>,
}

/// One rollout to make.
#[derive(Clone, Debug)]
pub struct Cell<'a> {
    /// The prompt's token ids, at least one.
    pub prompt: &'a [TokenId],
    /// The intervention; none for a clean rollout.
    pub steering: Option<Steering>,
    /// How many tokens to generate at most.
    pub horizon: usize,
    /// Whether to stop after the model's end-of-text token (which is kept).
    pub stop_at_end: bool,
    /// Stop once the generated tokens end in such a loop; never when absent.
    pub stop_at_loop: Option<RepetitionSpec>,
    /// Sampling with this seed; greedy when absent. Greedy takes the lowest id among equals.
    pub sample: Option<(SampleSpec, u64)>,
}

/// A finished rollout.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rollout {
    /// Generated tokens, end-of-text included when it was generated.
    pub tokens: Vec<TokenId>,
    /// Whether the last token is end-of-text.
    pub ended: bool,
    /// Negative log-likelihood of each generated token under the *unsteered* model, given the prompt and the tokens before it (nats).
    pub nll: Vec<f32>,
    /// `cosθ` between the steered layer's block output and the write direction at each steered generation step, the last prompt
    /// token first; empty for a clean rollout. One entry per forward step that led to a generated token.
    pub cosines: Vec<f32>,
}

/// A sequence to observe without steering.
#[derive(Clone, Debug)]
pub struct Sequence<'a> {
    /// Token ids.
    pub tokens: &'a [TokenId],
    /// First position that is observed; all from there to the end are.
    pub from: usize,
}

/// What is read at the observed positions of one sequence. Row-major; positions in order.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// Residual stream at the output of each block: per layer `[positions × d_model]`.
    pub residuals: Vec<Vec<f32>>,
    /// Neuron activations, the input of the down projection: per layer `[positions × d_ff]`.
    pub activations: Vec<Vec<f32>>,
    /// Logits: `[positions × vocab]`.
    pub logits: Vec<f32>,
}

/// Which parts of [`Observed`] are filled in.
#[derive(Clone, Copy, Debug, Default)]
pub struct Probe {
    /// Fill in `residuals`.
    pub residuals: bool,
    /// Fill in `activations`.
    pub activations: bool,
    /// Fill in `logits`.
    pub logits: bool,
}

/// What went wrong in a model.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A model file is missing, damaged or not supported.
    #[error("{file}: {problem}")]
    File {
        /// The file.
        file: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// A number is not finite.
    #[error("{what} is not finite at {place}")]
    NotFinite {
        /// What was computed.
        what: &'static str,
        /// Coordinates: prompt, layer, neuron, dose, step.
        place: String,
    },
    /// An intervention was asked for and could not be applied.
    #[error("the intervention {steering} was never applied: {why}")]
    NotApplied {
        /// The intervention.
        steering: String,
        /// Why.
        why: String,
    },
    /// The model does not fit into the memory that it may use.
    #[error(
        "the model and one rollout at a time need {needed}, and {allowed} may be used; allow more with `--memory`",
        needed = bytes(*needed),
        allowed = bytes(*allowed)
    )]
    Memory {
        /// Bytes for one rollout at a time.
        needed: usize,
        /// Bytes that may be used.
        allowed: usize,
    },
    /// A device cannot be used.
    #[error("the device {device} cannot be used; choose another with `--device`, such as cpu")]
    Device {
        /// The device.
        device: String,
        /// What candle said.
        source: candle_core::Error,
    },
    /// The computation failed.
    #[error("the forward pass failed")]
    Compute(#[from] candle_core::Error),
}

impl From<(&std::path::Path, String)> for ModelError {
    fn from((file, problem): (&std::path::Path, String)) -> Self {
        ModelError::File {
            file: file.display().to_string(),
            problem,
        }
    }
}

/// Turns tokens back into text: all that judging needs of a model.
pub trait Detokenizer {
    /// Text of generated tokens, without special tokens.
    fn decode(&self, tokens: &[TokenId]) -> String;
}

/// A language model whose neurons can be steered. All methods are deterministic: a cell's rollout does not depend on the other
/// cells, on their order, or on the number of threads.
pub trait LanguageModel: Detokenizer {
    /// Sizes and kind.
    fn shape(&self) -> &Shape;

    /// Write direction of a neuron: its column of the down projection, `[d_model]`.
    fn write_direction(&self, neuron: NeuronId) -> Vec<f32>;

    /// Row of the unembedding, `[d_model]`, multiplied by the gain of the final norm: the direction in the residual stream that
    /// raises this token's logit.
    fn readout_direction(&self, token: TokenId) -> Vec<f32>;

    /// Reads the unsteered forward pass of each sequence, and calls `visit` with the sequence's number and what was read, in order.
    fn observe(
        &self,
        sequences: &[Sequence<'_>],
        probe: Probe,
        visit: &mut dyn FnMut(usize, Observed),
    ) -> Result<(), ModelError>;

    /// Logits after the last prompt token, `[vocab]` each, one forward step per cell: `horizon` and sampling are ignored.
    fn first_logits(
        &self,
        cells: &[Cell<'_>],
        visit: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), ModelError>;

    /// Makes every rollout, and calls `finished` with the cell's number as each one ends, in any order.
    /// Stops early when `finished` fails.
    fn rollouts(
        &self,
        cells: &[Cell<'_>],
        finished: &mut dyn FnMut(usize, Rollout) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;
}
