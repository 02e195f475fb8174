//! `reachspec plan`.

use std::path::PathBuf;

use super::Failure;
use crate::spec;
use crate::stages::plan::{Plan, plan};

/// Say what a run would do, without reading weights or running anything.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The study's spec file.
    spec: PathBuf,
    /// Override a key of the spec, as `key.path=value` (YAML); may be given several times.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
    /// Use at most this many prompts of each behaviour.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reachspec plan specs/quickstart.yaml
  reachspec plan study.yaml --set doses.grid='[0.5, 1, 2]' --json";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut loaded = spec::load_study(&args.spec, &args.overrides)?;
    if let Some(limit) = args.limit {
        loaded.study.limit_prompts(limit as usize);
    }
    let plan = plan(&loaded.study);
    if args.json {
        println!(
            "{}",
            serde_json::to_string_pretty(&plan).expect("plans are plain data")
        );
    } else {
        print(&plan);
    }
    Ok(())
}

fn print(plan: &Plan) {
    println!("{} ({})", plan.study, &plan.study_sha256[..12]);
    println!("\nneurons");
    for group in &plan.groups {
        let role = serde_json::to_value(group.role).expect("roles are plain data");
        let how = if group.screened {
            "chosen by a screen"
        } else {
            "named by the spec"
        };
        println!(
            "  {:20} {:>6}  {}, {how}",
            group.name,
            group.neurons,
            role.as_str().unwrap_or_default()
        );
    }
    println!("\nbehaviors");
    for behavior in &plan.behaviors {
        let (prompts, longest) = (behavior.prompts, behavior.longest_prompt);
        println!(
            "  {:20} {prompts:>6}  prompts of at most {longest} tokens",
            behavior.name
        );
    }
    println!("\nat most");
    println!("  signed doses   {:>12}  per neuron", plan.doses);
    println!("  screen steps   {:>12}  forward passes", plan.screen_steps);
    println!("  rollouts       {:>12}", plan.trials);
    println!("  tokens         {:>12}  generated", plan.tokens);
    println!(
        "  operations     {:>12.2e}  floating point, to generate and to score",
        plan.operations
    );
}
