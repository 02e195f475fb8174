//! Makes the rollouts of a cells file (`reachspec plan SPEC --cells FILE`) and says how long that took: reachspec's side of the
//! comparison with other programs in `benches/peers`.
//!
//! ```text
//! cargo run --release --example run_cells -- --cells cells.json --threads 2 --out tokens.json
//! ```

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use reachspec::model::{LanguageModel, ModelHeader, Resources, Transformer};
use reachspec::stages::cells::CellsFile;
use serde::Serialize;

#[derive(Parser)]
struct Args {
    /// The cells file.
    #[arg(long)]
    cells: PathBuf,
    /// Threads that make rollouts.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Do not compute the likelihood of the tokens under the unsteered model.
    #[arg(long)]
    tokens_only: bool,
    /// Where tokens and times are written, as JSON.
    #[arg(long)]
    out: PathBuf,
}

/// What is written.
#[derive(Serialize)]
struct Made {
    /// Time of the rollouts.
    seconds: f64,
    /// Time to read the weights.
    load_seconds: f64,
    /// Generated tokens, by cell.
    tokens: Vec<Vec<u32>>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let text = std::fs::read_to_string(&args.cells)
        .with_context(|| format!("cannot read {}", args.cells.display()))?;
    let file: CellsFile = serde_json::from_str(&text).context("not a cells file")?;
    let cells = file.cells().map_err(anyhow::Error::msg)?;

    let resources = Resources {
        threads: args.threads,
        ..Resources::of_machine()
    };
    let started = Instant::now();
    let header = ModelHeader::read(file.model.as_ref())?;
    let model = Transformer::load(header, resources)?;
    let load_seconds = started.elapsed().as_secs_f64();

    let started = Instant::now();
    let mut tokens = vec![Vec::new(); cells.len()];
    match args.tokens_only {
        true => model.generate(&cells, &mut |cell, generated| {
            tokens[cell] = generated;
            Ok(())
        })?,
        false => model.rollouts(&cells, &mut |cell, rollout| {
            tokens[cell] = rollout.tokens;
            Ok(())
        })?,
    }
    let seconds = started.elapsed().as_secs_f64();
    let made = Made {
        seconds,
        load_seconds,
        tokens,
    };
    std::fs::write(&args.out, serde_json::to_string(&made)?)?;
    println!(
        "{} rollouts in {seconds:.2} s, after {load_seconds:.2} s of loading",
        cells.len()
    );
    Ok(())
}
