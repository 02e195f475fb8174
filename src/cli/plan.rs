//! `reachspec plan`.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::check::warn;
use super::resources::ResourceArgs;
use super::study::StudyArgs;
use super::{Failure, place, print_json, say};
use crate::model;
use crate::report::text::label;
use crate::spec::load::Loaded;
use crate::stages::cells::{self, Inexpressible};
use crate::stages::plan::{Plan, measure, plan};
use crate::units::{bytes, duration};

/// Say what a run would do: rollouts, tokens, operations, memory and time.
///
/// The time comes from a few made-up rollouts of the model, which take seconds; nothing of the study is run. A model of the Hugging Face
/// hub that is not in its cache is downloaded first, as hashes of its files are part of the study; HF_HUB_OFFLINE=1 forbids it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    study: StudyArgs,
    #[command(flatten)]
    resources: ResourceArgs,
    /// Do not load the model to predict the time.
    #[arg(long)]
    no_timing: bool,
    /// Write the rollouts of the sweep to a JSON file, for other programs to make them too: token ids of prompts; layer, neuron, dose and
    /// horizon of each cell. Screens and budgets are computed for it, nothing is steered.
    #[arg(long, value_name = "FILE")]
    cells: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reachspec plan specs/quickstart.yaml
  reachspec plan study.yaml --memory 2GiB --threads 8
  reachspec plan study.yaml --set doses.grid='[0.5, 1, 2]' --no-timing --json
  reachspec plan study.yaml --cells cells.json";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let Loaded {
        study,
        header,
        warnings,
        ..
    } = args.study.load()?;
    warn(&warnings);
    let unusable = |error: model::ModelError| Failure::Unusable(error.into());
    let resources = args.resources.get();
    let mut plan = plan(&study, &header.family.sizes(), resources).map_err(unusable)?;
    if !args.no_timing || args.cells.is_some() {
        let (folder, ends) = (header.folder.clone(), header.end_of_text.clone());
        let (dtype, device) = (study.model.dtype, study.model.device);
        let model = model::load(header, dtype, device, resources).map_err(unusable)?;
        if !args.no_timing {
            plan.seconds = Some(measure(&study, &*model, &plan).map_err(Failure::from_run)?);
        }
        if let Some(file) = &args.cells {
            let folder = folder.canonicalize().unwrap_or(folder);
            let cells = cells::of_sweep(&study, &*model, &folder, &ends);
            let cells = cells.map_err(|error| match error.downcast::<Inexpressible>() {
                Ok(inexpressible) => Failure::Rejected(inexpressible.into()),
                Err(error) => Failure::from_run(error),
            });
            write(file, &cells?)?;
        }
    }
    if args.json {
        print_json(&plan)
    } else {
        say(text(&plan))
    }
}

/// Whether a file that is there was written by `--cells` before.
fn is_cells_file(path: &Path) -> bool {
    std::fs::read(path)
        .is_ok_and(|content| serde_json::from_slice::<cells::CellsFile>(&content).is_ok())
}

fn write(file: &Path, cells: &cells::CellsFile) -> Result<(), Failure> {
    place::refuse(
        file,
        None,
        is_cells_file,
        "no file of cells; choose another name",
    )?;
    let json = serde_json::to_string(cells).expect("cells are plain data");
    std::fs::write(file, json)
        .with_context(|| format!("cannot write {}; choose another place", file.display()))
        .map_err(Failure::Failed)
}

/// Characters of a name that are shown.
const NAME: usize = 60;

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
        let (name, neurons) = (label(&group.name, NAME), group.neurons);
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
            label(&behavior.name, NAME)
        ));
    }
    lines.push("\nat most".into());
    lines.push(format!("  signed doses   {:>12}  per neuron", plan.doses));
    lines.push(format!(
        "  single steps   {:>12}  forward passes",
        plan.screen_steps
    ));
    lines.push(format!("  rollouts       {:>12}", plan.trials));
    lines.push(format!("  tokens         {:>12}  generated", plan.tokens));
    lines.push(format!(
        "  operations     {:>12.2e}  floating point, to generate and to score",
        plan.operations
    ));
    if let Some(seconds) = plan.seconds {
        lines.push(format!(
            "  time           {:>12}  for these rollouts if the texts of a prompt agree, {} if no two do",
            duration(seconds.least),
            duration(seconds.most)
        ));
    }
    lines.push("\nmemory".into());
    let memory = &plan.memory;
    lines.push(format!(
        "  weights        {:>12}",
        bytes(memory.parts.weights)
    ));
    lines.push(format!(
        "  KV cache       {:>12}  for {} rollouts at a time",
        bytes(memory.parts.cache),
        memory.rollouts
    ));
    lines.push(format!(
        "  in all         {:>12}  of {} that may be used (`--memory`)",
        bytes(memory.peak),
        bytes(memory.allowed)
    ));
    lines.join("\n")
}
