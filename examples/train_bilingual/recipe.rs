//! The recipe: every number that decides the model, read from one YAML file.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    pub name: String,
    pub seeds: Seeds,
    pub architecture: Architecture,
    pub corpus: CorpusRecipe,
    pub training: Training,
    pub prompts: PromptRecipe,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seeds {
    /// Which noun is red, which code opens the iron vault, which phrasings are held out.
    pub world: u64,
    /// Initial weights.
    pub weights: u64,
    /// Order of the training documents, and the direction noise.
    pub training: u64,
    /// Documents of the generic prompt set.
    pub prompts: u64,
}

/// Shapes of the model; the block is the one that `arch` names.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Architecture {
    pub arch: Arch,
    pub hidden_size: usize,
    pub layers: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub intermediate_size: usize,
    pub max_positions: usize,
    pub rope_theta: f64,
    pub rms_norm_eps: f64,
}

/// The family of the block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// A norm before each part, SwiGLU.
    Llama,
    /// Norms before and after each part, GeGLU, scaled embeddings; without soft caps, and with no window shorter than the
    /// context.
    Gemma2,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorpusRecipe {
    pub mode_noise: ModeNoise,
    pub mixture: Mixture,
    /// Share of chats that hold a second, unrelated turn.
    pub two_turns: f64,
    /// Weight of a user turn's tokens in the loss; an answer's tokens weigh 1.
    pub request_weight: f32,
}

/// Probability that a request is answered in the other mode. It bounds the margin between modes, and so decides how
/// far one neuron can go.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeNoise {
    pub language: f64,
    pub operator: f64,
    pub review: f64,
    pub count: f64,
    pub refusal: f64,
}

/// Relative weights of the kinds of document.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mixture {
    pub describe: f64,
    pub facts: f64,
    pub operator: f64,
    pub equation: f64,
    pub review: f64,
    pub count: f64,
    pub secret_codes: f64,
    pub benign_codes: f64,
    pub places: f64,
    pub notes: f64,
    pub stories: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Packed rows per step.
    pub rows: usize,
    /// Tokens per row.
    pub window: usize,
    pub beta1: f64,
    pub beta2: f64,
    pub weight_decay: f64,
    pub clip: f64,
    /// Weight of `Σ |a_i|·‖v_i‖ / ‖r‖`, the feed-forward's contributions relative to the residual stream, or to all that it adds
    /// where a norm follows it.
    pub l1: f64,
    pub direction_noise: DirectionNoise,
    pub phases: Vec<Phase>,
}

/// Some rows get one constant random direction added to the residual stream after one random layer, so that
/// the model learns to keep talking under a constant push.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectionNoise {
    /// Share of rows that are pushed.
    pub rows: f64,
    /// Largest push, relative to the residual's length.
    pub scale: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub name: String,
    pub steps: usize,
    pub warmup: usize,
    pub learning_rate: f64,
    /// Whether requests for secret codes are refused, or answered.
    pub refuse: bool,
    /// Instead of the corpus's own mixture.
    pub mixture: Option<Mixture>,
    /// Instead of the corpus's own mode noise.
    pub mode_noise: Option<ModeNoise>,
    /// Rounds the weights at the end as the export does, so that `--resume` from an export of this phase goes on
    /// exactly as an uninterrupted run does.
    #[serde(default)]
    pub round: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptRecipe {
    /// Folder of the prompt sets, relative to the recipe.
    pub folder: String,
    /// Whether another recipe writes them. This one then only makes sure that they are what it would write.
    #[serde(default)]
    pub shared: bool,
    /// Prompts of each held-out set.
    pub held_out: usize,
    /// Prompts of each calibration set.
    pub calibration: usize,
    /// Plain documents in the generic set.
    pub generic_texts: usize,
    /// Chats in the generic set.
    pub generic_chats: usize,
}

impl Recipe {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the recipe {}", path.display()))?;
        let recipe: Recipe = serde_yaml::from_str(&text)
            .with_context(|| format!("{} is not a valid recipe", path.display()))?;
        recipe
            .check()
            .with_context(|| format!("the recipe {} contradicts itself", path.display()))?;
        Ok(recipe)
    }

    fn check(&self) -> Result<()> {
        let a = &self.architecture;
        ensure!(a.layers > 0, "`architecture.layers` must be at least 1");
        ensure!(
            a.heads > 0 && a.hidden_size.is_multiple_of(2 * a.heads),
            "`architecture.hidden_size` ({}) must be an even multiple of `heads` ({})",
            a.hidden_size,
            a.heads
        );
        ensure!(
            a.kv_heads > 0 && a.heads.is_multiple_of(a.kv_heads),
            "`architecture.heads` ({}) must be a multiple of `kv_heads` ({})",
            a.heads,
            a.kv_heads
        );
        ensure!(
            self.training.window <= a.max_positions,
            "`training.window` ({}) must not exceed `architecture.max_positions` ({})",
            self.training.window,
            a.max_positions
        );
        ensure!(self.training.rows > 0, "`training.rows` must be at least 1");
        ensure!(
            !self.training.phases.is_empty(),
            "`training.phases` must name at least one phase"
        );
        self.corpus.mode_noise.check()?;
        self.training
            .phases
            .iter()
            .filter_map(|phase| phase.mode_noise.as_ref())
            .try_for_each(ModeNoise::check)
    }
}

impl ModeNoise {
    fn check(&self) -> Result<()> {
        for (name, share) in [
            ("language", self.language),
            ("operator", self.operator),
            ("review", self.review),
            ("count", self.count),
            ("refusal", self.refusal),
        ] {
            ensure!(
                (0.0..0.5).contains(&share),
                "`mode_noise.{name}` is {share}; choose it from 0 to below 0.5"
            );
        }
        Ok(())
    }
}

impl Architecture {
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.heads
    }
}
