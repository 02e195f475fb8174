//! `diff`: the same run is the same, whatever differs is said, and a damaged record is no run.

use std::fs;
use std::path::Path;

use reachspec::record::{Manifest, RunFolder};
use serde_json::Value;
use tempfile::TempDir;

use crate::verify::{Run, copy, reachspec, replace_text};

/// Exit code, standard output and standard error.
fn diff(first: &Path, second: &Path, more: &[&str]) -> (i32, String, String) {
    let runs = ["diff", first.to_str().unwrap(), second.to_str().unwrap()];
    let output = reachspec(&[&runs[..], more].concat());
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn json(first: &Path, second: &Path) -> Value {
    let (_, text, error) = diff(first, second, &["--json"]);
    assert_eq!(error, "");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn runs_are_compared_and_damaged_ones_refused() {
    let run = Run::new();
    let first = run.root();

    // The same spec again, in another folder and on one thread.
    let again = Run::with(&["--threads", "1"]);
    let (code, text, error) = diff(&first, &again.root(), &[]);
    assert_eq!((code, error.as_str()), (0, ""), "{text}");
    assert!(
        text.starts_with("The runs are the same: spec, model, prompts, predictions"),
        "{text}"
    );
    let value = json(&first, &again.root());
    assert_eq!(
        (&value["same"], &value["thresholds"]),
        (&true.into(), &Value::Array(vec![]))
    );

    // Other doses, fewer prompts, another seed.
    let prompts = ["prompts.english.limit=2", "prompts.spanish.limit=2"];
    let sets = ["doses.grid=[0.6, 1.2, 2]", "seed=1", prompts[0], prompts[1]];
    let other = Run::with(&sets.map(|set| ["--set", set]).concat());
    let second = other.root();
    let (code, text, error) = diff(&first, &second, &[]);
    println!("{text}");
    assert_eq!((code, error.as_str()), (1, ""));
    assert!(text.starts_with("Different: "), "{text}");
    assert!(
        text.lines().next().unwrap().contains("same model"),
        "{text}"
    );
    let expected = [
        "## Thresholds\n",
        "## Predictions\n",
        "## Rollouts\n",
        "only in the first: 1 (budget)\n",
        "only in the second: 1.2 (budget)",
        "| `doses.magnitudes`",
        "| `seed`",
        "| prompts english",
        "| 3 → 2 prompts, 1 gone",
    ];
    for part in expected {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("model file"), "{text}");
    shows_the_largest(&first, &second, &text);
    assert_eq!(diff(&first, &second, &["--all", "--json"]).0, 2);
    assert_eq!(diff(&first, &second, &["--tolerance", "-1"]).0, 2);

    damaged_or_unfinished_runs_are_refused(&first);
}

/// Largest first, and every one of them with `--all`.
fn shows_the_largest(first: &Path, second: &Path, text: &str) {
    let value = json(first, second);
    let thresholds = value["thresholds"].as_array().unwrap();
    assert!(thresholds.len() > 10, "{value:#}");
    let reached =
        |change: &&Value| change["first"]["at"].is_object() || change["second"]["at"].is_object();
    let sizes: Vec<f64> = (thresholds.iter().filter(reached))
        .map(|change| change["size"].as_f64().unwrap())
        .collect();
    assert!(
        sizes.len() > 2 && sizes.is_sorted_by(|a, b| a >= b),
        "{sizes:?}"
    );
    assert!(
        value["predictions"]["fitted"][0]["key"].is_string(),
        "{value:#}"
    );

    let rows = |text: &str| {
        text.lines()
            .filter(|line| line.starts_with("| language-routing"))
            .count()
    };
    let (_, all, _) = diff(first, second, &["--all"]);
    assert!(text.contains("more (`--all` shows every one)"), "{text}");
    assert!(!all.contains("--all") && rows(&all) > rows(text), "{all}");
    assert!(rows(&all) >= thresholds.len());

    let tolerant = diff(first, second, &["--json", "--tolerance", "0.2"]).1;
    let tolerant: Value = serde_json::from_str(&tolerant).unwrap();
    assert!(tolerant["thresholds"].as_array().unwrap().len() < thresholds.len());
}

fn damaged_or_unfinished_runs_are_refused(run: &Path) {
    let copied = || {
        let other = TempDir::new().unwrap();
        copy(run, other.path());
        other
    };
    for name in [
        "manifest.json",
        "predictions.json",
        "verdicts.json",
        "trials.sqlite",
    ] {
        let other = copied();
        let path = other.path().join(name);
        match name {
            "trials.sqlite" => {
                let mut bytes = fs::read(&path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                fs::write(&path, bytes).unwrap();
            }
            _ => replace_text(&path, "0", "1"),
        }
        let (code, _, error) = diff(run, other.path(), &[]);
        assert!(code == 5 && error.contains(name), "{name}: {code} {error}");
    }
    let other = copied();
    let folder = RunFolder::create_or_open(other.path()).unwrap();
    let mut manifest = Manifest::load(&folder).unwrap().unwrap();
    manifest.evidence = None;
    manifest.write(&folder).unwrap();
    drop(folder);
    let (code, _, error) = diff(other.path(), run, &[]);
    assert!(code == 2 && error.contains("has not finished"), "{error}");
    let (code, _, error) = diff(run, Path::new("/nowhere"), &[]);
    assert!(code == 2 && error.contains("/nowhere"), "{error}");
}
