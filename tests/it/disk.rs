//! Disks that are full, read-only, gone, or somebody else's: a clear error, exit code 4, and a record that goes on to the same bytes.

#![cfg(target_os = "linux")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::small_run::{arguments, assert_made_once, assert_same, finish, stored, whole};

/// Runs a shell script with `$RUN` (the program and its arguments) and `$OUT`, the run folder.
fn shell(script: &str, out: &Path) -> Output {
    let mut command = Command::new("bash");
    let words = arguments(out);
    let run = shlex::try_join(words.iter().map(String::as_str)).unwrap();
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-c", script]);
    command
        .env("RUN", run)
        .env("OUT", out)
        .env("PROGRAM", env!("CARGO_BIN_EXE_reachspec"));
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The run was refused its disk with exit code 4 and these words, and went on when it had one again.
fn assert_resumed(output: &Output, words: &[&str], out: &Path) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    for word in words {
        assert!(said.contains(word), "{word} is missing in:\n{said}");
    }
    let kept = stored(out);
    assert_made_once(&finish(out), kept, out);
    assert_same(whole(), out, &said);
}

/// File systems can be mounted in a namespace of one's own, where the machine allows it.
fn mounts() -> bool {
    let script = "D=$(mktemp -d); mount -t tmpfs -o size=64k tmpfs $D && umount $D && rmdir $D";
    let tried = Command::new("unshare")
        .args(["-rm", "bash", "-c", script])
        .output();
    let works = tried.is_ok_and(|output| output.status.success());
    if !works {
        eprintln!("skipped: nothing can be mounted here, not even with `unshare -rm`");
    }
    works
}

/// In a namespace of its own, with a small file system at `$OUT`; `keep` copies the run folder to where it is found afterwards.
fn mounted(script: &str, out: &Path) -> Output {
    let whole = format!(
        "set -e; mkdir -p \"$OUT\" \"$OUT.kept\"; unshare -rm bash -c 'mount -t tmpfs -o size=400k tmpfs \"$OUT\"; \
         keep() {{ cp -r \"$OUT\"/. \"$OUT.kept\"; }}; {script}'"
    );
    shell(&whole, out)
}

fn kept(out: &Path) -> PathBuf {
    out.with_extension("kept")
}

#[test]
fn a_full_disk_stops_the_run_and_loses_nothing() {
    if !mounts() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = mounted("code=0; eval \"$RUN\" || code=$?; keep; exit $code", &out);
    assert_resumed(
        &output,
        &[
            "the disk is full",
            "free some space and run the same command again",
        ],
        &kept(&out),
    );
}

#[test]
fn a_file_that_may_not_grow_stops_the_run_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for limit in [8, 70] {
        let out = folder.path().join(format!("run-{limit}"));
        let script = format!("ulimit -f {limit}; eval exec \"$RUN\"");
        assert_resumed(&shell(&script, &out), &["run the same command again"], &out);
    }
}

/// Whatever cannot be opened for want of descriptors, the program ends.
#[test]
fn few_descriptors_stop_the_run_and_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut refused = 0;
    for most in 4..12 {
        let out = folder.path().join(format!("run-{most}"));
        let script = format!("ulimit -n {most}; eval exec timeout 120 \"$RUN\"");
        let output = shell(&script, &out);
        let said = said(&output);
        assert_ne!(output.status.code(), Some(124), "{most}: {said}");
        assert!(!said.contains("panicked"), "{most}: {said}");
        // With fewest, the program is not even loaded.
        if output.status.code() == Some(4) {
            refused += 1;
            assert!(
                said.contains("open files") || said.contains("unable to open"),
                "{most}: {said}"
            );
        }
    }
    assert!(refused > 0);
    let out = folder.path().join("run-6");
    let kept = stored(&out);
    assert_made_once(&finish(&out), kept, &out);
    assert_same(whole(), &out, "after few descriptors");
}

#[test]
fn a_read_only_folder_is_refused_before_anything_is_computed() {
    if !mounts() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let output = mounted("mount -o remount,ro \"$OUT\"; eval \"$RUN\"", &out);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("read-only; choose another folder with --out"),
        "{said}"
    );
    assert!(!said.contains("stage_begun"), "{said}");
}

#[test]
fn a_mount_that_vanishes_is_an_error_and_not_half_a_record() {
    if !mounts() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    // The file system lives on at another place, as a disk does whose cable was pulled: before there are trials, and when there are some.
    for (number, file) in ["run.lock", "trials.sqlite"].into_iter().enumerate() {
        let out = folder.path().join(format!("run-{number}"));
        let script = format!(
            "mount -o remount,size=8m \"$OUT\"; mkdir -p \"$OUT.other\"; mount --bind \"$OUT\" \"$OUT.other\"; \
             (eval \"$RUN\"; echo $? > \"$OUT.code\") & \
             until [ -s \"$OUT/{file}\" ]; do sleep 0.01; done; umount -l \"$OUT\"; wait; \
             cp -r \"$OUT.other\"/. \"$OUT.kept\"; exit $(cat \"$OUT.code\")"
        );
        let output = mounted(&script, &out);
        let words = [
            "its disk has vanished",
            "bring it back and run the same command again",
        ];
        assert_resumed(&output, &words, &kept(&out));
    }
}

/// Whoever owns nothing.
const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// Whether nobody can run the program here, and look into the folders around `$OUT`.
fn nobody_can_run(out: &Path) -> bool {
    let script =
        format!("chmod 755 \"${{OUT%/*/*}}\" \"${{OUT%/*}}\"; {NOBODY} \"$PROGRAM\" --version");
    let tried = shell(&script, out);
    if !tried.status.success() {
        eprintln!("skipped: nobody can run the program here: {}", said(&tried));
    }
    tried.status.success()
}

#[test]
fn what_may_not_be_read_is_not_called_missing_or_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let out = theirs.join("run");
    finish(&out);
    if !nobody_can_run(&out) {
        return;
    }
    for (hidden, command) in [
        ("", "verify \"$OUT\""),
        ("", "export \"$OUT\" --out \"$OUT.parquet\""),
        ("", "diff \"$OUT\" \"$OUT\""),
        ("manifest.json", "verify \"$OUT\""),
        ("trials.sqlite", "verify \"$OUT\""),
        ("predictions.json", "report \"$OUT\" --out \"$OUT.report\""),
    ] {
        let script = format!(
            "chmod -R a+rX \"$OUT\"; chmod 000 \"$OUT/{hidden}\"; {NOBODY} \"$PROGRAM\" {command}"
        );
        let output = shell(&script, &out);
        let said = said(&output);
        assert_eq!(output.status.code(), Some(4), "{hidden}, {command}: {said}");
        assert!(
            said.contains("may not be read; change its permissions"),
            "{hidden}, {command}: {said}"
        );
    }
    let script = format!(
        "chmod -R a+rX \"$OUT\"; chmod 000 \"$OUT/manifest.json\"; {NOBODY} \"$PROGRAM\" runs \"${{OUT%/*}}\""
    );
    let listed = said(&shell(&script, &out));
    assert!(
        listed.contains("unreadable") && !listed.contains("--fresh"),
        "{listed}"
    );
}

#[test]
fn a_folder_of_somebody_else_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let theirs = folder.path().join("theirs");
    std::fs::create_dir(&theirs).unwrap();
    let out = theirs.join("run");
    if !nobody_can_run(&out) {
        return;
    }
    let output = shell(&format!("eval exec {NOBODY} \"$RUN\""), &out);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(
        said.contains("cannot create") && said.contains("--out"),
        "{said}"
    );
}
