//! The gradient of a scripted model, from its rule.

use super::{Branch, GAINED, ScriptedModel};
use crate::model::Attribution;
use crate::units::{NeuronId, TokenId};

impl ScriptedModel {
    /// A dose moves the flipped word's logit by `GAINED · |g| / flips_at`, rising on either branch: where the branches differ there is a
    /// kink at dose 0, and the derivative is the mean of both sides, as a central difference would have it.
    pub(super) fn attribution(
        &self,
        prompt: &[TokenId],
        targets: &[TokenId],
        controls: &[TokenId],
    ) -> Attribution {
        let next = (self.script)(prompt);
        let share = |tokens: &[TokenId]| {
            let flipped = tokens.iter().filter(|token| **token == next.flipped);
            flipped.count() as f64 / tokens.len().max(1) as f64
        };
        let weight = match next.flipped == next.clean {
            true => 0.0,
            false => share(targets) - share(controls),
        };
        let rise = |branch: Branch| branch.flips_at.map_or(0.0, |at| f64::from(GAINED) / at);
        let slope = |id: NeuronId| {
            let neuron = self.neuron(id);
            let per_budget = (rise(neuron.positive) - rise(neuron.negative)) / 2.0;
            (weight * per_budget / self.budget(id)) as f32
        };
        let layers = 0..self.shape.layers;
        let neurons = |layer| (0..self.shape.d_ff).map(move |index| NeuronId { layer, index });
        Attribution {
            activations: (layers.clone())
                .map(|layer| self.activations(layer, prompt))
                .collect(),
            gradients: layers
                .map(|layer| neurons(layer).map(slope).collect())
                .collect(),
        }
    }
}
