//! Runs that are killed, at random and at everything that they commit: what was recorded is neither lost nor made again, and what comes
//! out is the same, to the byte, as of a run that nobody disturbed. `REACHSPEC_LONG=1` kills 200 times at random, and at every commit.

#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::small_run::{assert_made_once, assert_same, finish, is_long, run, stored, whole};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reachspec::record::RunFolder;

fn signal(id: u32, name: &str) {
    // It may have ended in the meantime.
    let _ = Command::new("kill")
        .args([name, &id.to_string()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
}

/// Starts a run, and kills it after a while; how it ended.
fn killed_after(wait: Duration, with: &str, out: &Path) -> ExitStatus {
    let mut child = run(out).stderr(Stdio::null()).spawn().unwrap();
    std::thread::sleep(wait);
    signal(child.id(), with);
    child.wait().unwrap()
}

#[test]
fn killed_at_random_again_and_again() {
    let folder = tempfile::tempdir().unwrap();
    let begun = Instant::now();
    let undisturbed = whole();
    let took = begun.elapsed();

    let kills = if is_long() { 200 } else { 6 };
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut killed, mut runs) = (0, 0);
    while killed < kills {
        let out = folder.path().join(format!("run-{runs}"));
        runs += 1;
        let mut kept = 0;
        // A few lives; the last is left to end.
        for life in 0..random.random_range(1..6) {
            let with = ["-KILL", "-KILL", "-KILL", "-TERM", "-INT"][random.random_range(0..5)];
            let wait = took.mul_f64(random.random_range(0.0..1.0));
            let status = killed_after(wait, with, &out);
            killed += usize::from(!status.success());
            let now = stored(&out);
            assert!(
                now >= kept,
                "run {runs}, life {life}: {kept} rollouts were stored, {now} are left"
            );
            kept = now;
        }
        assert_made_once(&finish(&out), kept, &out);
        assert_same(undisturbed, &out, &format!("run {runs}"));
        std::fs::remove_dir_all(&out).unwrap();
    }
    eprintln!("killed {killed} times in {runs} runs; nothing was lost");
}

#[test]
fn killed_at_every_commit() {
    let folder = tempfile::tempdir().unwrap();
    let step = if is_long() { 1 } else { 13 };
    let mut points = 0;
    loop {
        let at = 1 + points * step;
        let out = folder.path().join(format!("at-{at}"));
        let status = run(&out)
            .env("REACHSPEC_FAULT", at.to_string())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        if status.success() {
            break;
        }
        points += 1;
        let kept = stored(&out);
        assert_made_once(&finish(&out), kept, &out);
        assert_same(whole(), &out, &format!("killed at point {at}"));
        std::fs::remove_dir_all(&out).unwrap();
    }
    assert!(
        points > 5,
        "only {points} points: is this a build without them?"
    );
    eprintln!("killed at {points} points, one in {step}; nothing was lost");
}

#[test]
fn a_second_process_is_refused_by_the_name_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let out: PathBuf = folder.path().join("run");
    let mut first = run(&out).spawn().unwrap();
    let lock = out.join("run.lock");
    let begun = Instant::now();
    while !std::fs::read_to_string(&lock).is_ok_and(|text| text.contains("since")) {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "there is no lock"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    let held = std::fs::read_to_string(&lock).unwrap();
    let since = held
        .lines()
        .find_map(|line| line.strip_prefix("since "))
        .unwrap();
    let second = run(&out).output().unwrap();
    let said = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(4), "{said}");
    assert!(
        said.contains(&first.id().to_string()) && said.contains(since),
        "{said}"
    );
    signal(first.id(), "-KILL");
    first.wait().unwrap();

    // The lock of the dead is taken over, and the message says whose it was.
    let events = finish(&out);
    let notes = events.iter().filter(|event| event["event"] == "note");
    let taken = notes
        .filter_map(|note| note["text"].as_str())
        .any(|text| text.contains(&first.id().to_string()));
    assert!(taken, "{events:?}");
    assert!(!lock.exists());
}

#[test]
fn whoever_reads_a_run_that_goes_on_is_told_which_process_is_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let [out, elsewhere] = ["run", "elsewhere"].map(|name| folder.path().join(name));
    let held = RunFolder::create_or_open(&out).unwrap();
    std::fs::write(held.manifest(), "{}").unwrap();
    for (command, more) in [
        ("verify", [].as_slice()),
        ("report", &[]),
        ("report", &[Path::new("--out"), &elsewhere]),
        ("export", &[]),
        ("diff", &[&out]),
    ] {
        let mut reader = Command::new(env!("CARGO_BIN_EXE_reachspec"));
        let output = reader.arg(command).arg(&out).args(more).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{command}: {said}");
        let holder = format!("in use by process {}", std::process::id());
        assert!(said.contains(&holder), "{command}: {said}");
    }
}
