//! Trains the small bilingual language models that this repository ships, each from nothing but its recipe.
//!
//!     cargo run --release --example train_bilingual -- specs/models/bilingual/recipe.yaml
//!     cargo run --release --example train_bilingual -- specs/models/bilingual-postnorm/recipe.yaml

mod batch;
mod card;
mod corpus;
mod evaluate;
mod export;
mod exported;
mod net;
mod ops;
mod prompts;
mod recipe;
mod tokenizer;
mod train;
mod words;
mod world;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use batch::Source;
use corpus::{Corpus, Document};
use net::Net;
use recipe::Recipe;
use tokenizer::Vocabulary;
use world::World;

/// Trains the model of a recipe and writes it beside the recipe, with its card and the prompt sets.
#[derive(Parser)]
struct Arguments {
    /// The recipe.
    recipe: PathBuf,
    /// Write the model to this folder instead.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Write the prompt sets and stop.
    #[arg(long)]
    prompts_only: bool,
    /// Measure the model that is already there and rewrite its card, without training.
    #[arg(long)]
    evaluate_only: bool,
    /// Start from the weights of this folder instead of the beginning: those that the recipe's last phase with
    /// `round: true` exported.
    #[arg(long, value_name = "FOLDER")]
    resume: Option<PathBuf>,
    /// Print this many training documents per phase and stop.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let recipe = Recipe::read(&arguments.recipe)?;
    let beside = arguments.recipe.parent().unwrap_or(Path::new("."));
    let folder = arguments.out.as_deref().unwrap_or(beside);
    let world = World::new(recipe.seeds.world);
    let corpus = Corpus::new(&world, &recipe.corpus)?;
    if let Some(count) = arguments.sample {
        return sample(&corpus, &recipe, count);
    }
    let sets = prompts::paired_sets(&world, &recipe.prompts, recipe.seeds.prompts);
    if arguments.out.is_none() {
        let folder = beside.join(&recipe.prompts.folder);
        for (name, lines) in prompts::write(
            &folder,
            &sets,
            &corpus,
            &recipe.prompts,
            recipe.seeds.prompts,
        )? {
            eprintln!("{}: {lines} lines", folder.join(name).display());
        }
    }
    if arguments.prompts_only {
        return Ok(());
    }
    let vocabulary = Vocabulary::new();
    let net = Net::new(&recipe.architecture, vocabulary.len(), recipe.seeds.weights)?;
    if !arguments.evaluate_only {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        eprintln!(
            "{} parameters, {} words",
            net.parameters(),
            vocabulary.len()
        );
        let start = Instant::now();
        let source = Source {
            recipe: &recipe,
            corpus: &corpus,
            vocabulary: &vocabulary,
        };
        if let Some(folder) = &arguments.resume {
            let path = folder.join("model.safetensors");
            net.load(&path)
                .with_context(|| format!("cannot resume from {}", path.display()))?;
        }
        train::train(
            &net,
            &source,
            recipe.seeds.training,
            arguments.resume.is_some(),
        )?;
        eprintln!("trained in {} s", start.elapsed().as_secs());
        vocabulary.save(folder, recipe.architecture.max_positions)?;
        write_json(
            &folder.join("config.json"),
            &export::config(&recipe.architecture, vocabulary.len()),
        )?;
        export::weights(&net, &folder.join("model.safetensors"))?;
    }
    let evaluation =
        evaluate::evaluate(folder, recipe.architecture.arch, &sets, &world, &vocabulary)?;
    for (name, accuracy) in &evaluation.sets {
        println!(
            "{name}: {}/{} ({:.1}%)",
            accuracy.right,
            accuracy.of,
            100.0 * accuracy.share()
        );
    }
    println!(
        "codes known after a compliant beginning: {:?}",
        evaluation.codes_known
    );
    card::write(
        folder,
        &recipe,
        net.parameters(),
        vocabulary.len(),
        &evaluation,
    )
}

fn sample(corpus: &Corpus, recipe: &Recipe, count: usize) -> Result<()> {
    for phase in &recipe.training.phases {
        let rng = &mut ChaCha8Rng::seed_from_u64(recipe.seeds.training);
        for _ in 0..count {
            match corpus.document(rng, phase.refuse) {
                Document::Plain(text) => println!("{text}"),
                Document::Chat(turns) => {
                    turns.iter().for_each(|turn| {
                        println!("<user> {} <assistant> {}", turn.user, turn.assistant)
                    });
                }
            }
        }
    }
    Ok(())
}

/// Pretty JSON with a final newline.
fn write_json(path: &Path, value: &serde_json::Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
}
