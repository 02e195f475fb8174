//! What a study gives now beside what was committed, in words.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use similar::TextDiff;

use super::branches::{self, BranchChange};
use super::{BRANCHES, Committed, FACTS, Facts};
use crate::report::format::counted;
use crate::report::text::{clip, visible};

/// Most branches that are told.
const MOST_BRANCHES: usize = 12;
/// Most lines of the report's difference that are shown.
const MOST_LINES: usize = 60;
/// Longest line of it, in characters.
const LONGEST_LINE: usize = 160;

/// One thing that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What: `study`, `verdicts`, or the name of a file.
    pub what: String,
    /// How, in one line.
    pub summary: String,
    /// Lines that show it.
    pub details: Vec<String>,
}

impl Difference {
    fn new(what: impl Into<String>, summary: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            summary: summary.into(),
            details: Vec::new(),
        }
    }
}

/// What differs, from cause to effect: study, model, prompts, seal, trials, verdicts, reports, figures. Empty when every byte is the same.
pub fn differences(committed: &Committed, now: &Committed) -> Vec<Difference> {
    let mut found = Vec::new();
    if let Some(now) = now.facts()
        && committed.text(FACTS) != self::text(&now)
    {
        match committed.facts() {
            Some(before) => found.extend(facts(&before, &now)),
            None => found.push(Difference::new(FACTS, "is missing or cannot be read")),
        }
    }
    found.extend(verdicts(committed, now));
    for name in ["report.md", "report.html"] {
        found.extend(file(committed, now, name));
    }
    found.extend(figures(committed, now));
    // Whatever else there is, such as white space in the JSON.
    for name in [FACTS, BRANCHES] {
        if found.is_empty() {
            found.extend(file(committed, now, name));
        }
    }
    found
}

fn text(facts: &Facts) -> Option<String> {
    Some(crate::record::layout::render(facts))
}

fn facts(before: &Facts, now: &Facts) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut hash = |what: &str, before: &str, now: &str, meaning: &str| {
        if before != now {
            let summary = format!("{} → {}: {meaning}", short(before), short(now));
            found.push(Difference::new(what, summary));
        }
    };
    hash(
        "study",
        &before.study_sha256,
        &now.study_sha256,
        "the spec, its defaults, prompts or model are not those that were committed",
    );
    for (what, before, now) in [
        ("model", &before.model, &now.model),
        ("prompts", &before.prompts, &now.prompts),
    ] {
        for name in names(before, now) {
            let side = |hashes: &BTreeMap<String, String>| hashes.get(name).cloned();
            let (before, now) = (side(before), side(now));
            let shown = |hash: &Option<String>| hash.clone().unwrap_or_else(|| "none".into());
            hash(
                &format!("{what} {}", visible(name)),
                &shown(&before),
                &shown(&now),
                "its content is another one",
            );
        }
    }
    hash(
        "seal",
        &before.seal,
        &now.seal,
        "the predictions are others",
    );
    hash(
        "trials",
        &before.trials.sha256,
        &now.trials.sha256,
        &match (before.trials.trials, now.trials.trials) {
            (before, now) if before == now => {
                format!("of {}, some say something else", counted(now, "trial"))
            }
            (before, now) => format!("{} were {before}", counted(now, "trial")),
        },
    );
    hash(
        "verdicts.json",
        &before.verdicts_sha256,
        &now.verdicts_sha256,
        "curves, thresholds, windows or scores are others",
    );
    found
}

fn names<'a>(
    one: &'a BTreeMap<String, String>,
    two: &'a BTreeMap<String, String>,
) -> BTreeSet<&'a String> {
    one.keys().chain(two.keys()).collect()
}

fn short(hash: &str) -> String {
    match clip(hash, 12) {
        (start, 0) => visible(&start),
        (start, _) => format!("{}…", visible(&start)),
    }
}

/// Branches that are not what they were.
fn verdicts(committed: &Committed, now: &Committed) -> Option<Difference> {
    let after = now.text(BRANCHES)?;
    let Some(before) = committed.text(BRANCHES) else {
        return Some(Difference::new(BRANCHES, "is missing"));
    };
    let Some(changes) = branches::changes(&unix(&before), &after) else {
        return Some(Difference::new(BRANCHES, "cannot be read"));
    };
    let windows = changes.iter().filter(|change| change.verdict).count();
    let total = after.lines().count().saturating_sub(1);
    let summary = format!(
        "{} of {total} branches changed, {windows} of them in their window",
        changes.len()
    );
    (!changes.is_empty()).then(|| Difference {
        details: told(changes.iter().map(line), MOST_BRANCHES, "more"),
        ..Difference::new("verdicts", summary)
    })
}

fn line(change: &BranchChange) -> String {
    visible(&format!("{}: {}", change.branch, change.changes.join(", ")))
}

/// A file, with the lines that differ where people read it.
fn file(committed: &Committed, now: &Committed, name: &str) -> Option<Difference> {
    let after = now.text(name)?;
    let Some(before) = committed.text(name) else {
        return Some(Difference::new(name, "is missing"));
    };
    if before == after {
        return None;
    }
    if unix(&before) == after {
        let summary = "differs only in its line ends: git has changed them; write `reports/** -text` into .gitattributes";
        return Some(Difference::new(name, summary));
    }
    if name.ends_with(".html") {
        return Some(Difference::new(name, "differs"));
    }
    let diff = TextDiff::from_lines(&before, &after);
    let mut unified = String::new();
    let _ = write!(unified, "{}", diff.unified_diff().context_radius(0));
    let lines = unified.lines().filter(|line| !line.starts_with("@@"));
    let count = lines.clone().count();
    let details = told(lines.map(shown), MOST_LINES, "more lines");
    Some(Difference {
        details,
        ..Difference::new(name, format!("differs in {}", counted(count, "line")))
    })
}

fn shown(line: &str) -> String {
    match clip(line, LONGEST_LINE) {
        (all, 0) => visible(&all),
        (start, _) => visible(&start) + " …",
    }
}

fn figures(committed: &Committed, now: &Committed) -> Option<Difference> {
    let drawn = |name: &String| name.starts_with("figures/");
    let all: BTreeSet<&String> = (committed.0.keys().chain(now.0.keys()))
        .filter(|name| drawn(name))
        .collect();
    let different: Vec<String> = (all.into_iter())
        .filter_map(|name| match (committed.0.get(name), now.0.get(name)) {
            (Some(before), Some(now)) if before == now => None,
            (Some(_), Some(_)) => Some(name.clone()),
            (None, _) => Some(format!("{name} is missing")),
            (_, None) => Some(format!("{name} is drawn no more")),
        })
        .collect();
    (!different.is_empty()).then(|| Difference {
        details: told(
            different.iter().map(|name| visible(name)),
            MOST_BRANCHES,
            "more",
        ),
        ..Difference::new(
            "figures",
            format!("{} differ", counted(different.len(), "figure")),
        )
    })
}

/// The first lines, and how many more there are.
fn told(lines: impl Iterator<Item = String>, most: usize, more: &str) -> Vec<String> {
    let mut all: Vec<String> = lines.collect();
    if all.len() > most {
        let rest = all.len() - most;
        all.truncate(most);
        all.push(format!("and {rest} {more}"));
    }
    all
}

/// Text with line ends as we write them.
fn unix(text: &str) -> String {
    text.replace("\r\n", "\n")
}
