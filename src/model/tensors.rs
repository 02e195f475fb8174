//! Where a family's weights come from: a checkpoint, or nowhere when only their names and shapes are asked for.
//!
//! A family says once, in its `build`, which tensors it needs. Run without a checkpoint it lists them, so that a checkpoint is checked
//! before a weight is read; run with one it reads them.

use std::ops::Range;

use super::ModelError;
use super::checkpoint::Checkpoint;
use super::kernels::Packed;
use super::parts::{Linear, Norm};

/// A tensor that a family needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape.
    pub dims: Vec<usize>,
}

/// How a matrix lies in the checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `[outputs × inputs]`, as `torch.nn.Linear` has it.
    OutputMajor,
    /// `[inputs × outputs]`, as transformers' `Conv1D` has it.
    InputMajor,
}

/// Outputs of a fused tensor that make one linear map, in order.
pub struct Outputs(Vec<Range<usize>>);

impl Outputs {
    fn len(&self) -> usize {
        self.0.iter().map(Range::len).sum()
    }
}

impl From<Range<usize>> for Outputs {
    fn from(range: Range<usize>) -> Self {
        Self(std::iter::once(range).collect())
    }
}

impl From<Vec<Range<usize>>> for Outputs {
    fn from(ranges: Vec<Range<usize>>) -> Self {
        Self(ranges)
    }
}

/// A checkpoint under a family's names.
pub struct Tensors<'a> {
    checkpoint: Option<&'a Checkpoint>,
    expected: Vec<Expected>,
}

impl<'a> Tensors<'a> {
    /// Reads from a checkpoint.
    pub fn of(checkpoint: &'a Checkpoint) -> Self {
        Self {
            checkpoint: Some(checkpoint),
            expected: Vec::new(),
        }
    }

    /// Lists what is asked for, and gives empty tensors.
    pub fn listed() -> Self {
        Self {
            checkpoint: None,
            expected: Vec::new(),
        }
    }

    /// What was asked for.
    pub fn into_expected(self) -> Vec<Expected> {
        self.expected
    }

    /// The values of a tensor, row-major.
    pub fn values(&mut self, name: &str, dims: &[usize]) -> Result<Vec<f32>, ModelError> {
        match self.checkpoint {
            Some(checkpoint) => checkpoint.values(name, dims),
            None => {
                self.expected.push(Expected {
                    name: name.to_owned(),
                    dims: dims.to_vec(),
                });
                Ok(Vec::new())
            }
        }
    }

    /// An RMSNorm with its gain.
    pub fn rms_norm(&mut self, name: &str, width: usize, eps: f32) -> Result<Norm, ModelError> {
        let gain = self.values(&format!("{name}.weight"), &[width])?;
        Ok(Norm::Rms { gain, eps })
    }

    /// Gemma's RMSNorm, which stores its gain less 1.
    pub fn rms_norm_from_one(
        &mut self,
        name: &str,
        width: usize,
        eps: f32,
    ) -> Result<Norm, ModelError> {
        let stored = self.values(&format!("{name}.weight"), &[width])?;
        let gain = stored.into_iter().map(|w| 1.0 + w).collect();
        Ok(Norm::Rms { gain, eps })
    }

    /// A LayerNorm with gain and bias.
    pub fn layer_norm(&mut self, name: &str, width: usize, eps: f32) -> Result<Norm, ModelError> {
        Ok(Norm::Layer {
            gain: self.values(&format!("{name}.weight"), &[width])?,
            bias: self.values(&format!("{name}.bias"), &[width])?,
            eps,
        })
    }

    /// `name.weight`, stored `[outputs × inputs]`, and `name.bias`.
    pub fn linear(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, ModelError> {
        let [whole] = self.fused(
            name,
            inputs,
            bias,
            Order::OutputMajor,
            [Outputs::from(0..outputs)],
        )?;
        Ok(whole)
    }

    /// Several linear maps that one tensor holds: each is made of the outputs in its ranges, in order. Together they are all outputs.
    pub fn fused<const N: usize>(
        &mut self,
        name: &str,
        inputs: usize,
        bias: bool,
        order: Order,
        parts: [impl Into<Outputs>; N],
    ) -> Result<[Linear; N], ModelError> {
        let parts = parts.map(Into::into);
        let outputs = parts.iter().map(Outputs::len).sum();
        let weight = match order {
            Order::OutputMajor => self.values(&format!("{name}.weight"), &[outputs, inputs])?,
            Order::InputMajor => self.values(&format!("{name}.weight"), &[inputs, outputs])?,
        };
        let bias = match bias {
            true => Some(self.values(&format!("{name}.bias"), &[outputs])?),
            false => None,
        };
        let map = |part: Outputs| {
            if self.checkpoint.is_none() {
                // The sizes are those of a configuration that was not held against the weights yet.
                return Linear {
                    weight: Packed::new(inputs, 0, |_, _| 0.0),
                    bias: bias.as_ref().map(|_| Vec::new()),
                };
            }
            let chosen: Vec<usize> = part.0.into_iter().flatten().collect();
            let value = |input: usize, output: usize| match order {
                Order::OutputMajor => weight[chosen[output] * inputs + input],
                Order::InputMajor => weight[input * outputs + chosen[output]],
            };
            Linear {
                weight: self.packed(inputs, chosen.len(), value),
                bias: (bias.as_ref()).map(|bias| chosen.iter().map(|&i| bias[i]).collect()),
            }
        };
        Ok(parts.map(map))
    }

    /// A matrix `[outputs × inputs]`, such as an unembedding.
    pub fn matrix(
        &mut self,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Packed, ModelError> {
        let weight = self.values(name, &[outputs, inputs])?;
        Ok(self.packed(inputs, outputs, |input, output| {
            weight[output * inputs + input]
        }))
    }

    /// A matrix laid out for products; empty when tensors are only listed.
    fn packed(&self, inputs: usize, outputs: usize, value: impl Fn(usize, usize) -> f32) -> Packed {
        match self.checkpoint {
            Some(_) => Packed::new(inputs, outputs, value),
            None => Packed::new(inputs, 0, value),
        }
    }
}
