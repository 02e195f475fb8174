//! `verdicts.csv`: every branch in a line, short enough to be reviewed, and what differs between two of them.

use std::collections::BTreeMap;

use crate::record::RunRecord;
use crate::report::Index;
use crate::report::wording::{role, window_label};
use crate::stages::verdict::{BranchVerdict, NeuronVerdict, Threshold};
use crate::units::Horizon;

/// The columns; thresholds and predictions are cosθ, at the horizon of the verdict.
const HEADER: [&str; 8] = [
    "behavior",
    "neuron",
    "sign",
    "role",
    "window",
    "trigger",
    "ceiling",
    "predicted",
];
/// How many of them say which branch it is.
const KEY: usize = 3;

/// The table of a run, in the order of its verdicts.
pub fn table(record: &RunRecord) -> String {
    let predictions = record.sealed.predictions();
    let index = Index::new(predictions, &record.judgements, &record.verdicts);
    let headline = record.study().ceiling.headline;
    let place = (predictions.predictors.iter()).position(|p| p.predictor == headline);
    let horizon = record.study().rollout.verdict_horizon;
    let mut csv = csv::Writer::from_writer(Vec::new());
    let mut write = |row: [String; 8]| csv.write_record(row).expect("memory takes every row");
    write(HEADER.map(String::from));
    for verdict in &record.verdicts.neurons {
        for branch in &verdict.branches {
            let ceilings = index.ceilings(verdict.neuron, branch.sign);
            let predicted = place.and_then(|place| ceilings.get(place).copied().flatten());
            let predicted = predicted.map_or(String::new(), |p| coordinate(p.coordinate));
            write(row(verdict, branch, horizon, predicted));
        }
    }
    let bytes = csv.into_inner().expect("memory takes every row");
    String::from_utf8(bytes).expect("rows are text")
}

fn row(
    verdict: &NeuronVerdict,
    branch: &BranchVerdict,
    horizon: Horizon,
    predicted: String,
) -> [String; 8] {
    [
        verdict.behavior.clone(),
        verdict.neuron.to_string(),
        branch.sign.to_string(),
        role(verdict.role).into(),
        window_label(&branch.window).into(),
        branch.trigger(horizon).map_or(String::new(), threshold),
        threshold(branch.ceiling),
        predicted,
    ]
}

/// `0.5123`, or `>0.9050` where the doses ended first.
fn threshold(threshold: Threshold) -> String {
    let bound = if threshold.reached() { "" } else { ">" };
    format!("{bound}{}", coordinate(threshold.coordinate()))
}

fn coordinate(value: f64) -> String {
    format!("{value:.4}")
}

/// A branch that is not what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct BranchChange {
    /// `behavior neuron sign`.
    pub branch: String,
    /// Whether its window is another one, rather than only its numbers, or it is new or gone.
    pub verdict: bool,
    /// The largest change of a number, in cosθ.
    pub size: f64,
    /// What changed, `ceiling 0.5120 → 0.6340`.
    pub changes: Vec<String>,
}

/// Branches that differ between two tables, changed windows first, then by the size of the change. `None` when one is no such table.
pub fn changes(before: &str, now: &str) -> Option<Vec<BranchChange>> {
    let (before, now) = (read(before)?, read(now)?);
    let keys: std::collections::BTreeSet<_> = before.keys().chain(now.keys()).collect();
    let mut changes: Vec<BranchChange> = (keys.into_iter())
        .filter(|key| before.get(*key) != now.get(*key))
        .map(|key| change(key, before.get(key), now.get(key)))
        .collect();
    changes.sort_by(|a, b| {
        let sizes = b.verdict.cmp(&a.verdict).then(b.size.total_cmp(&a.size));
        sizes.then_with(|| a.branch.cmp(&b.branch))
    });
    Some(changes)
}

fn change(key: &[String], before: Option<&Vec<String>>, now: Option<&Vec<String>>) -> BranchChange {
    let branch = key.join(" ");
    let (Some(before), Some(now)) = (before, now) else {
        let word = if now.is_some() { "is new" } else { "is gone" };
        return BranchChange {
            branch,
            verdict: true,
            size: 0.0,
            changes: vec![word.into()],
        };
    };
    let cells = (HEADER[KEY..].iter()).zip(before.iter().zip(now));
    let different = cells.filter(|(_, (before, now))| before != now);
    let mut found = BranchChange {
        branch,
        verdict: false,
        size: 0.0,
        changes: Vec::new(),
    };
    for (name, (before, now)) in different {
        found.verdict |= ["role", "window"].contains(name);
        if let Some((before, now)) = number(before).zip(number(now)) {
            found.size = found.size.max((before - now).abs());
        }
        let shown = |cell: &str| if cell.is_empty() { "none" } else { cell }.to_owned();
        (found.changes).push(format!("{name} {} → {}", shown(before), shown(now)));
    }
    found
}

fn number(cell: &str) -> Option<f64> {
    cell.trim_start_matches('>').parse().ok()
}

/// Rows by what says which branch they are.
fn read(text: &str) -> Option<BTreeMap<Vec<String>, Vec<String>>> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    if *reader.headers().ok()? != HEADER[..] {
        return None;
    }
    let rows = reader.records().map(|row| {
        let cells: Vec<String> = row.ok()?.iter().map(String::from).collect();
        Some((cells[..KEY].to_vec(), cells[KEY..].to_vec()))
    });
    rows.collect()
}
