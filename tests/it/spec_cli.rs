//! `check`, `init` and `schema` as a user runs them.

use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn reachspec(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reachspec"));
    command.current_dir(folder).args(arguments);
    command
        .output()
        .expect("the binary was built for this test")
}

/// Exit code, standard output, standard error.
fn at_root(arguments: &[&str]) -> (i32, String, String) {
    said(&reachspec(Path::new(ROOT), arguments))
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let code = output.status.code().expect("no signal ended it");
    (code, text(&output.stdout), text(&output.stderr))
}

#[test]
fn check_sums_up_a_good_spec_on_one_line() {
    let (code, out, err) = at_root(&["check", "specs/quickstart.yaml"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.starts_with("specs/quickstart.yaml: ok: quickstart on bilingual: "),
        "{out}"
    );
    assert_eq!(out.lines().count(), 1);
}

#[test]
fn check_explains_a_bad_spec_and_goes_on() {
    let bad = "tests/inputs/spec-errors/key-misspelt.yaml";
    let (code, out, err) = at_root(&["check", bad, "specs/quickstart.yaml"]);
    assert_eq!(code, 2);
    assert!(out.starts_with("specs/quickstart.yaml: ok"), "{out}");
    assert!(err.contains("did you mean `horizons`?"), "{err}");
    assert!(
        err.ends_with("error: 1 of 2 specs cannot be run\n"),
        "{err}"
    );
    assert!(!err.contains('\u{1b}'), "no colour without a terminal");
}

#[test]
fn check_tells_a_missing_model_from_a_bad_spec() {
    let spec = "specs/quickstart.yaml";
    let (code, _, err) = at_root(&["check", spec, "--set", "model.path=nowhere"]);
    assert_eq!(code, 3, "{err}");
    assert!(
        err.contains("does not exist") && err.contains("model.path=nowhere"),
        "{err}"
    );
    let (code, _, err) = at_root(&["check", spec, "--set", "model.pth=nowhere"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn init_writes_a_spec_that_passes_check_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let model = format!("{ROOT}/specs/models/bilingual");
    let arguments = ["init", "my study.yaml", "--model", &model];
    let (code, out, err) = said(&reachspec(folder.path(), &arguments));
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("reachspec check 'my study.yaml'\n"), "{out}");

    let (code, out, err) = said(&reachspec(folder.path(), &["check", "my study.yaml"]));
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains("ok: my-study on bilingual: 12 neurons; 1 behavior"),
        "{out}"
    );

    let path = folder.path().join("my study.yaml");
    std::fs::write(&path, "mine").unwrap();
    let (code, _, err) = said(&reachspec(folder.path(), &arguments));
    assert_eq!(code, 2);
    assert!(err.contains("exists already"), "{err}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn init_asks_for_a_model_where_there_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let (code, _, err) = said(&reachspec(folder.path(), &["init"]));
    assert_eq!(code, 3);
    assert!(err.contains("--model DIR"), "{err}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn schema_prints_what_is_checked_in() {
    let checked_in = std::fs::read_to_string(format!("{ROOT}/schemas/study.schema.json")).unwrap();
    let (code, out, _) = at_root(&["schema"]);
    assert_eq!((code, out), (0, checked_in.clone()));

    let of_rows = std::fs::read_to_string(format!("{ROOT}/schemas/export.schema.json")).unwrap();
    let (code, out, _) = at_root(&["schema", "export"]);
    assert_eq!((code, out), (0, of_rows.clone()));

    let folder = tempfile::tempdir().unwrap();
    let write = ["schema", "--write", "a/b", "--docs", "c"];
    let (code, _, err) = said(&reachspec(folder.path(), &write));
    assert_eq!(code, 0, "{err}");
    let written = |file| std::fs::read_to_string(folder.path().join(file)).unwrap();
    assert_eq!(written("a/b/study.schema.json"), checked_in);
    assert_eq!(written("a/b/export.schema.json"), of_rows);
    assert!(written("c/export.md").starts_with("# Exported tables"));
}

#[test]
fn plan_keeps_within_the_memory_that_it_may_use() {
    let planned = |memory: &str| {
        let memory = format!("--memory={memory}");
        at_root(&[
            "plan",
            "--json",
            "--no-timing",
            &memory,
            "specs/quickstart.yaml",
        ])
    };
    let plan = |memory| -> serde_json::Value {
        let (code, out, err) = planned(memory);
        assert_eq!((code, err.as_str()), (0, ""));
        serde_json::from_str(&out).unwrap()
    };
    let (wide, narrow) = (plan("8GiB"), plan("110MiB"));
    let rollouts = |plan: &serde_json::Value| plan["memory"]["rollouts"].as_u64().unwrap();
    assert!(rollouts(&narrow) < rollouts(&wide));
    for plan in [&wide, &narrow] {
        let memory = &plan["memory"];
        assert!(memory["peak"].as_u64() <= memory["allowed"].as_u64());
    }
    assert_eq!(wide["trials"], narrow["trials"]);
    let (code, _, err) = planned("1MiB");
    assert_eq!(code, 3, "{err}");
    assert!(
        err.contains("1.0 MiB may be used") && err.contains("--memory"),
        "{err}"
    );
    let (code, _, err) = planned("lots");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("such as 4GiB"), "{err}");
}

#[test]
fn plan_predicts_the_time_and_exports_the_sweep() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cells.json");
    let fixed = "neurons=[{role: held_out, at: [{layer: 3, index: 7..9}]}, {role: calibration, at: [{layer: 2, index: 3}]}]";
    let (code, out, err) = at_root(&[
        "plan",
        "--json",
        "specs/quickstart.yaml",
        "--set",
        fixed,
        "--limit=3",
        "--cells",
        file.to_str().unwrap(),
    ]);
    assert_eq!((code, err.as_str()), (0, ""));
    let plan: serde_json::Value = serde_json::from_str(&out).unwrap();
    let seconds = |which: &str| plan["seconds"][which].as_f64().unwrap();
    assert!(0.0 < seconds("least") && seconds("least") <= seconds("most"));
    let text = std::fs::read_to_string(&file).unwrap();
    let cells: reachspec::stages::cells::CellsFile = serde_json::from_str(&text).unwrap();
    // Two neurons, twenty signed doses and three prompts, and the clean rollouts.
    assert_eq!(cells.prompts.len(), 3);
    assert_eq!(cells.cells.len(), 2 * 20 * 3 + 3);
    assert!(Path::new(&cells.model).is_absolute() && cells.model.ends_with("bilingual"));
    assert_eq!(cells.cells().unwrap().len(), cells.cells.len());
    let steered = cells.cells.iter().filter(|cell| cell.layer == Some(3));
    assert_eq!(steered.count(), 120);
    let (code, _, err) = at_root(&[
        "plan",
        "specs/quickstart.yaml",
        "--no-timing",
        "--set=rollout.stop_at_collapse=true",
        "--limit=1",
        "--cells",
        file.to_str().unwrap(),
    ]);
    assert_eq!(code, 2, "{err}");
    assert!(
        err.contains("leave `rollout.stop_at_collapse` out"),
        "{err}"
    );
}

#[test]
fn too_little_memory_leaves_an_earlier_run_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = |memory: &str| {
        let fixed = "neurons=[{role: held_out, at: [{layer: 3, index: 7}]}, {role: calibration, at: [{layer: 2, index: 3}]}]";
        let memory = format!("--memory={memory}");
        at_root(&[
            "run",
            "specs/quickstart.yaml",
            "--set",
            fixed,
            "--limit=1",
            &memory,
            "--out",
            out.to_str().unwrap(),
        ])
    };
    let (code, _, err) = run("1GiB");
    assert_eq!(code, 0, "{err}");
    let manifest = || std::fs::read(out.join("manifest.json")).unwrap();
    let before = manifest();
    let (code, _, err) = run("50MiB");
    assert_eq!(code, 3, "{err}");
    assert!(err.contains("50.0 MiB may be used"), "{err}");
    assert_eq!(manifest(), before);
}

#[test]
fn a_readout_text_that_is_not_its_first_token_is_pointed_out_and_accepted() {
    let arguments = |text| {
        let set = format!("behaviors.language-routing.target_tokens=[{text}]");
        at_root(&["check", "specs/quickstart.yaml", "--set", &set])
    };
    for (text, said) in [
        (
            "el tigre",
            "warning: `el tigre` is 2 tokens, of which the readout axis takes the first, `el`",
        ),
        (
            "elefante",
            "warning: `elefante` begins with a token that does not spell it",
        ),
    ] {
        let (code, out, err) = arguments(text);
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(": ok: "), "{out}");
        assert!(err.starts_with(said), "{err}");
    }
    assert_eq!(arguments("el").2, "");
}

#[test]
fn prompts_that_the_model_cannot_tell_apart_are_pointed_out() {
    let prompts =
        "prompts.english={inline: [{text: the fox}, {text: the cat}, {text: 'the  fox'}]}";
    let spanish = "prompts.spanish={inline: [{text: a}, {text: the}, {text: cat}]}";
    let (code, _, err) = at_root(&[
        "check",
        "specs/quickstart.yaml",
        "--set",
        prompts,
        "--set",
        spanish,
    ]);
    assert_eq!(code, 0, "{err}");
    assert!(
        err.contains("1 of the 3 prompts of `prompts.english` repeat the tokens of another one, such as `2` those of `0`"),
        "{err}"
    );
}
