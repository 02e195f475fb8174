//! What the engine for processors reads in one unsteered forward pass.

use super::check;
use super::decoder::{Batch, Decoder};
use super::kv_cache;
use super::lanes::BATCH_ROWS;
use super::parts;
use super::work::rows_of;
use super::{ModelError, Observed, Probe, Sequence};

/// Reads one sequence.
pub fn observe(
    decoder: &Decoder,
    sequence: &Sequence<'_>,
    probe: Probe,
) -> Result<Observed, ModelError> {
    let sizes = &decoder.sizes;
    let mut own = kv_cache::Sequence::whole(decoder, sequence.tokens.len());
    let mut logits = Vec::new();
    let mut scratch = parts::Scratch::default();
    let mut observer = Observer::new(decoder, probe);
    for rows in rows_of(sequence.tokens).chunks(BATCH_ROWS) {
        observer.skip = sequence
            .from
            .saturating_sub(rows[0].position)
            .min(rows.len());
        let batch = Batch::unsteered(rows.to_vec(), sizes);
        let passed = decoder.forward(&batch, &mut [&mut own], &mut observer, &mut scratch);
        if probe.logits {
            let observed = &passed.hidden[observer.skip * sizes.d_model..];
            decoder.vocabulary.logits(observed, &mut logits);
            observer.seen.logits.extend_from_slice(&logits);
        }
    }
    check::finite(observer.seen, sequence)
}

/// Keeps what is asked for.
struct Observer {
    probe: Probe,
    d_model: usize,
    d_ff: usize,
    /// Rows of the current batch before the first observed position.
    skip: usize,
    seen: Observed,
}

impl Observer {
    fn new(decoder: &Decoder, probe: Probe) -> Self {
        let sizes = &decoder.sizes;
        let layers = |wanted: bool| {
            if wanted {
                vec![Vec::new(); sizes.layers]
            } else {
                Vec::new()
            }
        };
        Self {
            probe,
            d_model: sizes.d_model,
            d_ff: sizes.d_ff,
            skip: 0,
            seen: Observed {
                residuals: layers(probe.residuals),
                activations: layers(probe.activations),
                ffn_outputs: layers(probe.ffn_outputs),
                ..Observed::default()
            },
        }
    }
}

impl parts::Observer for Observer {
    fn activations(&mut self, layer: usize, activations: &[f32]) {
        if self.probe.activations {
            self.seen.activations[layer].extend_from_slice(&activations[self.skip * self.d_ff..]);
        }
    }

    fn embedded(&mut self, residual: &[f32]) {
        if self.probe.embedded {
            self.seen
                .embedded
                .extend_from_slice(&residual[self.skip * self.d_model..]);
        }
    }

    fn ffn_output(&mut self, layer: usize, written: &[f32]) {
        if self.probe.ffn_outputs {
            self.seen.ffn_outputs[layer].extend_from_slice(&written[self.skip * self.d_model..]);
        }
    }

    fn block_output(&mut self, layer: usize, residual: &[f32]) {
        if self.probe.residuals {
            self.seen.residuals[layer].extend_from_slice(&residual[self.skip * self.d_model..]);
        }
    }
}
