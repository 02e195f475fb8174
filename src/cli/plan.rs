//! `reachspec plan`.

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
    let plan = plan(&args.study.load()?.study);
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
    lines.join("\n")
}
