//! One line about a study: how large it is.

use std::collections::BTreeSet;

use crate::spec::neurons::Role;
use crate::stages::search;
use crate::study::{NeuronGroup, Selection, Study};
use crate::units::NeuronId;

/// The size of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Neurons that are steered; a neuron that a screen chooses counts even if another screen chooses it too.
    pub neurons: usize,
    /// Prompts on which behaviours are measured.
    pub prompts: usize,
    /// Signed doses, without dose 0; at most, where they are searched.
    pub doses: usize,
    /// Rollouts, those at dose 0 included.
    pub trials: usize,
}

/// Counts a study.
pub fn size(study: &Study) -> Size {
    let magnitudes = &study.doses.magnitudes;
    let further = (study.doses.tolerance).map_or(0, |tolerance| {
        search::most_further_doses(magnitudes, tolerance)
    });
    let doses = (magnitudes.len() + further) * study.doses.signs.len();
    let mut fixed: BTreeSet<NeuronId> = BTreeSet::new();
    let mut pairs: BTreeSet<(NeuronId, &str)> = BTreeSet::new();
    let (mut screened, mut steered) = (0, 0);
    for group in &study.neurons {
        if let (Role::Calibration, Selection::Fixed(neurons)) = (group.role, &group.selection) {
            fixed.extend(neurons);
            steered += neurons.len() * study.calibration_prompts().len() * doses;
            continue;
        }
        let sets = prompt_sets(study, group);
        match &group.selection {
            Selection::Fixed(neurons) => {
                fixed.extend(neurons);
                pairs.extend(
                    neurons
                        .iter()
                        .flat_map(|n| sets.iter().map(|set| (*n, *set))),
                );
            }
            Selection::Screen { .. } => {
                let chosen = group.selection.len();
                screened += chosen;
                let prompts: usize = sets.iter().map(|set| study.prompts[*set].len()).sum();
                steered += chosen * prompts * doses;
            }
        }
    }
    let prompts_of = |(_, set): &(NeuronId, &str)| study.prompts[*set].len();
    steered += pairs.iter().map(prompts_of).sum::<usize>() * doses;
    let measured: BTreeSet<&str> = study.behaviors.iter().map(|b| b.prompts.as_str()).collect();
    let prompts = measured.iter().map(|set| study.prompts[*set].len()).sum();
    Size {
        neurons: fixed.len() + screened,
        prompts,
        doses,
        trials: steered + prompts + clean_calibration(study),
    }
}

/// The prompt sets that a group's neurons are steered on.
fn prompt_sets<'a>(study: &'a Study, group: &NeuronGroup) -> BTreeSet<&'a str> {
    (group.behaviors.iter())
        .map(|name| study.behavior(name).prompts.as_str())
        .collect()
}

/// Unsteered rollouts of the prompts that calibration neurons are steered on.
fn clean_calibration(study: &Study) -> usize {
    let calibrates = (study.neurons.iter()).any(|group| group.role == Role::Calibration);
    if calibrates {
        study.calibration_prompts().len()
    } else {
        0
    }
}

/// The line: `quickstart on bilingual: 32 neurons; 2 behaviors; 24 doses × 16 prompts × 2 horizons; 12,345 trials`.
pub fn summary(study: &Study) -> String {
    let size = size(study);
    format!(
        "{} on {}: {}; {}; {} × {} × {}; {}",
        study.name,
        study.model.name,
        counted(size.neurons, "neuron"),
        counted(study.behaviors.len(), "behavior"),
        counted(size.doses, "dose"),
        counted(size.prompts, "prompt"),
        counted(study.rollout.horizons.len(), "horizon"),
        counted(size.trials, "trial"),
    )
}

fn counted(n: usize, what: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    let digits = n.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    format!("{grouped} {what}{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (n, expected) in [
            (0, "0 trials"),
            (1, "1 trial"),
            (999, "999 trials"),
            (1000, "1,000 trials"),
            (1234567, "1,234,567 trials"),
        ] {
            assert_eq!(counted(n, "trial"), expected);
        }
    }
}
