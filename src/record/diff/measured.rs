//! What only one of two runs has measured.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use crate::record::RunRecord;
use crate::spec::doses::DoseUnit;
use crate::spec::neurons::Role;
use crate::study::Study;
use crate::units::{Horizon, NeuronId, Sign};

/// What only one of the runs has.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct OnlyInOne {
    /// Names of behaviours.
    pub behaviors: Sides<String>,
    /// Neurons in their roles, of behaviours that both runs have.
    pub neurons: Sides<MeasuredNeuron>,
    /// Doses of the grid. Those that a search added are not compared.
    pub doses: Sides<GridMagnitude>,
    /// Branches.
    pub signs: Sides<Sign>,
    /// Horizons.
    pub horizons: Sides<Horizon>,
}

/// What is only in the first run, and what is only in the second.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Sides<T> {
    /// Only in the first.
    pub first: Vec<T>,
    /// Only in the second.
    pub second: Vec<T>,
}

/// A neuron in its role on a behaviour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct MeasuredNeuron {
    /// Its role.
    pub role: Role,
    /// Name of the behaviour; null for calibration neurons.
    pub behavior: Option<String>,
    /// The neuron.
    pub neuron: NeuronId,
}

/// The size of a dose of the grid.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, JsonSchema)]
pub struct GridMagnitude {
    /// How much.
    pub magnitude: f64,
    /// Of what.
    pub unit: DoseUnit,
}

impl<T> Default for Sides<T> {
    fn default() -> Self {
        let (first, second) = (Vec::new(), Vec::new());
        Self { first, second }
    }
}

impl<T: Clone + PartialEq> Sides<T> {
    fn of(first: &[T], second: &[T]) -> Self {
        let without = |items: &[T], others: &[T]| {
            (items.iter().filter(|item| !others.contains(item)).cloned()).collect()
        };
        Self {
            first: without(first, second),
            second: without(second, first),
        }
    }
}

impl<T> Sides<T> {
    /// How many there are on both sides.
    pub fn len(&self) -> usize {
        self.first.len() + self.second.len()
    }

    /// Whether both runs have the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl OnlyInOne {
    /// Whether both runs have the same.
    pub fn is_empty(&self) -> bool {
        self.behaviors.is_empty()
            && self.neurons.is_empty()
            && self.doses.is_empty()
            && self.signs.is_empty()
            && self.horizons.is_empty()
    }
}

/// Compares what was measured.
pub fn only_in_one(first: &RunRecord, second: &RunRecord) -> OnlyInOne {
    let (one, other) = (first.study(), second.study());
    let behaviors = Sides::of(&behaviors(one), &behaviors(other));
    let (here, there) = (neurons(first, &behaviors), neurons(second, &behaviors));
    OnlyInOne {
        neurons: Sides {
            first: here.difference(&there).cloned().collect(),
            second: there.difference(&here).cloned().collect(),
        },
        doses: Sides::of(&doses(one), &doses(other)),
        signs: Sides::of(&one.doses.signs, &other.doses.signs),
        horizons: Sides::of(&one.rollout.horizons, &other.rollout.horizons),
        behaviors,
    }
}

fn behaviors(study: &Study) -> Vec<String> {
    study
        .behaviors
        .iter()
        .map(|behavior| behavior.name.clone())
        .collect()
}

fn doses(study: &Study) -> Vec<GridMagnitude> {
    let unit = study.doses.unit;
    let magnitudes = study.doses.magnitudes.iter();
    magnitudes
        .map(|&magnitude| GridMagnitude { magnitude, unit })
        .collect()
}

/// The neurons of a run on the behaviours that are not of one run only.
fn neurons(run: &RunRecord, only: &Sides<String>) -> BTreeSet<MeasuredNeuron> {
    let mut neurons = BTreeSet::new();
    for group in &run.sealed.predictions().screening.groups {
        let shared = |name: &&String| !only.first.contains(name) && !only.second.contains(name);
        let mut behaviors: Vec<Option<String>> = group
            .behaviors
            .iter()
            .filter(shared)
            .cloned()
            .map(Some)
            .collect();
        if group.role == Role::Calibration {
            behaviors = vec![None];
        }
        for behavior in behaviors {
            neurons.extend(group.neurons.iter().map(|&neuron| MeasuredNeuron {
                role: group.role,
                behavior: behavior.clone(),
                neuron,
            }));
        }
    }
    neurons
}
