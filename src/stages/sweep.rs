//! Sweep: every rollout that the study needs, each made once.

use std::collections::BTreeSet;

use super::calibrate::NeuronCalibration;
use super::judge::{BehaviorJudge, Curve, Reader};
use super::predict::SealedPredictions;
use super::screen::Group;
use super::search::DoseReason;
use super::trial_plan::TrialPlan;
use crate::model::{Cell, LanguageModel, Steering};
use crate::monitor::Monitor;
use crate::record::key::rollout_seed;
use crate::record::store::TrialStore;
use crate::spec::doses::DoseUnit;
use crate::study::{Behavior, Prompt, Study};
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
            dose(neuron, sign, budgets)
        })
        .collect()
}

/// A dose of `budgets` on one branch of a neuron.
pub fn dose(neuron: &NeuronCalibration, sign: Sign, budgets: f64) -> GridDose {
    GridDose {
        sign,
        budgets,
        dose: Dose((sign.factor() * budgets * neuron.budget) as f32),
        law_coordinate: neuron.coordinate(sign, budgets),
    }
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

/// The neurons of one behaviour and the prompts on which they are steered.
pub struct Subject<'a> {
    /// What judges them.
    pub behavior: &'a Behavior,
    /// The prompts.
    pub prompts: &'a [Prompt],
    /// The neurons, sorted.
    pub neurons: Vec<&'a NeuronCalibration>,
}

/// What the sweep measures: every behaviour on its own prompts, with the neurons of its groups.
pub fn subjects<'a>(
    study: &'a Study,
    groups: &[Group],
    neurons: &'a [NeuronCalibration],
) -> Vec<Subject<'a>> {
    (study.behaviors.iter())
        .map(|behavior| {
            let measured: BTreeSet<NeuronId> = (groups.iter())
                .filter(|group| group.behaviors.contains(&behavior.name))
                .flat_map(|group| group.neurons.iter().copied())
                .collect();
            Subject {
                behavior,
                prompts: study.prompts_of(behavior),
                neurons: (neurons.iter())
                    .filter(|n| measured.contains(&n.neuron))
                    .collect(),
            }
        })
        .collect()
}

/// Makes the sealed study's rollouts: the seal is proof that the predictions were fixed before. Returns how many were made.
pub fn sweep(
    study: &Study,
    sealed: &SealedPredictions,
    model: &dyn LanguageModel,
    store: &mut TrialStore,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<usize> {
    let predictions = sealed.predictions();
    let subjects = subjects(
        study,
        &predictions.screening.groups,
        &predictions.calibration.neurons,
    );
    run(study, &subjects, model, store, monitor)
}

/// Makes the rollouts of these subjects that are not in the store: those of the grid, then those that a search asks for. Returns how
/// many were made.
pub fn run(
    study: &Study,
    subjects: &[Subject<'_>],
    model: &dyn LanguageModel,
    store: &mut TrialStore,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<usize> {
    let mut made = TrialPlan::of_grid(study, subjects).make_missing(model, store, monitor)?;
    if study.doses.tolerance.is_none() {
        return Ok(made);
    }
    let mut branches = branches(study, subjects);
    read_next(study, subjects, &mut branches, model, store, monitor)?;
    loop {
        let mut plan = TrialPlan::new(study);
        for branch in &branches {
            if let Some((dose, _)) = branch.next(study) {
                let steered = Some((branch.neuron.neuron, dose.dose));
                plan.add(branch.subject.prompts, steered);
            }
        }
        if plan.is_empty() {
            return Ok(made);
        }
        made += plan.make_missing(model, store, monitor)?;
        read_next(study, subjects, &mut branches, model, store, monitor)?;
    }
}

/// A branch whose doses are searched.
struct Branch<'a> {
    place: usize,
    subject: &'a Subject<'a>,
    neuron: &'a NeuronCalibration,
    curve: Curve,
}

impl Branch<'_> {
    /// The dose to run next, and why: of the grid as long as it has been read in part only.
    fn next(&self, study: &Study) -> Option<(GridDose, DoseReason)> {
        let sign = self.curve.sign;
        let on_branch = |dose: &GridDose| dose.sign == sign;
        let mut grid = grid(study, self.neuron).into_iter().filter(on_branch);
        match grid.nth(self.curve.points.len()) {
            Some(dose) => Some((dose, DoseReason::Grid)),
            None => {
                let (budgets, why) = self.curve.next_dose(study)?;
                Some((dose(self.neuron, sign, budgets), why))
            }
        }
    }
}

fn branches<'a>(study: &Study, subjects: &'a [Subject<'a>]) -> Vec<Branch<'a>> {
    let mut branches = Vec::new();
    for (place, subject) in subjects.iter().enumerate() {
        for &neuron in &subject.neurons {
            branches.extend(study.doses.signs.iter().map(|&sign| Branch {
                place,
                subject,
                neuron,
                curve: Curve {
                    behavior: subject.behavior.name.clone(),
                    neuron: neuron.neuron,
                    sign,
                    prompts: subject.prompts.len(),
                    points: Vec::new(),
                },
            }));
        }
    }
    branches
}

/// Judges the next dose of every branch, which is in the store; at first all of its grid.
fn read_next(
    study: &Study,
    subjects: &[Subject<'_>],
    branches: &mut [Branch<'_>],
    model: &dyn LanguageModel,
    store: &TrialStore,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<()> {
    monitor.judging(None);
    let reader = Reader::new(study, model, store);
    for (place, subject) in subjects.iter().enumerate() {
        let mut judge = BehaviorJudge::new(study, subject.behavior, subject.prompts, &reader)?;
        for branch in branches.iter_mut().filter(|branch| branch.place == place) {
            while let Some((dose, why)) = branch.next(study) {
                let point =
                    judge.point(branch.neuron, &dose, why, &mut |_| Ok(monitor.judged()?))?;
                branch.curve.add(point);
                if !(branch.next(study)).is_some_and(|(_, why)| why.is_grid()) {
                    break;
                }
            }
        }
    }
    Ok(())
}
