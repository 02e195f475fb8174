//! How close the engine comes to the processor's peak, and how the time of a sweep grows with its doses and prompts.
//!
//! ```text
//! target/release/reachspec plan benches/peers/llama135m.yaml --cells target/peers/llama135m.json
//! RAYON_NUM_THREADS=1 cargo bench --bench scaling -- target/peers/llama135m.json
//! ```
//!
//! `RAYON_NUM_THREADS=1` is for the product that ours is compared with: candle asks the environment for its threads.
//!
//! Every figure is a ratio of times that were measured in turns, as machines are shared and noisy; the median of three rounds counts.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use clap::Parser;
use reachspec::model::{Cell, LanguageModel, ModelHeader, Resources, Transformer};
use reachspec::stages::cells::CellsFile;

#[derive(Parser)]
struct Args {
    /// Cells files, of `reachspec plan --cells`.
    files: Vec<PathBuf>,
    /// Threads that make rollouts.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Rounds.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Use the cells of this many prompts only.
    #[arg(long, default_value_t = 16)]
    prompts: usize,
    /// What cargo adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    for path in &args.files {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        let file: CellsFile = serde_json::from_str(&text).context("not a cells file")?;
        println!("{}", path.display());
        peak(&file, args.rounds)?;
        growth(&file, &args)?;
    }
    Ok(())
}

fn load(file: &CellsFile, threads: usize) -> Result<Transformer> {
    let resources = Resources {
        threads,
        ..Resources::of_machine()
    };
    let header = ModelHeader::read(file.model.as_ref())?;
    Ok(Transformer::load(header, resources)?)
}

/// Matrix throughput of rollouts that share nothing, against a large product of candle, which is one of the `gemm` crate. One thread.
fn peak(file: &CellsFile, rounds: usize) -> Result<()> {
    ensure!(
        candle_core::utils::get_num_threads() == 1,
        "set RAYON_NUM_THREADS=1: a product of one thread is what ours is compared with"
    );
    let model = load(file, 1)?;
    let shape = model.shape().clone();
    // Unsteered, and each from another token: every token goes through every layer by itself.
    let prompts: Vec<[u32; 2]> = (0..256)
        .map(|i| [1, (7 + 31 * i) % shape.vocab as u32])
        .collect();
    let cells: Vec<Cell<'_>> = (prompts.iter())
        .map(|prompt| Cell {
            prompt,
            steering: None,
            horizon: 8,
            stop_at_end: false,
            stop_at_loop: None,
            sample: None,
        })
        .collect();
    // A multiplication and an addition per weight and token; embeddings are looked up, and tied ones multiply as unembedding.
    let operations = (2 * shape.parameters * 8 * cells.len()) as f64;
    let (mut library, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        library.push(large_product()?);
        ours.push(operations / seconds(&model, &cells)? / 1e9);
    }
    let (library, ours) = (median(library), median(ours));
    println!(
        "  without sharing: {ours:.0} GFLOP/s, {:.0}% of a large product by the gemm crate ({library:.0} GFLOP/s)",
        100.0 * ours / library
    );
    Ok(())
}

/// GFLOP/s of a product of two large matrices, one thread.
fn large_product() -> Result<f64> {
    let n = 2048;
    let of = |value: f32| Tensor::from_vec(vec![value; n * n], (n, n), &Device::Cpu);
    let (a, b) = (of(0.5)?, of(0.25)?);
    let started = Instant::now();
    a.matmul(&b)?;
    Ok(2.0 * (n * n * n) as f64 / started.elapsed().as_secs_f64() / 1e9)
}

/// Time with all doses over that with every other one, and with all prompts over that with half of them.
fn growth(file: &CellsFile, args: &Args) -> Result<()> {
    let model = load(file, args.threads)?;
    let of_prompt = |cells: &CellsFile, most: usize| {
        let mut some = cells.clone();
        some.cells.retain(|cell| cell.prompt < most);
        some
    };
    let all = of_prompt(file, args.prompts);
    let half_prompts = of_prompt(file, args.prompts.min(file.prompts.len()) / 2);
    let mut half_doses = all.clone();
    half_doses.cells.retain(|cell| {
        let doses: BTreeSet<u32> = (all.cells.iter())
            .filter(|other| (other.layer, other.neuron) == (cell.layer, cell.neuron))
            .filter_map(|other| other.dose)
            .filter(|dose| cell.dose.is_some_and(|own| own.signum() == dose.signum()))
            .map(|dose| dose.abs().to_bits())
            .collect();
        let rank = |dose: f32| {
            doses
                .iter()
                .position(|other| *other == dose.abs().to_bits())
        };
        cell.dose.and_then(rank).is_none_or(|rank| rank % 2 == 0)
    });
    let [all, half_doses, half_prompts] = [&all, &half_doses, &half_prompts];
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..args.rounds {
        for (times, file) in times.iter_mut().zip([all, half_doses, half_prompts]) {
            let cells = file.cells().map_err(anyhow::Error::msg)?;
            times.push(seconds(&model, &cells)?);
        }
    }
    let [all_time, doses_time, prompts_time] = times.map(median);
    println!(
        "  {} rollouts in {all_time:.2} s on {} threads; {:.2} times as long as {} with half of the doses, {:.2} times as long as {} with half of the prompts",
        all.cells.len(),
        args.threads,
        all_time / doses_time,
        half_doses.cells.len(),
        all_time / prompts_time,
        half_prompts.cells.len(),
    );
    Ok(())
}

fn seconds(model: &Transformer, cells: &[Cell<'_>]) -> Result<f64> {
    let started = Instant::now();
    model.rollouts(cells, &mut |_, _| Ok(()))?;
    Ok(started.elapsed().as_secs_f64())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
