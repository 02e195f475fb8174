//! Whole studies through the built program: the shipped quickstart against its committed report, and a study on somebody else's model.

use std::path::Path;
use std::process::{Command, Output};

use reachspec::spec::load_study;

use crate::shared;
use crate::verify::sql;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn reachspec(args: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .current_dir(ROOT)
        .args(args)
        .output()
        .unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn succeeds(args: &[&str]) -> String {
    let output = reachspec(args);
    assert!(output.status.success(), "reachspec {}", args.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

fn read(folder: &Path, file: &str) -> String {
    std::fs::read_to_string(folder.join(file)).unwrap()
}

/// The committed report is what a reader sees first, and the golden file of this test. When a change is meant, accept it with
/// `reachspec run specs/quickstart.yaml --accept`.
#[test]
fn the_quickstart_gives_its_committed_report() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("quickstart");
    let out = run.to_str().unwrap();
    let spec = ["run", "specs/quickstart.yaml", "--out", out];
    let frozen =
        |threads: &str| succeeds(&[&spec[..], &["--threads", threads, "--frozen"]].concat());
    let said = frozen("2");
    assert!(said.contains("frozen: reports/quickstart is what the study gives, byte for byte"));

    // Once more, continued: nothing is left to do, and every byte stays.
    let verdicts = read(&run, "verdicts.json");
    frozen("1");
    assert_eq!(read(&run, "verdicts.json"), verdicts);

    // Against a committed result that is another one, in each of its files.
    let committed = folder.path().join("committed");
    let at = committed.to_str().unwrap();
    let said = succeeds(&["report", out, "--accept", "--committed", at]);
    assert!(said.starts_with("accepted: "), "{said}");
    succeeds(&["report", out, "--frozen", "--committed", at]);
    for (file, before, after, said) in [
        ("report.md", "## Windows", "## Widows", "+## Windows"),
        ("report.html", "<h2", "<h3", "report.html"),
        ("verdicts.csv", ",open,", ",closed,", "window closed → open"),
        (
            "frozen.json",
            "\"seal\": \"",
            "\"seal\": \"00",
            "the predictions are others",
        ),
        (
            "figures/saturation.svg",
            "<svg",
            "<svg ",
            "figures/saturation.svg",
        ),
    ] {
        let path = committed.join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(before), "{file}");
        std::fs::write(&path, text.replacen(before, after, 1)).unwrap();
        let output = reachspec(&["report", out, "--frozen", "--committed", at]);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(5), "{file}");
        assert!(told.contains(said), "{file}: {told}");
        std::fs::write(&path, text).unwrap();
    }
    std::fs::remove_file(committed.join("report.md")).unwrap();
    let output = reachspec(&["report", out, "--frozen", "--committed", at]);
    assert_eq!(output.status.code(), Some(5));
    let output = reachspec(&["report", out, "--frozen", "--committed", "nowhere"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--accept"));
}

#[test]
fn a_run_that_is_killed_goes_on_to_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    let small = [
        "--limit",
        "3",
        "--set",
        "neurons.1.screen.top=1",
        "--set",
        "doses.grid=[0.6, 1]",
    ];
    let args = |out: &Path| -> Vec<String> {
        let out = out.to_str().unwrap();
        let fixed = [
            "run",
            "specs/quickstart.yaml",
            "--events",
            "jsonl",
            "--out",
            out,
        ];
        fixed.iter().chain(&small).map(|s| s.to_string()).collect()
    };
    let run = |out: &Path| succeeds(&args(out).iter().map(String::as_str).collect::<Vec<_>>());
    run(&whole);

    let mut child = Command::new(env!("CARGO_BIN_EXE_reachspec"))
        .current_dir(ROOT)
        .args(args(&killed))
        .stderr(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // In the middle of the sweep.
    let events = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut swept = false;
    for line in std::io::BufRead::lines(events) {
        let line = line.unwrap();
        swept = line.contains(r#""event":"progress""#) && line.contains(r#""stage":"sweep""#);
        if swept {
            child.kill().unwrap();
            break;
        }
    }
    child.wait().unwrap();
    assert!(swept, "the run was not killed during the sweep");
    assert!(!killed.join("verdicts.json").exists());
    run(&killed);
    for file in ["verdicts.json", "report.md", "report.html"] {
        assert!(
            read(&whole, file) == read(&killed, file),
            "{file} differs after a kill"
        );
    }
}

#[test]
fn a_changed_study_does_not_continue_silently() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let out = out.to_str().unwrap();
    let base = [
        "run",
        "specs/quickstart.yaml",
        "--limit",
        "2",
        "--out",
        out,
        "--set",
        "doses.grid=[0.6]",
    ];
    let with = |more: &[&'static str]| -> Vec<&str> {
        base.iter().copied().chain(more.iter().copied()).collect()
    };
    succeeds(&with(&["--set", "neurons.1.screen.top=1"]));
    let changed = reachspec(&with(&[
        "--set",
        "neurons.1.screen.top=1",
        "--set",
        "calibration.statistic=median",
    ]));
    assert_eq!(changed.status.code(), Some(2));
    let message = String::from_utf8(changed.stderr).unwrap();
    assert!(
        message.contains("calibration.statistic") && message.contains("--fresh"),
        "{message}"
    );
}

#[test]
fn somebody_elses_model_is_studied() {
    let Some(model) = shared::model("stories260k") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("stories");
    let set = format!("model.path={}", model.display());
    let args = [
        "run",
        "specs/stories-animal.yaml",
        "--set",
        &set,
        "--limit",
        "4",
        "--out",
        run.to_str().unwrap(),
    ];
    let summary = succeeds(&args);
    assert!(summary.contains("another-animal: "), "{summary}");
    assert!(read(&run, "report.md").contains("another-animal"));
}

/// The long studies are not run here; but a spec, a prompt set or a model that has changed since its report was made is found.
#[test]
fn every_shipped_study_has_a_report_of_it_as_it_is() {
    let mut studies = 0;
    for entry in std::fs::read_dir(Path::new(ROOT).join("specs")).unwrap() {
        let path = entry.unwrap().path();
        let is_spec = path
            .extension()
            .is_some_and(|extension| extension == "yaml");
        // Its model is not part of this repository.
        if !is_spec || path.ends_with("stories-animal.yaml") {
            continue;
        }
        let loaded = load_study(&path, &[]).unwrap_or_else(|error| panic!("{error}"));
        let name = &loaded.study.name;
        let report = read(&Path::new(ROOT).join("reports").join(name), "report.md");
        assert!(
            report.contains(&loaded.study.hash()),
            "reports/{name} is stale: run `reachspec run specs/{name}.yaml --accept`"
        );
        studies += 1;
    }
    assert_eq!(studies, 6);
}

/// A small study, in a moment.
fn small(out: &Path, more: &[&str]) -> Output {
    let small = [
        "run",
        "specs/quickstart.yaml",
        "--limit",
        "2",
        "--out",
        out.to_str().unwrap(),
    ];
    reachspec(&[&small[..], more].concat())
}

#[test]
fn a_run_until_the_seal_steers_no_held_out_neuron_and_goes_on_behind_the_same_seal() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("sealed");
    let grid = ["--set", "doses.grid=[0.6]"];
    let sealed = small(&run, &[&grid[..], &["--until", "seal"]].concat());
    assert!(sealed.status.success());
    let said = String::from_utf8(sealed.stdout).unwrap();
    let seal = said.lines().next().unwrap();
    assert!(seal.starts_with("seal: ") && seal.len() == 6 + 64, "{said}");
    assert!(
        said.contains("no held-out or control neuron had been steered"),
        "{said}"
    );
    let again = said.lines().last().unwrap();
    assert!(
        again.starts_with("next: publish the seal; then ") && !again.contains("--until"),
        "{said}"
    );
    assert!(!run.join("verdicts.json").exists());

    let predictions = read(&run, "predictions.json");
    let ended = small(&run, &grid);
    assert!(ended.status.success());
    assert!(String::from_utf8(ended.stdout).unwrap().contains(seal));
    assert_eq!(read(&run, "predictions.json"), predictions);
    succeeds(&["verify", run.to_str().unwrap()]);
}

/// A small study is refused as not what was written, with these words.
fn small_does_not_hold(out: &Path, more: &[&str], words: &[&str]) {
    let output = small(out, more);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{said}");
    for word in words {
        assert!(said.contains(word), "{word} is missing in:\n{said}");
    }
}

#[test]
fn a_sealed_run_goes_on_only_from_what_it_was_sealed_from() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let grid = ["--set", "doses.grid=[0.6, 2]"];
    let sealed = small(&run, &[&grid[..], &["--until", "seal"]].concat());
    assert!(sealed.status.success());
    let (predictions, trials) = (run.join("predictions.json"), run.join("trials.sqlite"));
    let (before, whole) = (
        std::fs::read(&predictions).unwrap(),
        std::fs::read(&trials).unwrap(),
    );
    let gone = ["trials.sqlite", "are gone", "--fresh"];
    std::fs::remove_file(&trials).unwrap();
    small_does_not_hold(&run, &grid, &gone);
    std::fs::write(&trials, "").unwrap();
    small_does_not_hold(&run, &grid, &gone);

    // What the weaker dose gave is said of the stronger one, and the reverse.
    std::fs::write(&trials, &whole).unwrap();
    sql(
        &run,
        "CREATE TEMP TABLE o AS SELECT * FROM trials;
         UPDATE trials SET tokens = o.tokens, nll = o.nll, cosines = o.cosines, text = o.text, ended = o.ended FROM o
         WHERE o.prompt = trials.prompt AND o.setting = trials.setting AND o.layer = trials.layer AND o.neuron = trials.neuron
           AND o.dose <> trials.dose AND o.dose * trials.dose > 0",
    );
    small_does_not_hold(&run, &grid, &["predictions.json", "were sealed as"]);
    assert_eq!(std::fs::read(&predictions).unwrap(), before);

    std::fs::write(&trials, &whole).unwrap();
    assert!(small(&run, &grid).status.success());
    assert_eq!(std::fs::read(&predictions).unwrap(), before);
    succeeds(&["verify", run.to_str().unwrap()]);
}

#[test]
fn superseded_predictions_stay_evidence() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    assert!(small(&run, &["--set", "doses.grid=[0.6]"]).status.success());
    let grown = ["--set", "doses.grid=[0.6, 1]"];
    assert!(small(&run, &grown).status.success());
    let name = "predictions.superseded-1.json";
    let (file, whole) = (run.join(name), read(&run, name));
    let backdated = whole.replacen("\"sealed_at\": \"2", "\"sealed_at\": \"1", 1);
    assert_ne!(backdated, whole);
    std::fs::write(&file, backdated).unwrap();
    small_does_not_hold(&run, &grown, &[name, "was changed after the run ended"]);
    std::fs::remove_file(&file).unwrap();
    small_does_not_hold(&run, &grown, &[name, "is gone since the run ended"]);
    std::fs::write(&file, &whole).unwrap();
    let added = run.join("predictions.superseded-2.json");
    std::fs::write(&added, &whole).unwrap();
    small_does_not_hold(&run, &grown, &["superseded-2.json", "was added"]);
    let at = run.to_str().unwrap();
    assert_eq!(reachspec(&["verify", at]).status.code(), Some(5));
    std::fs::remove_file(&added).unwrap();
    assert!(small(&run, &grown).status.success());
    succeeds(&["verify", at]);
}

#[test]
fn a_run_with_nothing_to_do_leaves_its_record_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let grid = ["--set", "doses.grid=[0.6]"];
    assert!(small(&run, &grid).status.success());
    let files = ["manifest.json", "verdicts.json", "report.md"];
    let before = files.map(|file| read(&run, file));
    let trials = std::fs::read(run.join("trials.sqlite")).unwrap();
    let again = small(&run, &grid);
    assert!(again.status.success());
    let said = String::from_utf8(again.stdout).unwrap();
    assert!(said.contains(": 0 rollouts run, "), "{said}");
    assert_eq!(files.map(|file| read(&run, file)), before);
    assert_eq!(std::fs::read(run.join("trials.sqlite")).unwrap(), trials);
    // Another title is another spec, and goes into manifest and report.
    let titled = ["--set", "report.title=Another"];
    assert!(small(&run, &[&grid[..], &titled].concat()).status.success());
    assert!(read(&run, "report.md").contains("Another"));
    succeeds(&["verify", run.to_str().unwrap()]);
}

#[test]
fn an_extended_run_cannot_be_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let (run, committed) = (folder.path().join("run"), folder.path().join("committed"));
    let accept = ["--accept", "--committed", committed.to_str().unwrap()];
    assert!(small(&run, &["--set", "doses.grid=[0.6]"]).status.success());
    let grown = ["--set", "doses.grid=[0.6, 1]"];
    let extended = small(&run, &[&grown[..], &accept].concat());
    assert_eq!(extended.status.code(), Some(2));
    let message = String::from_utf8(extended.stderr).unwrap();
    assert!(
        message.contains("this run was not made in one go") && message.contains("--fresh --accept"),
        "{message}"
    );
    assert!(!committed.exists());
    let fresh = small(&run, &[&grown[..], &accept, &["--fresh"]].concat());
    assert!(fresh.status.success());
    assert!(committed.join("frozen.json").exists());
}

/// What a command said on standard error, and that it was refused.
fn refused(args: &[&str]) -> String {
    let output = reachspec(args);
    assert_eq!(
        output.status.code(),
        Some(2),
        "reachspec {}",
        args.join(" ")
    );
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn nothing_is_written_over_what_is_not_the_commands_own() {
    let folder = tempfile::tempdir().unwrap();
    let [run, other, mine] = ["run", "other", "mine"].map(|name| folder.path().join(name));
    let grid = ["--set", "doses.grid=[0.6]"];
    assert!(small(&run, &grid).status.success());
    assert!(small(&other, &grid).status.success());
    std::fs::create_dir(&mine).unwrap();
    let spec = mine.join("spec.yaml");
    std::fs::write(&spec, "mine").unwrap();
    std::fs::write(mine.join("report.md"), "mine").unwrap();
    let [from, over, mine_at, spec_at] =
        [&run, &other, &mine, &spec].map(|path| path.to_str().unwrap());
    let trials = format!("{over}/trials.sqlite");
    let figure = format!("{over}/figures/trials.csv");

    assert!(refused(&["export", from, "--out", &trials]).contains("evidence"));
    assert!(refused(&["export", from, "--out", &figure]).contains("evidence"));
    assert!(refused(&["export", from, "--out", spec_at]).contains("by its name no table"));
    assert!(refused(&["report", from, "--out", over]).contains("another run"));
    assert!(
        refused(&["report", from, "--accept", "--committed", over])
            .contains("is the folder of a run")
    );
    assert!(
        refused(&["report", from, "--accept", "--committed", mine_at])
            .contains("there is no frozen.json")
    );
    assert_eq!(read(&mine, "report.md"), "mine");
    assert_eq!(read(&mine, "spec.yaml"), "mine");
    succeeds(&["verify", over]);

    // Somebody else's figure stays, whatever its name; and so does the committed result of another study.
    let figures = folder.path().join("reports/figures");
    let at = figures.parent().unwrap().to_str().unwrap();
    succeeds(&["report", from, "--out", at]);
    std::fs::write(figures.join("windows-mine.svg"), "mine").unwrap();
    succeeds(&["report", from, "--out", at]);
    assert_eq!(read(&figures, "windows-mine.svg"), "mine");
    let committed = folder.path().join("committed");
    let at = committed.to_str().unwrap();
    succeeds(&["report", from, "--accept", "--committed", at]);
    let facts = read(&committed, "frozen.json").replace("quickstart", "elsewhere");
    std::fs::write(committed.join("frozen.json"), facts).unwrap();
    assert!(
        refused(&["report", from, "--accept", "--committed", at]).contains("the study elsewhere")
    );
}

#[test]
fn a_finished_run_stays_finished_until_something_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let grid = ["--set", "doses.grid=[0.6]"];
    assert!(small(&run, &grid).status.success());
    let manifest = read(&run, "manifest.json");
    assert!(
        small(&run, &[&grid[..], &["--until", "seal"]].concat())
            .status
            .success()
    );
    assert_eq!(read(&run, "manifest.json"), manifest);
    succeeds(&["verify", run.to_str().unwrap()]);

    // A report that is not written anew keeps its hash: an edit stays an edit.
    let report = run.join("report.md");
    let edited = read(&run, "report.md") + "\nAll are open.\n";
    std::fs::write(&report, edited).unwrap();
    let at = run.to_str().unwrap();
    succeeds(&["report", at, "--format", "html"]);
    assert_eq!(reachspec(&["verify", at]).status.code(), Some(5));
    succeeds(&["report", at]);
    succeeds(&["verify", at]);
}

#[test]
fn templates_that_would_do_nothing_or_fail_are_refused_before_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let templates = folder.path().join("templates");
    std::fs::create_dir(&templates).unwrap();
    let run = folder.path().join("run");
    let with = ["--templates", templates.to_str().unwrap()];
    for (name, text, said) in [
        (
            "raport.md.jinja",
            b"x".as_slice(),
            "did you mean report.md.jinja?",
        ),
        (
            "report.md.jinja",
            b"{% if %}",
            "template report.md.jinja, line 1",
        ),
        (
            "style.css",
            b"a\xff",
            "style.css: the template cannot be read: it is not UTF-8: see its byte 1",
        ),
    ] {
        std::fs::write(templates.join(name), text).unwrap();
        let output = small(&run, &with);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && message.contains(said),
            "{message}"
        );
        assert!(!run.exists());
        std::fs::remove_file(templates.join(name)).unwrap();
    }
    std::fs::create_dir(templates.join("style.css")).unwrap();
    let message = String::from_utf8(small(&run, &with).stderr).unwrap();
    assert!(message.contains("style.css: is no file"), "{message}");
}

#[test]
fn what_flips_without_a_dose_is_no_window() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let always = "behaviors.language-routing.flipped_when={regex: '.'}";
    let output = small(&run, &["--set", "doses.grid=[0.6]", "--set", always]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        said.starts_with("language-routing: 0 of 16 held-out neurons open, 16 undecided"),
        "{said}"
    );
    assert!(
        said.contains("caution: The unsteered model already shows the flipped behaviour"),
        "{said}"
    );
    let report = read(&run, "report.md");
    assert!(report.contains("32 undecided because the unsteered model flips by itself"));
}
