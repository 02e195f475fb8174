//! Rollouts as a file, for other programs to make them too: what `plan --cells` writes and the benchmarks read.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::trial_plan::TrialPlan;
use super::{calibrate, dose_range, residual_stream, screen, sweep};
use crate::model::{Cell, LanguageModel, Steering};
use crate::spec::doses::Apply;
use crate::study::Study;
use crate::units::{Dose, NeuronId, TokenId};

/// The number of this format.
pub const FORMAT: u32 = 1;

/// Rollouts to make, each with its tokens, neuron and dose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellsFile {
    /// [`FORMAT`].
    pub format: u32,
    /// Folder of the model.
    pub model: String,
    /// Whether a rollout stops after an end-of-text token.
    pub stop_at_end: bool,
    /// The end-of-text tokens.
    pub end_of_text: Vec<TokenId>,
    /// Token ids of each prompt.
    pub prompts: Vec<Vec<TokenId>>,
    /// The rollouts.
    pub cells: Vec<CellEntry>,
}

/// A greedy rollout. Without steering, `layer`, `neuron` and `dose` are null.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CellEntry {
    /// Index into the prompts.
    pub prompt: usize,
    /// Layer of the neuron.
    pub layer: Option<usize>,
    /// Its index in the layer.
    pub neuron: Option<usize>,
    /// What is added to its activation.
    pub dose: Option<f32>,
    /// The steered positions: `generation` from the last prompt token on, `all` from the first.
    pub apply: Apply,
    /// Tokens to generate.
    pub horizon: usize,
}

/// The rollouts that a study's sweep would make: nothing is steered to find them, only the screens and the budgets are computed.
///
/// # Errors
/// Those of the model, and of [`CellsFile::new`].
pub fn of_sweep(
    study: &Study,
    model: &dyn LanguageModel,
    folder: &Path,
    end_of_text: &[TokenId],
) -> anyhow::Result<CellsFile> {
    let residuals = residual_stream::read_residual_stream(study, model)?;
    let screening = screen::screen(study, &residuals, model)?;
    let neurons = calibrate::neuron_calibrations(&residuals, &screening, model)?;
    dose_range::check(study, &neurons)?;
    if study.doses.tolerance.is_some() {
        return Err(Inexpressible(
            "`--cells` writes rollouts that are known beforehand; leave `doses.search` out for it",
        )
        .into());
    }
    let subjects = sweep::subjects(study, &screening.groups, &neurons);
    let plan = TrialPlan::of_grid(study, &subjects);
    let folder = folder.display().to_string();
    Ok(CellsFile::new(folder, end_of_text.to_vec(), plan.cells())?)
}

/// Rollouts that the format does not have.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Inexpressible(&'static str);

impl CellsFile {
    /// Writes cells down.
    ///
    /// # Errors
    /// Sampled rollouts, windows of steered steps and early stops, which the format does not have.
    pub fn new<'a>(
        model: String,
        end_of_text: Vec<TokenId>,
        cells: impl Iterator<Item = Cell<'a>>,
    ) -> Result<Self, Inexpressible> {
        let mut file = Self {
            format: FORMAT,
            model,
            stop_at_end: false,
            end_of_text,
            prompts: Vec::new(),
            cells: Vec::new(),
        };
        let mut numbers: HashMap<&[TokenId], usize> = HashMap::new();
        for cell in cells {
            if cell.sample.is_some() {
                return Err(Inexpressible(
                    "`--cells` writes greedy rollouts, and this study samples; leave `rollout.sample` out for it",
                ));
            }
            if cell.stop_at_loop.is_some() {
                return Err(Inexpressible(
                    "`--cells` writes rollouts that run to their horizon; leave `rollout.stop_at_collapse` out for it",
                ));
            }
            if cell
                .steering
                .is_some_and(|steering| steering.window.is_some())
            {
                return Err(Inexpressible(
                    "`--cells` writes rollouts that steer every step; leave `doses.window` out for it",
                ));
            }
            let prompt = *numbers.entry(cell.prompt).or_insert_with(|| {
                file.prompts.push(cell.prompt.to_vec());
                file.prompts.len() - 1
            });
            file.stop_at_end |= cell.stop_at_end;
            file.cells.push(CellEntry {
                prompt,
                layer: cell.steering.map(|steering| steering.neuron.layer),
                neuron: cell.steering.map(|steering| steering.neuron.index),
                dose: cell.steering.map(|steering| steering.dose.0),
                apply: (cell.steering).map_or(Apply::Generation, |steering| steering.apply),
                horizon: cell.horizon,
            });
        }
        Ok(file)
    }

    /// The cells, for a model to run.
    ///
    /// # Errors
    /// Another format, or an entry that names a prompt that is not there, or only some of layer, neuron and dose.
    pub fn cells(&self) -> Result<Vec<Cell<'_>>, String> {
        if self.format != FORMAT {
            return Err(format!("format {} is not {FORMAT}", self.format));
        }
        (self.cells.iter().enumerate())
            .map(|(number, entry)| {
                let wrong = |what: &str| format!("cell {number} {what}");
                let steering = match (entry.layer, entry.neuron, entry.dose) {
                    (None, None, None) => None,
                    (Some(layer), Some(index), Some(dose)) => Some(Steering {
                        neuron: NeuronId { layer, index },
                        dose: Dose(dose),
                        apply: entry.apply,
                        window: None,
                    }),
                    _ => return Err(wrong("needs all of layer, neuron and dose, or none")),
                };
                Ok(Cell {
                    prompt: (self.prompts.get(entry.prompt))
                        .ok_or_else(|| wrong("names a prompt that is not there"))?,
                    steering,
                    horizon: entry.horizon,
                    stop_at_end: self.stop_at_end,
                    stop_at_loop: None,
                    sample: None,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_survive_the_file() {
        let steering = Steering {
            neuron: NeuronId { layer: 3, index: 7 },
            dose: Dose(-0.1),
            apply: Apply::All,
            window: None,
        };
        let cell = |prompt, steering| Cell {
            prompt,
            steering,
            horizon: 4,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        };
        let cells = [
            cell(&[1, 2][..], None),
            cell(&[5], Some(steering)),
            cell(&[1, 2], Some(steering)),
        ];
        let file = CellsFile::new("m".into(), vec![9], cells.into_iter()).unwrap();
        assert_eq!(file.prompts, [vec![1, 2], vec![5]]);
        let text = serde_json::to_string(&file).unwrap();
        let read: CellsFile = serde_json::from_str(&text).unwrap();
        assert_eq!(read, file);
        let back = read.cells().unwrap();
        assert_eq!(back[1].steering, Some(steering));
        assert_eq!((back[2].prompt, back[2].stop_at_end), (&[1, 2][..], true));
        let mut broken = file.clone();
        broken.cells[0].layer = Some(1);
        assert!(broken.cells().unwrap_err().contains("cell 0 needs all"));
        broken.cells[0] = file.cells[1].clone();
        broken.cells[0].prompt = 2;
        assert!(broken.cells().unwrap_err().contains("not there"));
    }
}
