//! A run from beginning to end: the stages in order, each result put where the record keeps it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context;

use crate::events::{Event, Listener, Stage};
use crate::model::LanguageModel;
use crate::record::manifest::Written;
use crate::record::store::TrialStore;
use crate::record::{Continuation, Manifest, RecordError, RunFolder, RunRecord, run_record};
use crate::report::files::{self, Format};
use crate::report::from_record::render_record;
use crate::report::view::{forecasts, scoreboard};
use crate::report::wording::neuron_label;
use crate::spec::neurons::Role;
use crate::stages::predict::{Predictions, SealedPredictions};
use crate::stages::verdict::{NeuronVerdict, Verdicts};
use crate::stages::{calibrate, judge, predict, residual_stream, screen, sweep, verdict};
use crate::study::Study;
use crate::units::NeuronId;

/// How a run is made; none of it changes a result.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Begin anew, with what an earlier run left set aside.
    pub fresh: bool,
    /// Number of threads, for the manifest.
    pub threads: usize,
    /// Folder with templates that replace built-in ones.
    pub templates: Option<PathBuf>,
}

/// A run folder that is ready for its study.
pub struct OpenRun {
    folder: RunFolder,
    manifest: Manifest,
    notes: Vec<String>,
}

/// Why a run folder cannot be used for a study.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The folder's record answers another question.
    #[error(
        "the run in {folder} was made from another study; what has changed:\n  {changes}\nStart anew with `--fresh` (the old record is set aside), or choose another folder with `--out`",
        folder = folder.display(),
        changes = changes.join("\n  ")
    )]
    Changed {
        /// The run folder.
        folder: PathBuf,
        /// Each difference in words.
        changes: Vec<String>,
    },
    /// The folder cannot be used.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// Opens the run folder of a study, and decides whether an earlier run goes on.
///
/// # Errors
/// When the folder holds the run of another study, is in use, or cannot be written.
pub fn open(
    root: &Path,
    study: &Study,
    written: &Written<'_>,
    options: &Options,
) -> Result<OpenRun, OpenError> {
    let folder = RunFolder::create_or_open(root)?;
    let mut notes = Vec::new();
    if let Some(holder) = folder.left_by() {
        notes.push(format!(
            "process {} was killed while it wrote to {}; its run goes on",
            holder.pid,
            root.display()
        ));
    }
    if options.fresh
        && let Some(aside) = folder.set_record_aside()?
    {
        notes.push(format!(
            "the earlier record was set aside in {}",
            aside.display()
        ));
    }
    let manifest = match Manifest::load(&folder)? {
        None => Manifest::new(study, written, options.threads),
        Some(earlier) => {
            check_evidence(&earlier, &folder)?;
            match earlier.compare(study) {
                Continuation::Same => {}
                Continuation::Extends(changes) => {
                    notes.extend(
                        changes
                            .into_iter()
                            .map(|change| format!("the earlier run is extended: {change}")),
                    );
                }
                Continuation::Changed(changes) => {
                    return Err(OpenError::Changed {
                        folder: root.to_owned(),
                        changes,
                    });
                }
            }
            earlier.continued(study, written, options.threads)
        }
    };
    manifest.write(&folder)?;
    Ok(OpenRun {
        folder,
        manifest,
        notes,
    })
}

/// A finished run is gone on with only if its files and trials are still those it ended with.
fn check_evidence(manifest: &Manifest, folder: &RunFolder) -> Result<(), RecordError> {
    let Some(evidence) = &manifest.evidence else {
        return Ok(());
    };
    manifest.check_files(folder)?;
    let store = TrialStore::open_read_only(&folder.trials())?;
    if store.check()? == evidence.trials {
        return Ok(());
    }
    let problem = "the trials and judgements are not those that the run ended with; restore the file, or start anew with `--fresh`";
    Err(RecordError::integrity(&folder.trials(), problem))
}

/// Runs every stage, or what is left of them, and writes the reports.
///
/// # Errors
/// When the model or the record fails; what was finished by then is kept.
pub fn run(
    study: &Study,
    model: &dyn LanguageModel,
    open: OpenRun,
    options: &Options,
    listener: &mut dyn Listener,
) -> anyhow::Result<Summary> {
    let started = Instant::now();
    let OpenRun {
        folder,
        mut manifest,
        notes,
    } = open;
    for text in notes {
        listener.on(&Event::Note { text });
    }
    let mut store = TrialStore::open_or_create(&folder.trials())?;
    let stage = |listener: &mut dyn Listener, stage| listener.on(&Event::Stage { stage });

    stage(listener, Stage::Residuals);
    let residuals = residual_stream::read_residual_stream(study, model)?;
    stage(listener, Stage::Screen);
    let screening = screen::screen(study, &residuals, model)?;
    stage(listener, Stage::Calibrate);
    let calibration =
        calibrate::calibrate(study, &residuals, &screening, model, &mut store, listener)?;
    stage(listener, Stage::Predict);
    let predictions = predict::predict(study, screening, calibration);
    let trials_before = steered_before(&predictions, &store)?;
    let sealed = predictions.seal(&folder, trials_before)?;
    stage(listener, Stage::Sweep);
    sweep::sweep(study, &sealed, model, &mut store, listener)?;
    stage(listener, Stage::Judge);
    let mut kept = store.replace_judgements()?;
    let judgements = judge::judge(study, &sealed, model, &store, &mut |judgement| {
        Ok(kept.push(judgement)?)
    })?;
    kept.finish()?;
    stage(listener, Stage::Verdict);
    let verdicts = verdict::verdict(study, &sealed, &judgements);
    run_record::write_verdicts(&folder, &judgements, &verdicts)?;
    let digest = store.check()?;
    drop(store);
    manifest.finish(&folder, digest, started.elapsed().as_secs_f64())?;
    manifest.write(&folder)?;
    stage(listener, Stage::Report);
    let templates = options.templates.as_deref();
    write_report(folder.root(), &folder, templates)?;
    manifest.note_reports(&folder, templates.is_some())?;
    manifest.write(&folder)?;
    Ok(Summary::new(folder.root(), study, &sealed, &verdicts))
}

/// Renders the reports of a finished run into a folder that is open for writing.
fn write_report(root: &Path, folder: &RunFolder, templates: Option<&Path>) -> anyhow::Result<()> {
    let record = RunRecord::load(root)?;
    let rendered = render_record(&record, templates).context("the report cannot be rendered")?;
    files::write(&rendered, Format::Both, folder, root)?;
    Ok(())
}

/// Steered trials of held-out and control neurons that are in the store before the predictions are sealed.
fn steered_before(predictions: &Predictions, store: &TrialStore) -> Result<usize, RecordError> {
    let calibration: BTreeSet<NeuronId> = (predictions.screening.groups.iter())
        .filter(|group| group.role == Role::Calibration)
        .flat_map(|group| group.neurons.iter().copied())
        .collect();
    let counts = store.steered_counts()?;
    Ok((counts.into_iter())
        .filter(|(neuron, _)| !calibration.contains(neuron))
        .map(|(_, count)| count)
        .sum())
}

/// What a person wants to know at the end of a run.
pub struct Summary(String);

impl Summary {
    fn new(root: &Path, study: &Study, sealed: &SealedPredictions, verdicts: &Verdicts) -> Self {
        let behaviors = study.behaviors.iter();
        let mut lines: Vec<String> = behaviors.map(|b| windows(&b.name, verdicts)).collect();
        lines.extend(ceilings(verdicts));
        lines.extend(forecast(verdicts));
        lines.push(format!("seal: {}", sealed.seal().sha256));
        lines.push(format!("report: {}", root.join("report.html").display()));
        Self(lines.join("\n"))
    }
}

/// Held-out neurons of a behaviour by what is known of them.
fn windows(behavior: &str, verdicts: &Verdicts) -> String {
    let held_out: Vec<&NeuronVerdict> = (verdicts.neurons.iter())
        .filter(|n| n.behavior == behavior && n.role == Role::HeldOut)
        .collect();
    let count = |label: &str| held_out.iter().filter(|n| neuron_label(n) == label).count();
    let mut line = format!(
        "{behavior}: {} of {} held-out neurons open",
        count("open"),
        held_out.len()
    );
    for label in ["undecided", "censored"] {
        match count(label) {
            0 => {}
            unknown => line += &format!(", {unknown} {label}"),
        }
    }
    line
}

/// One line per predictor that could be compared; the one that is off by least is flagged.
fn ceilings(verdicts: &Verdicts) -> Vec<String> {
    let scores = &verdicts.scoreboard.ceilings;
    let best = scoreboard::best(scores).map(|score| score.predictor);
    let compared = scores
        .iter()
        .filter_map(|score| Some((score.predictor, score.overall?)));
    compared
        .map(|(predictor, overall)| {
            let flag = if scores.len() > 1 && best == Some(predictor) {
                " (best)"
            } else {
                ""
            };
            format!(
                "ceiling by {}{flag}: mean absolute error {:.3} in cosθ over {} branches",
                predictor.name(),
                overall.mean_absolute_error,
                overall.branches
            )
        })
        .collect()
}

/// The sealed forecast against always giving the commoner answer.
fn forecast(verdicts: &Verdicts) -> Option<String> {
    let all = forecasts::of_all(&verdicts.scoreboard.forecasts).filter(|all| all.scored > 0)?;
    Some(format!(
        "open/closed forecast: right for {} of {}; the commoner answer for {}: {}",
        all.right,
        all.scored,
        all.majority,
        forecasts::conclusion(all)
    ))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
