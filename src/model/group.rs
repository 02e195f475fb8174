//! Rollouts that have come the same way: one prompt, and the same tokens so far.
//!
//! Their steered states differ, but below the steered neurons, and without steering, their texts are one sequence. It is computed once:
//! it feeds every rollout of the group up to its steered layer, and gives the likelihood of whatever token each of them chooses. When
//! their tokens part, so does the group.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::check;
use super::choice::{Choice, choice, is_steered};
use super::decoder::{Batch, Branch, Effect};
use super::kernels::LogSumExp;
use super::kv_cache::{KvCache, Sequence};
use super::parts::Row;
use super::work::{Outcome, Task, Work};
use super::write::Write;
use super::{Cell, FirstStep, ModelError, Rollout};
use crate::units::TokenId;

/// Rollouts whose tokens are the same so far.
pub struct Group<'a> {
    /// The prompt.
    prompt: &'a [TokenId],
    /// The tokens without steering.
    sequence: Sequence,
    /// Tokens that the next forward pass reads.
    pending: Vec<TokenId>,
    /// Position of the first of them.
    position: usize,
    /// The rollouts.
    pub members: Vec<Member<'a>>,
}

/// A rollout in flight.
pub struct Member<'a> {
    number: usize,
    /// What is asked for.
    pub cell: &'a Cell<'a>,
    /// The tokens as they are with steering, in the layers above the steered one, and what is written there; none for a clean rollout.
    steered: Option<(Sequence, Arc<Write>)>,
    choice: Choice,
    rollout: Rollout,
    finished: Option<Outcome>,
}

/// Where in a batch the rows of a group's last tokens are.
pub struct LastRows {
    /// The unsteered row.
    pub unsteered: usize,
    /// The branch of each member; none for a clean rollout.
    pub branches: Vec<Option<usize>>,
}

impl<'a> Group<'a> {
    /// The groups of cells that start now.
    pub fn start(work: &Work<'a>, cells: Vec<(usize, &'a Cell<'a>)>) -> Vec<Self> {
        let mut by_prompt: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (number, cell) in cells {
            let key = (cell.prompt, cell.shared_len());
            by_prompt.entry(key).or_default().push((number, cell));
        }
        (by_prompt.into_iter())
            .map(|((prompt, shared), cells)| Self::new(work, prompt, shared, cells))
            .collect()
    }

    fn new(
        work: &Work<'a>,
        prompt: &'a [TokenId],
        shared: usize,
        cells: Vec<(usize, &'a Cell<'a>)>,
    ) -> Self {
        let sizes = &work.decoder.sizes;
        let prefix = work.prefix(&prompt[..shared]);
        let capacity = cells.iter().map(|(_, cell)| cell.own_positions()).max();
        let sequence = |first_layer, prefix: &Arc<KvCache>, capacity| {
            let own = KvCache::new(sizes.heads, first_layer, sizes.layers, shared, capacity);
            Sequence::new(prefix.clone(), own)
        };
        let members = (cells.into_iter())
            .map(|(number, cell)| Member {
                number,
                cell,
                steered: (cell.steered()).map(|s| {
                    let own = sequence(s.neuron.layer + 1, &prefix, cell.own_positions());
                    (own, Arc::new(work.decoder.write(s.neuron)))
                }),
                choice: choice(cell),
                rollout: Rollout::default(),
                finished: None,
            })
            .collect();
        Self {
            prompt,
            sequence: sequence(0, &prefix, capacity.unwrap_or(0)),
            pending: prompt[shared..].to_vec(),
            position: shared,
            members,
        }
    }

    /// Blocks that its unsteered tokens go through: all where their logits are wanted, else no more than feed the steered layers.
    pub fn depth(&self, work: &Work<'_>) -> usize {
        let steered = (self.members.iter()).map(|member| member.cell.steered());
        let below: Option<Vec<usize>> = steered.map(|s| Some(s?.neuron.layer + 1)).collect();
        match (work.task, below) {
            (Task::Tokens | Task::FirstStep, Some(layers)) => layers.into_iter().max(),
            _ => None,
        }
        .unwrap_or(work.decoder.sizes.layers)
    }

    /// Adds the pending tokens to a batch, and the sequences to those that it works on.
    pub fn add_to<'b>(
        &'b mut self,
        work: &Work<'_>,
        batch: &mut Batch,
        sequences: &mut Vec<&'b mut Sequence>,
    ) -> LastRows {
        let depth = self.depth(work);
        let first = batch.rows.len();
        let row = |sequence: usize, i: usize| Row {
            token: self.pending[i],
            position: self.position + i,
            sequence,
        };
        let pending = 0..self.pending.len();
        (batch.rows).extend(pending.clone().map(|i| row(sequences.len(), i)));
        (batch.depths).extend(pending.clone().map(|_| depth));
        sequences.push(&mut self.sequence);
        let mut branches = Vec::with_capacity(self.members.len());
        for member in &mut self.members {
            let (Some((sequence, write)), Some(steering)) =
                (&mut member.steered, member.cell.steered())
            else {
                branches.push(None);
                continue;
            };
            batch.branches.extend(pending.clone().map(|i| {
                // Counted from 0 at the last prompt token.
                let step = (self.position + i + 1).checked_sub(self.prompt.len());
                Branch {
                    from: first + i,
                    row: row(sequences.len(), i),
                    layer: steering.neuron.layer,
                    write: write.clone(),
                    dose: is_steered(&steering, step).then_some(steering.dose),
                }
            }));
            sequences.push(sequence);
            branches.push(Some(batch.branches.len() - 1));
        }
        LastRows {
            unsteered: batch.rows.len() - 1,
            branches,
        }
    }

    /// Sends finished members to `done`, and parts the others by the token that each of them chose.
    pub fn advance(self, done: &mut Vec<(usize, Outcome)>) -> Vec<Group<'a>> {
        let mut by_token: BTreeMap<TokenId, Vec<Member<'a>>> = BTreeMap::new();
        for member in self.members {
            match (member.finished, member.rollout.tokens.last()) {
                (Some(outcome), _) => done.push((member.number, outcome)),
                (None, Some(&token)) => by_token.entry(token).or_default().push(Member {
                    finished: None,
                    ..member
                }),
                (None, None) => unreachable!("every step chooses a token or ends the rollout"),
            }
        }
        let position = self.position + self.pending.len();
        let mut sequence = Some(self.sequence);
        let mut left = by_token.len();
        (by_token.into_iter())
            .map(|(token, members)| {
                left -= 1;
                let kept = match left {
                    0 => sequence.take(),
                    _ => sequence.as_ref().map(Sequence::fork),
                };
                Group {
                    prompt: self.prompt,
                    sequence: kept.expect("taken by the last one"),
                    pending: vec![token],
                    position,
                    members,
                }
            })
            .collect()
    }
}

impl Member<'_> {
    /// Keeps the coordinate of the last step; `effect` is none where the forward pass did not come to the steered layer.
    pub fn measure(&mut self, effect: Option<Effect>) -> Result<(), ModelError> {
        let step = self.rollout.tokens.len();
        match effect {
            None => Err(self.cell.not_applied(step, check::NO_LAYER)),
            Some(Effect::Absorbed) => Err(self.cell.not_applied(step, check::ABSORBED)),
            Some(Effect::At(cosine)) if !cosine.is_finite() => {
                Err(self.cell.not_finite(check::COSINE, step))
            }
            Some(Effect::At(cosine)) => {
                self.rollout.cosines.push(cosine);
                Ok(())
            }
            Some(Effect::NoDose) => Ok(()),
        }
    }

    /// Ends after its first step.
    pub fn end_with(&mut self, step: FirstStep<'_>) -> Result<(), ModelError> {
        check::first_step(self.cell, &step)?;
        self.finished = Some(Outcome::FirstStep {
            logits: step.logits.to_vec(),
            residual: step.residual.to_vec(),
        });
        Ok(())
    }

    /// Chooses the next token.
    pub fn choose(&mut self, logits: &[f32]) -> Result<TokenId, ModelError> {
        let step = self.rollout.tokens.len();
        let token = self.choice.token(self.cell, step, logits)?;
        self.rollout.tokens.push(token);
        Ok(token)
    }

    /// Keeps the likelihood of the chosen token: its logit without steering, among all of them.
    pub fn score(&mut self, unsteered: LogSumExp, logit: f32) -> Result<(), ModelError> {
        let nll = unsteered.negative_log_likelihood(logit);
        if !nll.is_finite() {
            let step = self.rollout.tokens.len() - 1;
            return Err(self.cell.not_finite(check::UNSTEERED_LOGIT, step));
        }
        self.rollout.nll.push(nll);
        Ok(())
    }

    /// Ends the rollout where it should end.
    pub fn end(&mut self, end_of_text: &[TokenId]) {
        let rollout = &mut self.rollout;
        rollout.ended = (rollout.tokens.last()).is_some_and(|token| end_of_text.contains(token));
        if self.cell.is_over(rollout) {
            self.finished = Some(Outcome::Rollout(std::mem::take(rollout)));
        }
    }
}
