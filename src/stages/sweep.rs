//! Sweep: every rollout that the study needs, each made once.

use std::collections::BTreeMap;

use super::calibrate::NeuronCalibration;
use super::predict::SealedPredictions;
use super::screen::Group;
use crate::events::{Event, Listener};
use crate::law;
use crate::model::{Cell, LanguageModel, Steering};
use crate::record::key::{ModelFingerprint, TrialKey, rollout_seed};
use crate::record::store::TrialStore;
use crate::record::trial::Trial;
use crate::spec::doses::DoseUnit;
use crate::study::{Prompt, Study};
use crate::units::{Dose, NeuronId, Sign, TokenId};

/// One dose of the grid for one neuron.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GridDose {
    /// The branch.
    pub sign: Sign,
    /// `|g|`, in budgets.
    pub budgets: f64,
    /// What enters the forward pass, signed.
    pub dose: Dose,
    /// The law's coordinate along the branch (its own sign counted as positive).
    pub law_coordinate: f64,
}

/// The doses of one neuron: branches in the order of the study, magnitudes increasing.
pub fn grid(study: &Study, neuron: &NeuronCalibration) -> Vec<GridDose> {
    (study.doses.signs.iter())
        .flat_map(|&sign| {
            study
                .doses
                .magnitudes
                .iter()
                .map(move |&magnitude| (sign, magnitude))
        })
        .map(|(sign, magnitude)| {
            let budgets = match study.doses.unit {
                DoseUnit::Budget => magnitude,
                DoseUnit::Activation => magnitude / neuron.budget,
            };
            GridDose {
                sign,
                budgets,
                dose: Dose((sign.factor() * budgets * neuron.budget) as f32),
                law_coordinate: sign.factor()
                    * law::control_coordinate(sign.factor() * budgets, neuron.c0),
            }
        })
        .collect()
}

/// A rollout of the study: the cell of a prompt, steered or clean.
pub fn cell<'a>(
    study: &Study,
    prompt: &'a [TokenId],
    steered: Option<(NeuronId, Dose)>,
) -> Cell<'a> {
    let steering = steered.map(|(neuron, dose)| Steering {
        neuron,
        dose,
        apply: study.doses.apply,
        window: study.doses.window,
    });
    Cell {
        prompt,
        steering,
        horizon: study.rollout.longest().0,
        stop_at_end: study.rollout.stop_at_end,
        // Clean rollouts say what is likely, to their full length.
        stop_at_loop: (study.rollout.stop_at_collapse && steering.is_some())
            .then_some(study.coherence.repetition),
        sample: (study.rollout.sample)
            .map(|sample| (sample, rollout_seed(study.seed, prompt, steering, sample))),
    }
}

/// Trials by content: two behaviours with the same prompt share its rollouts.
pub struct TrialPlan<'a> {
    model: ModelFingerprint,
    cells: BTreeMap<TrialKey, Cell<'a>>,
}

impl<'a> TrialPlan<'a> {
    /// The trials of the calibration neurons on the generic prompts, with the clean rollouts.
    pub fn calibration(study: &'a Study, groups: &[Group], neurons: &[NeuronCalibration]) -> Self {
        let mut plan = Self::new(study);
        let prompts = study.calibration_prompts();
        plan.add_clean(study, prompts);
        for group in groups.iter().filter(|group| group.is_calibration()) {
            plan.add_group(study, group, neurons, prompts);
        }
        plan
    }

    /// The trials of every other neuron on the prompts of its behaviours, with the clean rollouts.
    pub fn sweep(study: &'a Study, groups: &[Group], neurons: &[NeuronCalibration]) -> Self {
        let mut plan = Self::new(study);
        for behavior in &study.behaviors {
            let prompts = study.prompts_of(behavior);
            plan.add_clean(study, prompts);
            for group in groups
                .iter()
                .filter(|group| group.behaviors.contains(&behavior.name))
            {
                plan.add_group(study, group, neurons, prompts);
            }
        }
        plan
    }

    fn new(study: &Study) -> Self {
        Self {
            model: ModelFingerprint::of(&study.model),
            cells: BTreeMap::new(),
        }
    }

    /// Number of trials.
    pub fn len(&self) -> usize {
        self.cells.len()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// Keys and cells, in the order of keys.
    pub fn iter(&self) -> impl Iterator<Item = (&TrialKey, &Cell<'a>)> {
        self.cells.iter()
    }

    fn add_clean(&mut self, study: &Study, prompts: &'a [Prompt]) {
        for prompt in prompts {
            self.add(cell(study, &prompt.tokens, None));
        }
    }

    fn add_group(
        &mut self,
        study: &Study,
        group: &Group,
        neurons: &[NeuronCalibration],
        prompts: &'a [Prompt],
    ) {
        for neuron in neurons.iter().filter(|n| group.neurons.contains(&n.neuron)) {
            for dose in grid(study, neuron) {
                for prompt in prompts {
                    self.add(cell(
                        study,
                        &prompt.tokens,
                        Some((neuron.neuron, dose.dose)),
                    ));
                }
            }
        }
    }

    fn add(&mut self, cell: Cell<'a>) {
        self.cells.insert(TrialKey::of(&self.model, &cell), cell);
    }
}

/// Makes the sealed study's rollouts: the seal is proof that the predictions were fixed before. Returns how many were made.
pub fn sweep(
    study: &Study,
    sealed: &SealedPredictions,
    model: &dyn LanguageModel,
    store: &mut TrialStore,
    listener: &mut dyn Listener,
) -> anyhow::Result<usize> {
    let predictions = sealed.predictions();
    let plan = TrialPlan::sweep(
        study,
        &predictions.screening.groups,
        &predictions.calibration.neurons,
    );
    run_missing(&plan, model, store, listener)
}

/// Makes the planned rollouts that are not in the store yet. Returns how many were made.
pub fn run_missing(
    plan: &TrialPlan<'_>,
    model: &dyn LanguageModel,
    store: &mut TrialStore,
    listener: &mut dyn Listener,
) -> anyhow::Result<usize> {
    let known = store.keys()?;
    let missing: Vec<(&TrialKey, &Cell<'_>)> = plan
        .iter()
        .filter(|(key, _)| !known.contains(*key))
        .collect();
    listener.on(&Event::Trials {
        planned: plan.len(),
        stored: plan.len() - missing.len(),
    });
    let cells: Vec<Cell<'_>> = missing.iter().map(|(_, cell)| (*cell).clone()).collect();
    let mut writer = store.writer();
    model.rollouts(&cells, &mut |i, rollout| {
        let tokens = rollout.tokens.len();
        let text = model.decode(&rollout.tokens);
        writer.push(Trial::new(&plan.model, missing[i].1, rollout, text)?)?;
        listener.on(&Event::TrialDone { tokens });
        Ok(())
    })?;
    writer.finish()?;
    Ok(missing.len())
}
