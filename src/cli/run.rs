//! `reachspec run`.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::failure::Stopped;
use super::frozen::FrozenArgs;
use super::progress::{self, Aside, Events};
use super::resources::ResourceArgs;
use super::study::StudyArgs;
use super::{Failure, place, shell, signals};
use crate::events::{Event, Listener};
use crate::model::{self, LanguageModel};
use crate::pipeline::{self, Interrupted, OpenRun, Options, Outcome, Until};
use crate::record::manifest::Written;
use crate::report::format::counted;
use crate::report::templates;
use crate::stages::plan::plan;
use crate::stages::predict::Seal;
use crate::stop::Stop;
use crate::study::Study;

/// Run a study: screen, calibrate, predict and seal, sweep, judge, report.
///
/// Running the same command again continues an interrupted run. When only doses, prompts, horizons or neurons were added since, only
/// the missing trials are run; any other change needs `--fresh` or another `--out`. Ctrl-C (or SIGTERM) stops a run after the forward
/// pass that it is at, keeps everything that was finished, and says how to continue; a second Ctrl-C stops it at once. A model of the
/// Hugging Face hub that is not in its cache is downloaded first; HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE mean what they mean
/// to Hugging Face's own tools.
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
    /// Stop before the first held-out or control neuron is steered, so that the seal can be published; the same command without it goes
    /// on from there.
    #[arg(long, value_enum, value_name = "WHAT", conflicts_with_all = ["frozen", "accept"])]
    until: Option<Until>,
    #[command(flatten)]
    frozen: FrozenArgs,
}

const EXAMPLES: &str = "\
Examples:
  reachspec run specs/quickstart.yaml
  reachspec run study.yaml --limit 8 --out /tmp/first-look
  reachspec run study.yaml --set model.path=../my-model --set doses.apply=all
  reachspec run study.yaml --until seal     then publish the seal, and run it again without --until
  reachspec run study.yaml --events jsonl 2> events.jsonl    for other programs: docs/events.md
  reachspec run study.yaml --accept     then commit reports/<name of the study> beside the spec, and in CI:
  reachspec run study.yaml --frozen";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let events = args.events;
    let (mut listener, aside) = progress::listener(events);
    let result = run_with(&args, &mut *listener, aside);
    if events == Events::Human {
        drop(listener);
        return result?.end(&args);
    }
    result.and_then(|done| done.end(&args)).map_err(|failure| {
        listener.on(&event_of(&failure));
        Failure::Told(failure.exit_code())
    })
}

/// A run that came as far as it was asked to.
struct Done {
    outcome: Outcome,
    folder: PathBuf,
}

impl Done {
    /// Says what was found, and holds it against what is committed.
    fn end(self, args: &Args) -> Result<(), Failure> {
        match self.outcome {
            Outcome::Sealed(seal) => super::say(sealed(&seal, &self.folder)),
            Outcome::Finished(summary) => {
                super::say(summary)?;
                match args.frozen.wanted() {
                    true => (args.frozen).hold(&self.folder, args.templates.as_deref()),
                    false => Ok(()),
                }
            }
        }
    }
}

/// What was sealed, for the terminal.
fn sealed(seal: &Seal, folder: &Path) -> String {
    let steered = match seal.trials_before {
        0 => "no held-out or control neuron had been steered".to_owned(),
        before => format!(
            "{} of held-out or control neurons stood in the record before: this is not prospective throughout",
            counted(before, "rollout")
        ),
    };
    format!(
        "seal: {}\nsealed at {}: {steered}\npredictions: {}\nnext: publish the seal; then {}",
        seal.sha256,
        seal.sealed_at,
        folder.join("predictions.json").display(),
        again()
    )
}

/// The command that goes on with the run.
fn again() -> String {
    shell::without(std::env::args_os(), &["--fresh", "--until seal"])
}

fn run_with(args: &Args, listener: &mut dyn Listener, aside: Aside) -> Result<Done, Failure> {
    // Now rather than after the sweep.
    templates::environment(args.templates.as_deref())?;
    let options = Options {
        fresh: args.fresh,
        threads: args.resources.get().threads,
        templates: args.templates.clone(),
        until: args.until,
        stop: Stop::default(),
    };
    let Ready {
        study,
        model,
        open,
        folder,
        signals,
    } = prepare(args, &options, aside)?;
    let ended = pipeline::run(&study, &*model, open, &options, listener);
    let outcome = ended.map_err(|error| match error.downcast::<Interrupted>() {
        Ok(Interrupted(reached)) => Failure::Stopped(Stopped {
            reached,
            exit_code: signals.exit_code(),
            continue_with: again(),
        }),
        Err(error) => Failure::from_run(error),
    })?;
    Ok(Done { outcome, folder })
}

/// Everything that a run needs.
struct Ready {
    study: Study,
    model: Box<dyn LanguageModel>,
    open: OpenRun,
    folder: PathBuf,
    signals: signals::Received,
}

fn prepare(args: &Args, options: &Options, aside: Aside) -> Result<Ready, Failure> {
    let loaded = args.study.load()?;
    args.frozen.check(&loaded.study.name)?;
    let out = (args.out.clone()).unwrap_or_else(|| Path::new("runs").join(&loaded.study.name));
    place::refuse_in_run(&out, "--out")?;
    let resources = args.resources.get();
    // Before the folder of an earlier run is touched.
    plan(&loaded.study, &loaded.header.family.sizes(), resources)
        .map_err(|e| Failure::Unusable(e.into()))?;
    let overrides = args.study.overrides();
    let written = Written {
        spec_path: &args.study.spec,
        spec_text: &loaded.spec_text,
        overrides: &overrides,
    };
    // A large model takes a while to its next step.
    let announce = move || aside.say(STOPPING);
    let signals = signals::watch(options.stop.clone(), announce)
        .context("signals cannot be watched")
        .map_err(Failure::Failed)?;
    let mut open = pipeline::open(&out, &loaded.study, &written, options)?;
    open.note(
        loaded
            .warnings
            .iter()
            .map(|warning| warning.message.clone()),
    );
    let identity = &loaded.study.model;
    let mut model = model::load(loaded.header, identity.dtype, identity.device, resources)
        .map_err(|e| Failure::Unusable(e.into()))?;
    model.stop_on(options.stop.clone());
    Ok(Ready {
        study: loaded.study,
        model,
        open,
        folder: out,
        signals,
    })
}

const STOPPING: &str = "stopping after the forward pass that is running; once more stops at once";

/// The last line of the JSON stream after a failure.
fn event_of(failure: &Failure) -> Event {
    match failure {
        Failure::Stopped(Stopped {
            reached,
            exit_code,
            continue_with,
        }) => Event::Interrupted {
            stage: reached.stage,
            seconds: reached.seconds,
            kept: reached.kept,
            planned: reached.planned,
            exit_code: *exit_code,
            continue_with: continue_with.clone(),
        },
        failure => Event::Failed {
            message: failure.to_string(),
            exit_code: failure.exit_code(),
        },
    }
}
