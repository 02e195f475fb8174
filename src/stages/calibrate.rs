//! Calibrate: budgets, alignments and spectra from unsteered passes; collapse multiples of the calibration neurons from rollouts.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::judge::{Reader, clean_limits};
use super::residual_stream::ResidualStream;
use super::screen::Screening;
use super::sweep::{self, TrialPlan};
use crate::coherence::CollapseRule;
use crate::events::Listener;
use crate::model::{Detokenizer, LanguageModel};
use crate::record::store::TrialStore;
use crate::study::Study;
use crate::units::{NeuronId, Sign};

/// Measures every neuron's budget from the residual stream, then steers the calibration neurons.
pub fn calibrate(
    study: &Study,
    residuals: &ResidualStream,
    screening: &Screening,
    model: &dyn LanguageModel,
    store: &mut TrialStore,
    listener: &mut dyn Listener,
) -> anyhow::Result<Calibration> {
    let neurons = neuron_calibrations(residuals, screening, model)?;
    let plan = TrialPlan::calibration(study, &screening.groups, &neurons);
    let any = screening.groups.iter().any(|group| group.is_calibration());
    if any {
        sweep::run_missing(&plan, model, store, listener)?;
    }
    let multiples = collapse_multiples(study, screening, &neurons, model, store)?;
    Ok(Calibration {
        positions: residuals.positions,
        layers: (residuals.layers.iter().enumerate())
            .map(|(layer, of_layer)| LayerCalibration {
                layer,
                residual_norm: of_layer.norm,
                leading_share: of_layer.leading_share,
                participation_ratio: of_layer.participation_ratio,
            })
            .collect(),
        neurons,
        multiples,
    })
}

/// A calibration with what rollouts decided derived from the store again: the collapse multiples. What takes the weights stays as it is.
pub fn rederive(
    study: &Study,
    screening: &Screening,
    calibration: &Calibration,
    text: &dyn Detokenizer,
    store: &TrialStore,
) -> anyhow::Result<Calibration> {
    let neurons = &calibration.neurons;
    Ok(Calibration {
        multiples: collapse_multiples(study, screening, neurons, text, store)?,
        ..calibration.clone()
    })
}

/// Budget and alignment of every neuron of the study, sorted.
pub fn neuron_calibrations(
    residuals: &ResidualStream,
    screening: &Screening,
    model: &dyn LanguageModel,
) -> anyhow::Result<Vec<NeuronCalibration>> {
    let all: BTreeSet<NeuronId> = screening
        .groups
        .iter()
        .flat_map(|group| &group.neurons)
        .copied()
        .collect();
    (all.into_iter())
        .map(|neuron| {
            let budget = residuals.budget(model, neuron);
            anyhow::ensure!(
                budget.budget.is_finite() && budget.budget > 0.0,
                "neuron {neuron} has no coherence budget: ‖v‖ = {}, ‖r‖ = {}; take it out of `neurons`",
                budget.write_norm,
                residuals.layers[neuron.layer].norm,
            );
            Ok(NeuronCalibration {
                neuron,
                write_norm: budget.write_norm,
                budget: budget.budget,
                c0: budget.c0,
            })
        })
        .collect()
}

/// The smallest dose at which enough of the generic rollouts have collapsed, per calibration neuron and branch.
fn collapse_multiples(
    study: &Study,
    screening: &Screening,
    neurons: &[NeuronCalibration],
    model: &dyn Detokenizer,
    store: &TrialStore,
) -> anyhow::Result<Vec<CollapseMultiple>> {
    if !screening.groups.iter().any(|group| group.is_calibration()) {
        return Ok(Vec::new());
    }
    let rule = CollapseRule::new(&study.coherence)?;
    let reader = Reader::new(study, model, store);
    let prompts = study.calibration_prompts();
    let longest = study.rollout.longest();
    let limits = clean_limits(study, &rule, &reader, prompts)?;
    let limit = *limits.last().expect("a resolved study has a horizon");
    let calibration: BTreeSet<NeuronId> = (screening.groups.iter())
        .filter(|group| group.is_calibration())
        .flat_map(|group| group.neurons.iter().copied())
        .collect();
    let mut multiples = Vec::new();
    for neuron in neurons.iter().filter(|n| calibration.contains(&n.neuron)) {
        let grid = sweep::grid(study, neuron);
        for &sign in &study.doses.signs {
            let mut multiple = None;
            for dose in grid.iter().filter(|dose| dose.sign == sign) {
                let mut collapsed = 0;
                for prompt in prompts {
                    let rollout = reader.read(prompt, Some((neuron.neuron, dose.dose)))?;
                    collapsed += usize::from(
                        rule.examine(&rollout.excerpt(prompt, longest), limit)
                            .collapsed,
                    );
                }
                if collapsed as f64 >= study.thresholds.collapse_share * prompts.len() as f64 {
                    multiple = Some(dose.budgets);
                    break;
                }
            }
            multiples.push(CollapseMultiple {
                neuron: neuron.neuron,
                sign,
                multiple,
            });
        }
    }
    Ok(multiples)
}

/// What the generic prompts say about the model, and about each neuron of the study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// Number of positions at which the residual stream was read.
    pub positions: usize,
    /// One entry per layer, in order.
    pub layers: Vec<LayerCalibration>,
    /// One entry per neuron of the study, sorted.
    pub neurons: Vec<NeuronCalibration>,
    /// Collapse of the calibration neurons, sorted by neuron, then branch.
    pub multiples: Vec<CollapseMultiple>,
}

impl Calibration {
    /// A neuron's calibration.
    ///
    /// # Panics
    /// If the neuron is not part of the study.
    pub fn of(&self, neuron: NeuronId) -> &NeuronCalibration {
        let found = self.neurons.binary_search_by_key(&neuron, |n| n.neuron);
        &self.neurons[found.expect("every neuron of a study is calibrated")]
    }
}

/// The residual stream at the output of one block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerCalibration {
    /// The layer.
    pub layer: usize,
    /// `‖r_L‖` over positions (mean or median, as the study says).
    pub residual_norm: f64,
    /// `λ₁/Σλ` of the uncentred second moment: the share of the largest direction.
    pub leading_share: f64,
    /// `(Σλ)²/Σλ²`.
    pub participation_ratio: f64,
}

/// One neuron's coherence budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeuronCalibration {
    /// The neuron.
    pub neuron: NeuronId,
    /// `‖v‖`.
    pub write_norm: f64,
    /// `B = ‖r_L‖ / ‖v‖`, in activation units.
    pub budget: f64,
    /// `c0`: mean `cos(r_L, v)` over positions, before any dose.
    pub c0: f64,
}

/// Where one calibration neuron collapsed on one branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CollapseMultiple {
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// `m* = t*/B`, the smallest dose in budgets at which enough rollouts collapsed; absent when the grid ended before.
    pub multiple: Option<f64>,
}
