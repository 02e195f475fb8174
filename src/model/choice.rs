//! How a rollout's tokens are chosen, and which of its steps are steered.

use candle_core::Tensor;
use candle_transformers::generation::{LogitsProcessor, Sampling};

use super::{Cell, ModelError, Steering, check, kernels};
use crate::spec::doses::Apply;
use crate::units::TokenId;

/// How the next token is chosen: greedily, or sampled.
pub struct Choice(Option<Sampler>);

struct Sampler {
    processor: LogitsProcessor,
    /// What logits are multiplied by: one over the temperature.
    scale: f32,
}

impl Choice {
    /// The next token of a cell.
    ///
    /// # Errors
    /// A logit that is not finite, or is not after it was divided by the temperature.
    pub fn token(
        &mut self,
        cell: &Cell<'_>,
        step: usize,
        logits: &[f32],
    ) -> Result<TokenId, ModelError> {
        let greedy = kernels::argmax(logits).ok_or_else(|| cell.not_finite(check::LOGIT, step))?;
        let Some(Sampler { processor, scale }) = &mut self.0 else {
            return Ok(greedy as TokenId);
        };
        if !logits.iter().all(|logit| (logit * *scale).is_finite()) {
            return Err(cell.not_finite(check::COOLED_LOGIT, step));
        }
        let logits = Tensor::new(logits, &candle_core::Device::Cpu)?;
        Ok(processor.sample(&logits)?)
    }
}

/// A share that single precision can tell from 0, which would leave no token to choose from: the likeliest one is always kept.
fn nucleus(p: f64) -> f64 {
    p.max(f32::MIN_POSITIVE.into())
}

/// A cell's way of choosing tokens, from its beginning.
pub fn choice(cell: &Cell<'_>) -> Choice {
    Choice(cell.sample.map(|(sample, seed)| {
        let temperature = sample.temperature;
        let sampling = match (sample.top_k, sample.top_p) {
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP {
                p: nucleus(p),
                temperature,
            },
            (Some(k), Some(p)) => Sampling::TopKThenTopP {
                k,
                p: nucleus(p),
                temperature,
            },
        };
        Sampler {
            processor: LogitsProcessor::from_sampling(seed, sampling),
            scale: (1.0 / temperature) as f32,
        }
    }))
}

/// Whether a position is steered, by its generation step: 0 at the last prompt token, none before it. Adding a dose of 0 would turn an
/// activation of −0 into +0; leaving it out keeps dose 0 equal, bit for bit.
pub fn is_steered(steering: &Steering, step: Option<usize>) -> bool {
    let in_place = match (steering.apply, step, steering.window) {
        (Apply::All, _, _) | (Apply::Generation, Some(_), None) => true,
        (Apply::Generation, Some(step), Some(window)) => (window.from..window.to).contains(&step),
        (Apply::Generation, None, _) => false,
    };
    in_place && steering.dose.0 != 0.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::rollout::SampleSpec;

    #[test]
    fn a_share_of_next_to_nothing_keeps_the_likeliest_token() {
        for (top_k, top_p) in [(None, 1e-300), (Some(2), 1e-300), (None, 1e-3)] {
            let sample = SampleSpec {
                temperature: 1.0,
                top_p: Some(top_p),
                top_k,
            };
            let cell = Cell {
                prompt: &[1],
                steering: None,
                horizon: 1,
                stop_at_end: false,
                stop_at_loop: None,
                sample: Some((sample, 7)),
            };
            let token = choice(&cell).token(&cell, 0, &[0.0, 2.0, 1.0]);
            assert_eq!(token.unwrap(), 1, "{top_k:?} {top_p}");
        }
    }
}
