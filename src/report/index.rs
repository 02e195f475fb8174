//! Finds curves, verdicts and predictions by name: a census holds thousands of each.

use std::collections::BTreeMap;

use crate::stages::calibrate::NeuronCalibration;
use crate::stages::judge::{Curve, Judgements};
use crate::stages::predict::{CeilingEstimate, Predictions};
use crate::stages::verdict::{NeuronVerdict, Verdicts};
use crate::units::{NeuronId, Sign};

/// Where everything stands in a record.
#[derive(Clone, Debug, Default)]
pub struct Index<'a> {
    curves: BTreeMap<(&'a str, NeuronId, Sign), &'a Curve>,
    /// Sorted by neuron.
    verdicts: BTreeMap<&'a str, Vec<&'a NeuronVerdict>>,
    ceilings: BTreeMap<(NeuronId, Sign), &'a [Option<CeilingEstimate>]>,
    calibrations: BTreeMap<NeuronId, &'a NeuronCalibration>,
}

impl<'a> Index<'a> {
    /// Goes through a record once.
    pub fn new(
        predictions: &'a Predictions,
        judgements: &'a Judgements,
        verdicts: &'a Verdicts,
    ) -> Self {
        let mut by_behavior: BTreeMap<&str, Vec<&NeuronVerdict>> = BTreeMap::new();
        for verdict in &verdicts.neurons {
            by_behavior
                .entry(&verdict.behavior)
                .or_default()
                .push(verdict);
        }
        for of_behavior in by_behavior.values_mut() {
            of_behavior.sort_by_key(|verdict| verdict.neuron);
        }
        Self {
            curves: (judgements.curves.iter())
                .map(|curve| ((&curve.behavior[..], curve.neuron, curve.sign), curve))
                .collect(),
            verdicts: by_behavior,
            ceilings: (predictions.ceilings.iter())
                .map(|ceiling| ((ceiling.neuron, ceiling.sign), &ceiling.by[..]))
                .collect(),
            calibrations: (predictions.calibration.neurons.iter())
                .map(|neuron| (neuron.neuron, neuron))
                .collect(),
        }
    }

    /// The dose–response curve of a branch.
    pub fn curve(&self, behavior: &str, neuron: NeuronId, sign: Sign) -> Option<&'a Curve> {
        self.curves.get(&(behavior, neuron, sign)).copied()
    }

    /// Verdicts of one behaviour, sorted by neuron.
    pub fn verdicts(&self, behavior: &str) -> &[&'a NeuronVerdict] {
        self.verdicts.get(behavior).map_or(&[], Vec::as_slice)
    }

    /// The verdict on one neuron.
    pub fn verdict(&self, behavior: &str, neuron: NeuronId) -> Option<&'a NeuronVerdict> {
        let of_behavior = self.verdicts(behavior);
        let found = of_behavior.binary_search_by_key(&neuron, |verdict| verdict.neuron);
        Some(of_behavior[found.ok()?])
    }

    /// The ceilings predicted for a branch, one per predictor; empty when nothing was predicted for it.
    pub fn ceilings(&self, neuron: NeuronId, sign: Sign) -> &'a [Option<CeilingEstimate>] {
        self.ceilings.get(&(neuron, sign)).copied().unwrap_or(&[])
    }

    /// A neuron's calibration.
    pub fn calibration(&self, neuron: NeuronId) -> Option<&'a NeuronCalibration> {
        self.calibrations.get(&neuron).copied()
    }
}
