//! `reachspec runs`.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::{Failure, complain, print_json, say};
use crate::events::BehaviorCounts;
use crate::record::listing::{ListedManifest, ListedRun, State, list};
use crate::report::format::thousands;
use crate::report::text::label;

/// Where runs are put unless `--out` says otherwise.
const DEFAULT: &str = "runs";

/// Behaviours that are shown by name.
const NAMED: usize = 2;

/// List the runs in a folder: what they study, how far they are, what they found
///
/// Manifests and counts are read, nothing else, and nothing is checked against its hashes but the manifests: that is for `verify`. Folders
/// that hold no run are left out.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The folder that holds run folders, or one of these [default: runs]
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: &str = "\
Examples:
  reachspec runs
  reachspec runs /data/studies --json

States:
  finished      it has come to its end
  interrupted   it has not: its `reachspec run …` again continues it
  running       a process writes to it now
  other version another version of reachspec wrote it
  damaged       a file is not what was written; what to do is said below the table";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let folder = args.folder.as_deref().unwrap_or(Path::new(DEFAULT));
    let runs = match (folder.is_dir(), &args.folder) {
        (true, _) => list(folder)?,
        (false, None) => Vec::new(),
        (false, Some(_)) => {
            return Err(Failure::Rejected(anyhow!(
                "{}: there is no such folder; give one that holds run folders, such as runs",
                folder.display()
            )));
        }
    };
    if args.json {
        return print_json(&runs);
    }
    if runs.is_empty() {
        complain(format_args!(
            "no runs in {}; `reachspec run SPEC` makes one",
            label(&folder.display().to_string(), 200)
        ));
        return Ok(());
    }
    say(table(&runs))?;
    (runs.iter())
        .filter_map(|run| run.problem.as_ref())
        .try_for_each(|problem| say(format_args!("\n{}", label(problem, 600))))
}

fn table(runs: &[ListedRun]) -> String {
    const HEAD: [&str; 9] = [
        "run",
        "study",
        "state",
        "first start",
        "last start",
        "rollouts",
        "open",
        "version",
        "seal",
    ];
    let rows: Vec<[String; 9]> = std::iter::once(HEAD.map(str::to_owned))
        .chain(runs.iter().map(row))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|c| width(c).unwrap_or(0)).collect();
    let line = |row: &[String; 9]| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// The cells of a run. Names come from strangers' files.
fn row(run: &ListedRun) -> [String; 9] {
    let name = run.folder.file_name().unwrap_or(run.folder.as_os_str());
    let manifest = run.manifest.as_ref();
    let of = |read: &dyn Fn(&ListedManifest) -> Option<String>| {
        manifest.and_then(read).unwrap_or_else(|| "–".into())
    };
    [
        label(&name.to_string_lossy(), 40),
        of(&|m| Some(label(&m.study, 30))),
        state(run),
        of(&|m| m.started_at.first().map(|at| time(at))),
        of(&|m| m.started_at.last().map(|at| time(at))),
        rollouts(run),
        open(&run.behaviors),
        of(&|m| Some(label(m.program.trim_start_matches("reachspec "), 12))),
        run.seal
            .as_ref()
            .map_or("–".into(), |seal| label(seal.get(..8).unwrap_or("?"), 8)),
    ]
}

fn state(run: &ListedRun) -> String {
    match run.state {
        State::Finished => "finished".into(),
        State::Interrupted => "interrupted".into(),
        State::Running => match &run.pid {
            Some(pid) => format!("running (pid {})", label(pid, 12)),
            None => "running".into(),
        },
        State::OtherVersion => "other version".into(),
        State::Damaged => "damaged".into(),
        State::Unreadable => "unreadable".into(),
    }
}

/// `1,234`, of a run that has not ended `1,234 of ≤ 5,120`.
fn rollouts(run: &ListedRun) -> String {
    let stored = run.stored.map_or("?".into(), thousands);
    match (run.state, &run.manifest) {
        (State::Interrupted | State::Running, Some(manifest)) => {
            format!("{stored} of ≤ {}", thousands(manifest.planned))
        }
        (_, None) => "–".into(),
        _ => stored,
    }
}

/// `language-routing 5/16`; of many behaviours the first ones.
fn open(behaviors: &[BehaviorCounts]) -> String {
    let short = |counts: &BehaviorCounts| {
        let BehaviorCounts { open, held_out, .. } = counts;
        format!("{} {open}/{held_out}", label(&counts.behavior, 24))
    };
    let mut parts: Vec<String> = behaviors.iter().take(NAMED).map(short).collect();
    if behaviors.len() > NAMED {
        parts.push(format!("+{}", behaviors.len() - NAMED));
    }
    match parts.is_empty() {
        true => "–".into(),
        false => parts.join(", "),
    }
}

/// `2026-06-18 09:30` of `2026-06-18T09:30:00Z`.
fn time(rfc3339: &str) -> String {
    let minutes: String = rfc3339.chars().take(16).collect();
    label(&minutes.replace('T', " "), 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(study: &str, state: State) -> ListedRun {
        ListedRun {
            folder: "runs/a\u{1b}[31m".into(),
            state,
            pid: None,
            manifest: Some(ListedManifest {
                study: study.into(),
                program: "reachspec 0.1.0".into(),
                started_at: vec!["2026-06-18T09:30:00Z".into(), "2026-06-19T10:31:59Z".into()],
                finished_at: None,
                planned: 5120,
            }),
            stored: Some(1234),
            behaviors: Vec::new(),
            seal: Some("0123456789abcdef".into()),
            problem: None,
        }
    }

    #[test]
    fn a_row_says_how_far_a_run_is() {
        let mut run = listed("quick", State::Interrupted);
        let text = table(std::slice::from_ref(&run));
        let line = text.lines().nth(1).unwrap();
        for part in [
            "interrupted",
            "2026-06-18 09:30",
            "2026-06-19 10:31",
            "1,234 of ≤ 5,120",
        ] {
            assert!(line.contains(part), "{part}: {line}");
        }
        run.state = State::Finished;
        run.behaviors = ["one", "two", "three"]
            .map(|name| BehaviorCounts {
                behavior: name.into(),
                held_out: 16,
                open: 5,
                undecided: 0,
                censored: 0,
            })
            .into();
        let text = table(&[run]);
        assert!(
            text.contains("1,234     one 5/16, two 5/16, +1  0.1.0    01234567"),
            "{text}"
        );
    }

    #[test]
    fn names_of_strangers_are_made_visible() {
        let text = table(&[listed(
            "evil\u{1b}]0;x\u{7}\r\n\u{202e}name",
            State::Finished,
        )]);
        assert!(text.contains("a␛[31m"), "{text}");
        assert_eq!(text.lines().count(), 2);
        assert!(
            !text.chars().any(|c| c.is_control() && c != '\n'),
            "{text:?}"
        );
    }
}
