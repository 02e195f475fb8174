//! Runs that are stopped by a signal: what they say, what they keep, and that they go on to the same bytes. The event stream of all of them
//! is held against its schema.

#![cfg(unix)]

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A quickstart of some hundred rollouts.
fn command(out: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reachspec"));
    command
        .current_dir(ROOT)
        .args([
            "run",
            "specs/quickstart.yaml",
            "--limit",
            "8",
            "--threads",
            "1",
        ])
        .args(["--set", "doses.grid=[0.45, 0.8, 1.25, 2]", "--out"])
        .arg(out)
        .args(more)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    /// From the signal to the end.
    took: Duration,
}

/// Runs a command to its end, and sends it a signal once a line on its standard error is what is waited for.
fn signalled(mut command: Command, signal: &str, wait_for: impl Fn(&str) -> bool) -> Ended {
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let (mut stderr, mut sent) = (String::new(), None);
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line).unwrap() == 0 {
            break;
        }
        if sent.is_none() && wait_for(&line) {
            let id = child.id().to_string();
            let kill = Command::new("kill").args([signal, &id]).status().unwrap();
            assert!(kill.success());
            sent = Some(Instant::now());
        }
        stderr += &line;
    }
    let mut stdout = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut stdout)
        .unwrap();
    let code = child.wait().unwrap().code();
    let took = sent
        .unwrap_or_else(|| panic!("nothing to wait for in:\n{stderr}"))
        .elapsed();
    Ended {
        code,
        stdout,
        stderr,
        took,
    }
}

fn progress_of(stage: &str) -> impl Fn(&str) -> bool {
    let stage = format!(r#""stage":"{stage}""#);
    move |line| line.contains(r#""event":"progress""#) && line.contains(&stage)
}

/// Every line of a stream, held against the schema.
fn events(stream: &str) -> Vec<Value> {
    let schema = std::fs::read_to_string(format!("{ROOT}/schemas/events.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    (stream.lines())
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
            let problem = validator.iter_errors(&event).next().map(|e| e.to_string());
            assert_eq!(problem, None, "{line}");
            event
        })
        .collect()
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events
        .iter()
        .filter(|event| event["event"] == kind)
        .collect()
}

fn finishes(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let ended = Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
        took: Duration::ZERO,
    };
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

#[test]
fn a_run_that_is_stopped_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, stopped] = ["whole", "stopped"].map(|name| folder.path().join(name));
    let jsonl = ["--events", "jsonl"];

    let ended = finishes(&mut command(&whole, &jsonl));
    let all = events(&ended.stderr);
    assert_eq!(
        (&all[0]["event"], &all[0]["resumed"]),
        (&"run_begun".into(), &false.into())
    );
    assert_eq!(of_kind(&all, "stage_begun").len(), 8);
    assert_eq!(of_kind(&all, "stage_finished").len(), 8);
    let last = all.last().unwrap();
    assert_eq!(last["event"], "run_finished");
    assert_eq!(last["reused"], 0);
    assert_eq!(last["behaviors"][0]["held_out"], 16);
    let seal = last["seal"].as_str().unwrap();
    assert!(
        ended.stdout.contains(&format!("seal: {seal}")),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.lines().count() <= 10, "{}", ended.stdout);

    // While the calibration neurons are steered.
    let ended = signalled(command(&stopped, &jsonl), "-TERM", progress_of("calibrate"));
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(143), ""),
        "{}",
        ended.stderr
    );
    let last = events(&ended.stderr).pop().unwrap();
    assert_eq!(
        (&last["event"], &last["stage"]),
        (&"interrupted".into(), &"calibrate".into())
    );

    // In the middle of the sweep.
    let ended = signalled(command(&stopped, &jsonl), "-INT", progress_of("sweep"));
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(130), ""),
        "{}",
        ended.stderr
    );
    assert!(ended.took < Duration::from_secs(5), "{:?}", ended.took);
    let all = events(&ended.stderr);
    assert_eq!(all[0]["resumed"], true);
    assert!(
        all[0]["stored"].as_u64().unwrap() > 0,
        "nothing was kept at first"
    );
    let last = all.last().unwrap();
    assert_eq!(
        (&last["event"], &last["exit_code"]),
        (&"interrupted".into(), &130.into())
    );
    let [kept, planned] = ["kept", "planned"].map(|key| last[key].as_u64().unwrap());
    assert!(0 < kept && kept < planned, "{kept} of {planned}");
    assert!(!stopped.join("run.lock").exists() && !stopped.join("verdicts.json").exists());

    // By its own command, which finds what was kept.
    let mut again = Command::new("sh");
    again
        .current_dir(ROOT)
        .args(["-c", last["continue_with"].as_str().unwrap()]);
    let all = events(&finishes(&mut again).stderr);
    let sweep = of_kind(&all, "trials")
        .into_iter()
        .find(|event| event["stage"] == "sweep");
    assert_eq!(sweep.unwrap()["stored"], kept);
    for file in ["verdicts.json", "report.md", "report.html"] {
        let read = |run: &Path| std::fs::read(run.join(file)).unwrap();
        assert!(
            read(&whole) == read(&stopped),
            "{file} differs after a stop"
        );
    }
}

#[test]
fn a_person_is_told_what_is_kept_and_how_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("a run");
    let sweeping = |line: &str| line.starts_with("sweep");
    let ended = signalled(command(&run, &["--fresh"]), "-INT", sweeping);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (Some(130), ""),
        "{}",
        ended.stderr
    );
    for part in [
        "stopping after the forward pass",
        "stopped in ",
        " kept",
        "continue with: ",
    ] {
        assert!(
            ended.stderr.contains(part),
            "{part} is missing in:\n{}",
            ended.stderr
        );
    }
    let continued = ended.stderr.lines().last().unwrap();
    assert!(
        continued.contains("a run'") && !continued.contains("--fresh"),
        "{continued}"
    );
    let listed = Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .arg("runs")
        .arg(folder.path())
        .output()
        .unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(
        listed.contains("interrupted") && listed.contains(" of ≤ "),
        "{listed}"
    );
}

#[test]
fn a_failure_is_the_last_event() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "").unwrap();
    let output = command(folder.path(), &["--events", "jsonl"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let all = events(&String::from_utf8(output.stderr).unwrap());
    assert_eq!(all.len(), 1);
    assert_eq!(
        (&all[0]["event"], &all[0]["exit_code"]),
        (&"failed".into(), &2.into())
    );
    assert!(all[0]["message"].as_str().unwrap().contains("thesis.tex"));
}
