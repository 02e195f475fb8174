//! The steering hook: a dose on one neuron per row.

use super::ModelError;
use super::decoder::Decoder;
use super::kernels;
use super::parts::Hook;
use crate::units::{Dose, NeuronId};

/// A dose on one row of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Push {
    /// The row.
    pub row: usize,
    /// The neuron.
    pub neuron: NeuronId,
    /// What is added to its activation.
    pub dose: Dose,
}

/// Adds every push to its neuron's activation, and reads the coordinate it leads to.
pub struct Interventions<'a> {
    decoder: &'a Decoder,
    pushes: &'a [Push],
    /// `cosθ` between block output and write direction, by push.
    cosines: Vec<Option<f32>>,
}

impl<'a> Interventions<'a> {
    /// A hook for one forward pass.
    pub fn new(decoder: &'a Decoder, pushes: &'a [Push]) -> Self {
        Self {
            decoder,
            pushes,
            cosines: vec![None; pushes.len()],
        }
    }

    /// The measured `cosθ` of each push, in order; an error when one was never applied.
    pub fn into_cosines(self) -> Result<Vec<f32>, ModelError> {
        (self.cosines.into_iter().zip(self.pushes))
            .map(|(cosine, push)| {
                let place = format!("{} after a dose of {}", push.neuron, push.dose.0);
                match cosine {
                    None => Err(ModelError::NotApplied {
                        steering: place,
                        why: "the forward pass has no such layer".into(),
                    }),
                    Some(cosine) if !cosine.is_finite() => Err(ModelError::NotFinite {
                        what: "the residual stream",
                        place,
                    }),
                    Some(cosine) => Ok(cosine),
                }
            })
            .collect()
    }

    fn in_layer(&self, layer: usize) -> impl Iterator<Item = (usize, &'a Push)> + use<'a> {
        (self.pushes.iter().enumerate()).filter(move |(_, push)| push.neuron.layer == layer)
    }
}

impl Hook for Interventions<'_> {
    fn activations(&mut self, layer: usize, activations: &mut [f32]) {
        let d_ff = self.decoder.sizes.d_ff;
        for (_, push) in self.in_layer(layer) {
            activations[push.row * d_ff + push.neuron.index] += push.dose.0;
        }
    }

    fn block_output(&mut self, layer: usize, residual: &[f32]) {
        let d_model = self.decoder.sizes.d_model;
        for (i, push) in self.in_layer(layer) {
            let row = &residual[push.row * d_model..][..d_model];
            self.cosines[i] = Some(kernels::cosine(
                row,
                self.decoder.write_direction(push.neuron),
            ));
        }
    }
}
