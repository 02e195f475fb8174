//! What a person wants to know at the end of a run, in ten lines at most.

use std::fmt;
use std::path::Path;

use super::finding::finding;
use super::format::{counted, thousands};
use super::input::Input;
use super::text::{label, shell_path};
use super::view::answer::cautions;
use super::view::{forecasts, scoreboard};
use super::wording::neuron_label;
use crate::events::{BehaviorCounts, Finished};
use crate::monitor::Work;
use crate::spec::neurons::Role;
use crate::stages::verdict::{NeuronVerdict, Verdicts};
use crate::units::duration;

/// Most lines of a summary.
const LINES: usize = 10;

/// The end of a run: lines for a person, and the same for a program.
#[derive(Clone, Debug)]
pub struct Summary {
    /// For a program.
    pub finished: Finished,
    lines: Vec<String>,
}

impl Summary {
    /// The summary of a run in this folder, which took this work.
    pub fn new(input: &Input<'_>, work: Work, root: &Path) -> Self {
        let behaviors: Vec<BehaviorCounts> = (input.study.behaviors.iter())
            .map(|behavior| counts_of(&behavior.name, &input.verdicts.neurons))
            .collect();
        let finished = Finished {
            seconds: work.seconds,
            made: work.made,
            reused: work.reused,
            tokens: work.tokens,
            seal: input.seal.sha256.clone(),
            finding: finding(input),
            report: root.join("report.html").display().to_string(),
            behaviors,
        };
        let mut others = Vec::new();
        others.extend(ceiling(input.verdicts));
        others.extend(forecast(input.verdicts, input.study.thresholds.confidence));
        others.push(format!("finding: {}", finished.finding));
        others.extend(caution(input));
        others.push(format!("seal: {}", finished.seal));
        others.push(took(&work));
        others.push(format!("report: {}", finished.report));
        others.push(next(&finished.behaviors, root));
        let mut lines = windows(&finished.behaviors, LINES - others.len());
        lines.extend(others);
        Self { finished, lines }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))
    }
}

/// Held-out neurons of a behaviour by what is known of them.
pub fn counts_of(behavior: &str, neurons: &[NeuronVerdict]) -> BehaviorCounts {
    let held_out = (neurons.iter())
        .filter(|n| n.behavior == behavior && n.role == Role::HeldOut)
        .map(neuron_label);
    let count = |label: &str| held_out.clone().filter(|l| *l == label).count();
    BehaviorCounts {
        behavior: behavior.to_owned(),
        held_out: held_out.clone().count(),
        open: count("open"),
        undecided: count("undecided"),
        censored: count("censored"),
    }
}

/// One line per behaviour; the last of too many stands for the rest.
fn windows(behaviors: &[BehaviorCounts], room: usize) -> Vec<String> {
    let line = |counts: &BehaviorCounts| {
        let name = label(&counts.behavior, 60);
        format!("{name}: {}", tally(counts))
    };
    if behaviors.len() <= room {
        return behaviors.iter().map(line).collect();
    }
    let (shown, rest) = behaviors.split_at(room - 1);
    let sum = |of: fn(&BehaviorCounts) -> usize| rest.iter().map(of).sum();
    let together = BehaviorCounts {
        behavior: String::new(),
        held_out: sum(|b| b.held_out),
        open: sum(|b| b.open),
        undecided: sum(|b| b.undecided),
        censored: sum(|b| b.censored),
    };
    let more = format!("and {} more behaviours: {}", rest.len(), tally(&together));
    shown.iter().map(line).chain([more]).collect()
}

fn tally(counts: &BehaviorCounts) -> String {
    let mut line = format!(
        "{} of {} held-out neurons open",
        counts.open, counts.held_out
    );
    for (unknown, word) in [
        (counts.undecided, "undecided"),
        (counts.censored, "censored"),
    ] {
        if unknown > 0 {
            line += &format!(", {unknown} {word}");
        }
    }
    line
}

/// The ceiling predictor that is off by least; the others are left to the report.
fn ceiling(verdicts: &Verdicts) -> Option<String> {
    let scores = &verdicts.scoreboard.ceilings;
    let best = scoreboard::best(scores)?;
    let overall = best.overall?;
    let compared = scores
        .iter()
        .filter(|score| score.overall.is_some())
        .count();
    let flag = if compared > 1 { " (best)" } else { "" };
    let others = match compared {
        0 | 1 => String::new(),
        compared => format!("; {} in the report", counted(compared - 1, "other")),
    };
    Some(format!(
        "ceiling by {}{flag}: mean absolute error {:.3} in cosθ over {}{others}",
        best.predictor.name(),
        overall.mean_absolute_error,
        counted(overall.branches, "branch"),
    ))
}

/// The sealed forecast against always giving the commoner answer.
fn forecast(verdicts: &Verdicts, confidence: f64) -> Option<String> {
    let all = forecasts::of_all(&verdicts.scoreboard.forecasts).filter(|all| all.scored > 0)?;
    Some(format!(
        "open/closed forecast: right for {} of {}; the commoner answer for {}: {}",
        all.right,
        all.scored,
        all.majority,
        forecasts::conclusion(all, confidence)
    ))
}

fn caution(input: &Input<'_>) -> Option<String> {
    let cautions = cautions(input);
    let first = label(cautions.first()?, 240);
    Some(match cautions.len() {
        1 => format!("caution: {first}"),
        several => format!("caution: {first} ({} more in the report)", several - 1),
    })
}

fn took(work: &Work) -> String {
    format!(
        "took {}: {} run, {} reused",
        duration(work.seconds),
        counted(work.made, "rollout"),
        thousands(work.reused)
    )
}

/// What would tell more, or else what makes sure of this.
fn next(behaviors: &[BehaviorCounts], root: &Path) -> String {
    let some = |of: fn(&BehaviorCounts) -> usize| behaviors.iter().any(|b| of(b) > 0);
    let added = "then the same command runs only what was added";
    if some(|b| b.undecided) {
        return format!("next: add prompts to decide what is undecided; {added}");
    }
    if some(|b| b.censored) {
        return format!("next: add larger doses, as some ended before anything happened; {added}");
    }
    format!(
        "next: read the report; `reachspec verify {}` derives every result again",
        shell_path(root)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::Fixture;

    const WORK: Work = Work {
        seconds: 72.4,
        made: 5760,
        reused: 480,
        tokens: 99,
    };

    fn summary(fixture: &Fixture) -> Vec<String> {
        Summary::new(&fixture.input(), WORK, Path::new("runs/two modes")).lines
    }

    #[test]
    fn a_summary_says_what_was_found_and_what_to_do() {
        let lines = summary(&Fixture::new());
        insta::assert_snapshot!("summary", lines.join("\n"));
    }

    #[test]
    fn many_behaviours_stay_within_ten_lines() {
        let mut fixture = Fixture::new();
        // Few prompts make a caution.
        fixture.judgements.baselines[0].prompts = 12;
        assert!(
            summary(&fixture)
                .iter()
                .any(|line| line.starts_with("caution: Few prompts"))
        );
        let first = fixture.study.behaviors[0].clone();
        for number in 0..40 {
            let mut behavior = first.clone();
            behavior.name = format!("further-{number}\u{1b}[31m\nx");
            fixture.study.behaviors.push(behavior);
        }
        let lines = summary(&fixture);
        assert_eq!(lines.len(), LINES);
        let more = lines
            .iter()
            .filter(|line| line.contains(" more behaviours: "))
            .count();
        assert_eq!(more, 1, "{lines:#?}");
        assert!(
            lines
                .iter()
                .flat_map(|line| line.chars())
                .all(|c| !c.is_control())
        );
    }

    #[test]
    fn the_next_step_follows_from_what_is_open() {
        let counts = |undecided, censored| BehaviorCounts {
            behavior: "b".into(),
            held_out: 9,
            open: 0,
            undecided,
            censored,
        };
        let step = |undecided, censored| next(&[counts(undecided, censored)], Path::new("runs/a"));
        assert!(step(1, 1).contains("add prompts"));
        assert!(step(0, 1).contains("add larger doses"));
        assert!(step(0, 0).contains("reachspec verify runs/a`"));
        let spaced = next(&[counts(0, 0)], Path::new("-sp ace"));
        assert!(
            spaced.contains("`reachspec verify './-sp ace'`"),
            "{spaced}"
        );
    }
}
