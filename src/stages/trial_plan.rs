//! Which rollouts a stage needs, each once; and making those that are missing. However many there are, a batch of them is in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::sweep::{self, Subject};
use crate::model::{Cell, LanguageModel};
use crate::monitor::Monitor;
use crate::record::key::{ModelFingerprint, TrialKey};
use crate::record::store::TrialStore;
use crate::record::trial::Trial;
use crate::study::{Prompt, Study};
use crate::units::{Dose, NeuronId, TokenId};

/// Rollouts that are handed to the model in one call, at most: enough for those that begin alike to meet.
pub const BATCH: usize = 1 << 16;

/// Rollouts to be made: doses of neurons, each on every prompt of some lists. Behaviours with the same prompt share its rollouts.
pub struct TrialPlan<'a> {
    study: &'a Study,
    lists: Vec<&'a [Prompt]>,
    /// The lists on which each neuron is given each dose; under `None`, those that are left alone.
    rows: BTreeMap<Option<Steered>, Vec<usize>>,
}

/// A neuron with the bits of its dose.
type Steered = (NeuronId, u32);

/// The prompts of several lists, each once, by the numbers of the lists.
type Distinct<'a> = BTreeMap<Vec<usize>, Vec<&'a [TokenId]>>;

impl<'a> TrialPlan<'a> {
    /// A plan without rollouts.
    pub fn new(study: &'a Study) -> Self {
        Self {
            study,
            lists: Vec::new(),
            rows: BTreeMap::new(),
        }
    }

    /// The trials of these subjects at the doses of the grid, with the clean rollouts.
    pub fn of_grid(study: &'a Study, subjects: &[Subject<'a>]) -> Self {
        let mut plan = Self::new(study);
        for subject in subjects {
            plan.add(subject.prompts, None);
            for neuron in &subject.neurons {
                for dose in sweep::grid(study, neuron) {
                    plan.add(subject.prompts, Some((neuron.neuron, dose.dose)));
                }
            }
        }
        plan
    }

    /// A rollout of each of these prompts: steered so, or clean.
    pub fn add(&mut self, prompts: &'a [Prompt], steered: Option<(NeuronId, Dose)>) {
        let known = (self.lists.iter()).position(|list| std::ptr::eq(*list, prompts));
        let list = known.unwrap_or_else(|| {
            self.lists.push(prompts);
            self.lists.len() - 1
        });
        let row = steered.map(|(neuron, dose)| (neuron, dose.0.to_bits()));
        let lists = self.rows.entry(row).or_default();
        if !lists.contains(&list) {
            lists.push(list);
        }
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Number of rollouts.
    pub fn len(&self) -> usize {
        let prompts = self.distinct_prompts();
        self.rows.values().map(|lists| prompts[lists].len()).sum()
    }

    /// The rollouts: clean ones first, then neuron by neuron. No two are the same.
    pub fn cells(&self) -> impl Iterator<Item = Cell<'a>> {
        let (study, prompts) = (self.study, self.distinct_prompts());
        self.rows.iter().flat_map(move |(row, lists)| {
            let steered = row.map(|(neuron, bits)| (neuron, Dose(f32::from_bits(bits))));
            let prompts = prompts[lists].clone().into_iter();
            prompts.map(move |prompt| sweep::cell(study, prompt, steered))
        })
    }

    fn distinct_prompts(&self) -> Distinct<'a> {
        let sets: BTreeSet<&Vec<usize>> = self.rows.values().collect();
        let of_set = |lists: &Vec<usize>| {
            let mut seen = BTreeSet::new();
            let prompts = lists.iter().flat_map(|&list| self.lists[list]);
            prompts
                .map(|prompt| prompt.tokens.as_slice())
                .filter(|tokens| seen.insert(*tokens))
                .collect()
        };
        (sets.into_iter())
            .map(|lists| (lists.clone(), of_set(lists)))
            .collect()
    }

    /// Makes the rollouts that are not in the store yet. Returns how many were made.
    ///
    /// # Errors
    /// Those of the model, and of the store. What has ended by then is kept.
    pub fn make_missing(
        &self,
        model: &dyn LanguageModel,
        store: &mut TrialStore,
        monitor: &mut Monitor<'_>,
    ) -> anyhow::Result<usize> {
        let fingerprint = ModelFingerprint::of(&self.study.model);
        let planned = self.len();
        let mut missing = 0;
        for cell in self.cells() {
            missing += usize::from(!store.contains(&TrialKey::of(&fingerprint, &cell))?);
        }
        monitor.rollouts(planned, planned - missing);
        let mut batch = Vec::new();
        for cell in self.cells() {
            if store.contains(&TrialKey::of(&fingerprint, &cell))? {
                continue;
            }
            batch.push(cell);
            if batch.len() == BATCH {
                make(&batch, &fingerprint, model, store, monitor)?;
                batch.clear();
            }
        }
        make(&batch, &fingerprint, model, store, monitor)?;
        Ok(missing)
    }
}

/// Makes these rollouts, and records each soon after its end.
fn make(
    cells: &[Cell<'_>],
    fingerprint: &ModelFingerprint,
    model: &dyn LanguageModel,
    store: &mut TrialStore,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<()> {
    let mut writer = store.writer();
    let made = model.rollouts(cells, &mut |i, rollout| {
        let tokens = rollout.tokens.len();
        let text = model.decode(&rollout.tokens);
        writer.push(Trial::new(fingerprint, &cells[i], rollout, text)?)?;
        monitor.rollout_made(tokens);
        Ok(())
    });
    // What has ended is kept, also when the others were stopped or failed.
    let kept = writer.finish();
    made?;
    Ok(kept?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture;

    #[test]
    fn each_rollout_is_planned_once() {
        let study = fixture::study();
        let [one, other] = ["a", "b"].map(|text| fixture::prompt(1, text));
        let (first, second) = (
            [one, fixture::prompt(2, "c")],
            [other, fixture::prompt(3, "d")],
        );
        let dose = |index, size| Some((NeuronId { layer: 0, index }, Dose(size)));
        let mut plan = TrialPlan::new(&study);
        assert!(plan.is_empty());
        for (prompts, steered) in [
            (&first, None),
            (&first, dose(1, 0.5)),
            (&first, dose(1, 0.5)),
            (&second, dose(1, 0.5)),
            (&second, dose(1, -0.5)),
            (&second, None),
            (&second, dose(0, 0.5)),
        ] {
            plan.add(prompts, steered);
        }
        let found: Vec<_> = (plan.cells())
            .map(|cell| {
                (
                    cell.steering.map(|s| (s.neuron.index, s.dose.0)),
                    cell.prompt[0],
                )
            })
            .collect();
        let expected = [
            (None, 1),
            (None, 2),
            (None, 3),
            (Some((0, 0.5)), 1),
            (Some((0, 0.5)), 3),
            (Some((1, 0.5)), 1),
            (Some((1, 0.5)), 2),
            (Some((1, 0.5)), 3),
            (Some((1, -0.5)), 1),
            (Some((1, -0.5)), 3),
        ];
        assert_eq!(found, expected);
        assert_eq!(plan.len(), found.len());
        let model = ModelFingerprint::of(&study.model);
        let keys: BTreeSet<_> = plan
            .cells()
            .map(|cell| TrialKey::of(&model, &cell))
            .collect();
        assert_eq!(keys.len(), found.len());
    }
}
