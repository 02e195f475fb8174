use std::collections::BTreeSet;
use std::fs;

use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::oracles::Span;
use crate::record::error::ErrorKind;
use crate::record::key::TrialKey;
use crate::record::trial::Trial;
use crate::record::trial::tests::{any_trial, model, trial};
use crate::stages::judge::RolloutJudgement;
use crate::units::{Horizon, NeuronId};

fn store(folder: &TempDir, name: &str) -> TrialStore {
    TrialStore::open_or_create(&folder.path().join(name)).unwrap()
}

fn all(store: &TrialStore) -> Vec<(TrialKey, Trial)> {
    let mut trials = Vec::new();
    store
        .for_each(|key, trial| {
            trials.push((key, trial));
            Ok::<(), RecordError>(())
        })
        .unwrap();
    trials
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn trials_come_back_in_key_order_however_they_were_inserted(
        trials in proptest::collection::vec(any_trial(), 0..12),
        split in 0_usize..12,
    ) {
        let folder = TempDir::new().unwrap();
        // Two random trials may share a key only if they are the same rollout.
        let mut seen = BTreeSet::new();
        let trials: Vec<Trial> = trials.into_iter().filter(|t| seen.insert(t.key())).collect();
        let split = split.min(trials.len());

        let mut one = store(&folder, "one");
        one.insert(&trials).unwrap();
        let mut other = store(&folder, "other");
        let backwards: Vec<Trial> = trials.iter().rev().cloned().collect();
        other.insert(&backwards[..split]).unwrap();
        other.insert(&backwards).unwrap();

        let read = all(&one);
        prop_assert_eq!(&read, &all(&other));
        prop_assert_eq!(read.iter().map(|(key, _)| *key).collect::<BTreeSet<_>>(), seen);
        prop_assert!(read.is_sorted_by_key(|(key, _)| *key));
        for trial in &trials {
            prop_assert_eq!(one.get(&trial.key()).unwrap(), Some(trial.clone()));
        }
        let digest = one.check().unwrap();
        prop_assert_eq!(digest.trials, trials.len());
        prop_assert_eq!(digest, other.check().unwrap());
    }

    #[test]
    fn merged_shards_equal_one_store(
        trials in proptest::collection::vec(any_trial(), 0..12),
        shards in proptest::collection::vec(0_usize..3, 12),
    ) {
        let folder = TempDir::new().unwrap();
        let mut seen = BTreeSet::new();
        let trials: Vec<Trial> = trials.into_iter().filter(|t| seen.insert(t.key())).collect();
        let mut whole = store(&folder, "whole");
        whole.insert(&trials).unwrap();
        let mut merged = store(&folder, "merged");
        for shard in 0..3 {
            let name = format!("shard{shard}");
            let mut part = store(&folder, &name);
            // Shards overlap in the first trial.
            let mine = trials.iter().enumerate().filter(|(i, _)| *i == 0 || shards[*i] == shard);
            part.insert(&mine.map(|(_, t)| t.clone()).collect::<Vec<_>>()).unwrap();
            drop(part);
            merged.merge_from(&folder.path().join(&name)).unwrap();
            merged.merge_from(&folder.path().join(&name)).unwrap();
        }
        prop_assert_eq!(whole.check().unwrap(), merged.check().unwrap());
        prop_assert_eq!(all(&whole), all(&merged));
    }
}

#[test]
fn a_clean_close_leaves_one_file() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder, "trials.sqlite");
    store.insert(&[trial(1, None, "x")]).unwrap();
    drop(store);
    let names: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["trials.sqlite"]);
}

#[test]
fn the_same_key_with_another_rollout_is_an_integrity_error() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder, "s");
    store.insert(&[trial(1, None, "x")]).unwrap();
    store.insert(&[trial(1, None, "x")]).unwrap();
    let error = store
        .insert(&[trial(2, None, "new"), trial(1, None, "y")])
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert_eq!(store.count().unwrap(), 1, "the whole batch is refused");
}

#[test]
fn a_writer_records_batches_and_counts_by_neuron() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder, "s");
    let mut writer = store.writer();
    let doses = TrialWriter::BATCH + 5;
    for i in 0..doses {
        writer
            .push(trial(1, Some((i % 2, 1.0 + i as f32)), "t"))
            .unwrap();
    }
    writer.push(trial(1, None, "clean")).unwrap();
    writer.finish().unwrap();
    assert_eq!(store.count().unwrap(), doses + 1);
    let counts = store.steered_counts().unwrap();
    assert_eq!(counts.values().sum::<usize>(), doses);
    assert_eq!(counts[&NeuronId { layer: 0, index: 1 }], doses / 2);
    let key = trial(1, None, "clean").key();
    assert!(store.contains(&key).unwrap() && store.keys().unwrap().contains(&key));
    assert!(!store.contains(&TrialKey::from_bytes([0; 16])).unwrap());
}

/// What `kill -9` leaves: the file and its journal as they are in the middle of a transaction.
#[test]
fn a_transaction_cut_off_in_the_middle_is_rolled_back() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder, "live");
    let committed: Vec<Trial> = (0..50).map(|i| trial(i, None, "committed")).collect();
    store.insert(&committed).unwrap();
    // A tiny cache makes SQLite write pages before the commit.
    store
        .connection
        .execute_batch("PRAGMA cache_size = 2; BEGIN IMMEDIATE;")
        .unwrap();
    for i in 0..2000 {
        let text = format!("half {i}");
        store
            .connection
            .execute(
                "INSERT INTO trials (prompt, setting, ended, tokens, nll, cosines, text) VALUES (1, 1, 0, x'', x'', x'', ?1)",
                [text],
            )
            .unwrap();
    }
    for copy in ["read", "write"] {
        for suffix in ["", "-journal"] {
            let from = folder.path().join(format!("live{suffix}"));
            fs::copy(from, folder.path().join(format!("{copy}{suffix}"))).unwrap();
        }
    }
    let spilled = fs::metadata(folder.path().join("read")).unwrap().len();
    store.connection.execute_batch("ROLLBACK").unwrap();
    assert!(spilled > 20_000, "the copy holds uncommitted pages");

    let read = TrialStore::open_read_only(&folder.path().join("read")).unwrap();
    let mut write = TrialStore::open_or_create(&folder.path().join("write")).unwrap();
    assert_eq!(read.check().unwrap(), store.check().unwrap());
    write.insert(&committed).unwrap();
    write.insert(&[trial(99, None, "more")]).unwrap();
    assert_eq!(write.check().unwrap().trials, 51);
    assert!(!folder.path().join("write-journal").exists());
}

#[test]
fn a_store_whose_creator_was_killed_is_created_again() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("s"), "").unwrap();
    assert_eq!(store(&folder, "s").count().unwrap(), 0);
}

#[test]
fn other_files_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("s");
    let kind_of = |result: Result<TrialStore, RecordError>| result.err().unwrap().kind();
    assert_eq!(
        kind_of(TrialStore::open_read_only(&path)),
        ErrorKind::Failed
    );

    fs::write(
        &path,
        "not a database, but long enough to be taken for one by its size".repeat(100),
    )
    .unwrap();
    assert_eq!(
        kind_of(TrialStore::open_or_create(&path)),
        ErrorKind::Integrity
    );
    assert_eq!(
        kind_of(TrialStore::open_read_only(&path)),
        ErrorKind::Integrity
    );

    fs::remove_file(&path).unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE mine (x)")
        .unwrap();
    assert_eq!(
        kind_of(TrialStore::open_or_create(&path)),
        ErrorKind::Integrity
    );

    fs::remove_file(&path).unwrap();
    drop(store(&folder, "s"));
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 1)
        .unwrap();
    let error = TrialStore::open_or_create(&path).err().unwrap();
    assert!(error.to_string().contains("has version 1"), "{error}");
}

#[test]
fn other_views_are_made_anew_and_anything_else_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("s");
    drop(store(&folder, "s"));
    let change = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    change("DROP VIEW judgement_view; CREATE VIEW judgement_view AS SELECT 'flipped' AS outcome");
    let store = TrialStore::open_or_create(&path).unwrap();
    replace(&store, []).unwrap();
    drop(store);
    let outcomes = "SELECT count(outcome) FROM judgement_view";
    let connection = Connection::open(&path).unwrap();
    assert_eq!(connection.query_row(outcomes, [], |row| row.get(0)), Ok(0));
    drop(connection);
    for (sql, undo) in [
        ("CREATE TABLE notes (note)", "DROP TABLE notes"),
        ("CREATE INDEX texts ON trials (text)", "DROP INDEX texts"),
        ("CREATE VIEW mine AS SELECT 1", "DROP VIEW mine"),
    ] {
        change(sql);
        let error = TrialStore::open_or_create(&path).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Integrity, "{sql}");
        assert!(error.to_string().contains("does not make"), "{error}");
        change(undo);
    }
    TrialStore::open_or_create(&path).unwrap();
}

/// Every way to change a row that a person with `sqlite3` would try.
#[test]
fn changed_rows_are_found() {
    let original = [trial(1, Some((3, 1.5)), "a"), trial(2, None, "b")];
    let changes = [
        "UPDATE trials SET text = 'better' WHERE id = 1",
        "UPDATE trials SET dose = 1.25 WHERE id = 1",
        "UPDATE trials SET dose = 1.00000001 WHERE id = 1",
        "UPDATE trials SET layer = 1 WHERE id = 1",
        "UPDATE trials SET layer = NULL WHERE id = 1",
        "UPDATE trials SET neuron = -1 WHERE id = 1",
        "UPDATE trials SET ended = 0 WHERE id = 1",
        "UPDATE trials SET tokens = x'07' WHERE id = 1",
        "UPDATE trials SET tokens = x'08ac0202' WHERE id = 1",
        "UPDATE trials SET nll = x'8080808080' WHERE id = 1",
        "UPDATE trials SET cosines = x'0a0a0a' WHERE id = 1",
        "UPDATE trials SET prompt = 2 WHERE id = 1",
        "UPDATE trials SET seed = 4 WHERE id = 1",
        "UPDATE settings SET json = replace(json, '8', '9')",
        "UPDATE settings SET json = '{}' WHERE id = 1",
        "UPDATE prompts SET tokens = x'05' WHERE id = 1",
        "UPDATE keys SET trial = 3 - trial",
        "UPDATE keys SET key = zeroblob(16) WHERE trial = 1",
        "UPDATE keys SET key = key || x'00' WHERE trial = 1",
        "INSERT INTO keys VALUES (zeroblob(32), 1)",
        "DELETE FROM trials WHERE id = 1",
        "DELETE FROM keys WHERE trial = 1",
        "DELETE FROM keys WHERE trial = 1; DELETE FROM trials WHERE id = 1",
    ];
    for change in changes {
        let folder = TempDir::new().unwrap();
        let mut store = store(&folder, "s");
        store.insert(&original).unwrap();
        let before = store.check().unwrap();
        store.connection.execute_batch(change).unwrap();
        match store.check() {
            Ok(after) => assert_ne!(after, before, "{change}"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Integrity, "{change}: {error}"),
        }
    }
}

#[test]
fn keys_of_another_kind_or_length_name_their_table() {
    for key in ["zeroblob(32)", "'seven'", "7"] {
        let folder = TempDir::new().unwrap();
        let mut store = store(&folder, "s");
        store.insert(&[trial(1, None, "a")]).unwrap();
        let change = format!("INSERT INTO keys VALUES ({key}, 1)");
        store.connection.execute_batch(&change).unwrap();
        for error in [store.keys().map(drop), store.check().map(drop)].map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Integrity, "{key}: {error}");
            assert!(error.to_string().contains("`keys`"), "{key}: {error}");
        }
    }
}

fn judgement(
    trial: &Trial,
    behavior: &str,
    prompt_id: &str,
    horizon: usize,
    flipped: bool,
) -> RolloutJudgement {
    RolloutJudgement {
        trial: trial.key().to_string(),
        behavior: behavior.into(),
        prompt_id: prompt_id.into(),
        horizon: Horizon(horizon),
        outcome: if flipped { "flipped" } else { "other" }.into(),
        flipped,
        rule: "contains \"x\"".into(),
        span: flipped.then_some(Span {
            start: 1,
            end: horizon,
        }),
        mean_nll: 0.5,
    }
}

fn replace(
    store: &TrialStore,
    judgements: impl IntoIterator<Item = RolloutJudgement>,
) -> Result<(), RecordError> {
    let mut writer = store.replace_judgements()?;
    judgements
        .into_iter()
        .try_for_each(|judgement| writer.push(judgement))?;
    writer.finish()
}

fn judged(store: &TrialStore, behavior: Option<&str>, neurons: NeuronFilter) -> Vec<JudgedTrial> {
    let mut found = Vec::new();
    store
        .for_each_judged(behavior, neurons, |judged| {
            found.push(judged);
            Ok::<(), RecordError>(())
        })
        .unwrap();
    found
}

#[test]
fn judgements_are_replaced_as_a_whole_and_read_in_order() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder, "s");
    let (clean, low, high) = (
        trial(1, None, "c"),
        trial(1, Some((3, -2.0)), "l"),
        trial(1, Some((3, 2.0)), "h"),
    );
    store
        .insert(&[high.clone(), clean.clone(), low.clone()])
        .unwrap();
    let both = |trial: &Trial, behavior: &str| {
        [
            judgement(trial, behavior, "p1", 4, false),
            judgement(trial, behavior, "p1", 8, true),
        ]
    };
    let judgements = [
        both(&high, "zeta"),
        both(&low, "zeta"),
        both(&clean, "zeta"),
        both(&clean, "alpha"),
    ];
    replace(&store, judgements.clone().concat()).unwrap();
    replace(&store, judgements.concat()).unwrap();

    let found = judged(&store, None, NeuronFilter::All);
    let order: Vec<_> = found
        .iter()
        .map(|j| (j.behavior.as_str(), j.trial.text()))
        .collect();
    assert_eq!(
        order,
        [("zeta", "c"), ("zeta", "l"), ("zeta", "h"), ("alpha", "c")]
    );
    assert_eq!(found[1].trial, low);
    let horizons: Vec<_> = found[1]
        .horizons
        .iter()
        .map(|h| (h.horizon.0, h.flipped, h.mean_nll))
        .collect();
    assert_eq!(horizons, [(4, false, 0.5), (8, true, 0.5)]);

    assert_eq!(judged(&store, Some("alpha"), NeuronFilter::All).len(), 1);
    assert_eq!(judged(&store, Some("nothing"), NeuronFilter::All).len(), 0);
    assert_eq!(
        judged(&store, Some("zeta"), NeuronFilter::Unsteered).len(),
        1
    );
    let neuron = NeuronFilter::Only(NeuronId { layer: 0, index: 3 });
    assert_eq!(judged(&store, Some("zeta"), neuron).len(), 2);
}

#[test]
fn judgements_that_do_not_fit_leave_the_earlier_ones() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder, "s");
    let known = trial(1, None, "c");
    store.insert(std::slice::from_ref(&known)).unwrap();
    replace(&store, [judgement(&known, "b", "p", 8, true)]).unwrap();
    let stranger = judgement(&trial(9, None, "?"), "b", "p", 8, true);
    let nan = RolloutJudgement {
        mean_nll: f64::NAN,
        ..judgement(&known, "b", "p", 8, true)
    };
    for bad in [stranger, nan] {
        let error = replace(&store, [judgement(&known, "b", "q", 8, true), bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert_eq!(judged(&store, None, NeuronFilter::All)[0].prompt_id, "p");
    }
}

#[test]
fn views_read_in_plain_sql() {
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder, "s");
    let steered = trial(40_000, Some((3, 1.5)), "hello");
    store
        .insert(&[steered.clone(), trial(1, None, "clean")])
        .unwrap();
    let judgements = [
        judgement(&steered, "b", "p", 4, false),
        judgement(&steered, "b", "p", 8, true),
    ];
    replace(&store, judgements.clone()).unwrap();
    let kept = judgements.each_ref().map(HorizonJudgement::of).to_vec();
    let read = store.judgements_of(&steered.key(), "b", "p").unwrap();
    assert_eq!(read, Some(kept));
    assert_eq!(store.judgements_of(&steered.key(), "c", "p").unwrap(), None);
    assert_eq!(store.judged_count().unwrap(), 1);
    let row: (String, i64, i64, f64, i64, String, String, String) = store
        .connection
        .query_row(
            "SELECT key, layer, neuron, dose, horizon, prompt_tokens, tokens, text FROM trial_view WHERE layer IS NOT NULL",
            [],
            |row| row.try_into(),
        )
        .unwrap();
    let key = steered.key().to_string();
    let expected = (
        key,
        0,
        3,
        1.5,
        8,
        "[40000]".into(),
        "[7,300,2]".into(),
        "hello".into(),
    );
    assert_eq!(row, expected);
    let rows: (i64, i64) = store
        .connection
        .query_row(
            "SELECT count(*), sum(flipped) FROM judgement_view WHERE behavior = 'b'",
            [],
            |row| row.try_into(),
        )
        .unwrap();
    assert_eq!(rows, (2, 1));
    let spans: (Option<i64>, i64, i64) = store
        .connection
        .query_row(
            "SELECT min(span_start) FILTER (WHERE horizon = 4), max(span_start), max(span_end) FROM judgement_view",
            [],
            |row| row.try_into(),
        )
        .unwrap();
    assert_eq!(spans, (None, 1, 8));
}

/// 28 generated tokens of a vocabulary of 1,200, likelihoods of which most are near certain, cosines that move a little.
#[test]
fn a_trial_takes_less_than_200_bytes_besides_its_text() {
    use crate::model::{Cell, Rollout, Steering};
    use crate::stats::SplitMix64;
    const TRIALS: usize = 20_000;
    let mut random = SplitMix64(1);
    let folder = TempDir::new().unwrap();
    let mut store = store(&folder, "s");
    let mut writer = store.writer();
    let mut judgements = Vec::new();
    for i in 0..TRIALS {
        let mut unit = || random.next_u64() as f32 / u64::MAX as f32;
        let steering = Steering {
            neuron: NeuronId {
                layer: i % 8,
                index: i / 8 % 512,
            },
            dose: crate::units::Dose(60.0 * unit() - 30.0),
            apply: crate::spec::doses::Apply::Generation,
            window: None,
        };
        let level = 1.8 * unit() - 0.9;
        let rollout = Rollout {
            tokens: (0..28).map(|_| (1_200.0 * unit()) as u32).collect(),
            ended: false,
            nll: (0..28)
                .map(|_| -unit().max(1e-6).ln() * if unit() < 0.4 { 1.0 } else { 0.05 })
                .collect(),
            cosines: (0..28)
                .map(|_| level + 0.1 * (unit() - 0.5) + 0.1 * (unit() - 0.5))
                .collect(),
        };
        let prompt = [i as u32 % 200, 5, 6];
        let cell = Cell {
            prompt: &prompt,
            steering: Some(steering),
            horizon: 28,
            stop_at_end: true,
            stop_at_loop: None,
            sample: None,
        };
        let trial = Trial::new(&model(), &cell, rollout, String::new()).unwrap();
        judgements.extend([4, 12, 28].map(|h| judgement(&trial, "routing", "p", h, i % 3 == 0)));
        writer.push(trial).unwrap();
    }
    writer.finish().unwrap();
    let size = || fs::metadata(folder.path().join("s")).unwrap().len() as f64 / TRIALS as f64;
    let trials = size();
    replace(&store, judgements).unwrap();
    let with_judgements = size();
    println!("{trials:.1} bytes per trial, {with_judgements:.1} with judgements at three horizons");
    assert!(trials < 200.0, "{trials}");
}
