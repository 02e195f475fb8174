//! A run from beginning to end: the stages in order, each result put where the record keeps it.

#[cfg(test)]
mod load;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::events::{self, Event, Listener, Stage};
use crate::model::LanguageModel;
use crate::monitor::{Expected, Monitor, Reached};
use crate::record::manifest::{PROGRAM, Written};
use crate::record::reading::record_sha256;
use crate::record::run_record::refuse_remains;
use crate::record::store::TrialStore;
use crate::record::{Continuation, Manifest, RecordError, RunFolder, RunRecord, clock, run_record};
use crate::report::Summary;
use crate::report::files::{self, Format};
use crate::report::from_record::{render_record, summarize_record};
use crate::spec::neurons::Role;
use crate::stages::judge::Judgements;
use crate::stages::predict::{Predictions, Seal, SealedPredictions};
use crate::stages::{calibrate, judge, predict, residual_stream, screen, sweep, verdict};
use crate::stop::{Stop, Stopped};
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
    /// Stop, with everything kept, before any held-out or control neuron is steered.
    pub until: Option<Until>,
    /// Asks the run to stop between two steps. The model, whose steps are the longest, has a request of its own:
    /// [`LanguageModel::stop_on`], with a clone of this one.
    pub stop: Stop,
}

/// Where a run may stop of its own accord; the same run without it goes on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Until {
    /// When the predictions are sealed: so that the seal can be published before the sweep.
    Seal,
}

/// How far a run came.
#[derive(Debug)]
pub enum Outcome {
    /// It stopped behind this seal, as it was asked to.
    Sealed(Seal),
    /// It came to its end.
    Finished(Box<Summary>),
}

/// A run folder that is ready for its study.
pub struct OpenRun {
    folder: RunFolder,
    manifest: Manifest,
    /// The manifest in the folder while it says that the run has finished: it does until something else is about to be written.
    finished: Option<Manifest>,
    notes: Vec<String>,
}

impl OpenRun {
    /// Something more that a person should know when the run begins.
    pub fn note(&mut self, notes: impl Iterator<Item = String>) {
        self.notes.extend(notes);
    }
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
    let mut finished = None;
    let manifest = match Manifest::load(&folder)? {
        None => {
            folder.refuse_without_manifest()?;
            Manifest::new(study, written, options.threads)
        }
        Some(earlier) => {
            check_evidence(&earlier, &folder)?;
            match earlier.compare(study) {
                Continuation::Same => {
                    finished = earlier.evidence.is_some().then(|| earlier.clone())
                }
                Continuation::Extends(changes) => {
                    notes.extend(changes.into_iter().map(|change| {
                        format!("changed since the earlier run, whose rollouts are kept: {change}")
                    }));
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
    if finished.is_none() {
        manifest.write(&folder)?;
    }
    Ok(OpenRun {
        folder,
        manifest,
        finished,
        notes,
    })
}

/// A finished run is gone on with only if its files and trials are still those it ended with; a sealed one only with the trials that its
/// predictions come from.
fn check_evidence(manifest: &Manifest, folder: &RunFolder) -> Result<(), RecordError> {
    let Some(evidence) = &manifest.evidence else {
        return refuse_lost_trials(folder);
    };
    manifest.check_files(folder)?;
    refuse_remains(folder)?;
    let path = folder.trials();
    let store = TrialStore::open_read_only(&path)?;
    let bytes = evidence.files.get(&folder.name_of(&path));
    if store.check()? == evidence.trials && bytes == Some(&record_sha256(&path)?) {
        return Ok(());
    }
    let problem = "the trials and judgements are not those that the run ended with; restore the file, or start anew with `--fresh`";
    Err(RecordError::integrity(&folder.trials(), problem))
}

/// Predictions are sealed after the rollouts that they come from were committed.
fn refuse_lost_trials(folder: &RunFolder) -> Result<(), RecordError> {
    let trials = folder.trials();
    let lost = std::fs::metadata(&trials).map_or(true, |file| file.len() == 0);
    if !lost || !folder.predictions().exists() {
        return Ok(());
    }
    let problem = "the trials that the sealed predictions come from are gone; restore the file from a copy, or start anew with `--fresh`";
    Err(RecordError::integrity(&trials, problem))
}

/// Runs every stage, or what is left of them, and writes the reports.
///
/// # Errors
/// [`Interrupted`] when the run was asked to stop; else when the model or the record fails. What was finished by then is kept.
pub fn run(
    study: &Study,
    model: &dyn LanguageModel,
    open: OpenRun,
    options: &Options,
    listener: &mut dyn Listener,
) -> anyhow::Result<Outcome> {
    let store = TrialStore::open_or_create(&open.folder.trials())?;
    let stored = store.count()?;
    listener.on(&Event::RunBegun {
        format: events::FORMAT,
        at: clock::now(),
        program: PROGRAM.into(),
        study: study.name.clone(),
        study_sha256: open.manifest.study_sha256.clone(),
        folder: open.folder.root().display().to_string(),
        resumed: open.manifest.environment.started_at.len() > 1,
        stored,
    });
    for text in &open.notes {
        listener.on(&Event::Note { text: text.clone() });
    }
    let expected = Expected::of(study);
    let mut monitor = Monitor::new(listener, options.stop.clone(), expected, stored);
    let result = stages(study, model, open, store, options, &mut monitor);
    result.map_err(|error| match Stopped::is_cause_of(&error) {
        true => Interrupted(monitor.reached()).into(),
        false => error,
    })
}

/// A run that stopped because it was asked to.
#[derive(Debug, thiserror::Error)]
#[error("the run was stopped; what it had finished is kept")]
pub struct Interrupted(pub Reached);

fn stages(
    study: &Study,
    model: &dyn LanguageModel,
    open: OpenRun,
    mut store: TrialStore,
    options: &Options,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<Outcome> {
    let OpenRun {
        folder,
        mut manifest,
        finished,
        ..
    } = open;
    monitor.begin(Stage::Residuals)?;
    let residuals = residual_stream::read_residual_stream(study, model)?;
    monitor.begin(Stage::Screen)?;
    let screening = screen::screen(study, &residuals, model)?;
    monitor.begin(Stage::Calibrate)?;
    let calibration =
        calibrate::calibrate(study, &residuals, &screening, model, &mut store, monitor)?;
    monitor.begin(Stage::Predict)?;
    let predictions = predict::predict(study, screening, calibration);
    let trials_before = steered_before(&predictions, &store)?;
    let sealed = predictions.seal(&folder, trials_before)?;
    monitor.tell(&event_of(sealed.seal()));
    if options.until == Some(Until::Seal) {
        monitor.end();
        return Ok(Outcome::Sealed(sealed.seal().clone()));
    }
    monitor.begin(Stage::Sweep)?;
    sweep::sweep(study, &sealed, model, &mut store, monitor)?;
    monitor.begin(Stage::Judge)?;
    if let Some(earlier) = finished {
        if earlier.is_made_like(&manifest) {
            // The same program judges the same trials alike: the record stays as it is.
            monitor.begin(Stage::Verdict)?;
            drop(store);
            let summary = write_report(folder, earlier, options, monitor)?;
            return Ok(Outcome::Finished(Box::new(summary)));
        }
        manifest.write(&folder)?;
    }
    let judgements = judge_all(study, &sealed, model, &store, monitor)?;
    monitor.begin(Stage::Verdict)?;
    let verdicts = verdict::verdict(study, &sealed, &judgements);
    run_record::write_verdicts(&folder, &judgements, &verdicts)?;
    let digest = store.check()?;
    drop(store);
    monitor.check()?;
    manifest.finish(&folder, digest, monitor.work().seconds)?;
    manifest.write(&folder)?;
    // From here on the run is as good as done, and a request to stop comes too late.
    monitor.end();
    let summary = write_report(folder, manifest, options, monitor)?;
    Ok(Outcome::Finished(Box::new(summary)))
}

fn event_of(seal: &Seal) -> Event {
    Event::Sealed {
        seal: seal.sha256.clone(),
        at: seal.sealed_at.clone(),
        trials_before: seal.trials_before,
    }
}

/// Judges every rollout, and replaces the judgements of the store.
fn judge_all(
    study: &Study,
    sealed: &SealedPredictions,
    model: &dyn LanguageModel,
    store: &TrialStore,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<Judgements> {
    let horizons = study.rollout.horizons.len();
    monitor.judging(judge::rollouts(study, sealed).map(|rollouts| rollouts * horizons));
    let mut kept = store.replace_judgements()?;
    let judgements = judge::judge(study, sealed, model, store, &mut |judgement| {
        monitor.judged()?;
        Ok(kept.push(judgement)?)
    })?;
    kept.finish()?;
    Ok(judgements)
}

/// Renders the reports of a run that has just finished, and sums it up.
fn write_report(
    folder: RunFolder,
    mut manifest: Manifest,
    options: &Options,
    monitor: &mut Monitor<'_>,
) -> anyhow::Result<Summary> {
    monitor.begin_last(Stage::Report);
    let templates = options.templates.as_deref();
    let record = RunRecord::load(folder.root())?;
    let rendered = render_record(&record, templates).context("the report cannot be rendered")?;
    files::write(&rendered, Format::Both, &folder, folder.root())?;
    manifest.note_reports(&folder, templates.is_some(), &|_| true)?;
    manifest.write(&folder)?;
    monitor.end();
    let summary = summarize_record(&record, monitor.work())?;
    monitor.tell(&Event::RunFinished(summary.finished.clone()));
    Ok(summary)
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
