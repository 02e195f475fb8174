//! `reachspec check`.

use std::path::PathBuf;

use anyhow::anyhow;

use super::Failure;
use super::failure::colour_on_stderr;
use crate::spec::load::{LoadError, load_study};
use crate::spec::problem::Problem;
use crate::spec::summary::summary;

/// Say everything that is wrong with a spec
///
/// Does all that `run` does before it loads the weights: reads the spec, its prompts and word lists, and the model's
/// configuration, tokenizer and file hashes. A spec that passes is accepted by `run`. So a model of the Hugging Face hub that is not in
/// its cache is downloaded, with its weights; HF_HUB_OFFLINE=1 forbids it.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The spec files
    #[arg(required = true, value_name = "SPEC")]
    specs: Vec<PathBuf>,

    #[command(flatten)]
    settings: Settings,
}

/// Changes to a spec from the command line.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Settings {
    /// Change a key of the spec, as often as needed; the value is YAML, list items go by number, and `key=null` removes the key
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    pub set: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  reachspec check specs/*.yaml
  reachspec check study.yaml --set model.path=/data/llama --set rollout.horizons=[8,16]
  reachspec check study.yaml --set neurons.0.random.count=4";

/// Says what is perhaps not meant so.
pub fn warn(warnings: &[Problem]) {
    for warning in warnings {
        super::complain(format_args!("{}\n", warning.as_warning(colour_on_stderr())));
    }
}

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut errors = Vec::new();
    for path in &args.specs {
        match load_study(path, &args.settings.set) {
            Ok(loaded) => {
                warn(&loaded.warnings);
                let (path, summary) = (path.display(), summary(&loaded.study));
                super::say(format_args!("{path}: ok: {summary}"))?;
            }
            Err(error) => {
                super::complain(format_args!("{}\n", error.render(colour_on_stderr())));
                errors.push(error);
            }
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let message = match (errors.len(), args.specs.len()) {
        (1, 1) => anyhow!("the spec cannot be run"),
        (bad, all) => anyhow!("{bad} of {all} specs cannot be run"),
    };
    let all_unusable = errors
        .iter()
        .all(|error| matches!(error, LoadError::Model(_)));
    Err(if all_unusable {
        Failure::Unusable(message)
    } else {
        Failure::Rejected(message)
    })
}
