//! `reachspec run`.

use std::path::PathBuf;

use super::Failure;
use super::frozen::FrozenArgs;
use super::progress::{self, Events};
use super::resources::ResourceArgs;
use super::study::StudyArgs;
use crate::model;
use crate::pipeline::{self, Options};
use crate::record::manifest::Written;
use crate::report::templates;
use crate::stages::plan::plan;

/// Run a study: screen, calibrate, predict and seal, sweep, judge, report.
///
/// Running the same command again continues an interrupted run. When only doses, prompts, horizons or neurons were added since, only
/// the missing trials are run; any other change needs `--fresh` or another `--out`. A model of the Hugging Face hub that is not in its
/// cache is downloaded first; HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean to Hugging Face's own tools.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    study: StudyArgs,
    /// The run folder [default: runs/<name of the study>].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    resources: ResourceArgs,
    /// How progress is shown, on standard error.
    #[arg(long, value_enum, default_value = "human")]
    events: Events,
    /// Start anew; what an earlier run left in the run folder is set aside there, in `superseded-N`.
    #[arg(long)]
    fresh: bool,
    /// Folder with templates that replace the built-in ones of the report.
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
    #[command(flatten)]
    frozen: FrozenArgs,
}

const EXAMPLES: &str = "\
Examples:
  reachspec run specs/quickstart.yaml
  reachspec run study.yaml --limit 8 --out /tmp/first-look
  reachspec run study.yaml --set model.path=../my-model --set doses.apply=all
  reachspec run study.yaml --accept     then commit reports/<name of the study> beside the spec, and in CI:
  reachspec run study.yaml --frozen";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    // Now rather than after the sweep.
    templates::environment(args.templates.as_deref())?;
    let loaded = args.study.load()?;
    args.frozen.check(&loaded.study.name)?;
    let resources = args.resources.get();
    // Before the folder of an earlier run is touched.
    plan(&loaded.study, &loaded.header.family.sizes(), resources)
        .map_err(|e| Failure::Unusable(e.into()))?;
    let out = (args.out).unwrap_or_else(|| PathBuf::from("runs").join(&loaded.study.name));
    let options = Options {
        fresh: args.fresh,
        threads: resources.threads,
        templates: args.templates,
    };
    let overrides = args.study.overrides();
    let written = Written {
        spec_path: &args.study.spec,
        spec_text: &loaded.spec_text,
        overrides: &overrides,
    };
    let open = pipeline::open(&out, &loaded.study, &written, &options)?;
    let identity = &loaded.study.model;
    let model = model::load(loaded.header, identity.dtype, identity.device, resources)
        .map_err(|e| Failure::Unusable(e.into()))?;
    let mut listener = progress::listener(args.events);
    let summary = pipeline::run(&loaded.study, &*model, open, &options, &mut *listener)
        .map_err(Failure::from_run)?;
    drop(listener);
    super::say(summary)?;
    if args.frozen.wanted() {
        let command = format!("run {}", args.study.spec.display());
        (args.frozen).hold(&out, options.templates.as_deref(), &command)?;
    }
    Ok(())
}
