//! Gradients of a readout by the activations of every neuron, by candle's backward pass.
//!
//! A logit after the last token depends on the activations *at that token* through that token's row alone: keys and values before it were
//! made without it. So only the last row is differentiated, over a cache of what stands before it, and block by block from the last to the
//! first: candle makes the gradient of each weight on the way, and in this manner holds those of one block at a time.
//!
//! Everything is computed in `f32`, from the weights as they are held: in half precision a gradient through many layers would lose what
//! tells neurons apart.

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, Var};

use super::forward::{Cache, Kernels, Pass, TensorHook, Unsteered, capped};
use super::weights::TensorDecoder;
use crate::model::check::{self, Readout};
use crate::model::{Attribution, ModelError};
use crate::stop::Stop;
use crate::units::TokenId;

/// Activations and gradients at each prompt's last token, one prompt after the other, so that none depends on another.
///
/// # Errors
/// A prompt or a readout that the model cannot run, a number that is not finite, or a request to stop.
pub fn attributions(
    decoder: &TensorDecoder,
    prompts: &[&[TokenId]],
    readout: Readout<'_>,
    stop: &Stop,
    visit: &mut dyn FnMut(usize, Attribution),
) -> std::result::Result<(), ModelError> {
    check::readout(&decoder.sizes, prompts, readout)?;
    for (number, prompt) in prompts.iter().enumerate() {
        stop.check()?;
        let (value, found) = attribution(decoder, prompt, readout)?;
        // What overflows on the way to the readout can have a gradient of 0.
        let all = (found.activations.iter().chain(&found.gradients).flatten()).chain([&value]);
        if let Some(bad) = all.copied().find(|x| !x.is_finite()) {
            return Err(ModelError::NotFinite {
                what: "a readout or its gradient",
                place: format!("the last token of {} ({bad})", check::shown(prompt)),
            });
        }
        visit(number, found);
    }
    Ok(())
}

/// The readout, and what contributes to it.
fn attribution(
    decoder: &TensorDecoder,
    prompt: &[TokenId],
    readout: Readout<'_>,
) -> Result<(f32, Attribution)> {
    let row = LastRow::new(decoder, prompt)?;
    let mut seen = Activations::default();
    let mut inputs = vec![decoder.embed(row.token, 1, row.pass.first, DType::F32)?];
    for layer in 0..decoder.sizes.layers {
        inputs.push(row.through(layer, &inputs[layer], &mut seen)?);
    }
    let end = Var::from_tensor(&inputs[decoder.sizes.layers])?;
    let value = decoder.readout(&end, readout)?;
    let mut by_output = gradient(&value.backward()?, &end)?;
    let mut gradients = vec![Vec::new(); decoder.sizes.layers];
    for layer in (0..decoder.sizes.layers).rev() {
        let input = Var::from_tensor(&inputs[layer])?;
        let mut push = Push(Var::zeros(
            (1, 1, decoder.sizes.d_ff),
            DType::F32,
            decoder.device(),
        )?);
        let output = row.through(layer, &input, &mut push)?;
        let found = (output * by_output)?.sum_all()?.backward()?;
        gradients[layer] = gradient(&found, &push.0)?.flatten_all()?.to_vec1()?;
        by_output = gradient(&found, &input)?;
    }
    let found = Attribution {
        activations: seen.0,
        gradients,
    };
    Ok((value.to_scalar()?, found))
}

/// The gradient by a variable: 0 where nothing depends on it.
fn gradient(found: &GradStore, variable: &Var) -> Result<Tensor> {
    match found.get(variable) {
        Some(gradient) => Ok(gradient.detach()),
        None => variable.zeros_like(),
    }
}

/// A prompt's last token, and what it looks back at.
struct LastRow<'a> {
    decoder: &'a TensorDecoder,
    token: &'a [TokenId],
    pass: Pass,
    before: Cache,
}

impl<'a> LastRow<'a> {
    fn new(decoder: &'a TensorDecoder, prompt: &'a [TokenId]) -> Result<Self> {
        let (before, token) = prompt.split_at(prompt.len() - 1);
        let pass = |first| Pass {
            first,
            kernels: Kernels::Differentiable,
        };
        let mut cache = decoder.cache();
        if !before.is_empty() {
            let x = decoder.embed(before, 1, 0, DType::F32)?;
            decoder.through_blocks(x, pass(0), &mut cache, &mut Unsteered)?;
        }
        Ok(Self {
            decoder,
            token,
            pass: pass(before.len()),
            before: cache,
        })
    }

    /// Takes the row, `[1, 1, d_model]`, through one block.
    fn through(&self, layer: usize, x: &Tensor, hook: &mut dyn TensorHook) -> Result<Tensor> {
        let mut cache = self.before[layer].clone();
        self.decoder.blocks[layer].apply(x.clone(), layer, self.pass, &mut cache, hook)
    }
}

/// Keeps the activations of a single row, by layer.
#[derive(Default)]
struct Activations(Vec<Vec<f32>>);

impl TensorHook for Activations {
    fn activations(&mut self, _layer: usize, activations: Tensor) -> Result<Tensor> {
        self.0.push(activations.flatten_all()?.to_vec1()?);
        Ok(activations)
    }
}

/// Adds 0 to every neuron, so that there is something to differentiate by.
struct Push(Var);

impl TensorHook for Push {
    fn activations(&mut self, _layer: usize, activations: Tensor) -> Result<Tensor> {
        activations + self.0.as_tensor()
    }
}

impl TensorDecoder {
    /// The readout of a row before the final norm, `[1, 1, d_model]`, as a scalar.
    fn readout(&self, row: &Tensor, readout: Readout<'_>) -> Result<Tensor> {
        let hidden = self.norm.apply(row, Kernels::Differentiable)?;
        let hidden = hidden.reshape((1, ()))?;
        let mean = |tokens: &[TokenId]| {
            if tokens.is_empty() {
                return Tensor::zeros((), DType::F32, self.device());
            }
            let tokens = Tensor::new(tokens, self.device())?;
            let head = self.head.index_select(&tokens, 0)?.to_dtype(DType::F32)?;
            let logits = hidden.matmul(&head.t()?)?;
            match self.soft_cap {
                Some(cap) => (capped(&logits, cap)? + (logits * 0.0)?)?.mean_all(),
                None => logits.mean_all(),
            }
        };
        mean(readout.targets)? - mean(readout.controls)?
    }
}
