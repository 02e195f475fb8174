//! The model card, rendered from what was measured.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use minijinja::{Environment, context};
use sha2::{Digest, Sha256};

use crate::evaluate::Evaluation;
use crate::recipe::{Arch, Recipe};

const TEMPLATE: &str = include_str!("card.md.j2");
const FILES: [&str; 5] = [
    "recipe.yaml",
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "model.safetensors",
];

/// Writes `README.md` into the model's folder.
pub fn write(
    folder: &Path,
    recipe: &Recipe,
    parameters: usize,
    words: usize,
    evaluation: &Evaluation,
) -> Result<()> {
    let mut files = Vec::new();
    for name in FILES {
        let Ok(bytes) = fs::read(folder.join(name)) else {
            continue;
        };
        let hash: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        files.push(context! { name, size => bytes.len(), hash });
    }
    let accuracies: Vec<_> = evaluation
        .sets
        .iter()
        .map(|(name, a)| context! { name, right => a.right, of => a.of, percent => format!("{:.1}", 100.0 * a.share()) })
        .collect();
    let [learnable, unlearnable] = evaluation
        .codes_known
        .map(|a| context! { right => a.right, of => a.of });
    let (a, n) = (&recipe.architecture, &recipe.corpus.mode_noise);
    let phases: Vec<_> = recipe
        .training
        .phases
        .iter()
        .map(|phase| {
            context! {
                name => &phase.name,
                steps => phase.steps,
                rate => phase.learning_rate,
                refuse => phase.refuse,
                operator_noise => phase.mode_noise.as_ref().map(|noise| noise.operator),
                arithmetic => phase.mixture.as_ref().map(|m| (100.0 * (m.operator + m.equation)).round()),
            }
        })
        .collect();
    let card = Environment::new().render_str(
        TEMPLATE,
        context! {
            name => &recipe.name, parameters, words, files, accuracies, learnable, unlearnable, phases,
            norms_after => a.arch == Arch::Gemma2, shared => recipe.prompts.shared,
            layers => a.layers, hidden => a.hidden_size, heads => a.heads, kv_heads => a.kv_heads, head_dim => a.head_dim(),
            neurons => a.intermediate_size, positions => a.max_positions,
            tokens => recipe.training.rows * recipe.training.window,
            noise => context! { language => n.language, operator => n.operator, review => n.review, count => n.count, refusal => n.refusal },
            pushed => recipe.training.direction_noise.rows, push => recipe.training.direction_noise.scale, l1 => recipe.training.l1,
        },
    )?;
    let path = folder.join("README.md");
    fs::write(&path, card).with_context(|| format!("cannot write {}", path.display()))
}
