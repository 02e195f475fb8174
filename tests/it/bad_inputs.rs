//! Bad input of every kind: each is tried with the program itself, which has to end with an error, in little time and little memory.
//!
//! The cases stand in `spec_errors`, `spec_files`, `broken_models` and `broken_runs`. With `REACHSPEC_LONG=1` all of them are run one after
//! another, and what they cost is printed.

#![cfg(target_os = "linux")]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use regex::Regex;
use tempfile::TempDir;

use crate::costs::{Measured, measure};
use crate::untrusted::assert_harmless;
use crate::verify::copy;
use crate::{broken_models, broken_runs, spec_errors, spec_files};

/// Most memory that a bad input may cost.
const MEMORY: u64 = 200 << 20;
/// Most time that a bad input may cost; asserted where cases run alone.
const TIME: Duration = Duration::from_secs(2);

/// Is shown the cases of a kind, one after the other: a name, and the command that is run on the bad input.
pub type Visit<'a> = &'a mut dyn FnMut(&str, &mut Command);

/// A study of fourteen rollouts.
pub const STUDY: &str = "\
schema: reachspec/study/v1
name: study
model: {path: model}
prompts:
  generic: {inline: [{text: the horse eats honey and nuts .}]}
  calibration: {inline: [{chat: [{role: user, content: say what you know of the robot in english}]}]}
  asked: {inline: [{chat: [{role: user, content: give me facts about the farmer in english}]}]}
behaviors:
  plain:
    prompts: asked
    flipped_when: {contains: {any: [caballo]}}
neurons:
  - {role: calibration, random: {count: 2}}
  - {role: held_out, at: [{layer: 3, index: 0}]}
doses: {unit: budget, grid: [1, 3]}
rollout: {horizons: [4]}
calibration: {steer_on: calibration}
ceiling: {predictors: [constant, calibrated]}
";

/// A folder with `study.yaml` and a copy of the shipped model in `model`. Commands run in it, so that no path in what they say changes from
/// run to run.
pub struct Workplace(TempDir);

impl Workplace {
    pub fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        fs::write(place.path("study.yaml"), STUDY).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/models/bilingual");
        copy(&shipped, &place.path("model"));
        place
    }

    /// Where a file is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// The program, to be run here.
    pub fn reachspec(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reachspec"));
        command.current_dir(self.0.path()).args(args);
        command
    }
}

/// Runs a case, which must end by itself, without a panic, and in little memory.
pub fn run(name: &str, command: &mut Command) -> Measured {
    let measured = measure(command);
    let Measured {
        status,
        stdout,
        stderr,
        memory,
        ..
    } = &measured;
    for said in [stdout, stderr] {
        assert_harmless(said, name);
    }
    assert!(status.code().is_some(), "{name}: it was killed: {stderr}");
    for word in ["panicked", "RUST_BACKTRACE", "overflowed its stack"] {
        assert!(!stderr.contains(word), "{name}: {stderr}");
    }
    assert!(*memory < MEMORY, "{name}: {} MiB: {stderr}", memory >> 20);
    measured
}

/// What cases end with, for a snapshot: exit code and what is said.
pub fn answers(cases: impl FnOnce(Visit<'_>)) -> String {
    let mut text = String::new();
    cases(&mut |name, command| {
        let Measured {
            status,
            stdout,
            stderr,
            ..
        } = run(name, command);
        let code = status.code().unwrap_or_default();
        let said = steady(&[stdout, stderr].concat());
        assert_ne!(code, 0, "{name} is not bad enough: {said}");
        writeln!(text, "## {name}\nexit {code}\n{}\n", said.trim_end()).unwrap();
    });
    text
}

/// Without what changes from run to run or with the looks of reports, without the progress before an error, and without what holds.
pub fn steady(said: &str) -> String {
    let rules = [
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\dZ)?", "[time]"),
        (r"\d+ files, [\d.]+ \w+", "[files]"),
        (
            r"(?m)^(residuals|screen|calibrate|predict|sweep|judge|verdict|report) +(…|\d.*)\n",
            "",
        ),
        (r"(?m)^(ok|--) {2,3}\w.*\n", ""),
    ];
    rules.iter().fold(said.to_owned(), |said, (pattern, by)| {
        let pattern = Regex::new(pattern).unwrap();
        pattern.replace_all(&said, *by).into_owned()
    })
}

#[derive(Default)]
struct Worst {
    inputs: usize,
    time: (Duration, String),
    memory: (u64, String),
}

impl Worst {
    fn add(&mut self, name: &str, measured: &Measured) {
        self.inputs += 1;
        self.time = self.time.clone().max((measured.time, name.into()));
        self.memory = self.memory.clone().max((measured.memory, name.into()));
    }
}

#[test]
fn every_bad_input_is_answered_soon_and_in_little_memory() {
    if std::env::var_os("REACHSPEC_LONG").is_none() {
        eprintln!("skipped: REACHSPEC_LONG=1 measures every bad input");
        return;
    }
    type Kind = (&'static str, fn(Visit<'_>));
    let kinds: [Kind; 4] = [
        ("broken specs", spec_errors::visit),
        ("files that are no specs", spec_files::visit),
        ("broken models", broken_models::visit),
        ("broken run folders", broken_runs::visit),
    ];
    let mut slow = Vec::new();
    for (kind, visit) in kinds {
        let mut worst = Worst::default();
        visit(&mut |name, command| {
            let measured = run(name, command);
            worst.add(name, &measured);
            if measured.time > TIME {
                slow.push(format!("{name}: {:?}", measured.time));
            }
        });
        let Worst {
            inputs,
            time,
            memory,
        } = worst;
        println!(
            "{kind}: {inputs}; at most {:.2} s ({}), {:.1} MiB ({})",
            time.0.as_secs_f64(),
            time.1,
            memory.0 as f64 / 1048576.0,
            memory.1
        );
    }
    assert!(slow.is_empty(), "longer than {TIME:?}: {slow:#?}");
}
