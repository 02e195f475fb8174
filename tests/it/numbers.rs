//! Numbers that cannot lie in silence: what is not finite, what overflows, and what was asked for and not done ends with an error that
//! names where, in both engines and in every kind of pass.

use std::path::Path;
use std::process::Command;

use candle_core::Device;
use reachspec::model::{
    Cell, LanguageModel, ModelHeader, Probe, Resources, Sequence, Steering, TensorTransformer,
    Transformer,
};
use reachspec::spec::doses::Apply;
use reachspec::spec::model::Dtype;
use reachspec::spec::rollout::SampleSpec;
use reachspec::units::{Dose, NeuronId, TokenId};
use serde_json::{Value, json};

use crate::tiny::{TinyModel, config, weights};

const PROMPT: [TokenId; 3] = [1, 3, 4];
const NEURON: NeuronId = NeuronId { layer: 0, index: 1 };

/// A tiny model of which some tensors are multiplied by a number.
fn scaled(factors: &[(&str, f32)]) -> TinyModel {
    let model = TinyModel::new();
    let mut all = weights();
    for (name, factor) in factors {
        let (_, values) = all
            .get_mut(*name)
            .expect("the tensor is one of the model's");
        values.iter_mut().for_each(|value| *value *= factor);
    }
    model.write_weights("model.safetensors", &all, safetensors::Dtype::F32);
    model
}

fn engine(folder: &Path) -> Box<dyn LanguageModel> {
    let header = ModelHeader::read(folder).unwrap();
    Box::new(Transformer::load(header, Resources::of_machine()).unwrap())
}

fn candle(folder: &Path, dtype: Dtype) -> Box<dyn LanguageModel> {
    let header = ModelHeader::read(folder).unwrap();
    Box::new(TensorTransformer::load(header, &Device::Cpu, dtype).unwrap())
}

/// Both engines, in the number type that both have.
fn both(folder: &Path) -> [(&'static str, Box<dyn LanguageModel>); 2] {
    [
        ("engine", engine(folder)),
        ("candle", candle(folder, Dtype::F32)),
    ]
}

fn cell(steered: Option<(NeuronId, f32)>) -> Cell<'static> {
    Cell {
        prompt: &PROMPT,
        steering: steered.map(|(neuron, dose)| Steering {
            neuron,
            dose: Dose(dose),
            apply: Apply::Generation,
            window: None,
        }),
        horizon: 3,
        stop_at_end: false,
        stop_at_loop: None,
        sample: None,
    }
}

/// The message of a rollout, or nothing when it was made.
fn rollout(model: &dyn LanguageModel, cell: Cell<'_>) -> Option<String> {
    (model.rollouts(&[cell], &mut |_, _| Ok(())).err()).map(|error| error.to_string())
}

fn first_step(model: &dyn LanguageModel, cell: Cell<'_>) -> Option<String> {
    (model.first_steps(&[cell], &mut |_, _| ()).err()).map(|error| error.to_string())
}

fn observation(model: &dyn LanguageModel) -> Option<String> {
    let probe = Probe {
        residuals: true,
        activations: true,
        ffn_outputs: true,
        embedded: true,
        logits: true,
    };
    let sequence = Sequence {
        tokens: &PROMPT,
        from: 1,
    };
    (model.observe(&[sequence], probe, &mut |_, _| ()).err()).map(|error| error.to_string())
}

fn attribution(model: &dyn LanguageModel) -> Option<String> {
    (model
        .attributions(&[&PROMPT], &[5], &[6], &mut |_, _| ())
        .err())
    .map(|error| error.to_string())
}

/// Finite weights that overflow in the pass; where each is found first does not matter, that it is found does.
const OVERFLOWS: [&[(&str, f32)]; 9] = [
    // The square of a norm: without a check, a row of zeros from which everything goes on.
    &[("model.embed_tokens.weight", 1e30)],
    &[("model.layers.1.mlp.down_proj.weight", 1e25)],
    &[("model.layers.1.self_attn.o_proj.weight", 1e25)],
    // Products.
    &[("lm_head.weight", 3e38), ("model.norm.weight", 1e3)],
    &[
        ("model.layers.0.mlp.down_proj.weight", 3e38),
        ("model.layers.0.mlp.up_proj.weight", 1e10),
    ],
    &[
        ("model.layers.0.mlp.gate_proj.weight", 1e30),
        ("model.layers.0.mlp.up_proj.weight", 1e30),
    ],
    // Scores of attention.
    &[
        ("model.layers.0.self_attn.q_proj.weight", 1e30),
        ("model.layers.0.self_attn.k_proj.weight", 1e30),
    ],
    &[
        ("model.layers.1.self_attn.v_proj.weight", 3e38),
        ("model.layers.1.self_attn.o_proj.weight", 1e20),
    ],
    &[("model.norm.weight", 3e38), ("lm_head.weight", 1e20)],
];

#[test]
fn what_overflows_is_an_error_with_its_coordinates_in_every_pass() {
    for factors in OVERFLOWS {
        let model = scaled(factors);
        for (name, model) in both(model.path()) {
            for steered in [None, Some((NEURON, 1.5))] {
                for found in [
                    rollout(&*model, cell(steered)),
                    first_step(&*model, cell(steered)),
                ] {
                    let found =
                        found.unwrap_or_else(|| panic!("{name} is silent about {factors:?}"));
                    // Beside numbers that large, the dose changes nothing.
                    let absorbed = steered.is_some() && found.contains("it changes no bit");
                    assert!(found.contains("not finite") || absorbed, "{name}: {found}");
                    assert!(
                        found.contains("prompt with tokens [1, 3, 4]"),
                        "{name}: {found}"
                    );
                    assert!(found.contains("generation step 0"), "{name}: {found}");
                    let who = if steered.is_some() {
                        "neuron L0.1 with dose 1.5"
                    } else {
                        "unsteered"
                    };
                    assert!(found.contains(who), "{name}: {found}");
                }
            }
            let seen =
                observation(&*model).unwrap_or_else(|| panic!("{name} observes {factors:?}"));
            assert!(
                seen.contains("position") && seen.contains("[1, 3, 4]"),
                "{name}: {seen}"
            );
            assert!(
                attribution(&*model).is_some(),
                "{name} has gradients of {factors:?}"
            );
        }
    }
}

#[test]
fn what_only_a_dose_overflows_names_the_dose() {
    let model = TinyModel::new();
    for (name, model) in both(model.path()) {
        assert_eq!(
            (rollout(&*model, cell(None)), observation(&*model)),
            (None, None),
            "{name}"
        );
        for dose in [1e30, -3e38] {
            for found in [
                rollout(&*model, cell(Some((NEURON, dose)))),
                first_step(&*model, cell(Some((NEURON, dose)))),
            ] {
                let found = found.unwrap_or_else(|| panic!("{name} is silent about {dose}"));
                let expected = format!(
                    "neuron L0.1 with dose {dose}, prompt with tokens [1, 3, 4], generation step 0"
                );
                assert!(found.contains(&expected), "{name}: {found}");
            }
        }
    }
}

/// The shipped Gemma 2 with other weights: `change(tensor, element, weight)`. The gain of its norms is 1 + weight.
fn gemma(change: impl Fn(&str, usize, f32) -> f32) -> tempfile::TempDir {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/models/tiny-gemma2");
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json"] {
        std::fs::copy(shipped.join(file), folder.path().join(file)).unwrap();
    }
    let stored = std::fs::read(shipped.join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&stored).unwrap();
    let changed: Vec<_> = (tensors.tensors().into_iter())
        .map(|(name, view)| {
            let numbers = view.data().chunks_exact(4);
            let numbers = numbers.map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()));
            let bytes = numbers
                .enumerate()
                .flat_map(|(element, x)| change(&name, element, x).to_le_bytes())
                .collect::<Vec<u8>>();
            (name, view.shape().to_vec(), bytes)
        })
        .collect();
    let views = changed.iter().map(|(name, shape, bytes)| {
        let view =
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes);
        (name.as_str(), view.unwrap())
    });
    safetensors::serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

#[test]
fn a_cap_does_not_make_a_number_of_an_infinite_logit() {
    // The final norm leaves one channel: products overflow, and no sum of two makes NaN of them.
    let folder = gemma(|name, channel, x| match (name, channel) {
        ("model.norm.weight", 0) => 1e38,
        ("model.norm.weight", _) => -1.0,
        ("model.embed_tokens.weight", _) => 1e4 * x,
        _ => x,
    });
    for (name, model) in both(folder.path()) {
        let found = rollout(&*model, cell(None)).unwrap_or_else(|| panic!("{name} is silent"));
        assert!(found.contains("a logit is not finite"), "{name}: {found}");
        assert!(observation(&*model).is_some(), "{name}");
    }
}

/// What the two engines say of a folder whose weights they load.
fn loaded(folder: &Path) -> [Result<(), String>; 2] {
    let header = || ModelHeader::read(folder).unwrap();
    let engine = Transformer::load(header(), Resources::of_machine()).map(drop);
    let candle = TensorTransformer::load(header(), &Device::Cpu, Dtype::F32).map(drop);
    [engine, candle].map(|result| result.map_err(|error| error.to_string()))
}

#[test]
fn a_model_that_no_neuron_can_make_say_anything_is_refused() {
    let gains = |weight| {
        gemma(move |name, _, x| {
            if name == "model.norm.weight" {
                weight
            } else {
                x
            }
        })
    };
    let [head, norm] = ["lm_head.weight", "model.norm.weight"].map(|name| scaled(&[(name, 0.0)]));
    let none = gains(-1.0);
    for (folder, said) in [
        (head.path(), "the unembedding is all zeros"),
        (norm.path(), "the gain of the final norm is all zeros"),
        (none.path(), "the gain of the final norm is all zeros"),
    ] {
        for loaded in loaded(folder) {
            let error = loaded.expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
    assert_eq!(loaded(gains(0.0).path()), [Ok(()), Ok(())]);
}

#[test]
fn a_dose_that_changes_nothing_is_an_error() {
    let model = scaled(&[("model.layers.1.mlp.down_proj.weight", 0.0)]);
    let silent = NeuronId { layer: 1, index: 2 };
    for (name, model) in both(model.path()) {
        let absorbed = (
            rollout(&*model, cell(Some((NEURON, 1e-30)))),
            "L0.1 with dose 0.0000",
        );
        let absorbed_at_once = (first_step(&*model, cell(Some((NEURON, 1e-30)))), "L0.1");
        let nothing_written = (
            rollout(&*model, cell(Some((silent, 2.0)))),
            "L1.2 with dose 2",
        );
        for (found, who) in [absorbed, absorbed_at_once, nothing_written] {
            let found = found.unwrap_or_else(|| panic!("{name} is silent about {who}"));
            assert!(
                found.contains(who) && found.contains("generation step 0"),
                "{name}: {found}"
            );
            assert!(
                found.contains("was never applied") || found.contains("cosθ"),
                "{name}: {found}"
            );
        }
        assert_eq!(rollout(&*model, cell(Some((NEURON, 0.5)))), None, "{name}");
        // None asked for.
        assert_eq!(rollout(&*model, cell(Some((NEURON, 0.0)))), None, "{name}");
    }
}

#[test]
fn half_precision_has_its_own_limits() {
    let model = TinyModel::new();
    let (half, brain) = (
        candle(model.path(), Dtype::F16),
        candle(model.path(), Dtype::Bf16),
    );
    let said = |model: &dyn LanguageModel, dose| {
        let both = [
            rollout(model, cell(Some((NEURON, dose)))),
            first_step(model, cell(Some((NEURON, dose)))),
        ];
        assert_eq!(both[0].is_some(), both[1].is_some(), "{both:?}");
        both[0].clone().unwrap_or_default()
    };
    assert!(
        said(&*half, 70_000.0)
            .contains("overflows in f16; choose a smaller dose, or `dtype: bf16`")
    );
    assert!(said(&*half, 1e-8).contains("rounds to 0 in f16; choose a larger dose"));
    assert_eq!(said(&*half, 1.0), "");
    assert_eq!(said(&*brain, 70_000.0), "");
    // Too small beside the activation for 8 bits, and enough for 24.
    let mut activation = 0.0;
    let sequence = Sequence {
        tokens: &PROMPT,
        from: 2,
    };
    let probe = Probe {
        activations: true,
        ..Probe::default()
    };
    brain
        .observe(&[sequence], probe, &mut |_, seen| {
            activation = seen.activations[0][1]
        })
        .unwrap();
    let little = activation / 1024.0;
    assert!(
        said(&*brain, little).contains("changes no bit"),
        "{activation}"
    );
    assert_eq!(
        rollout(
            &*candle(model.path(), Dtype::F32),
            cell(Some((NEURON, little)))
        ),
        None
    );
}

#[test]
fn weights_that_overflow_half_precision_are_refused() {
    let model = scaled(&[("model.layers.1.mlp.up_proj.weight", 1e5)]);
    let load = |dtype| {
        let header = ModelHeader::read(model.path()).unwrap();
        TensorTransformer::load(header, &Device::Cpu, dtype).map(drop)
    };
    let refused = load(Dtype::F16).unwrap_err().to_string();
    assert!(
        refused.contains("does not fit f16") && refused.contains("bf16"),
        "{refused}"
    );
    load(Dtype::Bf16).unwrap();
}

#[test]
fn a_temperature_that_overflows_is_an_error() {
    let model = TinyModel::new();
    for (name, model) in both(model.path()) {
        for (top_k, top_p) in [
            (None, None),
            (Some(2), None),
            (None, Some(0.5)),
            (Some(2), Some(0.5)),
        ] {
            let sampled = |temperature| {
                let spec = SampleSpec {
                    temperature,
                    top_p,
                    top_k,
                };
                rollout(
                    &*model,
                    Cell {
                        sample: Some((spec, 1)),
                        ..cell(None)
                    },
                )
            };
            for temperature in [1e-39, 1e-300] {
                let found = sampled(temperature).unwrap_or_else(|| panic!("{name} is silent"));
                assert!(
                    found.contains("temperature") && found.contains("step 0"),
                    "{name}: {found}"
                );
            }
            assert_eq!(sampled(0.01), None, "{name}");
        }
    }
}

/// A study of the tiny model.
pub fn spec() -> Value {
    json!({
        "schema": "reachspec/study/v1", "name": "tiny", "model": {"path": "."},
        "prompts": {
            "generic": {"inline": [{"text": "one two"}, {"text": "two three five"}]},
            "asked": {"inline": [{"text": "three one"}, {"text": "four two"}]},
        },
        "behaviors": {"says-five": {"prompts": "asked", "flipped_when": {"contains": {"any": ["five"]}}}},
        "neurons": [{"role": "held_out", "at": [{"layer": 0, "index": 1}]}],
        "doses": {"grid": [0.5, 1, 2]},
        "rollout": {"horizons": [2, 4], "stop_at_end": false},
        "ceiling": {"predictors": ["constant"]},
    })
}

/// Runs a study of a model, and returns its exit code and what it said.
fn study(model: &TinyModel, change: impl Fn(&mut Value)) -> (Option<i32>, String) {
    let mut spec = spec();
    change(&mut spec);
    model.write_json("study.yaml", &spec);
    let out = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .arg("run")
        .arg(model.file("study.yaml"))
        .arg("--out")
        .arg(out.path().join("run"))
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stderr).unwrap(),
    )
}

#[test]
fn a_study_runs_on_the_tiny_model() {
    let (code, said) = study(&TinyModel::new(), |_| ());
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn a_run_ends_at_the_first_number_that_is_none() {
    for factors in OVERFLOWS {
        let (code, said) = study(&scaled(factors), |_| ());
        assert_eq!(code, Some(4), "{factors:?}: {said}");
        assert!(said.contains("finite"), "{factors:?}: {said}");
    }
}

#[test]
fn neurons_without_a_usable_budget_are_named_before_the_sweep() {
    let down = "model.layers.0.mlp.down_proj.weight";
    let (code, said) = study(&scaled(&[(down, 0.0)]), |_| ());
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("neuron L0.1 has no coherence budget"),
        "{said}"
    );
    let (code, said) = study(&scaled(&[(down, 1e-40)]), |_| ());
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("neuron L0.1 cannot be given") && said.contains("overflows in f32"),
        "{said}"
    );
    let half = |spec: &mut Value| spec["model"]["dtype"] = "f16".into();
    let (code, said) = study(&scaled(&[(down, 1e-5)]), half);
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("neuron L0.1 cannot be given") && said.contains("overflows in f16"),
        "{said}"
    );
    let (code, said) = study(&TinyModel::new(), |spec| {
        spec["model"]["dtype"] = "bf16".into();
        spec["doses"]["grid"] = json!([1, 1.001]);
    });
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("1 and 1.001 budgets of neuron L0.1 are both"),
        "{said}"
    );
}

#[test]
fn a_residual_stream_of_zeros_is_named() {
    let all = [
        "embed_tokens",
        "layers.0.mlp.down_proj",
        "layers.0.self_attn.o_proj",
    ];
    let names = all.map(|name| format!("model.{name}.weight"));
    let factors: Vec<(&str, f32)> = names.iter().map(|name| (name.as_str(), 0.0)).collect();
    let (code, said) = study(&scaled(&factors), |_| ());
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("the residual stream of layer 0 is zero"),
        "{said}"
    );
}

#[test]
fn a_window_that_begins_behind_the_text_is_an_error() {
    // Every token ends the text.
    let model = TinyModel::new();
    let mut changed = config();
    changed["eos_token_id"] = json!([0, 1, 2, 3, 4, 5, 6, 7]);
    model.write_json("config.json", &changed);
    let (code, said) = study(&model, |spec| {
        spec["rollout"]["stop_at_end"] = true.into();
        spec["doses"]["window"] = json!({"from": 2, "to": 4});
    });
    assert_eq!(code, Some(4), "{said}");
    assert!(
        said.contains("neuron L0.1 at dose") && said.contains("was never steered"),
        "{said}"
    );
}
