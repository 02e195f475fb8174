//! What a model refuses: cells and readouts that it cannot run, numbers that are none.

use super::decoder::Sizes;
use super::{Cell, FirstStep, ModelError, Observed, Sequence, kernels};
use crate::spec::model::Dtype;
use crate::units::TokenId;

/// What [`ModelError::NotFinite`] names.
pub const LOGIT: &str = "a logit";
/// The same, of the pass that finds how likely a text is without steering.
pub const UNSTEERED_LOGIT: &str = "a logit of the unsteered model after the same tokens";
/// The same, where a token is sampled.
pub const COOLED_LOGIT: &str =
    "a logit divided by `rollout.sample.temperature` (choose a higher one)";
/// The same, of a steered step.
pub const COSINE: &str = "cosθ of the residual stream (overflown or zero, as the write may be)";

/// Why a dose was not applied: there is nothing to apply it to.
pub const NO_LAYER: &str = "the forward pass has no such layer";
/// The same: its sum is what it was added to.
pub const ABSORBED: &str = "added, it changes no bit of the residual stream: it is too small beside what is there, or the neuron writes nothing; choose a larger dose";

/// The beginning of a prompt, for an error.
pub fn shown(prompt: &[TokenId]) -> String {
    const SHOWN: usize = 8;
    let more = if prompt.len() > SHOWN { " …" } else { "" };
    let first = &prompt[..prompt.len().min(SHOWN)];
    format!("prompt with tokens {first:?}{more}")
}

/// Refuses a cell that a model with these sizes cannot run in this number type.
pub fn cell(sizes: &Sizes, dtype: Dtype, cell: &Cell<'_>) -> Result<(), ModelError> {
    let refuse = |why: String| ModelError::NotApplied {
        steering: format!("a rollout of {} tokens", cell.horizon),
        why,
    };
    if cell.prompt.is_empty() {
        return Err(refuse("its prompt is empty".into()));
    }
    if cell.prompt.len() + cell.horizon > sizes.context + 1 {
        let (prompt, context) = (cell.prompt.len(), sizes.context);
        return Err(refuse(format!(
            "its prompt of {prompt} tokens leaves no room in the context of {context}"
        )));
    }
    if let Some(token) = cell
        .prompt
        .iter()
        .find(|&&token| token as usize >= sizes.vocab)
    {
        return Err(refuse(format!(
            "token {token} is not in the vocabulary of {}",
            sizes.vocab
        )));
    }
    if let Some(steering) = cell.steering {
        let exists = steering.neuron.is_in(sizes.layers, sizes.d_ff);
        if !exists || !steering.dose.0.is_finite() {
            return Err(ModelError::NotApplied {
                steering: format!("dose {} on {}", steering.dose.0, steering.neuron),
                why: format!(
                    "the model has {} layers of {} neurons, and doses are finite",
                    sizes.layers, sizes.d_ff
                ),
            });
        }
        let dose = steering.dose.0;
        if dose != 0.0 && !dtype.holds(dose.into()) {
            return Err(ModelError::NotApplied {
                steering: format!("dose {dose:e} on {}", steering.neuron),
                why: dtype.refusal(dose.into()),
            });
        }
    }
    Ok(())
}

/// Refuses a step whose end is not all numbers.
pub fn first_step(cell: &Cell<'_>, end: &FirstStep<'_>) -> Result<(), ModelError> {
    match (kernels::finite(end.logits), kernels::finite(end.residual)) {
        (true, true) => Ok(()),
        (false, _) => Err(cell.not_finite(LOGIT, 0)),
        (_, false) => Err(cell.not_finite("the residual stream", 0)),
    }
}

/// The logits of a residual stream, if all of them are numbers.
pub fn logits(logits: Vec<f32>) -> Result<Vec<f32>, ModelError> {
    match kernels::finite(&logits) {
        true => Ok(logits),
        false => Err(ModelError::NotFinite {
            what: LOGIT,
            place: "a residual stream that was read through the final norm".into(),
        }),
    }
}

/// What is read off the logits: `mean logit[targets] − mean logit[controls]`; the mean of no tokens is 0.
#[derive(Clone, Copy, Debug)]
pub struct Readout<'a> {
    /// Tokens that count for it.
    pub targets: &'a [TokenId],
    /// Tokens that count against it.
    pub controls: &'a [TokenId],
}

/// Refuses prompts, or a readout, that the model cannot run.
pub fn readout(
    sizes: &Sizes,
    prompts: &[&[TokenId]],
    readout: Readout<'_>,
) -> Result<(), ModelError> {
    let refuse = |why: String| ModelError::NotApplied {
        steering: "of a gradient".into(),
        why,
    };
    for prompt in prompts {
        if prompt.is_empty() || prompt.len() > sizes.context {
            return Err(refuse(format!(
                "a prompt has {} tokens, and the context has 1 to {}",
                prompt.len(),
                sizes.context
            )));
        }
    }
    let tokens = (prompts.iter().copied().flatten())
        .chain(readout.targets)
        .chain(readout.controls);
    match tokens.copied().find(|&token| token as usize >= sizes.vocab) {
        Some(token) => Err(refuse(format!(
            "token {token} is not in the vocabulary of {}",
            sizes.vocab
        ))),
        None => Ok(()),
    }
}

/// What was seen, if all of it are numbers.
pub fn finite(seen: Observed, sequence: &Sequence<'_>) -> Result<Observed, ModelError> {
    let one = std::slice::from_ref;
    let parts: [(&'static str, &[Vec<f32>]); 5] = [
        ("the embedding", one(&seen.embedded)),
        ("an activation", &seen.activations),
        ("the output of a feed-forward", &seen.ffn_outputs),
        ("the residual stream", &seen.residuals),
        (LOGIT, one(&seen.logits)),
    ];
    let observed = sequence.tokens.len() - sequence.from;
    for (what, layers) in parts {
        for (layer, numbers) in layers.iter().enumerate() {
            let Some(bad) = numbers.iter().position(|x| !x.is_finite()) else {
                continue;
            };
            let position = sequence.from + bad / (numbers.len() / observed.max(1)).max(1);
            let layer = if layers.len() > 1 {
                format!("layer {layer}, ")
            } else {
                String::new()
            };
            return Err(ModelError::NotFinite {
                what,
                place: format!(
                    "{layer}position {position} of the unsteered {}",
                    shown(sequence.tokens)
                ),
            });
        }
    }
    Ok(seen)
}
