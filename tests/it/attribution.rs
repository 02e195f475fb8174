//! Gradients by every neuron's activation against central differences of steered first steps, for every family.

use candle_core::Device;
use reachspec::model::{
    Attribution, Cell, LanguageModel, ModelError, ModelHeader, Observed, Probe, Resources,
    Sequence, Steering, TensorTransformer, Transformer,
};
use reachspec::spec::doses::Apply;
use reachspec::spec::model::Dtype;
use reachspec::units::{Dose, NeuronId, TokenId};

use crate::parity::{TINY, ours};

const TARGETS: [TokenId; 2] = [3, 11];
const CONTROLS: [TokenId; 3] = [5, 7, 20];

/// Largest error, relative to the largest gradient of the layer's sample. A logit of size 10 is certain to some 1e-6 in `f32`, and a dose of
/// [`STEP`] moves it by 1e-2 where the slope per budget is 1, so that rounding leaves some 1e-4: 1.8e-4 at most when this was written.
const TOLERANCE: f32 = 5e-4;

/// The larger doses of the differences, in budgets: of the order at which the errors of rounding and of curvature meet.
const STEP: f32 = 0.01;

fn transformer(folder: &str) -> Transformer {
    let header = ModelHeader::read(&ours(folder)).unwrap();
    Transformer::load(header, Resources::of_machine()).unwrap()
}

fn tensors(folder: &str, dtype: Dtype) -> TensorTransformer {
    let header = ModelHeader::read(&ours(folder)).unwrap();
    TensorTransformer::load(header, &Device::Cpu, dtype).unwrap()
}

fn attributions(model: &dyn LanguageModel, prompts: &[&[TokenId]]) -> Vec<Attribution> {
    let mut found = Vec::new();
    let mut visit = |number, attribution| {
        assert_eq!(number, found.len());
        found.push(attribution);
    };
    (model.attributions(prompts, &TARGETS, &CONTROLS, &mut visit)).unwrap();
    found
}

fn mean(logits: &[f32], tokens: &[TokenId]) -> f64 {
    let sum: f64 = tokens.iter().map(|t| f64::from(logits[*t as usize])).sum();
    sum / tokens.len() as f64
}

/// The readout after a dose on the last prompt token, for each of some neurons and doses.
fn readouts(model: &dyn LanguageModel, prompt: &[TokenId], doses: &[(NeuronId, f32)]) -> Vec<f64> {
    let cells: Vec<Cell<'_>> = (doses.iter())
        .map(|&(neuron, dose)| Cell {
            prompt,
            steering: Some(Steering {
                neuron,
                dose: Dose(dose),
                apply: Apply::Generation,
                window: None,
            }),
            horizon: 1,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        })
        .collect();
    let mut values = vec![0.0; cells.len()];
    model
        .first_steps(&cells, &mut |i, step| {
            values[i] = mean(step.logits, &TARGETS) - mean(step.logits, &CONTROLS);
        })
        .unwrap();
    values
}

fn norm(x: &[f32]) -> f32 {
    x.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// The largest error of a layer's sample, relative to its largest gradient.
fn worst(model: &dyn LanguageModel, prompt: &[TokenId], found: &Attribution, layer: usize) -> f32 {
    let shape = model.shape();
    let sequence = Sequence {
        tokens: prompt,
        from: prompt.len() - 1,
    };
    let probe = Probe {
        residuals: true,
        ..Probe::default()
    };
    let mut length = 0.0;
    let mut visit = |_, seen: Observed| length = norm(&seen.residuals[layer]);
    model.observe(&[sequence], probe, &mut visit).unwrap();
    let neurons = (0..7).map(|i| NeuronId {
        layer,
        index: i * (shape.d_ff - 1) / 6,
    });
    // Doses of one budget: with them, neurons whose writes differ in length count alike.
    let budgets: Vec<(NeuronId, f32)> = neurons
        .map(|neuron| (neuron, length / norm(&model.write_direction(neuron))))
        .collect();
    let doses: Vec<(NeuronId, f32)> = (budgets.iter())
        .flat_map(|&(neuron, budget)| {
            [STEP, -STEP, STEP / 2.0, -STEP / 2.0].map(|g| (neuron, g * budget))
        })
        .collect();
    let values = readouts(model, prompt, &doses);
    let (mut error, mut largest) = (0.0_f32, 0.0_f32);
    for ((neuron, budget), values) in budgets.iter().zip(values.chunks_exact(4)) {
        let step = f64::from(STEP);
        let (wide, narrow) = (
            (values[0] - values[1]) / (2.0 * step),
            (values[2] - values[3]) / step,
        );
        // Without their common error of second order (Richardson 1911).
        let slope = ((4.0 * narrow - wide) / 3.0) as f32;
        let gradient = found.gradients[layer][neuron.index] * budget;
        error = error.max((gradient - slope).abs());
        largest = largest.max(slope.abs());
    }
    error / largest
}

fn hold(folder: &str, tolerance: f32) {
    let (engine, candle) = (transformer(folder), tensors(folder, Dtype::F32));
    let long: Vec<TokenId> = (0..14).map(|i| 3 + i * 5 % 37).collect();
    let prompts: [&[TokenId]; 2] = [&long, &long[..1]];
    let models: [(&str, &dyn LanguageModel); 2] = [("own engine", &engine), ("candle", &candle)];
    for (name, model) in models {
        let shape = model.shape();
        let found = attributions(model, &prompts);
        for (prompt, found) in prompts.iter().zip(&found) {
            assert_eq!(found.gradients.len(), shape.layers);
            for layer in 0..shape.layers {
                assert_eq!(found.gradients[layer].len(), shape.d_ff);
                assert_eq!(found.activations[layer].len(), shape.d_ff);
                let worst = worst(model, prompt, found, layer);
                println!(
                    "{folder}, {name}, {} tokens, layer {layer}: {worst:.1e}",
                    prompt.len()
                );
                assert!(
                    worst < tolerance,
                    "{folder}, {name}, layer {layer}: {worst}"
                );
            }
        }
    }
}

#[test]
fn gradients_are_slopes_of_steered_steps_in_every_family() {
    for name in TINY {
        hold(&format!("tests/reference/models/{name}"), TOLERANCE);
    }
}

#[test]
fn gradients_are_slopes_of_steered_steps_in_the_shipped_model() {
    hold("specs/models/bilingual", TOLERANCE);
}

#[test]
fn a_prompt_has_the_same_bits_whatever_stands_beside_it() {
    let model = transformer("specs/models/bilingual");
    let prompts: [&[TokenId]; 3] = [&[1, 2, 30, 40], &[9], &[1, 2, 30, 40, 50, 3]];
    let together = attributions(&model, &prompts);
    let backwards: Vec<&[TokenId]> = prompts.iter().rev().copied().collect();
    let backwards = attributions(&model, &backwards);
    assert!(together.iter().eq(backwards.iter().rev()));
    for (prompt, together) in prompts.iter().zip(&together) {
        assert_eq!(attributions(&model, &[prompt])[0], *together);
    }
}

/// Half-precision weights are rounded; the pass through them is not.
#[test]
fn gradients_of_half_precision_weights_are_near_those_of_single_precision() {
    let prompt: &[TokenId] = &[1, 40, 7, 88, 23, 61, 5, 90];
    let folder = "specs/models/bilingual";
    let exact = attributions(&tensors(folder, Dtype::F32), &[prompt]);
    for (dtype, share) in [(Dtype::Bf16, 0.1), (Dtype::F16, 0.02)] {
        let rounded = attributions(&tensors(folder, dtype), &[prompt]);
        for (a, b) in rounded[0].gradients.iter().zip(&exact[0].gradients) {
            let error: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            assert!(
                norm(&error) < share * norm(b),
                "{dtype:?}: {} of {}",
                norm(&error),
                norm(b)
            );
        }
    }
}

#[test]
fn what_has_no_gradient_is_refused() {
    let model = transformer("specs/models/bilingual");
    let refused = |prompt: &[TokenId], targets: &[TokenId]| {
        let result = model.attributions(&[prompt], targets, &CONTROLS, &mut |_, _| ());
        assert!(matches!(result, Err(ModelError::NotApplied { .. })));
    };
    refused(&[], &TARGETS);
    refused(&[1_000_000], &TARGETS);
    refused(&[1], &[1_000_000]);
    let mut none = Attribution::default();
    (model.attributions(&[&[1, 2]], &[], &[], &mut |_, found| none = found)).unwrap();
    assert!(
        none.gradients
            .iter()
            .flatten()
            .all(|gradient| *gradient == 0.0)
    );
}

#[test]
fn gradients_that_do_not_fit_into_the_memory_are_refused() {
    let header = ModelHeader::read(&ours("specs/models/bilingual")).unwrap();
    let parameters = header.shape.parameters;
    let memory = (96 << 20) + parameters * 4 * 3 / 2;
    let resources = Resources { threads: 1, memory };
    let model = Transformer::load(header, resources);
    // The model itself fits, its gradients do not.
    let error = match model {
        Ok(model) => model.attributions(&[&[1]], &TARGETS, &CONTROLS, &mut |_, _| ()),
        Err(error) => panic!("{error}"),
    };
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("gradients") && error.contains("--memory"),
        "{error}"
    );
}
