//! Finished, unfinished, damaged and foreign folders.

use super::*;
use crate::record::fixture;
use tempfile::TempDir;

fn only(folder: &Path) -> ListedRun {
    let mut runs = list(folder).unwrap();
    assert_eq!(runs.len(), 1, "{runs:?}");
    runs.remove(0)
}

#[test]
fn a_finished_run_says_what_it_found() {
    let parent = TempDir::new().unwrap();
    fixture::finish(&parent.path().join("a"), &fixture::study());
    let run = only(parent.path());
    assert_eq!((run.state, run.stored), (State::Finished, Some(6)));
    assert_eq!(run.behaviors.len(), 1);
    assert_eq!(run.behaviors[0].held_out, 1);
    assert_eq!(run.seal.unwrap().len(), 64);
    assert_eq!(run.manifest.unwrap().study, "fixture");
    // The run itself may be given, too.
    assert_eq!(only(&parent.path().join("a")).state, State::Finished);
}

#[test]
fn a_run_that_has_not_ended_is_running_or_interrupted() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("a");
    let folder = RunFolder::create_or_open(&root).unwrap();
    Manifest::new(&fixture::study(), &fixture::written(), 1)
        .write(&folder)
        .unwrap();
    let running = only(parent.path());
    assert_eq!(running.state, State::Running);
    assert_eq!(running.pid.unwrap(), std::process::id().to_string());
    drop(folder);
    let run = only(parent.path());
    assert_eq!(
        (run.state, run.stored, run.seal),
        (State::Interrupted, None, None)
    );
    // Two prompts unsteered, and at two doses of one neuron.
    assert_eq!(run.manifest.unwrap().planned, 6);
    fs::write(root.join("trials.sqlite"), "no database").unwrap();
    assert_eq!(only(parent.path()).stored, None);
    TrialStore::open_or_create(&parent.path().join("other.sqlite")).unwrap();
    fs::rename(
        parent.path().join("other.sqlite"),
        root.join("trials.sqlite"),
    )
    .unwrap();
    assert_eq!(only(parent.path()).stored, Some(0));
}

#[test]
fn damaged_runs_are_shown_with_the_remedy() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("a");
    fixture::finish(&root, &fixture::study());
    let manifest = fs::read(root.join("manifest.json")).unwrap();
    for length in [0, 1, 300, manifest.len() - 3] {
        fs::write(root.join("manifest.json"), &manifest[..length]).unwrap();
        let run = only(parent.path());
        assert_eq!(run.state, State::Damaged, "{length} bytes");
        let problem = run.problem.unwrap();
        assert!(
            problem.contains("manifest.json") && problem.contains("--fresh"),
            "{problem}"
        );
    }
    let text = String::from_utf8(manifest.clone()).unwrap();
    fs::write(
        root.join("manifest.json"),
        text.replacen("fixture", "fixturf", 1),
    )
    .unwrap();
    assert_eq!(only(parent.path()).state, State::Damaged);
    let mut other = Manifest::new(&fixture::study(), &fixture::written(), 1);
    other.format = 9;
    other.write(&RunFolder::open(&root).unwrap()).unwrap();
    assert_eq!(only(parent.path()).state, State::OtherVersion);
    fs::write(root.join("manifest.json"), &manifest).unwrap();
    fs::write(root.join("verdicts.json"), "{").unwrap();
    let problem = only(parent.path()).problem.unwrap();
    assert!(
        problem.contains("verdicts.json") && problem.contains("--fresh"),
        "{problem}"
    );
    fs::remove_file(root.join("manifest.json")).unwrap();
    let problem = only(parent.path()).problem.unwrap();
    assert!(problem.contains("the manifest is gone"), "{problem}");
}

#[test]
fn folders_of_something_else_are_left_out() {
    let parent = TempDir::new().unwrap();
    for (name, file, text) in [
        ("app", "manifest.json", r#"{"name": "web app"}"#),
        ("notes", "notes.txt", "reachspec "),
    ] {
        fs::create_dir(parent.path().join(name)).unwrap();
        fs::write(parent.path().join(name).join(file), text).unwrap();
    }
    fs::create_dir_all(parent.path().join("odd/manifest.json")).unwrap();
    fs::write(parent.path().join("file"), "").unwrap();
    assert_eq!(list(parent.path()).unwrap(), []);
    assert!(list(&parent.path().join("nothing")).is_err());
}
