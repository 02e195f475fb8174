//! Numbers and tokens against Hugging Face transformers, from the frozen references in `tests/reference` (see the README there): of the
//! engine for processors, and of the one on candle tensors, whose device is the processor here.

use std::path::{Path, PathBuf};

use candle_core::Device;
use reachspec::model::{
    Cell, LanguageModel, ModelHeader, Observed, Probe, Resources, Rollout, Sequence, Steering,
    TensorTransformer, Transformer,
};
use reachspec::spec::doses::{Apply, StepWindow};
use reachspec::spec::model::Dtype;
use reachspec::units::{Dose, NeuronId};
use serde::Deserialize;

use crate::shared;

/// Largest difference allowed, relative to the spread of what is compared.
const TOLERANCE: f32 = 1e-4;

#[derive(Deserialize)]
struct Reference {
    activation_indices: Vec<usize>,
    files: std::collections::BTreeMap<String, String>,
    prompts: Vec<Prompt>,
    rollouts: Vec<Expected>,
}

#[derive(Deserialize)]
struct Prompt {
    name: String,
    tokens: Vec<u32>,
    /// After the last token.
    logits: Vec<f32>,
    all_logits: Option<Vec<Vec<f32>>>,
    /// `[layers][positions]`
    residual_norms: Vec<Vec<f32>>,
    /// `[layers][activation_indices]`, after the last token.
    activations: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Expected {
    prompt: String,
    steering: Option<ExpectedSteering>,
    tokens: Vec<u32>,
    nll: Vec<f32>,
    cosines: Vec<f32>,
    ended: bool,
    /// Smallest difference between the best and the second logit, and the step at which it occurs.
    min_margin: f32,
    min_margin_step: usize,
}

#[derive(Deserialize)]
struct ExpectedSteering {
    layer: usize,
    index: usize,
    dose: f32,
    apply: Apply,
    window: Option<StepWindow>,
}

impl ExpectedSteering {
    fn steering(&self) -> Steering {
        Steering {
            neuron: NeuronId {
                layer: self.layer,
                index: self.index,
            },
            dose: Dose(self.dose),
            apply: self.apply,
            window: self.window,
        }
    }

    fn is_steered(&self, step: usize) -> bool {
        self.window
            .is_none_or(|window| (window.from..window.to).contains(&step))
    }
}

impl Reference {
    /// LongRoPE is computed within the context that a model was first trained on; a longer text is refused, not computed wrongly.
    fn leave_out_what_is_refused(&mut self, model: &Transformer) {
        let context = model.shape().context;
        let (kept, refused): (Vec<_>, Vec<_>) =
            (self.prompts.drain(..)).partition(|prompt| prompt.tokens.len() + 24 <= context + 1);
        for prompt in &refused {
            let cell = Cell {
                prompt: &prompt.tokens,
                steering: None,
                horizon: 24,
                stop_at_end: true,
                stop_at_loop: None,
                sample: None,
            };
            let error = model.rollouts(&[cell], &mut |_, _| Ok(())).unwrap_err();
            assert!(format!("{error:#}").contains("context"), "{error:#}");
        }
        self.rollouts
            .retain(|rollout| kept.iter().any(|prompt| prompt.name == rollout.prompt));
        self.prompts = kept;
        let all = model.shape().family != "phi3" || context > 100;
        assert_eq!(all, refused.is_empty(), "{context}");
        assert!(self.prompts.len() >= 2 && self.rollouts.len() >= 60);
    }
}

#[test]
fn stories260k() {
    if let Some(folder) = shared::model("stories260k") {
        hold("stories260k", &folder);
    }
}

#[test]
fn the_shipped_model() {
    hold("bilingual", &ours("specs/models/bilingual"));
}

#[test]
fn the_shipped_model_with_norms_after() {
    hold(
        "bilingual-postnorm",
        &ours("specs/models/bilingual-postnorm"),
    );
}

/// Half precision keeps 8 or 11 binary digits: near to f32, and not equal to it.
#[test]
fn half_precision_is_near_single_precision() {
    let prompt = [1, 40, 7, 88, 23, 61, 5, 90];
    let logits = |dtype| {
        let header = ModelHeader::read(&ours("specs/models/bilingual")).unwrap();
        let model = TensorTransformer::load(header, &Device::Cpu, dtype).unwrap();
        let probe = Probe {
            logits: true,
            ..Probe::default()
        };
        let sequence = Sequence {
            tokens: &prompt,
            from: 0,
        };
        let mut seen = Observed::default();
        model
            .observe(&[sequence], probe, &mut |_, observed| seen = observed)
            .unwrap();
        seen.logits
    };
    let exact = logits(Dtype::F32);
    let largest = exact
        .iter()
        .fold(0.0_f32, |largest, x| largest.max(x.abs()));
    for (dtype, share) in [(Dtype::Bf16, 0.1), (Dtype::F16, 0.02)] {
        let worst = (logits(dtype).iter().zip(&exact))
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(
            worst > 0.0 && worst < share * largest,
            "{dtype:?}: {worst} of {largest}"
        );
    }
}

/// A test for each tiny model of `tests/reference/models`.
macro_rules! tiny_models {
    ($($test:ident: $name:literal),* $(,)?) => {
        pub const TINY: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                hold($name, &ours(concat!("tests/reference/models/", $name)));
            }
        )*
    };
}

tiny_models! {
    llama_with_biases: "tiny-gqa-bias",
    llama_with_llama3_rope: "tiny-llama3-rope",
    llama_in_bf16_shards: "tiny-bf16-sharded",
    mistral: "tiny-mistral",
    qwen2: "tiny-qwen2",
    qwen2_with_windows: "tiny-qwen2-window",
    qwen3: "tiny-qwen3",
    gemma: "tiny-gemma",
    gemma2: "tiny-gemma2",
    gemma3: "tiny-gemma3",
    gemma3_in_the_new_spelling: "tiny-gemma3-new",
    phi3: "tiny-phi3",
    phi3_with_longrope: "tiny-phi3-longrope",
    olmo2: "tiny-olmo2",
    gpt2: "tiny-gpt2",
    gpt_neox: "tiny-neox",
    gpt_neox_in_series: "tiny-neox-serial",
}

#[test]
fn every_tiny_model_has_its_test() {
    let folders = std::fs::read_dir(ours("tests/reference/models")).unwrap();
    let mut found: Vec<String> = folders
        .map(|folder| folder.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    let mut tested = TINY.to_vec();
    tested.sort_unstable();
    assert_eq!(found, tested);
}

pub fn ours(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn hold(name: &str, folder: &Path) {
    let text = std::fs::read_to_string(ours(&format!("tests/reference/{name}.json"))).unwrap();
    let mut reference: Reference = serde_json::from_str(&text).unwrap();
    let header = ModelHeader::read(folder).unwrap();
    // The index says where tensors lie, not what they are.
    for (file, hash) in reference
        .files
        .iter()
        .filter(|(file, _)| !file.ends_with(".index.json"))
    {
        assert_eq!(
            header.files.get(file),
            Some(hash),
            "{file} is not the file that the reference was made from"
        );
    }
    let model = Transformer::load(header, Resources::of_machine()).unwrap();
    reference.leave_out_what_is_refused(&model);
    hold_all(&format!("{name}, own engine"), &model, &reference);
    let header = ModelHeader::read(folder).unwrap();
    let model = TensorTransformer::load(header, &Device::Cpu, Dtype::F32).unwrap();
    hold_all(&format!("{name}, candle tensors"), &model, &reference);
}

/// Prints a line of the parity table; `cargo test parity:: -- --nocapture` shows it.
fn hold_all(label: &str, model: &dyn LanguageModel, reference: &Reference) {
    let differences = (reference.prompts.iter())
        .map(|prompt| hold_prompt(model, prompt, &reference.activation_indices));
    let largest = differences.fold(0.0, f32::max);
    hold_rollouts(model, reference);
    let rollouts = reference.rollouts.len();
    println!(
        "{label}: logits within {largest:.1e} of their spread; {rollouts} rollouts, {rollouts} equal"
    );
}

/// The largest difference of a logit, relative to their spread.
fn hold_prompt(model: &dyn LanguageModel, prompt: &Prompt, indices: &[usize]) -> f32 {
    let probe = Probe {
        residuals: true,
        activations: true,
        logits: true,
        ..Probe::default()
    };
    let sequence = Sequence {
        tokens: &prompt.tokens,
        from: 0,
    };
    let mut seen = Observed::default();
    model
        .observe(&[sequence], probe, &mut |_, observed| seen = observed)
        .unwrap();
    let shape = model.shape();
    let last = prompt.tokens.len() - 1;
    let mut largest = close(&seen.logits[last * shape.vocab..], &prompt.logits, "logits");
    for (position, logits) in prompt.all_logits.iter().flatten().enumerate() {
        let ours = &seen.logits[position * shape.vocab..][..shape.vocab];
        largest = largest.max(close(ours, logits, "logits"));
    }
    for layer in 0..shape.layers {
        let norms: Vec<f32> = (seen.residuals[layer].chunks_exact(shape.d_model))
            .map(|r| {
                r.iter()
                    .map(|&x| f64::from(x) * f64::from(x))
                    .sum::<f64>()
                    .sqrt() as f32
            })
            .collect();
        close(&norms, &prompt.residual_norms[layer], "residual norms");
        let activations: Vec<f32> = (indices.iter())
            .map(|i| seen.activations[layer][last * shape.d_ff + i])
            .collect();
        close(&activations, &prompt.activations[layer], "activations");
    }
    largest
}

/// The largest difference, relative to the spread.
fn close(ours: &[f32], theirs: &[f32], what: &str) -> f32 {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let (low, high) = theirs
        .iter()
        .fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
    let scale = (high - low).max(high.abs()).max(low.abs());
    let worst = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        worst <= TOLERANCE * scale,
        "{what} differ by {worst}, of a scale of {scale}"
    );
    worst / scale
}

fn hold_rollouts(model: &dyn LanguageModel, reference: &Reference) {
    let cells: Vec<Cell<'_>> = (reference.rollouts.iter())
        .map(|expected| {
            let prompt = reference
                .prompts
                .iter()
                .find(|p| p.name == expected.prompt)
                .unwrap();
            Cell {
                prompt: &prompt.tokens,
                steering: expected.steering.as_ref().map(ExpectedSteering::steering),
                horizon: 24,
                stop_at_end: true,
                stop_at_loop: None,
                sample: None,
            }
        })
        .collect();
    let mut rollouts: Vec<Option<Rollout>> = vec![None; cells.len()];
    model
        .rollouts(&cells, &mut |i, rollout| {
            rollouts[i] = Some(rollout);
            Ok(())
        })
        .unwrap();
    for (i, (ours, theirs)) in rollouts
        .iter()
        .flatten()
        .zip(&reference.rollouts)
        .enumerate()
    {
        let label = format!(
            "rollout {i} (smallest margin {} at step {})",
            theirs.min_margin, theirs.min_margin_step
        );
        assert_eq!(ours.tokens, theirs.tokens, "{label}");
        assert_eq!(ours.ended, theirs.ended, "{label}");
        let far = |a: &f32, b: &f32| (a - b).abs() > 1e-3 * b.abs().max(1.0);
        let differ = |ours: &[f32], theirs: &[f32]| {
            ours.len() != theirs.len() || ours.iter().zip(theirs).any(|(a, b)| far(a, b))
        };
        assert!(
            !differ(&ours.nll, &theirs.nll),
            "{label}: {:?} {:?}",
            ours.nll,
            theirs.nll
        );
        let steered: Vec<f32> = (theirs.cosines.iter().enumerate())
            .filter(|(step, _)| {
                theirs
                    .steering
                    .as_ref()
                    .is_some_and(|s| s.is_steered(*step))
            })
            .map(|(_, cosine)| *cosine)
            .collect();
        assert!(
            !differ(&ours.cosines, &steered),
            "{label}: {:?} {:?}",
            ours.cosines,
            steered
        );
    }
    assert_eq!(rollouts.iter().flatten().count(), reference.rollouts.len());
}
