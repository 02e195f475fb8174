//! A difference written down as Markdown that reads well in a terminal too: a sentence, then a section for each part that differs.

use super::inputs::InputChange;
use super::measured::{MeasuredNeuron, OnlyInOne, Sides};
use super::predictions::{ForecastChange, PredictedChange, PredictionChanges};
use super::scores::ScoreChange;
use super::summary::{pair, threshold_name, threshold_pair};
use super::verdicts::{ClassChange, ThresholdChange, VerdictChanges};
use super::{Difference, RolloutChange};
use crate::record::by_key::KeyChange;
use crate::report::format::{NOTHING, budgets, fixed, keyword, listed, short_hash, thousands};
use crate::report::text;
use crate::report::wording::{role, window_kind, window_label};
use crate::stages::verdict::{ClassReach, FirstReach, Window};

/// How many changes are shown of each kind, where not all are asked for.
pub const FEW: usize = 10;

/// Everything that differs. At most `limit` changes of each kind are shown; all where it is absent.
pub fn markdown(difference: &Difference, limit: Option<usize>) -> String {
    let mut parts = vec![difference.conclusion.clone(), runs(difference)];
    let table = Tables { limit };
    parts.extend(verdicts(&difference.verdicts, limit));
    parts.extend(table.section("Thresholds", &THRESHOLDS, &difference.thresholds, threshold));
    parts.extend(table.section("Scoreboard", &SCORES, &difference.scoreboard, score));
    parts.extend(table.predictions(&difference.predictions));
    parts.extend(difference.rollouts.as_ref().map(rollouts));
    parts.extend(only_in_one(&difference.only_in_one, limit));
    parts.extend(table.section("Spec", &["key", "first", "second"], &difference.spec, key));
    parts.extend(table.section("Inputs", &INPUTS, &difference.inputs, input));
    parts.join("\n\n") + "\n"
}

const THRESHOLDS: [&str; 6] = [
    "behaviour",
    "neuron",
    "threshold",
    "first",
    "second",
    "moved",
];
const SCORES: [&str; 3] = ["score", "first", "second"];
const INPUTS: [&str; 4] = ["input", "first", "second", "prompts"];

/// Windows, neurons and outcome classes: a section for each of them with a change.
pub fn verdicts(changes: &VerdictChanges, limit: Option<usize>) -> Vec<String> {
    let table = Tables { limit };
    let neurons = table.section(
        "Verdicts",
        &["behaviour", "neuron", "role", "first", "second"],
        &changes.neurons,
        |c| {
            let (first, second) = (c.first.clone(), c.second.clone());
            vec![
                text::markdown(&c.behavior),
                c.neuron.to_string(),
                role(c.role).into(),
                first,
                second,
            ]
        },
    );
    let windows = table.section(
        "Windows",
        &["behaviour", "neuron", "first", "second"],
        &changes.windows,
        |c| {
            let branch = format!("{} {}", c.neuron, c.sign);
            vec![
                text::markdown(&c.behavior),
                branch,
                window(&c.first),
                window(&c.second),
            ]
        },
    );
    let head = ["behaviour", "neuron", "class", "first", "second"];
    let classes = table.section("Outcome classes", &head, &changes.classes, class);
    neurons.into_iter().chain(windows).chain(classes).collect()
}

/// Which runs are compared, and what made them where that is not the same.
fn runs(difference: &Difference) -> String {
    let (one, other) = (&difference.first, &difference.second);
    let run = |name: &str, of: &super::RunIdentity| {
        format!(
            "- {name}: {}, study {} `{}…`, seal `{}…`",
            text::markdown_code(&of.folder),
            text::markdown(&of.study),
            short_hash(&of.study_sha256),
            short_hash(&of.seal_sha256)
        )
    };
    let mut lines = format!("{}\n{}", run("first", one), run("second", other));
    if one.program != other.program {
        lines += &format!(
            "\n- made by {} and {}, which makes no difference by itself",
            text::markdown(&one.program),
            text::markdown(&other.program)
        );
    }
    lines
}

fn window(window: &Window) -> String {
    match (window_kind(window), window_label(window)) {
        (kind, label) if kind == label => kind.into(),
        (kind, label) => format!("{kind}: {label}"),
    }
}

fn class(change: &ClassChange) -> Vec<String> {
    let name = [&change.first, &change.second].into_iter().flatten().next();
    let first = |reach: Option<FirstReach>| match reach {
        Some(first) => format!("g {} at {}", budgets(first.budgets), first.horizon),
        None => "never".into(),
    };
    let worded = |reach: &Option<ClassReach>| match reach {
        Some(r) => format!(
            "seen {}, reached {}, most {}",
            first(r.seen),
            first(r.reached),
            r.most
        ),
        None => NOTHING.into(),
    };
    vec![
        text::markdown(&change.behavior),
        format!("{} {}", change.neuron, change.sign),
        name.map_or(String::new(), |reach| text::markdown(&reach.class)),
        worded(&change.first),
        worded(&change.second),
    ]
}

fn threshold(change: &ThresholdChange) -> Vec<String> {
    let (first, second) = threshold_pair(change);
    let moved = match (change.is_bound(), change.size) {
        (true, _) => "bounds only".into(),
        (_, 0.0) => "its interval only".into(),
        (_, size) => distance(size),
    };
    vec![
        text::markdown(&change.behavior),
        format!("{} {}", change.neuron, change.sign),
        threshold_name(change),
        first,
        second,
        moved,
    ]
}

/// A distance in cosθ; one that rounds to nothing by its order.
fn distance(size: f64) -> String {
    match size {
        size if size < 0.0005 => format!("{size:.0e}"),
        size => fixed(size, 3),
    }
}

fn score(change: &ScoreChange) -> Vec<String> {
    let worded = |score: &Option<super::scores::Score>| match score {
        Some(score) => score.worded(),
        None => NOTHING.into(),
    };
    let (first, second) = (worded(&change.first), worded(&change.second));
    let second = match first == second {
        true => format!("{second} (in digits that are not shown)"),
        false => second,
    };
    vec![text::markdown(&change.score), first, second]
}

fn predicted(change: &PredictedChange) -> Vec<String> {
    let (first, second) = match (change.first, change.second) {
        (Some(first), Some(second)) => pair(first, second),
        (first, second) => {
            let one = |at: Option<f64>| at.map_or("none".into(), |at| fixed(at, 3));
            (one(first), one(second))
        }
    };
    vec![
        change
            .behavior
            .as_deref()
            .map_or(NOTHING.into(), text::markdown),
        format!("{} {}", change.neuron, change.sign),
        change.predictor.clone(),
        first,
        second,
        change.size.map_or(NOTHING.into(), distance),
    ]
}

fn forecast(change: &ForecastChange) -> Vec<String> {
    let word = |open: Option<bool>| match open {
        Some(true) => "open".into(),
        Some(false) => "closed".into(),
        None => NOTHING.into(),
    };
    let (first, second) = (word(change.first), word(change.second));
    vec![
        text::markdown(&change.behavior),
        change.neuron.to_string(),
        first,
        second,
    ]
}

fn key(change: &KeyChange) -> Vec<String> {
    let (first, second) = change.worded();
    let cells = [change.key.as_str(), &first, &second];
    cells.map(text::markdown_table_code).into()
}

fn input(change: &InputChange) -> Vec<String> {
    let hash = |sha256: &Option<String>| match sha256 {
        Some(sha256) => format!("`{}…`", short_hash(sha256)),
        None => NOTHING.into(),
    };
    let name = format!("{} {}", change.kind.name(), text::markdown(&change.name));
    let (first, second) = (hash(&change.first), hash(&change.second));
    vec![
        name.trim_end().to_owned(),
        first,
        second,
        change.note.clone(),
    ]
}

fn rollouts(change: &RolloutChange) -> String {
    format!(
        "## Rollouts\n\n{} in the first run, digest `{}…`; {} in the second, `{}…`. They and their judgements are compared by these digests: which of them differ is not said.",
        thousands(change.first),
        short_hash(&change.first_sha256),
        thousands(change.second),
        short_hash(&change.second_sha256)
    )
}

fn only_in_one(only: &OnlyInOne, limit: Option<usize>) -> Option<String> {
    let measured = |n: &MeasuredNeuron| {
        let behavior = n
            .behavior
            .as_deref()
            .map(|name| format!(", {}", text::markdown(name)));
        format!(
            "{} ({}{})",
            n.neuron,
            role(n.role),
            behavior.unwrap_or_default()
        )
    };
    let lines: Vec<String> = [
        sides("behaviours", &only.behaviors, limit, |name| {
            text::markdown(name)
        }),
        sides("neurons", &only.neurons, limit, measured),
        sides("doses of the grid", &only.doses, limit, |dose| {
            format!("{} ({})", dose.magnitude, keyword(dose.unit))
        }),
        sides("branches", &only.signs, limit, |sign| sign.to_string()),
        sides("horizons", &only.horizons, limit, |horizon| {
            horizon.to_string()
        }),
    ]
    .concat();
    (!lines.is_empty()).then(|| format!("## Only in one of the runs\n\n{}", lines.join("\n")))
}

/// One line for each run that has something of its own.
fn sides<T>(
    noun: &str,
    sides: &Sides<T>,
    limit: Option<usize>,
    shown: impl Fn(&T) -> String,
) -> Vec<String> {
    let line = |run: &str, items: &[T]| {
        let few = items.iter().take(limit.unwrap_or(usize::MAX));
        let mut words: Vec<String> = few.map(&shown).collect();
        words.extend(more(items.len(), limit));
        (!items.is_empty()).then(|| format!("- {noun}, only in the {run}: {}", listed(&words)))
    };
    let lines = [line("first", &sides.first), line("second", &sides.second)];
    lines.into_iter().flatten().collect()
}

/// What is left to say when a list is cut off.
fn more(count: usize, limit: Option<usize>) -> Option<String> {
    let rest = count.checked_sub(limit?).filter(|rest| *rest > 0)?;
    Some(format!("{} more", thousands(rest)))
}

/// Writes tables that are cut off.
struct Tables {
    limit: Option<usize>,
}

impl Tables {
    /// A heading with a table; nothing without changes.
    fn section<T>(
        &self,
        title: &str,
        head: &[&str],
        changes: &[T],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Option<String> {
        let table = self.table(head, changes, row)?;
        Some(format!("## {title}\n\n{table}"))
    }

    fn predictions(&self, changes: &PredictionChanges) -> Option<String> {
        let head = [
            "behaviour",
            "neuron",
            "predictor",
            "first",
            "second",
            "moved",
        ];
        let forecasts = ["behaviour", "neuron", "first", "second"];
        let numbers = ["number", "first", "second"];
        // The same under every behaviour.
        let of_any = |change: &PredictedChange| predicted(change).split_off(1);
        let parts = [
            self.titled("Ceilings", &head[1..], &changes.ceilings, of_any),
            self.titled("Triggers", &head, &changes.triggers, predicted),
            self.titled("Forecasts", &forecasts, &changes.forecasts, forecast),
            self.titled("Fitted numbers", &numbers, &changes.fitted, key),
            (!changes.foundations.is_empty()).then(|| {
                let parts = listed(&changes.foundations);
                format!("Not the same in what predictions rest on: {parts}.")
            }),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| format!("## Predictions\n\n{}", parts.join("\n\n")))
    }

    /// A line with a table below it.
    fn titled<T>(
        &self,
        title: &str,
        head: &[&str],
        changes: &[T],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Option<String> {
        let table = self.table(head, changes, row)?;
        Some(format!("{title}:\n\n{table}"))
    }

    fn table<T>(
        &self,
        head: &[&str],
        changes: &[T],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Option<String> {
        let few = changes.iter().take(self.limit.unwrap_or(usize::MAX));
        let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(head).chain(few.map(row)).collect();
        let mut table = aligned(&rows);
        if let Some(more) = more(changes.len(), self.limit) {
            table += &format!("\n\nand {more} (`--all` shows every one)");
        }
        (!changes.is_empty()).then_some(table)
    }
}

/// Rows as a Markdown table whose columns stand below each other.
fn aligned(rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
            .max(3)
    };
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"));
        format!("| {} |", cells.collect::<Vec<_>>().join(" | "))
    };
    let rule = widths.iter().map(|&width| "-".repeat(width)).collect();
    let mut lines: Vec<String> = rows.iter().map(line).collect();
    lines.insert(1, line(&rule));
    lines.join("\n")
}
