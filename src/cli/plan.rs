//! `reachspec plan`.

use super::inspect::bytes;
use super::run::available_threads;
use super::study::StudyArgs;
use super::{Failure, say};
use crate::stages::plan::{Plan, plan};

/// Say what a run would do, without reading weights or running anything.
///
/// A model of the Hugging Face hub that is not in its cache is downloaded first, as hashes of its files are part of the study;
/// HF_HUB_OFFLINE=1 forbids it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// Threads that will make rollouts [default: all processors].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
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
    let loaded = args.study.load()?;
    let threads = args.threads.map_or_else(available_threads, usize::from);
    let plan = plan(&loaded.study, &loaded.header.family.sizes(), threads);
    if args.json {
        say(serde_json::to_string_pretty(&plan).expect("plans are plain data"))
    } else {
        say(text(&plan))
    }
}

fn text(plan: &Plan) -> String {
    let mut lines = vec![format!(
        "{} on {} ({})",
        plan.study,
        plan.model,
        &plan.study_sha256[..12]
    )];
    lines.push("\nneurons".into());
    for group in &plan.groups {
        let role = serde_json::to_value(group.role).expect("roles are plain data");
        let how = if group.screened {
            "chosen by a screen"
        } else {
            "named by the spec"
        };
        let (name, neurons) = (&group.name, group.neurons);
        lines.push(format!(
            "  {name:20} {neurons:>6}  {}, {how}",
            role.as_str().unwrap_or_default()
        ));
    }
    lines.push("\nbehaviors".into());
    for behavior in &plan.behaviors {
        let (prompts, longest) = (behavior.prompts, behavior.longest_prompt);
        lines.push(format!(
            "  {:20} {prompts:>6}  prompts of at most {longest} tokens",
            behavior.name
        ));
    }
    lines.push("\nat most".into());
    lines.push(format!("  signed doses   {:>12}  per neuron", plan.doses));
    lines.push(format!(
        "  screen steps   {:>12}  forward passes",
        plan.screen_steps
    ));
    lines.push(format!("  rollouts       {:>12}", plan.trials));
    lines.push(format!("  tokens         {:>12}  generated", plan.tokens));
    lines.push(format!(
        "  operations     {:>12.2e}  floating point, to generate and to score",
        plan.operations
    ));
    lines.push("\nmemory".into());
    let memory = &plan.memory;
    lines.push(format!("  weights        {:>12}", bytes(memory.weights)));
    lines.push(format!(
        "  KV cache       {:>12}  for {} rollouts at a time",
        bytes(memory.cache),
        memory.rollouts
    ));
    lines.join("\n")
}
