//! Searched doses through the built program: what is run, what is recorded, and that the thresholds are those of a dense grid.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn run(out: &Path, doses: &str) -> Value {
    let doses = format!("doses={doses}");
    let output = Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .current_dir(ROOT)
        .args(["run", "specs/quickstart.yaml", "--limit", "6", "--out"])
        .arg(out)
        .args(["--set", "neurons.1.screen.top=1", "--set", &doses])
        .output()
        .unwrap();
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{messages}");
    serde_json::from_slice(&std::fs::read(out.join("verdicts.json")).unwrap()).unwrap()
}

/// Budgets of the ceiling of every branch; the bound where the doses ended first.
fn ceilings(verdicts: &Value) -> Vec<f64> {
    let branches = verdicts["verdicts"]["neurons"].as_array().unwrap().iter();
    branches
        .flat_map(|neuron| neuron["branches"].as_array().unwrap())
        .map(|branch| {
            let ceiling = branch["ceiling"].as_object().unwrap();
            ceiling.values().next().unwrap()["budgets"]
                .as_f64()
                .unwrap()
        })
        .collect()
}

fn points(verdicts: &Value) -> Vec<&Vec<Value>> {
    let curves = verdicts["judgements"]["curves"].as_array().unwrap().iter();
    curves
        .map(|curve| curve["points"].as_array().unwrap())
        .collect()
}

#[test]
fn a_search_finds_the_thresholds_of_a_dense_grid_with_fewer_doses() {
    let folder = tempfile::tempdir().unwrap();
    let searched = folder.path().join("searched");
    let verdicts = run(
        &searched,
        "{search: bisect, tolerance: 0.1, grid: [0.4, 0.8, 1.6, 3.2]}",
    );
    let dense = run(
        &folder.path().join("dense"),
        "{linear: {from: 0.1, to: 3.2, count: 32}}",
    );
    let (found, expected) = (ceilings(&verdicts), ceilings(&dense));
    assert_eq!(found.len(), expected.len());
    // Collapse shares need not be monotone: a search may settle on another crossing. It rarely does.
    let near = (found.iter().zip(&expected)).filter(|(a, b)| (*a - *b).abs() < 0.15);
    let near = near.count();
    assert!(
        near * 10 >= found.len() * 8,
        "{near} of {} ceilings agree: {found:?} {expected:?}",
        found.len()
    );
    let doses: usize = points(&verdicts).iter().map(|points| points.len()).sum();
    let dense_doses: usize = points(&dense).iter().map(|points| points.len()).sum();
    assert!(
        doses * 2 < dense_doses,
        "{doses} doses against {dense_doses}"
    );

    // The record says why each dose was run; those of the grid need no reason.
    for points in points(&verdicts) {
        let reasons = points.iter().filter_map(|point| point["why"].as_str());
        let reasons: Vec<&str> = reasons.collect();
        assert_eq!(points.len(), 4 + reasons.len());
        assert!(
            reasons
                .iter()
                .all(|why| ["ceiling", "trigger"].contains(why))
        );
        let budgets = points
            .iter()
            .map(|point| point["budgets"].as_f64().unwrap());
        assert!(budgets.is_sorted());
    }

    // Once more: nothing is left to do, and every byte stays.
    let before = std::fs::read(searched.join("verdicts.json")).unwrap();
    run(
        &searched,
        "{search: bisect, tolerance: 0.1, grid: [0.4, 0.8, 1.6, 3.2]}",
    );
    assert_eq!(
        std::fs::read(searched.join("verdicts.json")).unwrap(),
        before
    );
    let verify = Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .current_dir(ROOT)
        .arg("verify")
        .arg(&searched)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&verify.stdout);
    assert!(verify.status.success(), "{said}");
}
