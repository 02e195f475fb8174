//! The census takes minutes, so its record is stored: without most rollouts, which take 148 MB, but with everything that its report says.
//! A report that no longer is what the record gives is found, and can be made again, without running the study.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use reachspec::frozen::{Committed, differences};
use reachspec::record::RunRecord;
use reachspec::report::from_record::render_record;
use rusqlite::Connection;

const FILES: [&str; 4] = [
    "manifest.json",
    "predictions.json",
    "verdicts.json",
    "trials.sqlite",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn stored(file: &str) -> PathBuf {
    root()
        .join("tests/records/census")
        .join(format!("{file}.gz"))
}

/// With `REACHSPEC_ACCEPT=1` the committed report is made again.
#[test]
fn the_census_gives_its_committed_report() {
    let run = tempfile::tempdir().unwrap();
    for file in FILES {
        let mut bytes = Vec::new();
        let packed = File::open(stored(file)).unwrap();
        GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
        fs::write(run.path().join(file), bytes).unwrap();
    }
    let record = RunRecord::load(run.path()).unwrap();
    let rendered = render_record(&record, None).unwrap();
    let now = Committed::of(&record, &rendered).unwrap();
    let folder = root().join("reports/census");
    if std::env::var_os("REACHSPEC_ACCEPT").is_some() {
        now.write(&record, &folder).unwrap();
    }
    let committed = Committed::read(&folder).unwrap().unwrap();
    let found = differences(&committed, &now);
    assert!(
        found.is_empty(),
        "reports/census is stale: look at the difference, then `REACHSPEC_ACCEPT=1 cargo test --test it the_census_gives`\n{found:#?}"
    );
}

/// `cargo test --test it store_the_census -- --ignored` after `reachspec run specs/census.yaml --accept`.
#[test]
#[ignore = "needs runs/census, and replaces the stored record"]
fn store_the_census_record() {
    let run = root().join("runs/census");
    let slim = tempfile::tempdir().unwrap();
    for file in FILES {
        fs::copy(run.join(file), slim.path().join(file)).unwrap();
    }
    keep_samples(
        &slim.path().join("trials.sqlite"),
        &fs::read_to_string(run.join("report.md")).unwrap(),
    );
    for file in FILES {
        fs::create_dir_all(stored(file).parent().unwrap()).unwrap();
        let mut packed = GzEncoder::new(File::create(stored(file)).unwrap(), Compression::best());
        packed
            .write_all(&fs::read(slim.path().join(file)).unwrap())
            .unwrap();
        packed.finish().unwrap();
    }
}

/// Leaves the rollouts of the unsteered model, and of the neurons whose samples the report shows: `**L7.331 −** on …`.
fn keep_samples(store: &Path, report: &str) {
    let shown: Vec<String> = (report.lines())
        .filter_map(|line| {
            let (layer, rest) = line.strip_prefix("**L")?.split_once('.')?;
            let (neuron, _) = rest.split_once(' ')?;
            let (layer, neuron): (u32, u32) = (layer.parse().ok()?, neuron.parse().ok()?);
            Some(format!("(layer = {layer} AND neuron = {neuron})"))
        })
        .collect();
    assert!(!shown.is_empty(), "the report shows no samples");
    let goes = format!(
        "SELECT id FROM trials WHERE layer IS NOT NULL AND NOT ({})",
        shown.join(" OR ")
    );
    let change = format!(
        "DELETE FROM judgements WHERE trial IN ({goes}); DELETE FROM keys WHERE trial IN ({goes});
         DELETE FROM trials WHERE layer IS NOT NULL AND NOT ({}); VACUUM;",
        shown.join(" OR ")
    );
    Connection::open(store)
        .unwrap()
        .execute_batch(&change)
        .unwrap();
}
