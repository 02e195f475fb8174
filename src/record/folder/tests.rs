use super::*;
use crate::record::error::ErrorKind;
use crate::record::fixture;
use crate::record::reading::read_json;
use tempfile::TempDir;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn a_new_folder_is_made_locked_and_left_clean() {
    let parent = TempDir::new().unwrap();
    let root = parent.path().join("runs/a");
    let folder = RunFolder::create_or_open(&root).unwrap();
    let second = RunFolder::create_or_open(&root).unwrap_err();
    assert!(matches!(second, RecordError::Locked { .. }), "{second}");
    folder.write(&folder.manifest(), b"{}").unwrap();
    folder
        .write(&folder.figures().join("a.svg"), b"<svg/>")
        .unwrap();
    drop(folder);
    assert_eq!(names(&root), ["figures", "manifest.json"]);
    RunFolder::create_or_open(&root).unwrap();
}

/// As long as SQLite can open, and one byte longer, which leaves nothing behind; a link makes the path no shorter.
#[cfg(unix)]
#[test]
fn a_path_that_is_too_long_for_sqlite_is_refused_before_anything_is_made() {
    let parent = TempDir::new().unwrap();
    let mut long = parent.path().canonicalize().unwrap();
    while long.as_os_str().len() < 380 {
        long.push("a".repeat(100));
    }
    let rest = 504 - "/trials.sqlite".len() - long.as_os_str().len() - 1;
    fs::create_dir_all(&long).unwrap();
    let link = parent.path().join("link");
    std::os::unix::fs::symlink(&long, &link).unwrap();
    for folder in [&long, &link] {
        let error = RunFolder::create_or_open(&folder.join("b".repeat(rest + 1))).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        let error = error.to_string();
        assert!(
            error.contains("has 505 bytes, of 504 at most; choose a shorter --out"),
            "{error}"
        );
        assert!(names(&long).is_empty());
    }
    let run = RunFolder::create_or_open(&long.join("b".repeat(rest))).unwrap();
    TrialStore::open_or_create(&run.trials()).unwrap();
}

#[test]
fn files_are_replaced_whole_with_ordinary_permissions() {
    let parent = TempDir::new().unwrap();
    let folder = RunFolder::create_or_open(parent.path()).unwrap();
    let path = folder.report_md();
    folder.write(&path, b"long old content").unwrap();
    folder.write(&path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let plain = parent.path().join("plain");
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&path), mode(&plain));
    }
}

#[test]
fn a_file_is_replaced_when_it_is_whole_and_not_before() {
    let parent = TempDir::new().unwrap();
    let path = parent.path().join("table.csv");
    let failed = replace_with(&path, |file| {
        file.write_all(b"half")?;
        Err(io::Error::other("stop"))
    });
    assert_eq!(failed.unwrap_err().to_string(), "stop");
    assert!(names(parent.path()).is_empty());
    for content in [b"old", b"new"] {
        replace_with(&path, |file| file.write_all(content)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    assert_eq!(names(parent.path()), ["table.csv"]);
    let folder = replace_with(parent.path(), |file| file.write_all(b"x"));
    folder.unwrap_err();
}

#[cfg(unix)]
#[test]
fn links_and_devices_stay_what_they_are() {
    let parent = TempDir::new().unwrap();
    let [file, link] = ["file", "link"].map(|name| parent.path().join(name));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    replace_with(&link, |file| file.write_all(b"new")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"new");
    replace_with(Path::new("/dev/null"), |file| file.write_all(b"x")).unwrap();
    assert!(!Path::new("/dev/null").is_file());
}

#[cfg(unix)]
#[test]
fn links_in_a_run_folder_are_not_followed() {
    let parent = TempDir::new().unwrap();
    let elsewhere = parent.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    for name in ["precious", "windows-1-x.svg", ".reachspec-old"] {
        fs::write(elsewhere.join(name), "mine").unwrap();
    }
    for name in RECORD
        .into_iter()
        .chain(["run.lock", "trials.sqlite-journal"])
    {
        for target in ["precious", "nothing", ""] {
            let root = parent.path().join("run");
            fs::create_dir(&root).unwrap();
            fs::write(root.join("manifest.json"), "{}").unwrap();
            let link = root.join(name);
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(elsewhere.join(target), &link).unwrap();
            let refused = RunFolder::create_or_open(&root).unwrap_err().to_string();
            assert!(
                refused.contains(&format!("{}: this is a symbolic link", link.display())),
                "{name}: {refused}"
            );
            if name == FIGURES {
                let folder = RunFolder::open(&root).unwrap();
                folder
                    .write(&folder.figures().join("windows-1-x.svg"), b"x")
                    .unwrap_err();
            }
            fs::remove_dir_all(&root).unwrap();
        }
    }
    assert_eq!(
        names(&elsewhere),
        [".reachspec-old", "precious", "windows-1-x.svg"]
    );
    for name in names(&elsewhere) {
        assert_eq!(fs::read(elsewhere.join(name)).unwrap(), b"mine");
    }
    // A file that is a link is replaced, not what it leads to.
    let folder = RunFolder::create_or_open(&parent.path().join("other")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("precious"), folder.report_md()).unwrap();
    folder.write(&folder.report_md(), b"report").unwrap();
    assert!(!folder.report_md().is_symlink());
    assert_eq!(fs::read(elsewhere.join("precious")).unwrap(), b"mine");
}

#[test]
fn what_a_killed_process_left_is_cleaned_up() {
    let parent = TempDir::new().unwrap();
    fs::write(parent.path().join(".reachspec-x1y2"), "half").unwrap();
    fs::write(parent.path().join("run.lock"), "pid 1\nsince then\n").unwrap();
    let folder = RunFolder::create_or_open(parent.path()).unwrap();
    assert_eq!(folder.left_by().unwrap().pid, "1");
    assert_eq!(names(parent.path()), ["run.lock"]);
}

#[test]
fn folders_of_something_else_are_left_alone() {
    let parent = TempDir::new().unwrap();
    fs::write(parent.path().join("thesis.tex"), "").unwrap();
    let error = RunFolder::create_or_open(parent.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().contains("thesis.tex"), "{error}");
    assert_eq!(names(parent.path()), ["thesis.tex"]);
    assert_eq!(
        RunFolder::open(parent.path()).unwrap_err().kind(),
        ErrorKind::Usage
    );
    let missing = RunFolder::open(&parent.path().join("nothing")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Usage);
    let file = RunFolder::create_or_open(&parent.path().join("thesis.tex")).unwrap_err();
    assert_eq!(file.kind(), ErrorKind::Failed);
}

#[test]
fn a_run_that_lost_its_manifest_is_damaged_and_can_begin_anew() {
    let parent = TempDir::new().unwrap();
    let root = parent.path();
    fixture::finish(root, &fixture::study());
    fs::remove_file(root.join("manifest.json")).unwrap();
    let error = RunFolder::open(root).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    let error = error.to_string();
    assert!(
        error.contains("manifest.json: the manifest is gone"),
        "{error}"
    );
    fs::create_dir(root.join("manifest.json")).unwrap();
    let error = RunFolder::open(root).unwrap_err().to_string();
    assert!(error.contains("this is a folder"), "{error}");
    fs::remove_dir(root.join("manifest.json")).unwrap();
    let folder = RunFolder::create_or_open(root).unwrap();
    assert!(folder.refuse_without_manifest().is_err());
    let aside = folder.set_record_aside().unwrap().unwrap();
    assert!(aside.join("trials.sqlite").is_file());
    folder.refuse_without_manifest().unwrap();
    drop(folder);
    // Trials of another program make no run.
    fs::write(root.join("trials.sqlite"), [0; 100]).unwrap();
    let error = RunFolder::create_or_open(root).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn fresh_sets_the_record_aside() {
    let parent = TempDir::new().unwrap();
    let folder = RunFolder::create_or_open(parent.path()).unwrap();
    assert_eq!(folder.set_record_aside().unwrap(), None);
    for round in 1..=2 {
        folder.write(&folder.manifest(), b"{}").unwrap();
        folder
            .write(&folder.superseded_predictions(1), b"{}")
            .unwrap();
        let aside = folder.set_record_aside().unwrap().unwrap();
        assert_eq!(aside, parent.path().join(format!("superseded-{round}")));
        assert_eq!(
            names(&aside),
            ["manifest.json", "predictions.superseded-1.json"]
        );
    }
    drop(folder);
    RunFolder::create_or_open(parent.path()).unwrap();
}

#[test]
fn json_comes_back_only_as_it_was_written() {
    let parent = TempDir::new().unwrap();
    let folder = RunFolder::create_or_open(parent.path()).unwrap();
    let path = folder.verdicts();
    let value = vec![0.1, 1e-300, 2.0 / 3.0, -0.0];
    folder.write_json(&path, &value).unwrap();
    assert_eq!(read_json::<Vec<f64>>(&path).unwrap(), value);
    let text = fs::read_to_string(&path).unwrap();
    for changed in [
        text.replace("0.1", "0.10"),
        text.replace("0.1", "x"),
        format!("{text} "),
        String::new(),
    ] {
        fs::write(&path, changed).unwrap();
        assert_eq!(
            read_json::<Vec<f64>>(&path).unwrap_err().kind(),
            ErrorKind::Integrity
        );
    }
    let error = folder.write_json(&path, &[Some(f64::NAN)]).unwrap_err();
    assert!(
        error.to_string().contains("[0] is not a finite number"),
        "{error}"
    );
}

#[cfg(unix)]
#[test]
fn a_full_disk_is_said_to_be_full() {
    // Writing to this device always fails as on a full disk.
    let error = fs::write("/dev/full", "x").unwrap_err();
    let error = RecordError::io("write", Path::new("/dev/full"), error);
    assert_eq!(error.kind(), ErrorKind::Failed);
    assert!(error.to_string().contains("free some space"), "{error}");
}
