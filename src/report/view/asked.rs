//! What was asked, and on what.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::format::{
    NOTHING, budgets, coordinate, counted, fixed, keyword, listed, short_hash, thousands,
};
use crate::report::input::Input;
use crate::report::wording::role;
use crate::spec::doses::{Apply, DoseUnit};
use crate::spec::model::Device;
use crate::stages::screen::Group;
use crate::stages::search::DoseReason;
use crate::study::ModelIdentity;
use crate::study::{Behavior, NeuronGroup, Selection};

/// What was asked.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Asked {
    /// The behaviours.
    pub behaviors: Vec<AskedBehavior>,
    /// The groups of neurons.
    pub groups: Vec<AskedGroup>,
    /// The dose grid, in words.
    pub doses: String,
    /// Steered positions, in words.
    pub positions: String,
    /// Horizons and decoding, in words.
    pub rollout: String,
    /// Trials in the record, in words.
    pub trials: String,
}

/// One behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct AskedBehavior {
    /// Name.
    pub name: String,
    /// What it is; may be empty.
    pub description: String,
    /// Number of prompts.
    pub prompts: usize,
    /// Name of the prompt set.
    pub prompt_set: String,
    /// Outcome classes in order; those that count as a flip are marked.
    pub classes: Vec<AskedClass>,
}

/// One outcome class.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct AskedClass {
    /// Name.
    pub name: String,
    /// Whether it counts as a flip.
    pub flipped: bool,
}

/// One group of neurons.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct AskedGroup {
    /// Name.
    pub name: String,
    /// Role, in words.
    pub role: &'static str,
    /// Number of neurons.
    pub neurons: usize,
    /// Layers they lie in, such as `0–5`.
    pub layers: String,
    /// How they were chosen, in words.
    pub chosen: String,
    /// Behaviours they are measured on; empty for calibration neurons.
    pub behaviors: String,
}

/// On what the study was run.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Provenance {
    /// Name of the model.
    pub model: String,
    /// Its sizes, in words.
    pub sizes: String,
    /// Number type.
    pub dtype: String,
    /// The model's files with the first digits of their hashes.
    pub files: Vec<Hash>,
    /// First digits of the study's hash.
    pub study: String,
    /// First digits of the seal.
    pub seal: String,
    /// What the seal proves, or does not, in a sentence.
    pub sealed: String,
    /// Name and version of the program.
    pub program: String,
    /// Name of the spec file.
    pub spec: String,
    /// Positions at which the residual stream was read.
    pub positions: String,
}

/// A named SHA-256.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Hash {
    /// Of what.
    pub name: String,
    /// Lower-case hex.
    pub sha256: String,
}

/// The residual stream at the output of one block.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Layer {
    /// The layer.
    pub layer: usize,
    /// `‖r‖`.
    pub residual_norm: String,
    /// `λ₁/Σλ`.
    pub leading_share: String,
    /// `(Σλ)²/Σλ²`.
    pub participation_ratio: String,
    /// Whether it counts as bulk.
    pub bulk: bool,
}

/// What was asked.
pub fn asked(input: &Input) -> Asked {
    let study = input.study;
    let groups = &input.predictions.screening.groups;
    Asked {
        behaviors: study.behaviors.iter().map(|b| behavior(input, b)).collect(),
        groups: groups
            .iter()
            .zip(&study.neurons)
            .map(|(g, asked)| group(g, asked))
            .collect(),
        doses: doses(input),
        positions: positions(input),
        rollout: rollout(input),
        trials: format!("{} in the record", thousands(input.trials)),
    }
}

fn behavior(input: &Input, behavior: &Behavior) -> AskedBehavior {
    AskedBehavior {
        name: behavior.name.clone(),
        description: behavior.description.clone(),
        prompts: input
            .study
            .prompts
            .get(&behavior.prompts)
            .map_or(0, Vec::len),
        prompt_set: behavior.prompts.clone(),
        classes: (behavior.outcomes.iter())
            .map(|o| AskedClass {
                name: o.name.clone(),
                flipped: o.flipped,
            })
            .collect(),
    }
}

fn group(group: &Group, asked: &NeuronGroup) -> AskedGroup {
    let layers = group.neurons.iter().map(|n| n.layer);
    let (first, last) = (layers.clone().min(), layers.max());
    AskedGroup {
        name: group.name.clone(),
        role: role(group.role),
        neurons: group.neurons.len(),
        layers: match (first, last) {
            (Some(first), Some(last)) if first == last => first.to_string(),
            (Some(first), Some(last)) => format!("{first}–{last}"),
            _ => NOTHING.into(),
        },
        chosen: match &asked.selection {
            Selection::Fixed(_) if group.neurons.iter().all(|n| n.direction().is_some()) => {
                "random directions, drawn by seed".into()
            }
            Selection::Fixed(_) => "listed or drawn by seed".into(),
            Selection::Screen {
                behavior,
                score,
                top,
                per_layer,
                ..
            } => format!(
                "top {top}{} by {} on {behavior}",
                if *per_layer { " per layer" } else { "" },
                keyword(score)
            ),
        },
        behaviors: listed(&group.behaviors),
    }
}

fn doses(input: &Input) -> String {
    let doses = &input.study.doses;
    let unit = match doses.unit {
        DoseUnit::Budget => "coherence budgets (g = t/B)",
        DoseUnit::Activation => "activation units",
    };
    let signs: Vec<String> = doses.signs.iter().map(ToString::to_string).collect();
    match (doses.magnitudes.first(), doses.magnitudes.last()) {
        (Some(first), Some(last)) => format!(
            "{} from {} to {} {unit}, signs {}, and dose 0{}",
            counted(doses.magnitudes.len(), "magnitude"),
            budgets(*first),
            budgets(*last),
            listed(&signs),
            searched(input)
        ),
        _ => "dose 0 only".into(),
    }
}

/// The doses that a search ran beyond the grid, and why.
fn searched(input: &Input) -> String {
    let Some(tolerance) = input.study.doses.tolerance else {
        return String::new();
    };
    let points = input.judgements.curves.iter().flat_map(|c| &c.points);
    let count = |why| thousands(points.clone().filter(|p| p.why == why).count());
    format!(
        "; between them a search ran {} more to enclose ceilings and {} to enclose triggers within {tolerance} budgets, over all branches",
        count(DoseReason::Ceiling),
        count(DoseReason::Trigger)
    )
}

fn positions(input: &Input) -> String {
    let doses = &input.study.doses;
    let mut text = match doses.apply {
        Apply::Generation => "the last prompt token and every generated token",
        Apply::All => "every prompt token and every generated token",
    }
    .to_owned();
    if let Some(window) = doses.window {
        text += &format!(
            ", in generation steps {} to {} only",
            window.from,
            window.to.saturating_sub(1)
        );
    }
    text
}

fn rollout(input: &Input) -> String {
    let rollout = &input.study.rollout;
    let horizons: Vec<String> = rollout.horizons.iter().map(ToString::to_string).collect();
    let decoding = match rollout.sample {
        None => "greedy decoding".into(),
        Some(s) => {
            let top_p = s
                .top_p
                .map_or(String::new(), |p| format!(", top-p {}", fixed(p, 2)));
            let top_k = s.top_k.map_or(String::new(), |k| format!(", top-k {k}"));
            format!(
                "seeded sampling at temperature {}{top_p}{top_k}",
                fixed(s.temperature, 2)
            )
        }
    };
    format!(
        "judged after {} tokens (verdicts at {}); {decoding}; {}{}",
        listed(&horizons),
        rollout.verdict_horizon,
        if rollout.stop_at_end {
            "stops at end-of-text"
        } else {
            "runs past end-of-text"
        },
        if rollout.stop_at_collapse {
            "; a steered rollout stops when it repeats itself, and is measured up to there"
        } else {
            ""
        }
    )
}

/// On what the study was run.
pub fn provenance(input: &Input) -> Provenance {
    let model = &input.study.model;
    Provenance {
        model: model.name.clone(),
        sizes: sizes(input),
        dtype: number_types(model),
        files: (model.files.iter())
            .map(|(name, sha256)| Hash {
                name: name.clone(),
                sha256: short_hash(sha256),
            })
            .collect(),
        study: short_hash(input.study_hash),
        seal: short_hash(&input.seal.sha256),
        sealed: match input.seal.trials_before {
            0 => "Sealed before the first steered rollout of a held-out or control neuron.".into(),
            n => format!(
                "Sealed when {} already stood in the record: the run was extended, or its earlier predictions were lost, so these are not prospective throughout.",
                counted(n, "steered trial")
            ),
        },
        program: input.program.to_owned(),
        spec: spec_name(input.spec_file).into(),
        positions: thousands(input.predictions.calibration.positions),
    }
}

/// The number type of the computation, and that of the stored weights where it is another.
fn number_types(model: &ModelIdentity) -> String {
    let computed = keyword(model.dtype);
    let device = match model.device {
        Device::Cpu => String::new(),
        other => format!(" on {}", other.kind()),
    };
    if model.stored_as.iter().all(|stored| *stored == computed) {
        return format!("{computed}{device}");
    }
    let stored = listed(&model.stored_as);
    format!("computed in {computed}{device} from weights stored as {stored}")
}

/// The last part of a path, whichever way its slashes lean.
pub fn spec_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

fn sizes(input: &Input) -> String {
    let shape = &input.study.model.shape;
    format!(
        "{}: {}, width {}, {} neurons per layer, vocabulary {}{}",
        shape.family,
        counted(shape.layers, "layer"),
        thousands(shape.d_model),
        thousands(shape.d_ff),
        thousands(shape.vocab),
        if shape.norm_after_ffn {
            ", norm after the feed-forward"
        } else {
            ""
        }
    )
}

/// The residual stream by layer.
pub fn layers(input: &Input) -> Vec<Layer> {
    (input.predictions.calibration.layers.iter())
        .map(|l| Layer {
            layer: l.layer,
            residual_norm: budgets(l.residual_norm),
            leading_share: coordinate(l.leading_share),
            participation_ratio: fixed(l.participation_ratio, 1),
            bulk: input.is_bulk(l.layer),
        })
        .collect()
}

/// Hashes in full: seal, study, model files.
pub fn hashes(input: &Input) -> Vec<Hash> {
    let hash = |name: &str, sha256: &str| Hash {
        name: name.into(),
        sha256: sha256.into(),
    };
    let mut hashes = vec![
        hash("predictions (the seal)", &input.seal.sha256),
        hash("study, resolved", input.study_hash),
    ];
    hashes.extend(
        input
            .study
            .model
            .files
            .iter()
            .map(|(name, sha256)| hash(name, sha256)),
    );
    hashes
}
