//! `reachspec report`.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::frozen::FrozenArgs;
use super::{Failure, place};
use crate::record::folder::is_of_run;
use crate::record::{RunFolder, RunRecord};
use crate::report::files::{self, Format};
use crate::report::from_record::render_record;
use crate::report::templates;

/// Render the report of a finished run again; no model is needed
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Folder of the run, such as runs/quickstart
    run: PathBuf,
    /// Folder with templates that replace built-in ones of the same name
    #[arg(long, value_name = "DIR")]
    templates: Option<PathBuf>,
    /// What to write
    #[arg(long, value_enum, default_value_t = Format::Both)]
    format: Format,
    /// Folder to write to; the run folder when absent
    #[arg(long, value_name = "DIR", conflicts_with_all = ["frozen", "accept"])]
    out: Option<PathBuf>,
    #[command(flatten)]
    frozen: FrozenArgs,
}

const AFTER_HELP: &str = "\
Examples:
  reachspec report runs/quickstart
  reachspec report runs/quickstart --format md --out reports/quickstart
  reachspec report runs/quickstart --templates my-templates
  reachspec report runs/quickstart --frozen     compare it with reports/quickstart, and write nothing

A file such as report.md.jinja, style.css or html/windows.html.jinja in the templates folder replaces the built-in one.";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    templates::environment(args.templates.as_deref())?;
    let out = args.out.as_deref().unwrap_or(&args.run);
    // Reports of the record itself are part of it: its manifest says what they are.
    let of_record = match (out.canonicalize(), args.run.canonicalize()) {
        (Ok(out), Ok(run)) if out == run => {
            RunFolder::open(&args.run)?;
            Some(RunFolder::create_or_open(&args.run)?)
        }
        _ => None,
    };
    if let (None, Some(out)) = (&of_record, &args.out) {
        refuse_run_folder(out)?;
    }
    let record = match &of_record {
        Some(_) => RunRecord::load(&args.run)?,
        None => RunRecord::load_at_rest(&args.run)?,
    };
    args.frozen.check(&record.study().name)?;
    record.check_trials()?;
    let rendered = render_record(&record, args.templates.as_deref())
        .context("the report cannot be rendered")
        .map_err(Failure::Failed)?;
    if args.frozen.wanted() {
        return args.frozen.hold_rendered(&record, &rendered);
    }
    let written = files::write(&rendered, args.format, &record.folder, out)?;
    if let Some(folder) = of_record {
        let mut manifest = record.manifest;
        // A report that is not written anew stays what it was.
        let stays = args.format != Format::Both && manifest.has_own_templates();
        let written = |name: &str| args.format.writes(name);
        manifest.note_reports(&folder, args.templates.is_some() || stays, &written)?;
        manifest.write(&folder)?;
    }
    written
        .iter()
        .try_for_each(|path| super::say(path.display()))
}

/// What lies in the folder of another run, or within that of any, is its evidence.
fn refuse_run_folder(out: &Path) -> Result<(), Failure> {
    if !is_of_run(out) {
        return place::refuse_in_run(out, "--out");
    }
    Err(Failure::Rejected(anyhow!(
        "{} is the folder of another run, whose reports are evidence; choose another place with --out",
        out.display()
    )))
}
