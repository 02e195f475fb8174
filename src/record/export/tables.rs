//! The tables that stand in JSON files of the record.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use super::ExportError;
use super::row::{Fields, Row, Sink};
use crate::record::run_record::RunRecord;
use crate::spec::neurons::Role;
use crate::stages::verdict::{BranchVerdict, NeuronVerdict, Threshold, ThresholdInterval, Window};
use crate::units::{NeuronId, Sign};

/// The role of every neuron of the study.
pub fn roles(record: &RunRecord) -> BTreeMap<NeuronId, Role> {
    let groups = &record.sealed.predictions().screening.groups;
    groups
        .iter()
        .flat_map(|group| group.neurons.iter().map(|&n| (n, group.role)))
        .collect()
}

/// Writes one row per neuron.
pub fn write_calibration<W: Write>(
    record: &RunRecord,
    sink: &mut Sink<'_, W>,
) -> Result<(), ExportError> {
    let calibration = &record.sealed.predictions().calibration;
    let roles = roles(record);
    let multiples: BTreeMap<(NeuronId, Sign), Option<f64>> = calibration
        .ceilings()
        .map(|branch| ((branch.neuron, branch.sign), branch.ceiling))
        .collect();
    let multiple = |neuron, sign| json!(multiples.get(&(neuron, sign)).copied().flatten());
    for entry in &calibration.neurons {
        let layer = calibration
            .layers
            .iter()
            .find(|l| l.layer == entry.neuron.layer);
        sink.write(&plain(vec![
            ("study", json!(record.study().name)),
            ("layer", json!(entry.neuron.layer)),
            ("neuron", json!(entry.neuron.index)),
            ("role", json!(roles.get(&entry.neuron))),
            ("residual_norm", json!(layer.map(|l| l.residual_norm))),
            ("leading_share", json!(layer.map(|l| l.leading_share))),
            (
                "participation_ratio",
                json!(layer.map(|l| l.participation_ratio)),
            ),
            ("write_norm", json!(entry.write_norm)),
            ("budget", json!(entry.budget)),
            ("c0", json!(entry.c0)),
            (
                "collapse_multiple_positive",
                multiple(entry.neuron, Sign::Positive),
            ),
            (
                "collapse_multiple_negative",
                multiple(entry.neuron, Sign::Negative),
            ),
        ]))?;
    }
    Ok(())
}

/// Writes one row per neuron, branch and predictor.
pub fn write_predictions<W: Write>(
    record: &RunRecord,
    sink: &mut Sink<'_, W>,
) -> Result<(), ExportError> {
    let sealed = record.sealed.predictions();
    let roles = roles(record);
    for ceiling in &sealed.ceilings {
        for (fitted, estimate) in sealed.predictors.iter().zip(&ceiling.by) {
            sink.write(&plain(vec![
                ("study", json!(record.study().name)),
                ("layer", json!(ceiling.neuron.layer)),
                ("neuron", json!(ceiling.neuron.index)),
                ("role", json!(roles.get(&ceiling.neuron))),
                ("sign", json!(ceiling.sign)),
                ("predictor", json!(fitted.predictor)),
                ("parameter", json!(fitted.parameter)),
                ("ceiling_budgets", json!(estimate.and_then(|e| e.multiple))),
                ("ceiling_cos", json!(estimate.map(|e| e.coordinate))),
                (
                    "ceiling_cos_low",
                    json!(estimate.and_then(|e| Some(e.interval?.low))),
                ),
                (
                    "ceiling_cos_high",
                    json!(estimate.and_then(|e| Some(e.interval?.high))),
                ),
                ("seal", json!(record.sealed.seal().sha256)),
                ("sealed_at", json!(record.sealed.seal().sealed_at)),
            ]))?;
        }
    }
    Ok(())
}

/// Writes one row per behaviour, neuron and branch.
pub fn write_verdicts<W: Write>(
    record: &RunRecord,
    sink: &mut Sink<'_, W>,
) -> Result<(), ExportError> {
    let forecasts = &record.sealed.predictions().forecasts;
    let forecasts: BTreeMap<(NeuronId, &str), Option<bool>> = forecasts
        .iter()
        .map(|f| ((f.neuron, f.behavior.as_str()), f.open))
        .collect();
    for verdict in &record.verdicts.neurons {
        let forecast = forecasts
            .get(&(verdict.neuron, verdict.behavior.as_str()))
            .copied()
            .flatten();
        for branch in &verdict.branches {
            sink.write(&verdict_row(
                &record.study().name,
                verdict,
                forecast,
                branch,
            ))?;
        }
    }
    Ok(())
}

fn verdict_row(
    study: &str,
    verdict: &NeuronVerdict,
    forecast: Option<bool>,
    branch: &BranchVerdict,
) -> Row {
    let (window, reason, evidence) = match &branch.window {
        Window::Open => ("open", Value::Null, Value::Null),
        Window::Undecided { evidence } => ("undecided", Value::Null, json!(evidence)),
        Window::Closed { reason, evidence } => ("closed", json!(reason), json!(evidence)),
        Window::Censored { evidence } => ("censored", Value::Null, json!(evidence)),
    };
    let [reached, budgets, cos] = threshold(branch.ceiling);
    let [low, high] = ends(branch.ceiling_interval);
    let fields = vec![
        ("study", json!(study)),
        ("behavior", json!(verdict.behavior)),
        ("layer", json!(verdict.neuron.layer)),
        ("neuron", json!(verdict.neuron.index)),
        ("role", json!(verdict.role)),
        ("open", json!(verdict.open)),
        ("forecast_open", json!(forecast)),
        ("sign", json!(branch.sign)),
        ("window", json!(window)),
        ("reason", reason),
        ("evidence", evidence),
        ("ceiling_reached", reached),
        ("ceiling_budgets", budgets),
        ("ceiling_cos", cos),
        ("ceiling_cos_low", low),
        ("ceiling_cos_high", high),
    ];
    let triggers = branch.triggers.iter().map(|at| {
        let [reached, budgets, cos] = threshold(at.trigger);
        let [low, high] = ends(at.interval);
        let fields = vec![
            ("trigger_reached", reached),
            ("trigger_budgets", budgets),
            ("trigger_cos", cos),
            ("trigger_cos_low", low),
            ("trigger_cos_high", high),
        ];
        (at.horizon, Fields(fields))
    });
    Row {
        fields: Fields(fields),
        horizons: Some(triggers.collect()),
    }
}

/// Whether a threshold was reached, and the dose at which it was, or the largest that was tried.
fn threshold(threshold: Threshold) -> [Value; 3] {
    match threshold {
        Threshold::At {
            budgets,
            coordinate,
        } => [json!(true), json!(budgets), json!(coordinate)],
        Threshold::Above {
            budgets,
            coordinate,
        } => [json!(false), json!(budgets), json!(coordinate)],
    }
}

/// The ends of an interval as coordinates; null where one lies beyond the doses, or there is no interval.
fn ends(interval: Option<ThresholdInterval>) -> [Value; 2] {
    let end = |end: Threshold| json!(end.reached().then(|| end.coordinate()));
    interval.map_or([Value::Null, Value::Null], |interval| {
        [end(interval.low), end(interval.high)]
    })
}

fn plain(fields: Vec<(&'static str, Value)>) -> Row {
    Row {
        fields: Fields(fields),
        horizons: None,
    }
}
