use std::fs::File;
use std::io::Seek;
use std::path::Path;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
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
    String::from_utf8(bytes(record, table, format)).unwrap()
}

fn bytes(record: &RunRecord, table: Table, format: Format) -> Vec<u8> {
    let mut output = Vec::new();
    export(record, table, format, &mut output).unwrap();
    output
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
    let keys = row.as_object_mut().unwrap();
    keys.remove("cos_law");
    let trial = keys.remove("trial").unwrap();
    let trial = trial.as_str().unwrap().parse().unwrap();
    let (_parent, record) = recorded(false);
    assert_eq!(
        record.store.get(&trial).unwrap().unwrap().text(),
        "said, \"1\" at Some(1.5)"
    );
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
                {"horizon": 4, "outcome": "flipped", "flipped": true, "collapsed": false, "rule": "contains \"x\", at the start", "span_start": 1, "span_end": 2, "mean_nll": 0.5},
                {"horizon": 8, "outcome": "collapse", "flipped": false, "collapsed": true, "rule": "likelihood", "span_start": null, "span_end": null, "mean_nll": 0.5},
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
    let (names, parquet) = parquet(&record, Table::Trials);
    for row in &parquet {
        for (name, field) in names.iter().zip(row) {
            let hidden = hidden.contains(&name.as_str()) || name.starts_with("rule_at_");
            assert!(!hidden || *field == Value::Null, "{name}");
        }
    }
}

#[test]
fn csv_holds_what_jsonl_holds() {
    let (_parent, record) = recorded(false);
    for &table in Table::value_variants() {
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

/// The names of the columns, and every row, in JSON's types.
fn parquet(record: &RunRecord, table: Table) -> (Vec<String>, Vec<Vec<Value>>) {
    let mut file = tempfile::tempfile().unwrap();
    export(record, table, Format::Parquet, &mut file).unwrap();
    file.rewind().unwrap();
    let reader = SerializedFileReader::new(file).unwrap();
    let schema = reader.metadata().file_metadata().schema();
    let names = schema.get_fields().iter().map(|f| f.name().to_owned());
    let rows = reader.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        row.get_column_iter()
            .map(|(_, field)| json_of(field))
            .collect()
    });
    (names.collect(), rows.collect())
}

fn json_of(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(value) => json!(value),
        Field::Long(value) => json!(value),
        Field::Double(value) => json!(value),
        Field::Str(value) => json!(value),
        Field::ListInternal(list) => list.elements().iter().map(json_of).collect(),
        other => panic!("{other:?} is no type of an export"),
    }
}

#[test]
fn parquet_holds_what_jsonl_holds() {
    for redact in [false, true] {
        let (_parent, record) = recorded(redact);
        for &table in Table::value_variants() {
            let (names, found) = parquet(&record, table);
            let rows = rows(&record, table);
            assert_eq!(found.len(), rows.len(), "{table:?}");
            for (row, fields) in rows.iter().zip(&found) {
                for (name, field) in names.iter().zip(fields) {
                    assert_eq!(field, value_of(row, name), "{table:?} {name}");
                }
            }
            let csv = exported(&record, table, Format::Csv);
            assert_eq!(csv.lines().next().unwrap(), names.join(","));
        }
    }
}

#[test]
fn every_row_fits_the_checked_in_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/export.schema.json");
    let checked_in: Value = serde_json::from_reader(File::open(path).unwrap()).unwrap();
    for &table in Table::value_variants() {
        let mut schema = checked_in.clone();
        let keys = schema.as_object_mut().unwrap();
        keys.remove("anyOf").unwrap();
        keys.insert("$ref".into(), json!(format!("#/$defs/{}", table.name())));
        let validator = jsonschema::validator_for(&schema).unwrap();
        for redact in [false, true] {
            for mut row in lines(redact, table) {
                validator.validate(&row).unwrap();
                row["study"] = json!(1);
                assert!(!validator.is_valid(&row));
                row["study"] = json!("fixture");
                row["unheard_of"] = json!(1);
                assert!(!validator.is_valid(&row));
            }
        }
    }
}

#[test]
fn the_same_run_exports_the_same_bytes() {
    let (_parent, record) = recorded(false);
    for &table in Table::value_variants() {
        for &format in Format::value_variants() {
            let [one, other] = [(); 2].map(|()| bytes(&record, table, format));
            assert_eq!(one, other, "{table:?} {format:?}");
        }
    }
}

/// Behind a norm the law's curve is another one.
#[test]
fn the_law_s_coordinate_respects_a_norm() {
    let (_parent, mut record) = recorded(false);
    let normed = crate::law::NormedWrite {
        d_model: 8.0,
        eps: 1e-6,
        vv: 1.0,
        uu: 1.0,
        ff: 4.0,
        fv: 0.5,
        hh: 9.0,
        hu: 1.0,
        gg: 4.0,
        gu: 0.5,
        gh: 1.0,
    };
    record.sealed.predictions.calibration.neurons[0].normed = Some(normed);
    let rows = rows(&record, Table::Trials);
    let cos_law = rows[4]["cos_law"].as_f64().unwrap();
    assert!((cos_law - normed.coordinate(1.5)).abs() < 1e-12);
}

#[test]
fn a_prompt_of_another_set_with_the_same_identifier_is_another_prompt() {
    let parent = TempDir::new().unwrap();
    let mut study = fixture::study();
    study.prompts.get_mut("generic").unwrap()[0].id = "p1".into();
    study
        .prompts
        .insert("zzz".into(), vec![fixture::prompt(8, "no")]);
    study.prompts.get_mut("zzz").unwrap()[0].id = "p1".into();
    fixture::finish(parent.path(), &study);
    let record = RunRecord::load(parent.path()).unwrap();
    for row in rows(&record, Table::Trials) {
        let expected = match row["prompt_id"].as_str().unwrap() {
            "p1" => "What, \"who\"?",
            _ => "two\nlines",
        };
        assert_eq!(row["prompt_text"], expected);
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
    for &format in Format::value_variants() {
        match export(&record, Table::Trials, format, Closed) {
            Err(ExportError::Write(e)) => assert_eq!(e.kind(), io::ErrorKind::BrokenPipe),
            other => panic!("{other:?}"),
        }
    }
}
