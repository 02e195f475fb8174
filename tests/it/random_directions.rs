//! Random directions as places to steer, and first steps: the engine for processors and the one on candle tensors agree.

use candle_core::Device;
use reachspec::model::{
    Cell, LanguageModel, ModelHeader, Observed, Probe, Resources, Rollout, Sequence, Steering,
    TensorTransformer, Transformer,
};
use reachspec::spec::doses::{Apply, StepWindow};
use reachspec::spec::model::Dtype;
use reachspec::units::{Dose, NeuronId, TokenId};

use crate::parity::{TINY, ours};

const PROMPT: [TokenId; 6] = [3, 17, 28, 9, 33, 12];

/// A mixed plan: neurons and directions of the first and the last layer, all ways to apply a dose.
fn plan(model: &dyn LanguageModel) -> Vec<Cell<'static>> {
    let shape = model.shape();
    let mut sites = Vec::new();
    for layer in [0, shape.layers - 1] {
        let index = shape.d_ff / 2;
        sites.extend([
            NeuronId { layer, index },
            NeuronId::random_direction(layer, 1),
        ]);
    }
    let window = Some(StepWindow { from: 1, to: 3 });
    let ways = [
        (Apply::Generation, None),
        (Apply::All, None),
        (Apply::Generation, window),
    ];
    let cell = |steering| Cell {
        prompt: &PROMPT,
        steering,
        horizon: 4,
        stop_at_end: false,
        stop_at_loop: None,
        sample: None,
    };
    let steered = sites.into_iter().flat_map(|neuron| {
        ways.map(|(apply, window)| Steering {
            neuron,
            dose: Dose(1.5),
            apply,
            window,
        })
    });
    let steered = steered.map(|steering| cell(Some(steering)));
    std::iter::once(cell(None)).chain(steered).collect()
}

fn rollouts(model: &dyn LanguageModel, cells: &[Cell<'_>]) -> Vec<Rollout> {
    let mut all = vec![Rollout::default(); cells.len()];
    model
        .rollouts(cells, &mut |i, rollout| {
            all[i] = rollout;
            Ok(())
        })
        .unwrap();
    all
}

/// Logits and residual, one after the other.
fn first_steps(model: &dyn LanguageModel, cells: &[Cell<'_>]) -> Vec<Vec<f32>> {
    let mut all = vec![Vec::new(); cells.len()];
    model
        .first_steps(cells, &mut |i, step| {
            assert_eq!(step.residual.len(), model.shape().d_model);
            all[i] = [step.logits, step.residual].concat();
        })
        .unwrap();
    all
}

fn observed(model: &dyn LanguageModel) -> Observed {
    let probe = Probe {
        residuals: true,
        activations: true,
        ffn_outputs: true,
        embedded: true,
        logits: true,
    };
    let sequence = Sequence {
        tokens: &PROMPT,
        from: 2,
    };
    let mut seen = Observed::default();
    model
        .observe(&[sequence], probe, &mut |_, observed| seen = observed)
        .unwrap();
    seen
}

fn close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let largest = b.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
    let worst = a
        .iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst <= 1e-4 * largest, "{what}: {worst} of {largest}");
}

#[test]
fn both_engines_agree_in_every_family() {
    for name in TINY {
        let header =
            || ModelHeader::read(&ours(&format!("tests/reference/models/{name}"))).unwrap();
        let engine = Transformer::load(header(), Resources::of_machine()).unwrap();
        let candle = TensorTransformer::load(header(), &Device::Cpu, Dtype::F32).unwrap();
        let cells = plan(&engine);
        let theirs = first_steps(&candle, &cells);
        for (ours, theirs) in first_steps(&engine, &cells).iter().zip(&theirs) {
            close(ours, theirs, name);
        }
        let theirs = rollouts(&candle, &cells);
        for (ours, theirs) in rollouts(&engine, &cells).iter().zip(&theirs) {
            assert_eq!(ours.tokens, theirs.tokens, "{name}");
            close(&ours.cosines, &theirs.cosines, name);
        }
        let (ours, theirs) = (observed(&engine), observed(&candle));
        close(&ours.embedded, &theirs.embedded, name);
        for (ours, theirs) in ours.ffn_outputs.iter().zip(&theirs.ffn_outputs) {
            close(ours, theirs, name);
        }
        for layer in 0..engine.shape().layers {
            let direction = NeuronId::random_direction(layer, 3);
            assert_eq!(
                engine.write_direction(direction),
                candle.write_direction(direction)
            );
            assert_eq!(engine.ffn_norm(layer), candle.ffn_norm(layer));
        }
    }
}
