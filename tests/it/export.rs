//! Exported tables, read by programs that know nothing of reachspec.

use std::path::Path;
use std::process::{Command, Output};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TABLES: [&str; 4] = ["trials", "calibration", "predictions", "verdicts"];
const FORMATS: [&str; 3] = ["jsonl", "csv", "parquet"];

/// Names a Python that has what `tests/readers/requirements.txt` lists.
const PYTHON: &str = "REACHSPEC_READERS_PYTHON";

fn output(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn reachspec(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reachspec"));
    output(command.current_dir(ROOT).args(arguments))
}

fn succeeds(arguments: &[&str]) -> Vec<u8> {
    let output = reachspec(arguments);
    assert!(output.status.success(), "{arguments:?}");
    output.stdout
}

/// The quickstart in `folder/runs/quickstart`, with all tables in all formats beside `runs`.
fn export_quickstart(folder: &Path, more: &[&str]) {
    let run = folder.join("runs/quickstart");
    let run = run.to_str().unwrap();
    succeeds(&[&["run", "specs/quickstart.yaml", "--out", run], more].concat());
    for table in TABLES {
        for format in FORMATS {
            let file = folder.join(format!("{table}.{format}"));
            // The ending says the format.
            succeeds(&[
                "export",
                run,
                "--table",
                table,
                "--out",
                file.to_str().unwrap(),
            ]);
        }
    }
}

fn python(python: &str, folder: &Path, script: &str, arguments: &[&str]) -> String {
    let script = Path::new(ROOT).join("tests/readers").join(script);
    let mut command = Command::new(python);
    command
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder);
    let output = output(command.arg(&script).args(arguments));
    assert!(output.status.success(), "{}", script.display());
    let said = String::from_utf8(output.stdout).unwrap();
    eprintln!("{said}");
    said
}

#[test]
fn tables_are_files_or_standard_output_and_plain_python_reads_them() {
    let folder = tempfile::tempdir().unwrap();
    let small = ["--limit", "2", "--set", "doses.grid=[0.6]"];
    export_quickstart(folder.path(), &small);
    let run = folder.path().join("runs/quickstart");
    let run = run.to_str().unwrap();
    for format in FORMATS {
        let file = std::fs::read(folder.path().join(format!("trials.{format}"))).unwrap();
        let piped = succeeds(&["export", run, "--format", format]);
        assert!(file == piped, "{format}");
        assert_eq!(file.starts_with(b"PAR1"), format == "parquet");
    }
    let inside = format!("{run}/trials.csv");
    let refused = reachspec(&["export", run, "--out", &inside]);
    assert_eq!(refused.status.code(), Some(2));
    let nowhere = folder.path().join("no/such/folder.csv");
    let failed = reachspec(&["export", run, "--out", nowhere.to_str().unwrap()]);
    assert_eq!(failed.status.code(), Some(4));
    let message = String::from_utf8(failed.stderr).unwrap();
    assert!(
        message.contains("choose another place with --out"),
        "{message}"
    );

    let found = Command::new("python3").arg("--version").output();
    if !found.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: plain Python reads the tables (there is no python3)");
        return;
    }
    let said = python(
        "python3",
        folder.path(),
        "plain.py",
        &["runs/quickstart", "."],
    );
    assert!(said.contains(" rows, "), "{said}");
}

#[test]
fn pyarrow_pandas_and_duckdb_read_the_tables() {
    let Ok(interpreter) = std::env::var(PYTHON) else {
        eprintln!(
            "skipped: pyarrow, pandas and DuckDB read the tables (set {PYTHON}; see tests/readers/README.md)"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    export_quickstart(folder.path(), &[]);
    let said = python(
        &interpreter,
        folder.path(),
        "tables.py",
        &["runs/quickstart", "."],
    );
    for table in TABLES {
        assert!(said.contains(&format!("{table}: ")), "{table}: {said}");
    }
    let pages = ["docs/export.md", "README.md"].map(|page| Path::new(ROOT).join(page));
    let pages = pages.each_ref().map(|page| page.to_str().unwrap());
    let said = python(&interpreter, folder.path(), "examples.py", &pages);
    assert!(said.matches("export.md: example").count() >= 3, "{said}");
}
