//! A small run of the quickstart, and what must be the same of it whatever happened on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Whether tests that inject faults do so at length, as `REACHSPEC_LONG=1` asks.
pub fn is_long() -> bool {
    std::env::var_os("REACHSPEC_LONG").is_some()
}

/// A quickstart of a few hundred rollouts: the program and its arguments.
pub fn arguments(out: &Path) -> Vec<String> {
    let settings = [
        "doses.grid=[0.6, 1, 2]",
        "neurons.0.random.count=4",
        "neurons.1.screen.top=1",
        "neurons.1.screen.layers=2..5",
        "neurons.2.random.count=3",
        "neurons.3.random_directions.count=3",
        "calibration.rollout_prompts=3",
        "prompts.generic.limit=20",
        "prompts.calibration.limit=8",
        "prompts.calibration-spanish.limit=8",
    ];
    let mut words = [
        env!("CARGO_BIN_EXE_reachspec"),
        "run",
        "specs/quickstart.yaml",
        "--limit",
        "4",
        "--events",
        "jsonl",
        "--out",
        out.to_str().unwrap(),
    ]
    .map(str::to_owned)
    .to_vec();
    words.extend(
        settings
            .iter()
            .flat_map(|key| ["--set".to_owned(), (*key).to_owned()]),
    );
    words
}

/// The same as a command, its events on a pipe.
pub fn run(out: &Path) -> Command {
    let words = arguments(out);
    let mut command = Command::new(&words[0]);
    command
        .current_dir(ROOT)
        .args(&words[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    command
}

/// Runs to the end, and returns the events.
pub fn finish(out: &Path) -> Vec<Value> {
    let output = run(out).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// What a run is: its predictions, trials with judgements, verdicts and reports. Times are left out.
pub fn results(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut results = BTreeMap::new();
    for file in ["verdicts.json", "report.md", "report.html"] {
        results.insert(file.into(), std::fs::read(out.join(file)).unwrap());
    }
    for figure in std::fs::read_dir(out.join("figures")).unwrap() {
        let path = figure.unwrap().path();
        results.insert(
            path.file_name().unwrap().to_str().unwrap().into(),
            std::fs::read(path).unwrap(),
        );
    }
    let predictions = std::fs::read(out.join("predictions.json")).unwrap();
    let mut predictions: Value = serde_json::from_slice(&predictions).unwrap();
    let seal = predictions["seal"].as_object_mut().unwrap();
    assert!(seal.remove("sealed_at").is_some());
    results.insert("predictions.json".into(), predictions.to_string().into());
    let export = Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .arg("export")
        .arg(out)
        .output()
        .unwrap();
    assert!(export.status.success());
    results.insert("trials".into(), export.stdout);
    results
}

/// The results of a run that nobody disturbed.
pub fn whole() -> &'static BTreeMap<String, Vec<u8>> {
    static WHOLE: LazyLock<BTreeMap<String, Vec<u8>>> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("whole");
        finish(&out);
        results(&out)
    });
    &WHOLE
}

pub fn assert_same(whole: &BTreeMap<String, Vec<u8>>, out: &Path, when: &str) {
    let these = results(out);
    let names = |results: &BTreeMap<String, Vec<u8>>| results.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(whole), names(&these), "{when}");
    for (name, bytes) in whole {
        assert!(bytes == &these[name], "{name} is another one: {when}");
    }
}

/// Rollouts in the store; none where there is no store yet. What a killed process left half written is rolled back.
pub fn stored(out: &Path) -> usize {
    let path = out.join("trials.sqlite");
    if !path.exists() {
        return 0;
    }
    let store = rusqlite::Connection::open(path).unwrap();
    let count = store.query_row("SELECT count(*) FROM trials", [], |row| {
        row.get::<_, i64>(0)
    });
    count.unwrap_or(0) as usize
}

/// Every rollout was made once: what was stored when the last process began, and what it made, is what there is.
pub fn assert_made_once(events: &[Value], before: usize, out: &Path) {
    let begun = events
        .iter()
        .find(|event| event["event"] == "run_begun")
        .unwrap();
    assert_eq!(begun["stored"], before, "rollouts were lost");
    let ended = events
        .iter()
        .filter(|event| event["event"] == "stage_finished");
    let made: u64 = ended.map(|event| event["made"].as_u64().unwrap()).sum();
    assert_eq!(
        before + made as usize,
        stored(out),
        "rollouts were made again"
    );
}
