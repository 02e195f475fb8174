//! Feeds changes to a finished run's record: to manifest, predictions, verdicts and trials, with hashes and seals made anew or not. Whatever
//! reads a run folder must answer, with the record or with what is wrong with it; it may never panic, nor take time or memory out of
//! proportion to the record.
//!
//! Input: a byte that says whether hashes are made anew (odd) and how many changes follow, then the changes (see `reachspec_fuzz::tamper`);
//! or the byte `r`, `p`, `v` or `t`, and the whole of a file.

#![no_main]

use std::fs;
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use reachspec::record::diff::{Difference, markdown};
use reachspec::record::export::{Format, Table, export};
use reachspec::record::verify::verify;
use reachspec::record::{RunRecord, TrialStore, listing};
use reachspec::report::from_record::render_record;
use reachspec_fuzz::run::Run;
use reachspec_fuzz::tamper::{Bytes, change, change_store, hash_again};

const MOST_CHANGES: u8 = 4;

fuzz_target!(|input: &[u8]| {
    static RUN: OnceLock<Run> = OnceLock::new();
    let run = RUN.get_or_init(|| {
        let run = Run::make("run");
        read(&run.folder);
        assert!(verify(&run.folder, None, None).unwrap().holds());
        run
    });
    for (name, content) in &run.files {
        fs::write(run.folder.join(name), content).expect("a folder that can be written");
    }
    let _ = fs::remove_file(run.folder.join("trials.sqlite-journal"));
    tamper(run, &mut Bytes(input));
    read(&run.folder);
});

fn tamper(run: &Run, bytes: &mut Bytes<'_>) {
    let first = bytes.byte();
    let whole = ["r", "p", "v", "t"]
        .iter()
        .position(|letter| letter.as_bytes() == [first]);
    if let Some(file) = whole {
        fs::write(run.folder.join(run.files[file].0), bytes.0)
            .expect("a folder that can be written");
        return;
    }
    for _ in 0..=(first / 2) % MOST_CHANGES {
        match bytes.byte() % 8 {
            0 => change_raw(run, bytes),
            1 | 2 => change_store(&run.folder.join("trials.sqlite"), bytes),
            3 => change_json(run, "manifest.json", bytes),
            4 => change_json(run, "verdicts.json", bytes),
            5 | 6 => change_json(run, "predictions.json", bytes),
            _ => change_study(run, bytes),
        }
    }
    if first % 2 == 1 {
        hash_again(&run.folder);
    }
}

fn change_json(run: &Run, name: &str, bytes: &mut Bytes<'_>) {
    let path = run.folder.join(name);
    let Some(mut value) = read_value(&path) else {
        return;
    };
    change(&mut value, bytes);
    fs::write(path, value.to_string()).expect("a folder that can be written");
}

/// A change to the study in the manifest.
fn change_study(run: &Run, bytes: &mut Bytes<'_>) {
    let path = run.folder.join("manifest.json");
    let Some(mut value) = read_value(&path) else {
        return;
    };
    // Earlier changes may have taken it away.
    let Some(study) = value.pointer_mut("/manifest/study") else {
        return;
    };
    change(study, bytes);
    fs::write(path, value.to_string()).expect("a folder that can be written");
}

fn read_value(path: &Path) -> Option<serde_json::Value> {
    let value: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    value.is_object().then_some(value)
}

/// Overwrites or cuts off bytes of a file.
fn change_raw(run: &Run, bytes: &mut Bytes<'_>) {
    let (name, _) = &run.files[usize::from(bytes.byte()) % run.files.len()];
    let path = run.folder.join(name);
    let mut content = fs::read(&path).unwrap_or_default();
    let place = bytes
        .take(3)
        .iter()
        .fold(0, |place, byte| place << 8 | usize::from(*byte));
    let place = place % (content.len() + 1);
    let count = usize::from(bytes.byte());
    match count {
        255 => content.truncate(place),
        _ => {
            let new = bytes.take(count % 32);
            let end = (place + new.len()).min(content.len());
            content.splice(place..end, new.iter().copied());
        }
    }
    fs::write(path, content).expect("a folder that can be written");
}

/// Everything that reads a run folder. Errors are answers.
fn read(folder: &Path) {
    if let Ok(runs) = listing::list(folder) {
        assert_eq!(runs.len(), 1);
    }
    if let Ok(store) = TrialStore::open_read_only(&folder.join("trials.sqlite")) {
        let _ = store.check();
        let _ = store.steered_counts();
    }
    match verify(folder, None, None) {
        Ok(found) => assert!(!found.checks.is_empty()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match RunRecord::load(folder) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(record) => {
            let _ = record.check_trials();
            let _ = render_record(&record, None);
            for table in [
                Table::Trials,
                Table::Predictions,
                Table::Verdicts,
                Table::Calibration,
            ] {
                let _ = export(&record, table, Format::Jsonl, io::sink());
            }
            let _ = export(&record, Table::Trials, Format::Parquet, io::sink());
            if let Ok(difference) = Difference::between(&record, &record, 0.0) {
                let _ = markdown::markdown(&difference, None);
            }
        }
    }
}
