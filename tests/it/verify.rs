//! `verify`: a whole run holds; whatever is changed in it is found and named, even where the hashes were made to fit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use reachspec::model::tokenizer::TextCodec;
use reachspec::record::folder::render_json;
use reachspec::record::verify::{Outcome, Verification, verify};
use reachspec::record::{Manifest, RunFolder, TrialStore, canonical, run_record};
use reachspec::stages::judge::judge;
use reachspec::stages::predict::SealedPredictions;
use reachspec::stages::verdict::verdict;
use reachspec::stats::SplitMix64;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::small_run::is_long;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

pub fn reachspec(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .current_dir(ROOT)
        .args(args)
        .output()
        .unwrap()
}

/// A small finished run, with a copy of its model.
pub struct Run {
    folder: TempDir,
}

impl Run {
    pub fn new() -> Self {
        Self::with(&[])
    }

    pub fn with(more: &[&str]) -> Self {
        let run = Self {
            folder: TempDir::new().unwrap(),
        };
        copy(
            &Path::new(ROOT).join("specs/models/bilingual"),
            &run.model(),
        );
        let model = format!("model.path={}", run.model().display());
        let root = run.root();
        let args = [
            "run",
            "specs/quickstart.yaml",
            "--out",
            root.to_str().unwrap(),
            "--limit",
            "3",
            "--set",
            "neurons.0.random.count=2",
            "--set",
            "neurons.1.screen.top=1",
            "--set",
            "neurons.2.random.count=2",
            "--set",
            "doses.grid=[0.6, 1, 2]",
            "--set",
            "calibration.rollout_prompts=3",
            "--set",
            &model,
        ];
        let output = reachspec(&[&args, more].concat());
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{message}");
        run
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("run")
    }

    fn model(&self) -> PathBuf {
        self.folder.path().join("model")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    fn verify(&self) -> Verification {
        verify(&self.root(), None, None).unwrap()
    }

    /// Changes a copy of the run, and verifies that.
    fn after(&self, change: impl FnOnce(&Path)) -> Verification {
        let other = TempDir::new().unwrap();
        copy(&self.root(), other.path());
        change(other.path());
        let before = listing(other.path());
        let found = verify(other.path(), None, None).unwrap();
        assert_eq!(listing(other.path()), before, "verifying wrote something");
        found
    }
}

pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy(&path, &target),
            false => drop(fs::copy(path, target).unwrap()),
        }
    }
}

/// Every file with its content.
fn listing(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(listing(&path)),
            false => files.push((path.clone(), fs::read(path).unwrap())),
        }
    }
    files.sort();
    files
}

/// Makes every hash of the manifest fit the files as they are, as somebody would who knows how it works.
pub fn forge(root: &Path) {
    let run = RunFolder::create_or_open(root).unwrap();
    let mut manifest = Manifest::load(&run).unwrap().unwrap();
    let evidence = manifest.evidence.as_mut().unwrap();
    evidence.files = run.hash_evidence().unwrap();
    evidence.files.extend(run.hash_reports().unwrap());
    let store = TrialStore::open_read_only(&run.trials()).unwrap();
    if let Ok(digest) = store.check() {
        evidence.trials = digest;
    }
    manifest.write(&run).unwrap();
}

pub fn sql(root: &Path, change: &str) {
    let connection = Connection::open(root.join("trials.sqlite")).unwrap();
    connection
        .execute_batch(&format!("PRAGMA foreign_keys = OFF; {change}"))
        .unwrap();
}

fn edit_json(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, render_json(&value)).unwrap();
}

/// Changes the first value of a key in a list of the predictions, and seals them anew.
fn reseal(root: &Path, list: &str, key: &str, value: &str) {
    let path = root.join("predictions.json");
    let text = fs::read_to_string(&path).unwrap();
    let list = text.find(list).unwrap();
    let start = list + text[list..].find(key).unwrap() + key.len();
    let end = start + text[start..].find([',', '}', '\n']).unwrap();
    let text = format!("{}{value}{}", &text[..start], &text[end..]);
    let file: Value = serde_json::from_str(&text).unwrap();
    let earlier = file["seal"]["sha256"].as_str().unwrap();
    fs::write(
        &path,
        text.replace(earlier, &canonical::hash(&file["sealed"])),
    )
    .unwrap();
    forge(root);
}

pub fn replace_text(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{}: no {from}", path.display());
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

/// The failed checks, each with its problems.
fn failures(found: &Verification) -> String {
    let failed = (found.checks.iter()).filter(|check| check.result == Outcome::Failed);
    let lines = failed.map(|check| format!("{}: {:?}\n", check.name, check.problems));
    lines.collect()
}

fn names(found: &Verification, file: &str) -> bool {
    let mut problems = found.checks.iter().flat_map(|check| &check.problems);
    problems.any(|problem| problem.file == file)
}

fn fails(found: &Verification, check: &str) -> bool {
    (found.checks.iter()).any(|c| c.name == check && c.result == Outcome::Failed)
}

#[test]
fn a_run_holds_and_nothing_is_written() {
    let run = Run::new();
    let before = listing(&run.root());
    let root = run.root();
    let output = reachspec(&["verify", root.to_str().unwrap()]);
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{text}");
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert_eq!(
        text.lines().filter(|line| line.starts_with("ok ")).count(),
        11
    );
    assert!(text.ends_with("the record holds: all 11 checks hold\n"));
    assert_eq!(listing(&root), before);

    // Its rollouts, made again by the model.
    let output = reachspec(&["verify", root.to_str().unwrap(), "--rerun"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.ends_with("the record holds: all 12 checks hold\n"),
        "{text}"
    );
    assert!(text.contains("likelihoods and cosθ to the bit"), "{text}");
    let progress = String::from_utf8(output.stderr).unwrap();
    assert!(progress.starts_with("rerun "), "{progress}");
    assert_eq!(listing(&root), before);

    let output = reachspec(&["verify", root.to_str().unwrap(), "--json"]);
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (value["holds"].as_bool(), &value["checks"][3]["result"]),
        (Some(true), &"ok".into())
    );

    // Rendered again in the folder, and elsewhere: it still holds.
    let elsewhere = run.folder.path().join("elsewhere");
    for more in [
        &[][..],
        &["--format", "md"],
        &["--out", elsewhere.to_str().unwrap()],
    ] {
        let output = reachspec(&[&["report", root.to_str().unwrap()], more].concat());
        assert!(output.status.success());
        assert!(run.verify().holds(), "{}", failures(&run.verify()));
    }
    assert_eq!(listing(&root), before);
}

/// One byte, or one value, of each file: found, and the file is named.
#[test]
fn whatever_is_changed_is_found_and_named() {
    let run = Run::new();
    let changes: [(&str, &str, &str); 12] = [
        ("predictions.json", "\"budget\": ", "\"budget\": 1"),
        (
            "predictions.json",
            "\"sealed_at\": \"2",
            "\"sealed_at\": \"3",
        ),
        (
            "predictions.json",
            "\"trials_before\": 0",
            "\"trials_before\": 1",
        ),
        ("verdicts.json", "\"flipped\": 0", "\"flipped\": 1"),
        ("manifest.json", "\"seed\": 0", "\"seed\": 1"),
        ("manifest.json", "\"threads\": ", "\"threads\": 1"),
        (
            "manifest.json",
            "\"finished_at\": \"2",
            "\"finished_at\": \"3",
        ),
        ("manifest.json", "\"format\": 3", "\"format\": 4"),
        ("manifest.json", "# A first study", "# A worst study"),
        ("manifest.json", "\"manifest\": {", "\"manifest\":  {"),
        ("report.md", "quickstart", "quickstort"),
        ("report.html", "</html>", "</html >"),
    ];
    for (name, from, to) in changes {
        let found = run.after(|root| replace_text(&root.join(name), from, to));
        assert!(!found.holds(), "{name}: {from} → {to}");
        assert!(
            names(&found, name),
            "{name}: {from} → {to}: {}",
            failures(&found)
        );
    }
    for name in [
        "predictions.json",
        "verdicts.json",
        "trials.sqlite",
        "report.md",
    ] {
        let found = run.after(|root| fs::remove_file(root.join(name)).unwrap());
        assert!(names(&found, name), "{name} removed: {}", failures(&found));
    }
    let found = run.after(|root| fs::write(root.join("trials.sqlite-journal"), "x").unwrap());
    assert!(
        names(&found, "trials.sqlite-journal"),
        "{}",
        failures(&found)
    );
}

/// Two steered rollouts with different texts change places.
const SWAP: &str =
    "CREATE TEMP TABLE pair AS SELECT a.id AS one, b.id AS other FROM trials AS a, trials AS b
   WHERE a.id = (SELECT max(trial) FROM judgements) AND b.id IN (SELECT trial FROM judgements)
     AND b.text <> a.text AND b.layer IS NOT NULL LIMIT 1;
 CREATE TEMP TABLE old AS SELECT * FROM trials;
 UPDATE trials SET (ended, tokens, nll, cosines, text) =
   (SELECT ended, tokens, nll, cosines, text FROM old, pair WHERE old.id = one + other - trials.id)
   WHERE id IN (SELECT one FROM pair UNION SELECT other FROM pair)";

/// Rows of the store, with every hash of the manifest made to fit: what is derived no longer is what was.
#[test]
fn forged_rows_are_found_by_what_follows_from_them() {
    let run = Run::new();
    // Which rollout has the last id depends on the order of work: a byte is always changed to another one.
    let changes = [
        ("texts", "UPDATE trials SET text = text || 'x' WHERE id = 7"),
        (
            "texts",
            "UPDATE trials SET tokens = (SELECT tokens FROM trials AS t WHERE t.text <> trials.text LIMIT 1), nll = (SELECT nll FROM trials AS t WHERE t.text <> trials.text LIMIT 1) WHERE id = 20",
        ),
        (
            "judgements",
            "UPDATE trials SET nll = zeroblob(length(tokens)) WHERE layer IS NOT NULL AND id = (SELECT max(trial) FROM judgements)",
        ),
        (
            "verdicts",
            "UPDATE trials SET cosines = CAST(CASE substr(cosines, 1, 1) WHEN x'00' THEN x'01' ELSE x'00' END || substr(cosines, 2) AS BLOB) WHERE id = (SELECT max(id) FROM trials WHERE layer IS NOT NULL)",
        ),
        (
            "trials",
            "UPDATE trials SET dose = 2 * dose WHERE id = (SELECT max(trial) FROM judgements)",
        ),
        (
            "judgements",
            "UPDATE keys SET key = zeroblob(16) WHERE trial = (SELECT max(trial) FROM judgements)",
        ),
        (
            "judgements",
            "UPDATE outcomes SET json = replace(json, 'other', 'flipped') WHERE json LIKE '%other%'",
        ),
        (
            "judgements",
            "UPDATE judgements SET mean_nll = CAST(substr(mean_nll, 1, length(mean_nll) - 1) || CASE substr(mean_nll, -1) WHEN x'01' THEN x'02' ELSE x'01' END AS BLOB) WHERE trial = (SELECT max(trial) FROM judgements)",
        ),
        (
            "judgements",
            "UPDATE judgements SET spans = CAST(CASE substr(spans, 1, 2) WHEN x'0203' THEN x'0204' ELSE x'0203' END || substr(spans, 3) AS BLOB) WHERE spans IS NOT NULL",
        ),
        (
            "judgements",
            "DELETE FROM judgements WHERE trial = (SELECT max(trial) FROM judgements)",
        ),
        (
            "judgements",
            "DELETE FROM keys WHERE trial = (SELECT max(trial) FROM judgements); DELETE FROM trials WHERE id = (SELECT max(trial) FROM judgements)",
        ),
        ("judgements", SWAP),
    ];
    for (check, change) in changes {
        let found = run.after(|root| {
            sql(root, change);
            forge(root);
        });
        assert!(fails(&found, check), "{change}: {}", failures(&found));
        assert!(
            names(&found, "trials.sqlite") || names(&found, "verdicts.json"),
            "{change}: {}",
            failures(&found)
        );
        // Without the forgery, the bytes of the file tell.
        let found = run.after(|root| sql(root, change));
        assert!(
            fails(&found, "files") && names(&found, "trials.sqlite"),
            "{change}"
        );
    }
    // A rollout that nothing asked for.
    let stranger = run.after(|root| {
        let run = RunFolder::create_or_open(root).unwrap();
        let mut store = TrialStore::open_or_create(&run.trials()).unwrap();
        let mut one = None;
        store
            .for_each(|_, trial| {
                one.get_or_insert(trial);
                Ok::<(), reachspec::record::RecordError>(())
            })
            .unwrap();
        let one = one.unwrap();
        let cell = reachspec::model::Cell {
            horizon: one.cell().horizon + 1,
            ..one.cell()
        };
        let rollout = one.rollout().clone();
        let trial = reachspec::record::Trial::new(one.model(), &cell, rollout, one.text().into());
        store.insert(&[trial.unwrap()]).unwrap();
        drop((store, run));
        forge(root);
    });
    assert!(failures(&stranger).contains("1 rollout belongs to no part of the study"));
}

/// Results and predictions, with every hash made to fit.
#[test]
fn forged_results_are_found_by_deriving_them_again() {
    let run = Run::new();
    let found = run.after(|root| {
        edit_json(&root.join("verdicts.json"), |file| {
            file["verdicts"]["neurons"][0]["open"] = true.into();
            file["verdicts"]["neurons"][1]["open"] = Value::Null;
        });
        forge(root);
    });
    assert!(fails(&found, "verdicts"), "{}", failures(&found));
    assert!(
        failures(&found).contains("verdicts.neurons["),
        "{}",
        failures(&found)
    );

    for (check, list, key, value) in [
        ("predictions", "\"forecasts\"", "\"open\": ", "null"),
        ("calibration", "\"thresholds\"", "\"ceiling\": ", "0.125"),
    ] {
        let found = run.after(|root| reseal(root, list, key, value));
        assert!(fails(&found, check), "{}", failures(&found));
        assert!(
            failures(&found).contains(&format!("is {value}, derived again")),
            "{}",
            failures(&found)
        );
    }

    let found = run.after(|root| {
        replace_text(&root.join("report.md"), "quickstart", "quickstort");
        forge(root);
    });
    assert!(fails(&found, "reports") && !fails(&found, "files"));
    assert!(
        failures(&found).contains("derived again"),
        "{}",
        failures(&found)
    );
}

/// Seeded changes of random bytes of random files of the run and of its model: 200, or 10,000 with `REACHSPEC_LONG=1`.
#[test]
fn random_changes_of_bytes_are_all_found() {
    let count = if is_long() { 10_000 } else { 200 };
    let run = Run::new();
    let mut files = listing(&run.root());
    let of_model = ["config.json", "tokenizer.json", "model.safetensors"];
    files.extend(of_model.map(|name| {
        let path = run.model().join(name);
        (path.clone(), fs::read(path).unwrap())
    }));
    assert!(files.len() > 9, "{}", files.len());
    let mut random = SplitMix64(20_260_618);
    let mut below = |n: usize| (random.next_u64() % n as u64) as usize;
    let mut changes = 0;
    while changes < count {
        let (path, bytes) = &files[below(files.len())];
        let mut changed = bytes.clone();
        for _ in 0..=below(3) {
            let at = below(bytes.len());
            changed[at] ^= 1 << below(8);
        }
        if below(8) == 0 {
            changed.truncate(below(bytes.len()));
        }
        if changed == *bytes {
            continue;
        }
        changes += 1;
        fs::write(path, &changed).unwrap();
        let found = verify(&run.root(), None, None);
        fs::write(path, bytes).unwrap();
        let of_run = path.strip_prefix(run.root());
        let name = of_run.unwrap_or(path).to_str().unwrap();
        match found {
            Ok(found) => assert!(
                !found.holds() && names(&found, name),
                "change {changes}, of {name}: {}",
                failures(&found)
            ),
            Err(error) => panic!("change {changes}, of {name}: {error}"),
        }
    }
    eprintln!("{changes} random changes, all of them found and named");
    assert!(run.verify().holds());
}

#[test]
fn a_changed_model_is_found_and_a_missing_one_is_asked_for() {
    let run = Run::new();
    let root = run.root();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let path = run.model().join(name);
        let bytes = fs::read(&path).unwrap();
        let mut changed = bytes.clone();
        let last = changed.len() - 3;
        changed[last] ^= 1;
        fs::write(&path, &changed).unwrap();
        let output = reachspec(&["verify", root.to_str().unwrap()]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(5), "{text}");
        assert!(text.contains(path.to_str().unwrap()), "{text}");
        fs::write(&path, bytes).unwrap();
    }
    let rerun = |more: &[&str]| {
        let output = reachspec(&[&["verify", root.to_str().unwrap(), "--rerun"], more].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        (output.status.code().unwrap(), message)
    };
    let (code, message) = rerun(&["--memory", "1MB"]);
    assert!(
        code == 3 && message.contains("allow more with `--memory`"),
        "{message}"
    );
    // Weights are compared only where they are; rollouts need them.
    fs::remove_file(run.model().join("model.safetensors")).unwrap();
    assert!(run.verify().holds(), "{}", failures(&run.verify()));
    let (code, message) = rerun(&[]);
    assert!(
        code == 3 && message.contains("rollouts cannot be made again"),
        "{message}"
    );
    assert!(message.contains("model.safetensors"), "{message}");

    fs::rename(run.model(), run.folder.path().join("moved")).unwrap();
    let output = reachspec(&["verify", root.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("--model DIR"), "{message}");
    let moved = run.folder.path().join("moved");
    let output = reachspec(&[
        "verify",
        root.to_str().unwrap(),
        "--model",
        moved.to_str().unwrap(),
    ]);
    assert_eq!(output.status.code(), Some(0));
    // What was changed is found without a model as well.
    replace_text(
        &run.file("verdicts.json"),
        "\"flipped\": 0",
        "\"flipped\": 1",
    );
    let output = reachspec(&["verify", root.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(5));
}

/// Two rollouts that have changed places, with everything derived from them anew: only the model can tell.
#[test]
fn forged_rollouts_are_found_by_making_them_again() {
    let run = Run::new();
    let forged = TempDir::new().unwrap();
    copy(&run.root(), forged.path());
    sql(forged.path(), SWAP);
    rejudge(forged.path(), &run.model());
    let found = verify(forged.path(), None, None).unwrap();
    assert!(found.holds(), "{}", failures(&found));

    let root = forged.path().to_str().unwrap();
    let output = reachspec(&["verify", root, "--rerun", "--json"]);
    assert_eq!(output.status.code(), Some(5));
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    let rerun = &value["checks"][11];
    assert_eq!(rerun["name"], "rerun");
    let problems = rerun["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 2, "{rerun:#}");
    for problem in problems {
        let words = problem["problem"].as_str().unwrap();
        let parts = [
            "trial ",
            ", L",
            " at dose ",
            " on prompt `",
            "token ",
            ", made again ",
        ];
        assert!(parts.iter().all(|part| words.contains(part)), "{words}");
    }
}

/// Which rollouts are in a sample depends on nothing but their keys, and each part of the study has its share.
#[test]
fn a_sample_is_always_the_same() {
    // Sampled tokens: the seeds that made them have to be those that make them again.
    let run = Run::with(&["--set", "rollout.sample={temperature: 0.8}"]);
    let root = run.root();
    let sampled = |threads: &str| {
        let args = [
            "verify",
            root.to_str().unwrap(),
            "--rerun",
            "--sample",
            "5",
            "--json",
        ];
        let output = reachspec(&[&args[..], &["--threads", threads]].concat());
        let value: Value = serde_json::from_slice(&output.stdout).unwrap();
        value["checks"][11].clone()
    };
    let held = sampled("1");
    assert_eq!(held["result"], "ok", "{held:#}");
    let words = held["compared"].as_str().unwrap();
    assert!(
        words.starts_with("5 of ")
            && words
                .contains("2 of calibration neurons, 1 of held-out neurons, 1 of control neurons and 1 unsteered"),
        "{words}"
    );

    sql(&root, "UPDATE trials SET ended = 1 - ended");
    let failed = sampled("1");
    assert_eq!(
        failed["problems"].as_array().unwrap().len(),
        5,
        "{failed:#}"
    );
    assert_eq!(sampled("2"), failed);
    for (args, message) in [
        (&["--sample", "5"][..], "--rerun"),
        (&["--threads", "2"], "add --rerun"),
    ] {
        let output = reachspec(&[&["verify", root.to_str().unwrap()], args].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8(output.stderr).unwrap().contains(message));
    }
}

/// Judges a changed store, and makes everything that follows from it, as somebody would who has this program.
fn rejudge(root: &Path, model: &Path) {
    let run = RunFolder::create_or_open(root).unwrap();
    let mut manifest = Manifest::load(&run).unwrap().unwrap();
    let sealed = SealedPredictions::load(&run).unwrap();
    let text = TextCodec::read(model).unwrap();
    let store = TrialStore::open_or_create(&run.trials()).unwrap();
    let mut kept = store.replace_judgements().unwrap();
    let study = &manifest.study;
    let judgements = judge(study, &sealed, &text, &store, &mut |judgement| {
        Ok(kept.push(judgement)?)
    });
    let judgements = judgements.unwrap();
    kept.finish().unwrap();
    let verdicts = verdict(study, &sealed, &judgements);
    run_record::write_verdicts(&run, &judgements, &verdicts).unwrap();
    let digest = store.check().unwrap();
    drop(store);
    manifest.finish(&run, digest, 0.0).unwrap();
    manifest.write(&run).unwrap();
    drop(run);
    let output = reachspec(&["report", root.to_str().unwrap()]);
    assert!(output.status.success());
}

#[test]
fn what_is_no_finished_run_is_refused() {
    let run = Run::new();
    let root = run.root();
    let verified = || reachspec(&["verify", root.to_str().unwrap()]);
    let nothing = run.folder.path().join("nothing");
    let output = reachspec(&["verify", nothing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2));

    let folder = RunFolder::create_or_open(&root).unwrap();
    let output = verified();
    assert_eq!(output.status.code(), Some(4));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("is in use by process"), "{message}");

    let mut manifest = Manifest::load(&folder).unwrap().unwrap();
    manifest.evidence = None;
    manifest.write(&folder).unwrap();
    drop(folder);
    let output = verified();
    assert_eq!(output.status.code(), Some(2));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(message.contains("has not finished"), "{message}");
}

#[test]
fn reports_of_own_templates_are_held_to_their_bytes() {
    let templates = TempDir::new().unwrap();
    fs::write(templates.path().join("report.md.jinja"), "mine\n").unwrap();
    let run = Run::with(&["--templates", templates.path().to_str().unwrap()]);
    let found = run.verify();
    assert!(found.holds(), "{}", failures(&found));
    let reports = found.checks.last().unwrap();
    assert_eq!(reports.result, Outcome::NotCompared);
    assert!(reports.compared.contains("templates of its own"));
    let found = run.after(|root| fs::write(root.join("report.md"), "yours\n").unwrap());
    assert!(fails(&found, "files") && names(&found, "report.md"));
    // Rendered again with the built-in ones, they are compared.
    let root = run.root();
    assert!(
        reachspec(&["report", root.to_str().unwrap()])
            .status
            .success()
    );
    let found = run.verify();
    assert_eq!(
        found.checks.last().unwrap().result,
        Outcome::Ok,
        "{}",
        failures(&found)
    );
}
