//! The hot paths by themselves: `cargo bench --bench kernels`.
//!
//! Sizes are those of the shipped model and of a Llama of 135M parameters. One thread.

use std::path::Path;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use reachspec::model::kernels::{self, Activation, Heads, LogSumExp, Packed, SLACK, Scores, Span};
use reachspec::model::{Cell, LanguageModel, ModelHeader, Resources, Steering, Transformer};
use reachspec::spec::doses::Apply;
use reachspec::units::{Dose, NeuronId};

fn main() {
    divan::main();
}

/// Numbers between −1 and 1.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 0.7).sin()).collect()
}

/// Rows, inputs, outputs; items are floating-point operations.
#[divan::bench(args = [
    (64, 128, 384), (64, 384, 128), (64, 128, 356), (6, 128, 384), (1, 128, 384),
    (256, 576, 1536), (256, 1536, 576), (64, 576, 49152),
])]
fn product(bencher: Bencher, (rows, inputs, outputs): (usize, usize, usize)) {
    let weight = Packed::from_input_major(&numbers(inputs * outputs), inputs, outputs);
    let x = numbers(rows * inputs);
    let mut out = vec![0.0; rows * outputs];
    bencher
        .counter(ItemsCount::new(2 * rows * inputs * outputs))
        .bench_local(|| kernels::matmul(black_box(&x), &weight, &mut out));
}

/// Query heads, key and value heads, width of a head, positions; items are query rows.
#[divan::bench(args = [(4, 2, 32, 40), (8, 4, 8, 40), (9, 3, 64, 48), (32, 8, 128, 512)])]
fn attention(bencher: Bencher, (query, kv, dim, positions): (usize, usize, usize, usize)) {
    let heads = Heads { query, kv, dim };
    let held = numbers(positions * heads.kv_width() + SLACK);
    let span = Span {
        keys: &held,
        values: &held,
        capacity: positions,
        from: 0,
        to: positions,
    };
    let scores = Scores {
        scale: 0.1,
        soft_cap: None,
    };
    let (asked, mut out) = (numbers(query * dim), vec![0.0; query * dim]);
    let mut scratch = Vec::new();
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        kernels::attend(
            black_box(&asked),
            &[span],
            heads,
            scores,
            &mut out,
            &mut scratch,
        );
    });
}

#[divan::bench(args = [128, 576, 4096])]
fn rms_norm(bencher: Bencher, width: usize) {
    let (x, gain, mut out) = (numbers(64 * width), numbers(width), vec![0.0; 64 * width]);
    bencher
        .counter(ItemsCount::new(64 * width))
        .bench_local(|| kernels::rms_norm(black_box(&x), &gain, 1e-6, &mut out));
}

#[divan::bench(args = [Activation::Silu, Activation::Gelu, Activation::GeluTanh])]
fn gated(bencher: Bencher, activation: Activation) {
    let (mut gate, up) = (numbers(64 * 1536), numbers(64 * 1536));
    bencher
        .counter(ItemsCount::new(64 * 1536_usize))
        .bench_local(|| kernels::gated(activation, black_box(&mut gate), &up));
}

/// A row of logits: the greedy token, and what its likelihood is read from.
#[divan::bench(args = [356, 49152])]
fn readout(bencher: Bencher, vocab: usize) {
    let logits = numbers(vocab);
    bencher.counter(ItemsCount::new(vocab)).bench_local(|| {
        let logits = black_box(&logits);
        (kernels::argmax(logits), LogSumExp::of(logits))
    });
}

/// Rollouts of the shipped model; items are generated tokens. `alike`: all texts agree, so that the layers below the steered one are
/// computed once; otherwise no two do.
#[divan::bench(args = [true, false], sample_count = 5)]
fn rollouts(bencher: Bencher, alike: bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/models/bilingual");
    let header = ModelHeader::read(&folder).expect("the shipped model is here");
    let resources = Resources {
        threads: 1,
        ..Resources::of_machine()
    };
    let model = Transformer::load(header, resources).expect("the shipped model is here");
    let prompts: Vec<Vec<u32>> = (0..64)
        .map(|i| vec![1, 20, 30, 40, if alike { 50 } else { 50 + i }])
        .collect();
    let cells: Vec<Cell<'_>> = (prompts.iter().enumerate())
        .map(|(i, prompt)| Cell {
            prompt,
            steering: Some(Steering {
                neuron: NeuronId {
                    layer: i % 8,
                    index: i,
                },
                dose: Dose(1e-4),
                apply: Apply::Generation,
                window: None,
            }),
            horizon: 32,
            stop_at_end: false,
            stop_at_loop: None,
            sample: None,
        })
        .collect();
    bencher
        .counter(ItemsCount::new(cells.len() * 32))
        .bench_local(|| {
            model
                .rollouts(&cells, &mut |_, rollout| {
                    black_box(rollout);
                    Ok(())
                })
                .expect("the cells fit the model");
        });
}
