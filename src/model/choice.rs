//! How a rollout's tokens are chosen, and which of its steps are steered.

use candle_core::Tensor;
use candle_transformers::generation::{LogitsProcessor, Sampling};

use super::{Cell, ModelError, Steering, kernels};
use crate::spec::doses::Apply;
use crate::units::TokenId;

/// How the next token is chosen: greedily, or sampled.
pub struct Choice(Option<LogitsProcessor>);

impl Choice {
    /// The next token; none when a logit is not finite.
    pub fn token(&mut self, logits: &[f32]) -> Result<Option<TokenId>, ModelError> {
        let greedy = kernels::argmax(logits).map(|token| token as TokenId);
        match (&mut self.0, greedy) {
            (Some(sampler), Some(_)) => {
                let logits = Tensor::new(logits, &candle_core::Device::Cpu)?;
                Ok(Some(sampler.sample(&logits)?))
            }
            (_, greedy) => Ok(greedy),
        }
    }
}

/// A cell's way of choosing tokens, from its beginning.
pub fn choice(cell: &Cell<'_>) -> Choice {
    Choice(cell.sample.map(|(sample, seed)| {
        let temperature = sample.temperature;
        let sampling = match (sample.top_k, sample.top_p) {
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        };
        LogitsProcessor::from_sampling(seed, sampling)
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
