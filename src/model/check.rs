//! What a model refuses: cells and readouts that it cannot run, numbers that are none.

use super::decoder::Sizes;
use super::{Cell, ModelError, Observed, Sequence};
use crate::units::TokenId;

/// Refuses a cell that the model cannot run.
pub fn cell(sizes: &Sizes, cell: &Cell<'_>) -> Result<(), ModelError> {
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
    }
    Ok(())
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
    let numbers = (seen.residuals.iter())
        .chain(&seen.activations)
        .chain(&seen.ffn_outputs)
        .chain([&seen.embedded, &seen.logits])
        .flatten();
    if let Some(bad) = numbers.copied().find(|x| !x.is_finite()) {
        return Err(ModelError::NotFinite {
            what: "the unsteered forward pass",
            place: format!("a sequence of {} tokens ({bad})", sequence.tokens.len()),
        });
    }
    Ok(seen)
}
