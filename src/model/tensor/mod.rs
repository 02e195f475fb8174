//! A model on candle tensors, behind the door: on an accelerator, or in half precision.
//!
//! Rollouts are made in batches of prompts of one length. Unlike the engine for `f32` on the processor, the last bits of a number may
//! depend on its batch here: libraries choose their order of summation by shape.

mod batch;
mod forward;
mod gradient;
mod weights;

use candle_core::{DType, Device};

use super::check::{self, Readout};
use super::{
    Attribution, Cell, Detokenizer, FfnNorm, FirstStep, LanguageModel, ModelError, ModelHeader,
    Observed, Probe, Rollout, Sequence, Shape,
};
use crate::spec::model::Dtype;
use crate::stop::Stop;
use crate::units::{NeuronId, TokenId};
use batch::{Batch, Run};
use forward::TensorHook;

pub use gradient::attributions;
pub use weights::TensorDecoder;

/// Rollouts that are made together.
pub const BATCH: usize = 64;

/// A language model with its weights on a device, in a number type.
pub struct TensorTransformer {
    header: ModelHeader,
    decoder: TensorDecoder,
    dtype: Dtype,
    stop: Stop,
}

impl TensorTransformer {
    /// Reads the weights and moves them to the device.
    pub fn load(header: ModelHeader, device: &Device, dtype: Dtype) -> Result<Self, ModelError> {
        let number_type = match dtype {
            Dtype::F32 => DType::F32,
            Dtype::Bf16 => DType::BF16,
            Dtype::F16 => DType::F16,
        };
        let decoder = header.decoder()?;
        Ok(Self {
            decoder: TensorDecoder::new(decoder, device, number_type)?,
            header,
            dtype,
            stop: Stop::default(),
        })
    }

    /// Batches of cells by number: prompts of one length, in the order of the cells.
    fn batches<'a>(&self, cells: &'a [Cell<'a>]) -> Result<Vec<Batch<'a>>, ModelError> {
        for cell in cells {
            check::cell(&self.decoder.sizes, self.dtype, cell)?;
        }
        let mut order: Vec<usize> = (0..cells.len()).collect();
        order.sort_by_key(|&i| (cells[i].prompt.len(), i));
        let same_length = order.chunk_by(|&a, &b| cells[a].prompt.len() == cells[b].prompt.len());
        Ok(same_length
            .flat_map(|numbers| numbers.chunks(BATCH))
            .map(|numbers| Batch::new(cells, numbers))
            .collect())
    }
}

impl Detokenizer for TensorTransformer {
    fn decode(&self, tokens: &[TokenId]) -> String {
        self.header.codec.decode(tokens)
    }
}

impl LanguageModel for TensorTransformer {
    fn shape(&self) -> &Shape {
        &self.header.shape
    }

    fn stop_on(&mut self, stop: Stop) {
        self.stop = stop;
    }

    fn write_direction(&self, neuron: NeuronId) -> Vec<f32> {
        (self.decoder.write_direction(neuron))
            .expect("the neuron is in the model, and its weights were moved to the device")
    }

    fn ffn_norm(&self, layer: usize) -> Option<FfnNorm> {
        (self.decoder.ffn_norm(layer))
            .expect("the layer is in the model, and its weights were moved to the device")
    }

    fn readout_direction(&self, token: TokenId) -> Vec<f32> {
        (self.decoder.readout_direction(token))
            .expect("the token is in the vocabulary, and the weights were moved to the device")
    }

    fn logits_of(&self, residual: &[f32]) -> Result<Vec<f32>, ModelError> {
        check::logits(self.decoder.logits_of(residual)?)
    }

    fn observe(
        &self,
        sequences: &[Sequence<'_>],
        probe: Probe,
        visit: &mut dyn FnMut(usize, Observed),
    ) -> Result<(), ModelError> {
        for (i, sequence) in sequences.iter().enumerate() {
            self.stop.check()?;
            visit(i, observe(&self.decoder, sequence, probe)?);
        }
        Ok(())
    }

    fn first_steps(
        &self,
        cells: &[Cell<'_>],
        visit: &mut dyn FnMut(usize, FirstStep<'_>),
    ) -> Result<(), ModelError> {
        for batch in self.batches(cells)? {
            self.stop.check()?;
            let mut run = Run::new(&self.decoder, &batch, &self.header.end_of_text)?;
            let (logits, residuals) = (run.step()?, run.residuals()?);
            for ((number, logits), residual) in batch.numbers.iter().zip(&logits).zip(&residuals) {
                let end = FirstStep { logits, residual };
                check::first_step(&cells[*number], &end)?;
                visit(*number, end);
            }
        }
        Ok(())
    }

    fn attributions(
        &self,
        prompts: &[&[TokenId]],
        targets: &[TokenId],
        controls: &[TokenId],
        visit: &mut dyn FnMut(usize, Attribution),
    ) -> Result<(), ModelError> {
        let readout = Readout { targets, controls };
        attributions(&self.decoder, prompts, readout, &self.stop, visit)
    }

    fn rollouts(
        &self,
        cells: &[Cell<'_>],
        finished: &mut dyn FnMut(usize, Rollout) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for batch in self.batches(cells)? {
            let run = Run::new(&self.decoder, &batch, &self.header.end_of_text)?;
            let rollouts = run.finish(&self.stop)?;
            for (number, rollout) in batch.numbers.iter().zip(rollouts) {
                finished(*number, rollout)?;
            }
        }
        Ok(())
    }
}

/// Reads one unsteered forward pass.
fn observe(
    decoder: &TensorDecoder,
    sequence: &Sequence<'_>,
    probe: Probe,
) -> Result<Observed, ModelError> {
    let mut observer = Observer {
        probe,
        from: sequence.from,
        seen: Observed::default(),
    };
    let hidden = decoder.forward(sequence.tokens, 1, 0, &mut decoder.cache(), &mut observer)?;
    if probe.logits {
        let count = sequence.tokens.len() - sequence.from;
        let rows = hidden.get(0)?.narrow(0, sequence.from, count)?;
        observer.seen.logits = decoder.logits(&rows)?.flatten_all()?.to_vec1()?;
    }
    check::finite(observer.seen, sequence)
}

struct Observer {
    probe: Probe,
    from: usize,
    seen: Observed,
}

impl Observer {
    /// The observed positions of `x: [1, positions, width]`.
    fn read(&self, x: &candle_core::Tensor) -> candle_core::Result<Vec<f32>> {
        let count = x.dim(1)? - self.from;
        let observed = x.narrow(1, self.from, count)?.to_dtype(DType::F32)?;
        observed.flatten_all()?.to_vec1()
    }
}

impl TensorHook for Observer {
    fn activations(
        &mut self,
        _layer: usize,
        activations: candle_core::Tensor,
    ) -> candle_core::Result<candle_core::Tensor> {
        if self.probe.activations {
            self.seen.activations.push(self.read(&activations)?);
        }
        Ok(activations)
    }

    fn ffn_output(
        &mut self,
        _layer: usize,
        written: candle_core::Tensor,
    ) -> candle_core::Result<candle_core::Tensor> {
        if self.probe.ffn_outputs {
            self.seen.ffn_outputs.push(self.read(&written)?);
        }
        Ok(written)
    }

    fn embedded(&mut self, residual: &candle_core::Tensor) -> candle_core::Result<()> {
        if self.probe.embedded {
            self.seen.embedded = self.read(residual)?;
        }
        Ok(())
    }

    fn block_output(
        &mut self,
        _layer: usize,
        residual: &candle_core::Tensor,
    ) -> candle_core::Result<()> {
        if self.probe.residuals {
            self.seen.residuals.push(self.read(residual)?);
        }
        Ok(())
    }
}
