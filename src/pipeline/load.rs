//! A study of very many trials is planned, run, interrupted, gone on with, judged and reported in a memory that does not grow with them.
//! `REACHSPEC_LONG=1` makes it a million trials; otherwise there are enough for the same limits to mean something.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rusqlite::Connection;
use tempfile::TempDir;

use super::{Interrupted, Options, Outcome, open, run};
use crate::events::Silent;
use crate::model::LanguageModel;
use crate::model::decoder::Sizes;
use crate::model::kernels::Heads;
use crate::model::lanes::Resources;
use crate::model::scripted::{self, Branch, ScriptedModel, ScriptedNeuron};
use crate::oracles::Oracle;
use crate::record::fixture;
use crate::spec::coherence::Detector;
use crate::spec::neurons::Role;
use crate::stages::plan::plan;
use crate::stop::Stop;
use crate::study::{Behavior, NeuronGroup, Outcome as Class, Prompt, Selection, Study};
use crate::units::{Horizon, NeuronId, Sign, TokenId};

/// What the whole process may hold, in KiB, however many trials there are.
const MOST_MEMORY: usize = 200 * 1024;
/// What a trial may take in the store beside its text, in bytes.
const MOST_PER_TRIAL: f64 = 200.0;

const LAYERS: usize = 4;
const D_FF: usize = 128;
const PROMPTS: usize = 64;
const DOSES: usize = 16;
const PER_NEURON: usize = 2 * PROMPTS * DOSES;

/// The neurons in a process of its own, whose memory is not that of other tests.
const NEURONS: &str = "REACHSPEC_LOAD_NEURONS";

fn neuron(number: usize) -> NeuronId {
    NeuronId {
        layer: number / D_FF,
        index: number % D_FF,
    }
}

/// Every third neuron flips before it collapses. After `steps` readings of a context the run is asked to stop.
fn model(steps: usize, stop: &Stop) -> ScriptedModel {
    let (read, stop) = (AtomicUsize::new(0), stop.clone());
    let script = move |context: &[TokenId]| {
        if read.fetch_add(1, Ordering::Relaxed) == steps {
            stop.request();
        }
        scripted::count(context)
    };
    let script = Box::new(script);
    let mut model = ScriptedModel::new(&scripted::COUNTING, LAYERS, D_FF, script);
    for number in (0..LAYERS * D_FF).step_by(3) {
        let branch = |flips_at| Branch {
            flips_at: Some(flips_at),
            flips_after: 0,
            collapses_at: Some(1.5),
        };
        let scripted = ScriptedNeuron {
            positive: branch(0.4 + 0.1 * (number % 9) as f64),
            negative: branch(2.0),
            ..ScriptedNeuron::default()
        };
        model = model.with_neuron(neuron(number), scripted);
    }
    model
}

/// So many different sequences of words that count nothing yet.
fn prompts(from: usize, count: usize) -> Vec<Prompt> {
    (from..from + count)
        .map(|number| {
            let tokens: Vec<TokenId> = (0..5)
                .map(|place| 12 + (number / 3_usize.pow(place) % 3) as TokenId)
                .collect();
            Prompt {
                id: format!("p{number}"),
                text: format!("prompt {number}"),
                tokens,
                expect: BTreeMap::new(),
            }
        })
        .collect()
}

fn study(model: &ScriptedModel, neurons: usize) -> Study {
    let mut study = fixture::study();
    study.model.shape = model.shape().clone();
    study.prompts = BTreeMap::from([
        ("generic".into(), prompts(100, 4)),
        ("questions".into(), prompts(0, PROMPTS)),
        ("calibrated".into(), prompts(200, 4)),
    ]);
    study.behaviors = vec![Behavior {
        outcomes: vec![Class {
            name: "flipped".into(),
            oracle: Oracle::Regex("^un deux".into()),
            flipped: true,
        }],
        ..study.behaviors[0].clone()
    }];
    let group = |name: &str, role, neurons, behaviors| NeuronGroup {
        name: name.into(),
        role,
        selection: Selection::Fixed(neurons),
        behaviors,
    };
    study.neurons = vec![
        group(
            "calibration",
            Role::Calibration,
            vec![neuron(LAYERS * D_FF - 1)],
            vec![],
        ),
        group(
            "held_out",
            Role::HeldOut,
            (0..neurons).map(neuron).collect(),
            vec!["routing".into()],
        ),
    ];
    study.doses.magnitudes = (1..=DOSES).map(|step| 0.125 * step as f64).collect();
    study.doses.signs = vec![Sign::Positive, Sign::Negative];
    study.rollout.horizons = vec![Horizon(4), Horizon(8)];
    study.calibration.steer_on = "calibrated".into();
    study.coherence.collapsed_if = vec![Detector::Repetition];
    study
}

/// Runs until the end, or until the model has read so many contexts; whether it came to the end.
fn go(root: &Path, neurons: usize, steps: usize) -> bool {
    let stop = Stop::default();
    let mut model = model(steps, &stop);
    model.stop_on(stop.clone());
    let study = study(&model, neurons);
    let options = Options {
        stop,
        ..Options::default()
    };
    let run_folder = open(root, &study, &fixture::written(), &options).unwrap();
    match run(&study, &model, run_folder, &options, &mut Silent) {
        Ok(Outcome::Finished(_)) => true,
        Ok(Outcome::Sealed(_)) => panic!("nothing asked for that"),
        Err(error) => {
            assert!(error.is::<Interrupted>(), "{error:?}");
            false
        }
    }
}

fn planned_trials(neurons: usize) -> usize {
    let heads = Heads {
        query: 1,
        kv: 1,
        dim: 2,
    };
    let sizes = Sizes {
        layers: LAYERS,
        d_model: D_FF + 2,
        d_ff: D_FF,
        vocab: 15,
        context: 1024,
        heads,
    };
    let resources = Resources {
        threads: 1,
        memory: 1 << 30,
    };
    let stop = Stop::default();
    plan(
        &study(&model(usize::MAX, &stop), neurons),
        &sizes,
        resources,
    )
    .unwrap()
    .trials
}

/// The most memory that this process has held, in KiB.
fn peak_memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[ignore = "a part of `memory_does_not_grow_with_the_number_of_trials`, which starts it"]
fn in_its_own_process() {
    let neurons: usize = std::env::var(NEURONS).unwrap().parse().unwrap();
    let trials = planned_trials(neurons);
    println!("planned {trials} trials, peak {} KiB", peak_memory());
    assert!(trials >= neurons * PER_NEURON);
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("run");
    let began = Instant::now();
    // Each step reads the context twice or thrice, and a rollout has a handful of them.
    let interrupted = !go(&root, neurons, trials * 4);
    println!(
        "stopped after {:.0} s, peak {} KiB",
        began.elapsed().as_secs_f64(),
        peak_memory()
    );
    let store = || Connection::open(root.join("trials.sqlite")).unwrap();
    let number = |sql: &str| {
        store()
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap() as usize
    };
    let kept = number("SELECT count(*) FROM trials");
    assert!(
        interrupted && 0 < kept && kept < trials,
        "{kept} of {trials} trials were made before the stop"
    );
    assert!(go(&root, neurons, usize::MAX));
    println!(
        "finished after {:.0} s, peak {} KiB",
        began.elapsed().as_secs_f64(),
        peak_memory()
    );
    assert_eq!(number("SELECT count(*) FROM trials"), trials);
    assert_eq!(
        number("SELECT count(*) FROM judgements"),
        neurons * PER_NEURON + PROMPTS
    );
    let text = number("SELECT sum(length(CAST(text AS BLOB))) FROM trials");
    let bytes = std::fs::metadata(root.join("trials.sqlite")).unwrap().len() as usize - text;
    let per_trial = bytes as f64 / trials as f64;
    let report = std::fs::metadata(root.join("report.html")).unwrap().len();
    println!("{per_trial:.1} bytes a trial beside its text; a report of {report} bytes");
    assert!(per_trial < MOST_PER_TRIAL);
    assert!(peak_memory() < MOST_MEMORY, "{} KiB", peak_memory());
}

#[test]
#[cfg(target_os = "linux")]
fn memory_does_not_grow_with_the_number_of_trials() {
    let neurons = match std::env::var_os("REACHSPEC_LONG") {
        Some(_) => 489,
        None => 12,
    };
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "pipeline::load::in_its_own_process",
            "--ignored",
            "--nocapture",
        ])
        .env(NEURONS, neurons.to_string())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("1 passed"), "{said}");
}
