//! Sweep: every rollout that the study needs, each made once.

use std::collections::{BTreeMap, BTreeSet};

use super::calibrate::NeuronCalibration;
use super::judge::{BehaviorJudge, Curve, Reader};
use super::predict::SealedPredictions;
use super::screen::Group;
use super::search::DoseReason;
use crate::model::{Cell, LanguageModel, Steering};
use crate::monitor::Monitor;
use crate::record::key::{ModelFingerprint, TrialKey, rollout_seed};
use crate::record::store::TrialStore;
use crate::record::trial::Trial;
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

/// Trials by content: two behaviours with the same prompt share its rollouts.
pub struct TrialPlan<'a> {
    model: ModelFingerprint,
    cells: BTreeMap<TrialKey, Cell<'a>>,
}

impl<'a> TrialPlan<'a> {
    /// The trials of these subjects at the doses of the grid, with the clean rollouts.
    pub fn of_grid(study: &'a Study, subjects: &[Subject<'a>]) -> Self {
        let mut plan = Self::new(study);
        for subject in subjects {
            for prompt in subject.prompts {
                plan.add(cell(study, &prompt.tokens, None));
            }
            for neuron in &subject.neurons {
                for dose in grid(study, neuron) {
                    plan.add_dose(study, subject.prompts, neuron, &dose);
                }
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

    /// One dose on every prompt.
    fn add_dose(
        &mut self,
        study: &Study,
        prompts: &'a [Prompt],
        neuron: &NeuronCalibration,
        dose: &GridDose,
    ) {
        for prompt in prompts {
            let steered = Some((neuron.neuron, dose.dose));
            self.add(cell(study, &prompt.tokens, steered));
        }
    }

    fn add(&mut self, cell: Cell<'a>) {
        self.cells.insert(TrialKey::of(&self.model, &cell), cell);
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
    let mut made = run_missing(&TrialPlan::of_grid(study, subjects), model, store, monitor)?;
    if study.doses.tolerance.is_none() {
        return Ok(made);
    }
    let mut branches = branches(study, subjects);
    read_next(study, subjects, &mut branches, model, store, monitor)?;
    loop {
        let mut plan = TrialPlan::new(study);
        for branch in &branches {
            if let Some((dose, _)) = branch.next(study) {
                plan.add_dose(study, branch.subject.prompts, branch.neuron, &dose);
            }
        }
        if plan.is_empty() {
            return Ok(made);
        }
        made += run_missing(&plan, model, store, monitor)?;
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

/// Makes the planned rollouts that are not in the store yet. Returns how many were made.
pub fn run_missing(
    plan: &TrialPlan<'_>,
    model: &dyn LanguageModel,
    store: &mut TrialStore,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<usize> {
    let known = store.keys()?;
    let missing: Vec<(&TrialKey, &Cell<'_>)> = plan
        .iter()
        .filter(|(key, _)| !known.contains(*key))
        .collect();
    monitor.rollouts(plan.len(), plan.len() - missing.len());
    let cells: Vec<Cell<'_>> = missing.iter().map(|(_, cell)| (*cell).clone()).collect();
    let mut writer = store.writer();
    let made = model.rollouts(&cells, &mut |i, rollout| {
        let tokens = rollout.tokens.len();
        let text = model.decode(&rollout.tokens);
        writer.push(Trial::new(&plan.model, missing[i].1, rollout, text)?)?;
        monitor.rollout_made(tokens);
        Ok(())
    });
    // What has ended is kept, also when the others were stopped or failed.
    let kept = writer.finish();
    made?;
    kept?;
    Ok(missing.len())
}
