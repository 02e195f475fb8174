//! The only door to a language model.
//!
//! [`LanguageModel`] is what the stages need: unsteered observation, and rollouts of which each has its own neuron and dose.
//! [`Transformer`] answers from real weights; [`scripted::ScriptedModel`] answers from a rule, so that the whole pipeline runs
//! in milliseconds in tests.

pub mod chat;
mod check;
pub mod checkpoint;
mod choice;
pub mod decoder;
pub mod engine;
pub mod families;
mod group;
pub mod header;
mod json;
pub mod kernels;
pub mod keys;
mod kv_cache;
mod lane;
pub mod lanes;
mod observe;
pub mod parts;
pub mod rope;
pub mod scripted;
pub mod tensor;
pub mod tensors;
pub mod tokenizer;
mod work;
mod write;

use serde::{Deserialize, Serialize};

pub use check::shown;
pub use choice::is_steered;
pub use engine::Transformer;
pub use header::ModelHeader;
pub use lanes::Resources;
pub use tensor::TensorTransformer;
pub use write::{FfnNorm, random_direction};

use crate::spec::coherence::RepetitionSpec;
use crate::spec::doses::{Apply, StepWindow};
use crate::spec::model::{Device, Dtype};
use crate::spec::rollout::SampleSpec;
use crate::stop::{Stop, Stopped};
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
    let model = TensorTransformer::load(header, &candle_device, dtype)?;
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

/// One intervention on a rollout.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Steering {
    /// The neuron, or the random direction.
    pub neuron: NeuronId,
    /// What is added to its activation, or how far the output of the down projection is moved.
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
    /// `cosθ` between the steered layer's block output and the effective write (see [`LanguageModel::effective_write`]) at each steered
    /// generation step, the last prompt token first; empty for a clean rollout. One entry per forward step that led to a generated token.
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
    /// Output of each down projection, bias included, before any norm after it: per layer `[positions × d_model]`.
    pub ffn_outputs: Vec<Vec<f32>>,
    /// Input of the first block: `[positions × d_model]`.
    pub embedded: Vec<f32>,
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
    /// Fill in `ffn_outputs`.
    pub ffn_outputs: bool,
    /// Fill in `embedded`.
    pub embedded: bool,
    /// Fill in `logits`.
    pub logits: bool,
}

/// The end of one forward step, at the last prompt token.
#[derive(Clone, Copy, Debug)]
pub struct FirstStep<'a> {
    /// Logits of the next token, `[vocab]`.
    pub logits: &'a [f32],
    /// Output of the last block, before the final norm, `[d_model]`.
    pub residual: &'a [f32],
}

/// What a prompt's neurons contribute to a readout in first order, at its last token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attribution {
    /// Neuron activations: per layer `[d_ff]`.
    pub activations: Vec<Vec<f32>>,
    /// Derivative of the readout by the same: per layer `[d_ff]`, logits per unit of activation.
    pub gradients: Vec<Vec<f32>>,
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
    /// The model's tokenizer or chat template is in order, and not made for this text or these messages.
    #[error("{file}: {problem}")]
    Refused {
        /// The file that refuses it.
        file: String,
        /// Why, and what to do.
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
    /// A weight does not fit the number type of the computation.
    #[error(
        "a weight of {value:e} does not fit {dtype}; choose another `model.dtype`: bf16 has the range of f32"
    )]
    Overflow {
        /// The weight.
        value: f32,
        /// The number type.
        dtype: Dtype,
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
        "{what} need {needed}, and {allowed} may be used; allow more with `--memory`",
        needed = bytes(*needed),
        allowed = bytes(*allowed)
    )]
    Memory {
        /// What does not fit.
        what: &'static str,
        /// Bytes for it.
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
    /// Somebody asked the model to stop.
    #[error("the model stopped before it was done")]
    Stopped(#[from] Stopped),
}

impl ModelError {
    /// Whether the model is to blame, and not what it was given.
    pub fn is_of_model(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
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

    /// From now on, when `stop` is requested, a call ends with [`ModelError::Stopped`] after the forward pass that it is at.
    fn stop_on(&mut self, stop: Stop);

    /// Write direction, `[d_model]`: a neuron's column of the down projection, or the random unit direction (see [`random_direction`]).
    fn write_direction(&self, neuron: NeuronId) -> Vec<f32>;

    /// The norm between a layer's down projection and the residual stream; none in most families.
    fn ffn_norm(&self, layer: usize) -> Option<FfnNorm>;

    /// The direction in which a dose reaches the residual stream, `[d_model]`: the write direction, times the gain of the norm after it
    /// where there is one.
    fn effective_write(&self, neuron: NeuronId) -> Vec<f32> {
        let direction = self.write_direction(neuron);
        match self.ffn_norm(neuron.layer) {
            Some(norm) => norm.effective(&direction),
            None => direction,
        }
    }

    /// Row of the unembedding, `[d_model]`, multiplied by the gain of the final norm: the direction in the residual stream that
    /// raises this token's logit.
    fn readout_direction(&self, token: TokenId) -> Vec<f32>;

    /// Logits of a residual stream at the output of the last block, `[d_model]`: through the final norm and the unembedding, `[vocab]`.
    fn logits_of(&self, residual: &[f32]) -> Result<Vec<f32>, ModelError>;

    /// Reads the unsteered forward pass of each sequence, and calls `visit` with the sequence's number and what was read, in order.
    fn observe(
        &self,
        sequences: &[Sequence<'_>],
        probe: Probe,
        visit: &mut dyn FnMut(usize, Observed),
    ) -> Result<(), ModelError>;

    /// One forward step per cell, and `visit` with the cell's number and how it ended, in any order: `horizon` and sampling are ignored.
    fn first_steps(
        &self,
        cells: &[Cell<'_>],
        visit: &mut dyn FnMut(usize, FirstStep<'_>),
    ) -> Result<(), ModelError>;

    /// Activations at each prompt's last token, and the gradient by them of `mean logit[targets] − mean logit[controls]` after that
    /// token; the mean of no tokens is 0. Calls `visit` with the prompt's number, in order. A prompt's numbers do not depend on the
    /// others.
    fn attributions(
        &self,
        prompts: &[&[TokenId]],
        targets: &[TokenId],
        controls: &[TokenId],
        visit: &mut dyn FnMut(usize, Attribution),
    ) -> Result<(), ModelError>;

    /// Makes every rollout, and calls `finished` with the cell's number as each one ends, in any order.
    /// Stops early when `finished` fails.
    fn rollouts(
        &self,
        cells: &[Cell<'_>],
        finished: &mut dyn FnMut(usize, Rollout) -> anyhow::Result<()>,
    ) -> anyhow::Result<()>;
}
