//! Doses that the number type of the computation does not hold, or does not tell apart, are found before the first of them is run.

use anyhow::ensure;

use super::calibrate::NeuronCalibration;
use super::push::STRENGTHS;
use super::sweep;
use crate::study::Study;

/// Checks the doses that a study gives its neurons: those of the grid, between which a search stays, and the pushes.
///
/// # Errors
/// The first dose that overflows, that rounds to 0, or that is the same as the one before it.
pub fn check(study: &Study, neurons: &[NeuronCalibration]) -> anyhow::Result<()> {
    for neuron in neurons {
        let mut before: Option<(f64, f64)> = None;
        for dose in sweep::grid(study, neuron) {
            let rounded = fits(study, neuron, dose.budgets)?;
            if let Some((budgets, earlier)) = before.filter(|(budgets, _)| *budgets < dose.budgets)
            {
                ensure!(
                    rounded != earlier,
                    "the doses of {budgets} and {} budgets of neuron {} are both {rounded} in {}; leave one of them out of `doses`",
                    dose.budgets,
                    neuron.neuron,
                    study.model.dtype,
                );
            }
            before = Some((dose.budgets, rounded));
        }
        for budgets in STRENGTHS.into_iter().chain([study.calibration.push]) {
            fits(study, neuron, budgets)?;
        }
    }
    Ok(())
}

/// A dose in activation units as it enters the forward pass.
fn fits(study: &Study, neuron: &NeuronCalibration, budgets: f64) -> anyhow::Result<f64> {
    let (dtype, dose) = (study.model.dtype, budgets * neuron.budget);
    ensure!(
        dtype.holds(dose),
        "neuron {} cannot be given {budgets} budgets: its budget is {:e} (‖v‖ = {:e}), and {}, or take it out of `neurons`",
        neuron.neuron,
        neuron.budget,
        neuron.write_norm,
        dtype.refusal(dose),
    );
    Ok(dtype.rounded(dose))
}
