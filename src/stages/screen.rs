//! Screen: which neurons are measured, and what every score says of them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::residual_stream::ResidualStream;
use super::scores::{BehaviorScores, NeuronScores, Readings};
use crate::model::LanguageModel;
use crate::spec::neurons::{Role, ScreenScore};
use crate::study::{NeuronGroup, Selection, Study};
use crate::units::{NeuronId, Sign};

/// Chooses the neurons of every group. Neurons that a screen chooses stand in no group before it and in no fixed group at all, so
/// that roles stay disjoint.
pub fn screen(
    study: &Study,
    residuals: &ResidualStream,
    model: &dyn LanguageModel,
) -> anyhow::Result<Screening> {
    let readings: BTreeMap<&str, Readings<'_>> = (study.behaviors.iter())
        .map(|behavior| {
            let readings = Readings::new(study, behavior, residuals, model)?;
            Ok((behavior.name.as_str(), readings))
        })
        .collect::<anyhow::Result<_>>()?;
    let mut taken: BTreeSet<NeuronId> = (study.neurons.iter())
        .filter_map(|group| match &group.selection {
            Selection::Fixed(neurons) => Some(neurons),
            Selection::Screen { .. } => None,
        })
        .flatten()
        .copied()
        .collect();
    let mut groups = Vec::new();
    let mut screens = Vec::new();
    for group in &study.neurons {
        let neurons = match &group.selection {
            Selection::Fixed(neurons) => neurons.clone(),
            Selection::Screen { behavior, .. } => {
                let result = run_screen(study, group, &taken, &readings[behavior.as_str()], model)?;
                let mut neurons: Vec<_> =
                    result.chosen.iter().map(|scored| scored.neuron).collect();
                neurons.sort();
                taken.extend(&neurons);
                screens.push(result);
                neurons
            }
        };
        groups.push(Group {
            name: group.name.clone(),
            role: group.role,
            behaviors: group.behaviors.clone(),
            neurons,
        });
    }
    let scores = (study.behaviors.iter())
        .map(|behavior| scores(&groups, &behavior.name, &readings[behavior.name.as_str()]))
        .collect::<anyhow::Result<_>>()?;
    Ok(Screening {
        groups,
        screens,
        scores,
    })
}

/// Every score of the neurons that are measured on a behaviour.
fn scores(
    groups: &[Group],
    behavior: &str,
    readings: &Readings<'_>,
) -> anyhow::Result<BehaviorScores> {
    let measured: BTreeSet<NeuronId> = (groups.iter())
        .filter(|group| group.behaviors.iter().any(|name| name == behavior))
        .flat_map(|group| group.neurons.iter().copied())
        .collect();
    let measured: Vec<NeuronId> = measured.into_iter().collect();
    Ok(BehaviorScores {
        behavior: behavior.to_owned(),
        ffn_skip_ratio: readings.ffn_skip_ratio(),
        neurons: readings.scores(&measured)?,
    })
}

/// Scores every free neuron of the screen's layers, and takes the best.
fn run_screen(
    study: &Study,
    group: &NeuronGroup,
    taken: &BTreeSet<NeuronId>,
    readings: &Readings<'_>,
    model: &dyn LanguageModel,
) -> anyhow::Result<ScreenResult> {
    let Selection::Screen {
        behavior,
        score,
        top,
        per_layer,
        layers,
    } = &group.selection
    else {
        anyhow::bail!("the group `{}` has no screen", group.name);
    };
    let free: Vec<NeuronId> = (layers.iter())
        .flat_map(|&layer| (0..model.shape().d_ff).map(move |index| NeuronId { layer, index }))
        .filter(|neuron| !taken.contains(neuron))
        .collect();
    let scores = match score {
        ScreenScore::OneStepPush => readings.scores(&free)?,
        _ => readings.passive(&free),
    };
    let mut scored = (scores.iter())
        .map(|of_neuron| scored(of_neuron, *score, study.seed))
        .collect::<anyhow::Result<Vec<_>>>()?;
    scored.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.neuron.cmp(&b.neuron)));
    let mut of_layer = vec![0; model.shape().layers];
    let mut chosen = Vec::new();
    for candidate in &scored {
        let count = if *per_layer {
            &mut of_layer[candidate.neuron.layer]
        } else {
            &mut of_layer[0]
        };
        if *count < *top {
            *count += 1;
            chosen.push(candidate.clone());
        }
    }
    Ok(ScreenResult {
        group: group.name.clone(),
        behavior: behavior.clone(),
        score: *score,
        scored: scored.len(),
        chosen,
    })
}

fn scored(scores: &NeuronScores, score: ScreenScore, seed: u64) -> anyhow::Result<Scored> {
    let size = scores.size(score, seed);
    Ok(Scored {
        neuron: scores.neuron,
        score: size
            .ok_or_else(|| anyhow::anyhow!("the screen has nothing to read its score off"))?,
        sign: scores.sign(score),
    })
}

/// Every neuron of the study, and the scores that chose some of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Screening {
    /// The groups of the study with their neurons, in the order of the spec.
    pub groups: Vec<Group>,
    /// Scores of the neurons that a screen chose, one entry per screened group.
    pub screens: Vec<ScreenResult>,
    /// Every score of every measured neuron, one entry per behaviour.
    pub scores: Vec<BehaviorScores>,
}

/// A group with its neurons.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Name in the report.
    pub name: String,
    /// What the group is for.
    pub role: Role,
    /// Names of the behaviours it is measured on; empty for calibration neurons.
    pub behaviors: Vec<String>,
    /// The neurons, sorted.
    pub neurons: Vec<NeuronId>,
}

impl Group {
    /// Whether its neurons fit the predictors.
    pub fn is_calibration(&self) -> bool {
        self.role == Role::Calibration
    }
}

/// What a screen found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScreenResult {
    /// Name of the group it filled.
    pub group: String,
    /// Name of the behaviour whose contrast was screened.
    pub behavior: String,
    /// The score that ranked.
    pub score: ScreenScore,
    /// How many neurons were scored.
    pub scored: usize,
    /// The chosen neurons, best first.
    pub chosen: Vec<Scored>,
}

/// A neuron with its score.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scored {
    /// The neuron.
    pub neuron: NeuronId,
    /// The score, at least 0; larger is better.
    pub score: f64,
    /// The branch that the score favours.
    pub sign: Sign,
}
