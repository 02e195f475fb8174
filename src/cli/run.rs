//! `reachspec run`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::failure::Stopped;
use super::frozen::FrozenArgs;
use super::progress::{self, Aside, Events};
use super::resources::ResourceArgs;
use super::study::StudyArgs;
use super::{Failure, signals};
use crate::events::{Event, Listener};
use crate::model::{self, LanguageModel};
use crate::pipeline::{self, Interrupted, OpenRun, Options};
use crate::record::manifest::Written;
use crate::report::{Summary, templates};
use crate::stages::plan::plan;
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
    #[command(flatten)]
    frozen: FrozenArgs,
}

const EXAMPLES: &str = "\
Examples:
  reachspec run specs/quickstart.yaml
  reachspec run study.yaml --limit 8 --out /tmp/first-look
  reachspec run study.yaml --set model.path=../my-model --set doses.apply=all
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

/// A run that came to its end.
struct Done {
    summary: Summary,
    folder: PathBuf,
}

impl Done {
    /// Says what was found, and holds it against what is committed.
    fn end(self, args: &Args) -> Result<(), Failure> {
        super::say(self.summary)?;
        if !args.frozen.wanted() {
            return Ok(());
        }
        let command = format!("run {}", args.study.spec.display());
        (args.frozen).hold(&self.folder, args.templates.as_deref(), &command)
    }
}

fn run_with(args: &Args, listener: &mut dyn Listener, aside: Aside) -> Result<Done, Failure> {
    // Now rather than after the sweep.
    templates::environment(args.templates.as_deref())?;
    let options = Options {
        fresh: args.fresh,
        threads: args.resources.get().threads,
        templates: args.templates.clone(),
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
    let summary = ended.map_err(|error| match error.downcast::<Interrupted>() {
        Ok(Interrupted(reached)) => Failure::Stopped(Stopped {
            reached,
            exit_code: signals.exit_code(),
            continue_with: continue_with(std::env::args_os()),
        }),
        Err(error) => Failure::from_run(error),
    })?;
    Ok(Done { summary, folder })
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
    let resources = args.resources.get();
    // Before the folder of an earlier run is touched.
    plan(&loaded.study, &loaded.header.family.sizes(), resources)
        .map_err(|e| Failure::Unusable(e.into()))?;
    let out = (args.out.clone()).unwrap_or_else(|| Path::new("runs").join(&loaded.study.name));
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
    let open = pipeline::open(&out, &loaded.study, &written, options)?;
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

/// The command that continues a run, for a shell: as it was given, but for `--fresh`.
fn continue_with(args: impl Iterator<Item = OsString>) -> String {
    let words: Vec<String> = args
        .filter(|word| word != "--fresh")
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    // Only a word with a NUL cannot be quoted, and no argument holds one.
    shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_continued_by_its_own_command() {
        let args = |words: &[&str]| continue_with(words.iter().map(OsString::from));
        assert_eq!(
            args(&[
                "reachspec",
                "run",
                "a b.yaml",
                "--fresh",
                "--set",
                "doses.grid=[1, 2]"
            ]),
            "reachspec run 'a b.yaml' --set 'doses.grid=[1, 2]'"
        );
        assert_eq!(
            args(&["reachspec", "run", "it's.yaml"]),
            "reachspec run \"it's.yaml\""
        );
    }
}
