//! From a run folder to its report: no model is needed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use super::index::Index;
use super::input::{Input, SampleRollout, SampleSource};
use super::{Rendered, ReportError, Summary, samples};
use crate::monitor::Work;
use crate::record::RunRecord;
use crate::record::store::{JudgedTrial, NeuronFilter};
use crate::units::{Dose, Horizon, NeuronId};

/// Renders the report of a finished run.
///
/// # Errors
/// When a template is wrong.
pub fn render_record(record: &RunRecord, templates: Option<&Path>) -> anyhow::Result<Rendered> {
    let mut input = without_samples(record)?;
    input.samples = samples::gather(&input, &StoredSamples::new(record));
    let rendered: Result<Rendered, ReportError> = super::render(&input, templates);
    Ok(rendered?)
}

/// What a finished run says at its end, with the work that it took.
///
/// # Errors
/// When the record cannot be read.
pub fn summarize_record(record: &RunRecord, work: Work) -> anyhow::Result<Summary> {
    let input = without_samples(record)?;
    Ok(Summary::new(&input, work, record.folder.root()))
}

fn without_samples(record: &RunRecord) -> anyhow::Result<Input<'_>> {
    let manifest = &record.manifest;
    let trials = manifest.finished_evidence(&record.folder)?.trials.trials;
    Ok(Input {
        study: record.study(),
        study_hash: &manifest.study_sha256,
        spec_file: &manifest.spec.file,
        program: &manifest.program,
        seal: record.sealed.seal(),
        predictions: record.sealed.predictions(),
        judgements: &record.judgements,
        verdicts: &record.verdicts,
        index: Index::new(
            record.sealed.predictions(),
            &record.judgements,
            &record.verdicts,
        ),
        trials,
        samples: Vec::new(),
    })
}

/// A behaviour, and a neuron; none for the unsteered model.
type Wanted = (String, Option<NeuronId>);

/// Judged rollouts of a store, read neuron by neuron.
struct StoredSamples<'a> {
    record: &'a RunRecord,
    horizon: Horizon,
    read: RefCell<BTreeMap<Wanted, Vec<JudgedTrial>>>,
}

impl<'a> StoredSamples<'a> {
    fn new(record: &'a RunRecord) -> Self {
        Self {
            record,
            horizon: record.study().rollout.verdict_horizon,
            read: RefCell::default(),
        }
    }

    fn judged(&self, behavior: &str, neuron: Option<NeuronId>) -> Vec<JudgedTrial> {
        let mut found = Vec::new();
        let filter = neuron.map_or(NeuronFilter::Unsteered, NeuronFilter::Only);
        let read = self
            .record
            .store
            .for_each_judged(Some(behavior), filter, |trial| {
                found.push(trial);
                Ok::<_, crate::record::RecordError>(())
            });
        // A sample that cannot be read is left out; `verify` is where a damaged store is reported.
        if read.is_err() {
            found.clear();
        }
        found
    }
}

impl SampleSource for StoredSamples<'_> {
    fn sample(
        &self,
        behavior: &str,
        prompt_id: &str,
        steering: Option<(NeuronId, Dose)>,
    ) -> Option<SampleRollout> {
        let neuron = steering.map(|(neuron, _)| neuron);
        let mut read = self.read.borrow_mut();
        let judged = (read.entry((behavior.to_owned(), neuron)))
            .or_insert_with(|| self.judged(behavior, neuron));
        let dose = steering.map(|(_, dose)| dose);
        let found = (judged.iter())
            .find(|j| j.prompt_id == prompt_id && j.trial.steering().map(|s| s.dose) == dose)?;
        let at = found.horizons.iter().find(|h| h.horizon == self.horizon)?;
        Some(SampleRollout {
            text: found.trial.text().to_owned(),
            outcome: at.outcome.clone(),
            flipped: at.flipped,
            rule: at.rule.clone(),
            span: at.span,
        })
    }
}
