//! Run folders with one thing broken each: what every command that reads one says about them, and `run` that is to go on in one.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::{Path, PathBuf};

use reachspec::record::folder::render_json;
use reachspec::record::{Manifest, RunFolder, canonical};
use reachspec::stages::judge::Judgements;
use reachspec::stages::predict::{Predictions, Seal};
use reachspec::stages::verdict::Verdicts;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::bad_inputs::{Visit, Workplace, run, steady};
use crate::odd_files::{circle, endless, folder, nested, pipe, vast};
use crate::verify::{copy, forge};

const MANIFEST: &str = "manifest.json";
const PREDICTIONS: &str = "predictions.json";
const VERDICTS: &str = "verdicts.json";
const TRIALS: &str = "trials.sqlite";
const LOCK: &str = "run.lock";

/// A name, and how the fault is made.
type Case = (&'static str, fn(&Run));

/// What `predictions.json` holds, in its order.
#[derive(Serialize, Deserialize)]
struct SealedFile {
    seal: Seal,
    sealed: Predictions,
}

/// What `verdicts.json` holds.
#[derive(Serialize, Deserialize)]
struct VerdictsFile {
    judgements: Judgements,
    verdicts: Verdicts,
}

/// A copy of a finished run, to be broken.
struct Run(PathBuf);

impl Run {
    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.file(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        let path = self.file(name);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
    }

    /// Leaves the first of so many parts of a file.
    fn cut(&self, name: &str, parts: usize) {
        let bytes = self.read(name);
        self.write(name, &bytes[..bytes.len() / parts]);
    }

    /// Puts something else in the place of a file.
    fn instead(&self, name: &str, make: impl FnOnce(&Path)) {
        if self.file(name).exists() {
            self.remove(name);
        }
        make(&self.file(name));
    }

    fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&self.read(name)).unwrap();
        change(&mut value);
        self.write(name, render_json(&value));
    }

    /// Changes the manifest, and its own hash.
    fn manifest(&self, change: impl FnOnce(&mut Value)) {
        self.edit(MANIFEST, |file| {
            change(&mut file["manifest"]);
            file["sha256"] = canonical::hash(&file["manifest"]).into();
        });
    }

    /// Changes the predictions, seals them anew, and makes every hash of the manifest fit.
    fn resealed(&self, change: impl FnOnce(&mut Value)) {
        let mut file: Value = serde_json::from_slice(&self.read(PREDICTIONS)).unwrap();
        change(&mut file["sealed"]);
        let mut file: SealedFile = serde_json::from_value(file).unwrap();
        file.seal.sha256 = canonical::hash(&file.sealed);
        self.write(PREDICTIONS, render_json(&file));
        self.forged(|verdicts| verdicts["verdicts"]["seal"] = file.seal.sha256.clone().into());
    }

    /// Changes the verdicts, and makes the hashes of the manifest fit.
    fn forged(&self, change: impl FnOnce(&mut Value)) {
        let mut file: Value = serde_json::from_slice(&self.read(VERDICTS)).unwrap();
        change(&mut file);
        let file: VerdictsFile = serde_json::from_value(file).unwrap();
        self.write(VERDICTS, render_json(&file));
        forge(&self.0);
    }

    /// As a run that was interrupted: the manifest holds no hashes.
    fn interrupted(&self) {
        let folder = RunFolder::create_or_open(&self.0).unwrap();
        let mut manifest = Manifest::load(&folder).unwrap().unwrap();
        manifest.evidence = None;
        manifest.write(&folder).unwrap();
    }

    fn sql(&self, change: &str) {
        let store = Connection::open(self.file(TRIALS)).unwrap();
        store
            .execute_batch(&format!("PRAGMA foreign_keys = OFF; {change}"))
            .unwrap();
    }
}

/// What every file of JSON may be instead.
macro_rules! json_files {
    ($file:expr) => {
        &[
            ("missing", |r: &Run| r.remove($file)),
            ("empty", |r| r.write($file, "")),
            ("cut off", |r| r.cut($file, 2)),
            ("not JSON", |r| r.write($file, "study: quickstart\n")),
            ("a list", |r| r.write($file, "[]")),
            ("null", |r| r.write($file, "null")),
            ("not UTF-8", |r| r.write($file, b"{\"sha256\": \"\xff\"}")),
            ("within itself 100,000 times", |r| {
                r.write($file, nested(100_000))
            }),
            ("another file's JSON", |r| {
                r.write($file, "{\"name\": \"app\", \"icons\": []}")
            }),
            ("50 MB of zeros", |r| r.write($file, vec![0; 50 << 20])),
            ("50 MB of JSON", |r| {
                r.write($file, format!("[{}0]", "0,".repeat(25 << 20)))
            }),
            ("a space more", |r| {
                r.write($file, [r.read($file), b" ".to_vec()].concat())
            }),
            ("a folder", |r| r.instead($file, folder)),
            ("a pipe", |r| r.instead($file, pipe)),
            ("endless", |r| r.instead($file, endless)),
            ("a link to itself", |r| r.instead($file, circle)),
            ("as long as a disk", |r| r.instead($file, vast)),
        ]
    };
}

const MANIFESTS: &[Case] = json_files!(MANIFEST);
const PREDICTED: &[Case] = json_files!(PREDICTIONS);
const JUDGED: &[Case] = json_files!(VERDICTS);

const STORES: &[Case] = &[
    ("missing", |r| r.remove(TRIALS)),
    ("empty", |r| r.write(TRIALS, "")),
    ("cut off", |r| r.cut(TRIALS, 2)),
    ("cut off within its header", |r| {
        r.write(TRIALS, &r.read(TRIALS)[..50])
    }),
    ("zeros", |r| r.write(TRIALS, vec![0; r.read(TRIALS).len()])),
    ("text", |r| r.write(TRIALS, "trials\n".repeat(1000))),
    ("zeros behind the header", |r| {
        let bytes = r.read(TRIALS);
        r.write(
            TRIALS,
            [&bytes[..100], &vec![0; bytes.len() - 100]].concat(),
        );
    }),
    ("of another program", |r| r.sql("PRAGMA application_id = 7")),
    ("of a newer version", |r| r.sql("PRAGMA user_version = 99")),
    ("no table of trials", |r| {
        r.sql("DROP VIEW trial_view; DROP VIEW judgement_view; DROP TABLE trials")
    }),
    ("no table of keys", |r| {
        r.sql("DROP VIEW trial_view; DROP VIEW judgement_view; DROP TABLE keys")
    }),
    ("no trial", |r| {
        r.sql("DELETE FROM trials; DELETE FROM keys; DELETE FROM judgements")
    }),
    ("keys that never end", |r| {
        r.sql("DROP VIEW trial_view; DROP VIEW judgement_view; DROP TABLE keys;
               CREATE VIEW keys AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT zeroblob(16) AS key, i AS trial FROM n");
    }),
    ("trials that never end", |r| {
        r.sql("DROP VIEW trial_view; DROP VIEW judgement_view; ALTER TABLE trials RENAME TO kept;
               CREATE VIEW trials AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT kept.*, n.i AS more FROM n JOIN kept");
    }),
    ("texts of a gigabyte that are computed", |r| {
        r.sql(
            "DROP VIEW trial_view; DROP VIEW judgement_view; ALTER TABLE trials DROP COLUMN text;
               ALTER TABLE trials ADD COLUMN text TEXT AS (hex(zeroblob(500000000)))",
        );
    }),
    ("a trigger", |r| {
        r.sql("CREATE TRIGGER t AFTER INSERT ON judgements BEGIN DELETE FROM trials; END")
    }),
    ("texts that are none", |r| {
        r.sql("UPDATE trials SET text = x'ff'")
    }),
    ("layers that are texts", |r| {
        r.sql("UPDATE trials SET layer = 'three'")
    }),
    ("tokens that are none", |r| {
        r.sql("UPDATE trials SET tokens = x'ffffffffffffffffffff'")
    }),
    ("settings that are none", |r| {
        r.sql("UPDATE settings SET json = '[[[' || id")
    }),
    ("a dose that is infinite", |r| {
        r.sql("UPDATE trials SET dose = 9e999 WHERE dose IS NOT NULL")
    }),
    ("a neuron that is none", |r| {
        r.sql("UPDATE trials SET layer = -1 WHERE layer IS NOT NULL")
    }),
    ("a key of 32 bytes", |r| {
        r.sql("INSERT INTO keys SELECT zeroblob(32), min(id) FROM trials")
    }),
    ("outcomes that are none", |r| {
        r.sql("UPDATE outcomes SET json = '{\"no\": ' || id || '}'")
    }),
    ("a view that says other things", |r| {
        r.sql("DROP VIEW judgement_view; CREATE VIEW judgement_view AS SELECT 'flipped' AS outcome")
    }),
    ("a table more", |r| r.sql("CREATE TABLE notes (note)")),
    ("an index more", |r| {
        r.sql("CREATE INDEX texts ON trials (text)")
    }),
    ("rows that nothing refers to", |r| {
        r.sql("INSERT INTO names (name) VALUES ('nobody')")
    }),
    ("a text of 20 MB", |r| {
        r.sql("UPDATE trials SET text = CAST(zeroblob(20000000) AS TEXT) WHERE id = (SELECT trial FROM keys ORDER BY key LIMIT 1)")
    }),
    ("a folder", |r| r.instead(TRIALS, folder)),
    ("a pipe", |r| r.instead(TRIALS, pipe)),
    ("endless", |r| r.instead(TRIALS, endless)),
    ("a link to itself", |r| r.instead(TRIALS, circle)),
    ("as long as a disk", |r| r.instead(TRIALS, vast)),
    ("journal of garbage", |r| {
        r.write("trials.sqlite-journal", "journal".repeat(1000))
    }),
    ("journal is a pipe", |r| {
        r.instead("trials.sqlite-journal", pipe)
    }),
    ("journal is endless", |r| {
        r.instead("trials.sqlite-journal", endless)
    }),
    ("journal is a folder", |r| {
        r.instead("trials.sqlite-journal", folder)
    }),
    ("write-ahead log of garbage", |r| {
        r.write("trials.sqlite-wal", "log".repeat(1000))
    }),
    ("write-ahead log is a pipe", |r| {
        r.instead("trials.sqlite-wal", pipe)
    }),
    ("write-ahead log of a store that has one, garbage", |r| {
        r.sql("PRAGMA journal_mode = WAL");
        r.write("trials.sqlite-wal", "log".repeat(10_000));
    }),
];

/// Where every hash was made to fit.
const FORGED: &[Case] = &[
    ("manifest of another format", |r| {
        r.manifest(|m| m["format"] = 99.into())
    }),
    ("manifest of a format that is none", |r| {
        r.manifest(|m| m["format"] = "three".into())
    }),
    ("manifest without a format", |r| {
        r.manifest(|m| m["format"] = Value::Null)
    }),
    ("manifest with a study of another kind", |r| {
        r.manifest(|m| m["study"] = json!([]))
    }),
    ("manifest with a file above the folder", |r| {
        r.manifest(|m| m["evidence"]["files"]["../model/config.json"] = "0".repeat(64).into())
    }),
    ("manifest with a file that is endless", |r| {
        r.manifest(|m| m["evidence"]["files"]["/dev/zero"] = "0".repeat(64).into())
    }),
    ("manifest with a model that is endless", |r| {
        r.manifest(|m| m["environment"]["model_folder"] = "/dev/zero".into())
    }),
    ("predictions without the calibration of a neuron", |r| {
        r.resealed(|p| {
            drop(
                p["calibration"]["neurons"]
                    .as_array_mut()
                    .unwrap()
                    .remove(0),
            )
        })
    }),
    ("predictions without calibrations", |r| {
        r.resealed(|p| p["calibration"]["neurons"] = json!([]))
    }),
    ("predictions without layers", |r| {
        r.resealed(|p| p["calibration"]["layers"] = json!([]))
    }),
    ("predictions without groups", |r| {
        r.resealed(|p| p["screening"]["groups"] = json!([]))
    }),
    ("predictions without predictors", |r| {
        r.resealed(|p| p["predictors"] = json!([]))
    }),
    ("predictions without ceilings", |r| {
        r.resealed(|p| p["ceilings"] = json!([]))
    }),
    ("predictions without forecasts", |r| {
        r.resealed(|p| p["forecasts"] = json!([]))
    }),
    ("predictions of a neuron that is none", |r| {
        r.resealed(|p| {
            p["screening"]["groups"][1]["neurons"] =
                json!([{"layer": 1_000_000_000, "index": 1_000_000_000}])
        })
    }),
    ("predictions with a number beyond all others", |r| {
        r.resealed(|p| p["calibration"]["neurons"][0]["budget"] = 1e308.into())
    }),
    ("verdicts without neurons", |r| {
        r.forged(|v| v["verdicts"]["neurons"] = json!([]))
    }),
    ("verdicts without curves", |r| {
        r.forged(|v| v["judgements"]["curves"] = json!([]))
    }),
    ("interrupted, without predictions", |r| {
        r.remove(PREDICTIONS);
        r.interrupted();
    }),
    ("interrupted, with verdicts cut off", |r| {
        r.cut(VERDICTS, 2);
        r.interrupted();
    }),
    ("interrupted, with predictions cut off", |r| {
        r.cut(PREDICTIONS, 2);
        r.interrupted();
    }),
    ("interrupted, with trials cut off", |r| {
        r.cut(TRIALS, 2);
        r.interrupted();
    }),
    ("interrupted, with trials that are a pipe", |r| {
        r.interrupted();
        r.instead(TRIALS, pipe);
    }),
    ("interrupted, with an endless journal", |r| {
        r.interrupted();
        r.instead("trials.sqlite-journal", endless);
    }),
];

const BESIDE: &[Case] = &[
    ("the folder is a file", |r| {
        fs::remove_dir_all(&r.0).unwrap();
        fs::write(&r.0, "").unwrap();
    }),
    ("the folder is a pipe", |r| {
        fs::remove_dir_all(&r.0).unwrap();
        pipe(&r.0);
    }),
    ("the folder is a link to itself", |r| {
        fs::remove_dir_all(&r.0).unwrap();
        circle(&r.0);
    }),
    ("the lock is garbage", |r| {
        r.write(LOCK, vec![0xff; 100_000]);
        r.remove(VERDICTS);
    }),
    ("the lock is a folder", |r| r.instead(LOCK, folder)),
    ("the lock is a pipe", |r| r.instead(LOCK, pipe)),
    ("the lock is endless", |r| r.instead(LOCK, endless)),
    ("the report is a folder", |r| r.instead("report.md", folder)),
    ("the report is a pipe", |r| r.instead("report.html", pipe)),
    ("the report is endless", |r| r.instead("report.md", endless)),
    ("the report is as long as a disk", |r| {
        r.instead("report.md", vast)
    }),
    ("the figures are a file", |r| {
        r.instead("figures", |p| fs::write(p, "").unwrap())
    }),
    ("the figures are a pipe", |r| r.instead("figures", pipe)),
    ("earlier predictions are a pipe", |r| {
        r.instead("predictions.superseded-1.json", pipe)
    }),
    ("earlier predictions are endless", |r| {
        r.instead("predictions.superseded-1.json", endless)
    }),
];

const KINDS: [(&str, &[Case]); 6] = [
    ("manifest", MANIFESTS),
    ("predictions", PREDICTED),
    ("verdicts", JUDGED),
    ("trials", STORES),
    ("forged", FORGED),
    ("beside", BESIDE),
];

/// What is done with a run folder. `whole` is one that is not broken.
const COMMANDS: [(&str, &[&str]); 6] = [
    ("report", &["report", "run"]),
    ("verify", &["verify", "run"]),
    ("diff", &["diff", "run", "whole"]),
    ("export", &["export", "run", "--out", "table.csv"]),
    ("runs", &["runs", "run"]),
    ("run", &["run", "study.yaml", "--out", "run"]),
];

/// Every broken run folder with each of the commands.
pub fn visit(visit: Visit<'_>) {
    for (kind, _) in KINDS {
        visit_kind(kind, visit);
    }
}

fn visit_kind(kind: &str, visit: Visit<'_>) {
    let place = Workplace::new();
    let made = place
        .reachspec(&["run", "study.yaml", "--out", "whole"])
        .output()
        .unwrap();
    assert!(made.status.success());
    let (_, cases) = KINDS.iter().find(|(name, _)| *name == kind).unwrap();
    for (name, break_it) in *cases {
        for (command, arguments) in COMMANDS {
            let run = Run(place.path("run"));
            clear(&run.0);
            copy(&place.path("whole"), &run.0);
            break_it(&run);
            visit(
                &format!("{kind}: {name} ({command})"),
                &mut place.reachspec(arguments),
            );
        }
    }
}

fn clear(path: &Path) {
    match path.is_dir() && !path.is_symlink() {
        true => fs::remove_dir_all(path).unwrap(),
        false => drop(fs::remove_file(path)),
    }
}

/// What each case ends with; commands that say the same are named together, and what a command says that does its work is left out.
fn answers(kind: &str) -> String {
    let mut cases: Vec<(String, Vec<(String, String)>)> = Vec::new();
    visit_kind(kind, &mut |name, command| {
        let measured = run(name, command);
        let (case, with) = name.trim_end_matches(')').split_once(" (").unwrap();
        let code = measured.status.code().unwrap_or_default();
        let said = match (code, with) {
            (0, "runs") | (1.., _) => steady(&[measured.stdout, measured.stderr].concat()),
            _ => String::new(),
        };
        let answer = format!("exit {code}\n{said}");
        if cases.last().is_none_or(|(last, _)| last != case) {
            cases.push((case.into(), Vec::new()));
        }
        let answers = &mut cases.last_mut().unwrap().1;
        match answers.iter_mut().find(|(_, known)| *known == answer) {
            Some((commands, _)) => *commands += &format!(", {with}"),
            None => answers.push((with.into(), answer)),
        }
    });
    let mut text = String::new();
    for (case, answers) in cases {
        text += &format!("## {case}\n");
        for (commands, answer) in answers {
            text += &format!("{commands}: {}\n", answer.trim_end());
        }
        text += "\n";
    }
    text
}

/// A test for each kind, so that kinds run side by side.
macro_rules! explained {
    ($($test:ident: $kind:literal;)*) => {
        $(#[test]
        fn $test() {
            insta::assert_snapshot!(answers($kind));
        })*
    };
}

explained! {
    broken_manifests_are_explained: "manifest";
    broken_predictions_are_explained: "predictions";
    broken_verdicts_are_explained: "verdicts";
    broken_stores_are_explained: "trials";
    forged_records_are_explained: "forged";
    what_stands_beside_a_record_is_explained: "beside";
}
