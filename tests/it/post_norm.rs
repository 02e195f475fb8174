//! Models with a norm after the feed-forward: what a dose becomes in the residual stream, from what can be observed without steering.

use reachspec::model::{
    Cell, FfnNorm, LanguageModel, ModelHeader, Observed, Probe, Resources, Sequence, Steering,
    Transformer,
};
use reachspec::spec::doses::Apply;
use reachspec::units::{Dose, NeuronId, TokenId};

use crate::parity::ours;

const PROMPT: [TokenId; 7] = [1, 40, 7, 88, 23, 61, 5];

fn load(name: &str) -> Transformer {
    let header = ModelHeader::read(&ours(&format!("tests/reference/models/{name}"))).unwrap();
    Transformer::load(header, Resources::of_machine()).unwrap()
}

/// Everything at the last position of the prompt.
fn observed(model: &dyn LanguageModel) -> Observed {
    let sequence = Sequence {
        tokens: &PROMPT,
        from: PROMPT.len() - 1,
    };
    let probe = Probe {
        residuals: true,
        ffn_outputs: true,
        embedded: true,
        ..Probe::default()
    };
    let mut seen = Observed::default();
    model
        .observe(&[sequence], probe, &mut |_, observed| seen = observed)
        .unwrap();
    seen
}

/// The coordinate of the first steered step.
fn measured(model: &dyn LanguageModel, neuron: NeuronId, dose: f32) -> f32 {
    let cell = Cell {
        prompt: &PROMPT,
        steering: Some(Steering {
            neuron,
            dose: Dose(dose),
            apply: Apply::Generation,
            window: None,
        }),
        horizon: 1,
        stop_at_end: false,
        stop_at_loop: None,
        sample: None,
    };
    let mut cosine = f32::NAN;
    model
        .rollouts(&[cell], &mut |_, rollout| {
            cosine = rollout.cosines[0];
            Ok(())
        })
        .unwrap();
    cosine
}

fn norm(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot: f64 = a
        .iter()
        .zip(b)
        .map(|(a, b)| f64::from(*a) * f64::from(*b))
        .sum();
    dot / norm(a) / norm(b)
}

fn plus(a: &[f32], b: &[f32], factor: f32) -> Vec<f32> {
    a.iter().zip(b).map(|(a, b)| a + factor * b).collect()
}

fn sites(model: &dyn LanguageModel) -> Vec<NeuronId> {
    let shape = model.shape();
    (0..shape.layers)
        .flat_map(|layer| {
            let index = shape.d_ff / 3;
            [
                NeuronId { layer, index },
                NeuronId::random_direction(layer, 2),
            ]
        })
        .collect()
}

const POST_NORM: [&str; 4] = [
    "tiny-gemma2",
    "tiny-gemma3",
    "tiny-gemma3-new",
    "tiny-olmo2",
];

#[test]
fn the_coordinate_follows_from_what_is_observed_and_saturates() {
    for name in POST_NORM {
        let model = load(name);
        assert!(model.shape().norm_after_ffn);
        let seen = observed(&model);
        for site in sites(&model) {
            let norm_after: FfnNorm = model.ffn_norm(site.layer).unwrap();
            let v = model.write_direction(site);
            let effective = model.effective_write(site);
            let direction: Vec<f32> = v.iter().zip(&norm_after.gain).map(|(v, g)| v * g).collect();
            assert_eq!(effective, direction);
            let f = &seen.ffn_outputs[site.layer];
            let without = plus(&seen.residuals[site.layer], &norm_after.apply(f), -1.0);
            let unit = norm(f) / norm(&v);
            let bound = norm(&effective) * (v.len() as f64).sqrt() / norm(&v);
            for budgets in [-1e4, -3.0, -0.5, 0.5, 3.0, 1e4] {
                let dose = (budgets * unit) as f32;
                let written = norm_after.apply(&plus(f, &v, dose));
                let expected = cosine(&plus(&without, &written, 1.0), &effective);
                let measured = f64::from(measured(&model, site, dose));
                assert!(
                    (measured - expected).abs() < 1e-5,
                    "{name}, {site}, {budgets}: {measured} {expected}"
                );
                if budgets.abs() == 1e4 {
                    let length = norm(&written);
                    assert!(
                        (length / bound - 1.0).abs() < 1e-3,
                        "{name}, {site}: {length} {bound}"
                    );
                }
            }
        }
    }
}

#[test]
fn elsewhere_the_effective_write_is_the_write() {
    for name in ["tiny-gpt2", "tiny-qwen3", "tiny-gemma", "tiny-neox"] {
        let model = load(name);
        for site in sites(&model) {
            assert_eq!(model.ffn_norm(site.layer), None);
            assert_eq!(model.effective_write(site), model.write_direction(site));
        }
    }
}

/// In the first block, and with attention after it, the stream is its input, attention's write and the feed-forward's.
#[test]
fn the_feed_forward_adds_what_is_observed() {
    for name in ["tiny-olmo2", "tiny-qwen2", "tiny-gpt2"] {
        let model = load(name);
        let seen = observed(&model);
        let d = model.shape().d_model;
        assert_eq!(seen.embedded.len(), d);
        assert!(seen.ffn_outputs.iter().all(|f| f.len() == d));
        // A dose of `t` on a random direction moves the output of the last block from `f` to `f + t·v`, as it is observed.
        let last = model.shape().layers - 1;
        let site = NeuronId::random_direction(last, 0);
        let v = model.write_direction(site);
        let f = &seen.ffn_outputs[last];
        let written = |f: &[f32]| match model.ffn_norm(last) {
            Some(norm) => norm.apply(f),
            None => f.to_vec(),
        };
        let without = plus(&seen.residuals[last], &written(f), -1.0);
        let expected = plus(&without, &written(&plus(f, &v, 2.0)), 1.0);
        let cell = Cell {
            prompt: &PROMPT,
            steering: Some(Steering {
                neuron: site,
                dose: Dose(2.0),
                apply: Apply::Generation,
                window: None,
            }),
            horizon: 1,
            stop_at_end: false,
            stop_at_loop: None,
            sample: None,
        };
        let mut residual = Vec::new();
        model
            .first_steps(&[cell], &mut |_, step| residual = step.residual.to_vec())
            .unwrap();
        let error = norm(&plus(&residual, &expected, -1.0));
        assert!(error < 1e-5 * norm(&expected), "{name}: {error}");
    }
}
