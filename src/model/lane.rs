//! One thread's share of the rollouts: a batch that stays nearly full. When enough rollouts have ended, others that wait begin.

use std::sync::mpsc::Sender;

use super::decoder::{Batch, Passed};
use super::group::{Group, LastRows, Member};
use super::kernels::LogSumExp;
use super::kv_cache::Sequence;
use super::parts::Scratch;
use super::work::{Outcome, Task, Unobserved, Work};
use super::{FirstStep, ModelError};

/// Token rows beyond which no further cell joins a forward pass.
pub const MAX_ROWS: usize = 512;

/// Rows whose logits are held at a time: few enough to stay in the cache, enough to read the unembedding seldom.
pub const LOGIT_ROWS: usize = 64;

/// A worker with its rollouts.
pub struct Lane<'a> {
    work: &'a Work<'a>,
    groups: Vec<Group<'a>>,
    scratch: Scratch,
    logits: Vec<f32>,
}

/// A batch of all groups' pending tokens.
#[derive(Default)]
struct Step {
    batch: Batch,
    /// By group.
    last: Vec<LastRows>,
}

/// A row after the forward pass, and whose it is.
#[derive(Clone, Copy)]
struct Wanted {
    row: usize,
    group: usize,
    member: usize,
}

impl Step {
    /// Brings the branches into the order in which they join the pass.
    fn sort(&mut self) {
        let branches = &mut self.batch.branches;
        let mut order: Vec<usize> = (0..branches.len()).collect();
        order.sort_by_key(|&i| branches[i].layer);
        *branches = order.iter().map(|&i| branches[i].clone()).collect();
        let mut place = vec![0; order.len()];
        for (new, old) in order.into_iter().enumerate() {
            place[old] = new;
        }
        let all = self.last.iter_mut().flat_map(|last| &mut last.branches);
        all.flatten().for_each(|branch| *branch = place[*branch]);
    }

    /// The last rows of all members: of those that are steered, or of the others.
    fn wanted(&self, steered: bool) -> Vec<Wanted> {
        let of_group = |(group, last): (usize, &LastRows)| {
            let unsteered = last.unsteered;
            let rows: Vec<Wanted> = (last.branches.iter().enumerate())
                .filter(|(_, branch)| branch.is_some() == steered)
                .map(|(member, branch)| Wanted {
                    row: branch.map_or(unsteered, |branch| self.batch.rows.len() + branch),
                    group,
                    member,
                })
                .collect();
            rows
        };
        self.last.iter().enumerate().flat_map(of_group).collect()
    }
}

impl<'a> Lane<'a> {
    /// An idle lane.
    pub fn new(work: &'a Work<'a>) -> Self {
        Self {
            work,
            groups: Vec::new(),
            scratch: Scratch::default(),
            logits: Vec::new(),
        }
    }

    /// Works until no cell waits any more.
    pub fn run(
        mut self,
        results: &Sender<Result<(usize, Outcome), ModelError>>,
    ) -> Result<(), ModelError> {
        while !self.work.is_stopped() {
            self.admit();
            if self.groups.is_empty() {
                break;
            }
            for done in self.step()? {
                // A closed channel means that the receiver met an error; `is_stopped` ends the loop.
                let _ = results.send(Ok(done));
            }
        }
        Ok(())
    }

    /// Starts waiting cells when a quarter of the slots is free. Not at once, because those that start together share their text.
    fn admit(&mut self) {
        let slots = self.work.lanes.slots;
        let in_flight: usize = self.groups.iter().map(|group| group.members.len()).sum();
        let free = slots - in_flight;
        if free > 0 && 4 * free >= slots {
            let cells = self.work.take(free, MAX_ROWS);
            self.groups.extend(Group::start(self.work, cells));
        }
    }

    /// One forward pass. Returns the cells that it finished.
    fn step(&mut self) -> Result<Vec<(usize, Outcome)>, ModelError> {
        let mut sequences: Vec<&mut Sequence> = Vec::new();
        let mut step = Step::default();
        (self.groups).sort_by_key(|group| group.depth(self.work));
        for group in &mut self.groups {
            let last = group.add_to(self.work, &mut step.batch, &mut sequences);
            step.last.push(last);
        }
        step.sort();
        let passed = self.work.decoder.forward(
            &step.batch,
            &mut sequences,
            &mut Unobserved,
            &mut self.scratch,
        );
        self.measure(&step, &passed)?;
        match self.work.task {
            Task::Rollout => self.choose_and_score(&step, &passed)?,
            Task::Tokens => self.choose(&step, &passed)?,
            Task::FirstStep => self.end_all(&step, &passed)?,
        }
        let mut done = Vec::new();
        self.groups = (self.groups.drain(..))
            .flat_map(|group| group.advance(&mut done))
            .collect();
        Ok(done)
    }

    /// Takes the coordinates to their rollouts. A dose that was not applied, or changed nothing, is an error.
    fn measure(&mut self, step: &Step, passed: &Passed) -> Result<(), ModelError> {
        for (group, last) in self.groups.iter_mut().zip(&step.last) {
            for (member, branch) in group.members.iter_mut().zip(&last.branches) {
                let Some(branch) = *branch else { continue };
                member.measure(passed.effects.get(branch).copied())?;
            }
        }
        Ok(())
    }

    /// Chooses every rollout's next token, and finds how likely it is without steering.
    fn choose_and_score(&mut self, step: &Step, passed: &Passed) -> Result<(), ModelError> {
        let Work {
            decoder,
            end_of_text,
            ..
        } = self.work;
        let mut unsteered = Vec::with_capacity(self.groups.len());
        let rows: Vec<usize> = step.last.iter().map(|last| last.unsteered).collect();
        self.for_logits(passed, &rows, |groups, group, logits| {
            let sums = LogSumExp::of(logits);
            unsteered.push(sums);
            let members = groups[group].members.iter_mut();
            for (member, branch) in members.zip(&step.last[group].branches) {
                if branch.is_none() {
                    let token = member.choose(logits)?;
                    member.score(sums, logits[token as usize])?;
                    member.end(end_of_text);
                }
            }
            Ok(())
        })?;
        let steered = step.wanted(true);
        let rows: Vec<usize> = steered.iter().map(|wanted| wanted.row).collect();
        let d = decoder.sizes.d_model;
        self.for_logits(passed, &rows, |groups, i, logits| {
            let Wanted { group, member, .. } = steered[i];
            let member = &mut groups[group].members[member];
            let token = member.choose(logits)?;
            let row = step.last[group].unsteered - passed.left;
            let logit = (decoder.vocabulary).logit(&passed.hidden[row * d..][..d], token);
            member.score(unsteered[group], logit)?;
            member.end(end_of_text);
            Ok(())
        })
    }

    /// Chooses every rollout's next token.
    fn choose(&mut self, step: &Step, passed: &Passed) -> Result<(), ModelError> {
        let end_of_text = self.work.end_of_text;
        self.for_members(step, passed, |member, FirstStep { logits, .. }| {
            member.choose(logits)?;
            member.end(end_of_text);
            Ok(())
        })
    }

    /// Ends every cell after this step.
    fn end_all(&mut self, step: &Step, passed: &Passed) -> Result<(), ModelError> {
        self.for_members(step, passed, |member, end| member.end_with(end))
    }

    /// Calls `read` with every member and the end of this step.
    fn for_members(
        &mut self,
        step: &Step,
        passed: &Passed,
        mut read: impl FnMut(&mut Member<'a>, FirstStep<'_>) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let d = self.work.decoder.sizes.d_model;
        for wanted in [step.wanted(false), step.wanted(true)] {
            let rows: Vec<usize> = wanted.iter().map(|wanted| wanted.row).collect();
            self.for_logits(passed, &rows, |groups, i, logits| {
                let Wanted { row, group, member } = wanted[i];
                let residual = &passed.residual[(row - passed.left) * d..][..d];
                let end = FirstStep { logits, residual };
                read(&mut groups[group].members[member], end)
            })?;
        }
        Ok(())
    }

    /// Calls `read` with the number and the logits of each of some rows of the batch.
    fn for_logits(
        &mut self,
        passed: &Passed,
        rows: &[usize],
        mut read: impl FnMut(&mut [Group<'a>], usize, &[f32]) -> Result<(), ModelError>,
    ) -> Result<(), ModelError> {
        let decoder = self.work.decoder;
        let (d, vocab) = (decoder.sizes.d_model, decoder.sizes.vocab);
        for (chunk, rows) in rows.chunks(LOGIT_ROWS).enumerate() {
            let gathered: Vec<f32> = (rows.iter())
                .flat_map(|row| &passed.hidden[(row - passed.left) * d..][..d])
                .copied()
                .collect();
            decoder.vocabulary.logits(&gathered, &mut self.logits);
            for (i, logits) in self.logits.chunks_exact(vocab).enumerate() {
                read(&mut self.groups, chunk * LOGIT_ROWS + i, logits)?;
            }
        }
        Ok(())
    }
}
