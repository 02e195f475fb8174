use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::record::fixture;

fn recorded(redact: bool) -> (TempDir, RunRecord) {
    let parent = TempDir::new().unwrap();
    let mut study = fixture::study();
    study.report.redact = redact;
    fixture::finish(parent.path(), &study);
    let record = RunRecord::load(parent.path()).unwrap();
    (parent, record)
}

fn exported(record: &RunRecord, table: Table, format: Format) -> String {
    let mut output = Vec::new();
    export(record, table, format, &mut output).unwrap();
    String::from_utf8(output).unwrap()
}

fn rows(record: &RunRecord, table: Table) -> Vec<Value> {
    let text = exported(record, table, Format::Jsonl);
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn lines(redact: bool, table: Table) -> Vec<Value> {
    rows(&recorded(redact).1, table)
}

#[test]
fn trials_say_everything_about_a_rollout() {
    let rows = lines(false, Table::Trials);
    assert_eq!(rows.len(), 6);
    let doses: Vec<&Value> = rows.iter().map(|row| &row["dose"]).collect();
    assert_eq!(
        doses,
        [
            &json!(0.0),
            &json!(0.0),
            &json!(0.75),
            &json!(0.75),
            &json!(1.5),
            &json!(1.5)
        ]
    );
    let row = &rows[4];
    let cos_law = row["cos_law"].as_f64().unwrap();
    assert!((cos_law - crate::law::control_coordinate(0.6, 1.0 / 3.0)).abs() < 1e-15);
    let mut row = row.clone();
    row.as_object_mut().unwrap().remove("cos_law");
    assert_eq!(
        row,
        json!({
            "study": "fixture", "behavior": "routing", "role": "held_out",
            "prompt_id": "p1", "prompt_text": "What, \"who\"?", "prompt_tokens": [1],
            "layer": 0, "neuron": 3, "dose": 1.5, "budgets": 0.6,
            "cos_measured_mean": (0.5 + 0.25 - 0.125) / 3.0,
            "tokens": [7, 300, 2], "text": "said, \"1\" at Some(1.5)", "ended": true,
            "mean_nll": 1.75 / 3.0,
            "horizons": [
                {"horizon": 4, "outcome": "flipped", "flipped": true, "collapsed": false, "rule": "contains \"x\", at the start", "span_start": 1, "span_end": 2},
                {"horizon": 8, "outcome": "collapse", "flipped": false, "collapsed": true, "rule": "likelihood", "span_start": null, "span_end": null},
            ],
        })
    );
    assert_eq!(rows[0]["layer"], Value::Null);
    assert_eq!(rows[0]["role"], Value::Null);
    assert_eq!(rows[0]["cos_law"], Value::Null);
    assert_eq!(rows[0]["budgets"], json!(0.0));
}

#[test]
fn redaction_hides_texts_and_tokens_and_nothing_else() {
    let hidden = ["prompt_text", "prompt_tokens", "tokens", "text"];
    let (open, redacted) = (lines(false, Table::Trials), lines(true, Table::Trials));
    for (row, mut expected) in redacted.iter().zip(open) {
        for name in hidden {
            assert_ne!(expected[name], Value::Null);
            expected[name] = Value::Null;
        }
        for horizon in expected["horizons"].as_array_mut().unwrap() {
            horizon["rule"] = Value::Null;
        }
        assert_eq!(*row, expected);
    }
    let (_parent, record) = recorded(true);
    assert!(!exported(&record, Table::Trials, Format::Csv).contains("said"));
}

#[test]
fn csv_holds_what_jsonl_holds() {
    let (_parent, record) = recorded(false);
    for table in [
        Table::Trials,
        Table::Calibration,
        Table::Predictions,
        Table::Verdicts,
    ] {
        let rows = rows(&record, table);
        let text = exported(&record, table, Format::Csv);
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(records.len(), rows.len(), "{table:?}");
        for (row, record) in rows.iter().zip(&records) {
            for (name, cell) in header.iter().zip(record) {
                assert_eq!(cell, plain(value_of(row, name)), "{table:?} {name}");
            }
        }
    }
}

/// The value of a CSV column in a JSON row; `NAME_at_H` stands in the list of horizons.
fn value_of<'a>(row: &'a Value, column: &str) -> &'a Value {
    if let Some((name, horizon)) = column.rsplit_once("_at_") {
        let horizon: u64 = horizon.parse().unwrap();
        let list = row["horizons"].as_array().unwrap();
        return &list.iter().find(|at| at["horizon"] == horizon).unwrap()[name];
    }
    row.get(column)
        .unwrap_or_else(|| panic!("no column {column}"))
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn the_small_tables_have_their_rows() {
    let calibration = lines(false, Table::Calibration);
    assert_eq!(calibration.len(), 1);
    assert_eq!(calibration[0]["budget"], json!(2.5));
    assert_eq!(calibration[0]["leading_share"], json!(0.5));
    assert_eq!(calibration[0]["collapse_multiple_positive"], Value::Null);

    let predictions = lines(false, Table::Predictions);
    assert_eq!(predictions.len(), 1);
    assert_eq!(predictions[0]["predictor"], json!("constant"));
    assert_eq!(predictions[0]["ceiling_cos"], json!(0.875));
    assert_eq!(predictions[0]["seal"].as_str().unwrap().len(), 64);

    let verdicts = lines(false, Table::Verdicts);
    assert_eq!(verdicts.len(), 1);
    assert_eq!(verdicts[0]["window"], json!("closed"));
    assert_eq!(verdicts[0]["reason"], json!("collapse_before_trigger"));
    assert_eq!(verdicts[0]["forecast_open"], json!(true));
    assert_eq!(verdicts[0]["horizons"][1]["trigger_reached"], json!(false));
}

#[test]
fn a_reader_that_goes_away_is_a_write_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let parent = TempDir::new().unwrap();
    fixture::finish(parent.path(), &fixture::study());
    let record = RunRecord::load(parent.path()).unwrap();
    for format in [Format::Jsonl, Format::Csv] {
        match export(&record, Table::Trials, format, Closed) {
            Err(ExportError::Write(e)) => assert_eq!(e.kind(), io::ErrorKind::BrokenPipe),
            other => panic!("{other:?}"),
        }
    }
}
