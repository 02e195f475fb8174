//! A finished run of a few dozen rollouts of the small model, made anew when a target starts: the same but for its times and its folder.

use std::fs;
use std::path::{Path, PathBuf};

use reachspec::events::Silent;
use reachspec::model::{self, Resources};
use reachspec::pipeline::{self, Options};
use reachspec::record::manifest::Written;
use reachspec::spec::load::load_study;
use reachspec::spec::model::{Device, Dtype};

use crate::tiny;

/// The study: every kind of neuron, oracle-judged outcomes, several predictors.
pub const SPEC: &str = "
schema: reachspec/study/v1
name: small
model: {path: model}
prompts:
  asked: {inline: [{text: one}, {text: two three, expect: {n: 3}}, {text: four one}]}
  other: {inline: [{text: five}, {text: three two}, {text: five four}]}
  generic: {inline: [{text: one two three}, {text: five four}]}
behaviors:
  threes:
    prompts: asked
    contrast: {prompts: other}
    target_tokens: [three]
    control_tokens: [four]
    outcomes:
      - {name: three, flipped: true, when: {contains: {any: [three]}}}
      - {name: fives, flipped: true, when: {all: [{regex: 'fi(ve)+'}, {not: {lexicon: {words: [one], at_least: 0.5}}}]}}
neurons:
  - {role: calibration, random: {count: 4}}
  - {role: held_out, name: fixed, at: [{layer: 1, index: 0}]}
  - {role: held_out, name: screened, screen: {behavior: threes, top: 1, score: one_step_push}}
  - {role: control, name: random, random: {count: 1, seed: 1}}
  - {role: control, name: directions, random_directions: {count: 1}}
doses: {grid: [0.5, 1, 2, 4]}
rollout: {horizons: [2, 4]}
calibration: {rollout_prompts: 2}
ceiling: {predictors: [constant, participation_ratio, calibrated, one_step]}
trigger: {predictors: [expected, push]}
";

/// The files that a target changes, and what was in them.
pub struct Run {
    /// The run folder.
    pub folder: PathBuf,
    /// Name and content.
    pub files: [(&'static str, Vec<u8>); 4],
}

impl Run {
    /// Makes the run.
    ///
    /// # Panics
    /// If that fails.
    pub fn make(target: &str) -> Self {
        let parent = tiny::folder(target);
        let (spec, model, folder) = (
            parent.join("small.yaml"),
            parent.join("model"),
            parent.join("run"),
        );
        fs::create_dir_all(&model).expect("a folder that can be written");
        tiny::write(&model);
        fs::write(&spec, SPEC).expect("a folder that can be written");
        run(&spec, &folder);
        let names = [
            "manifest.json",
            "predictions.json",
            "verdicts.json",
            "trials.sqlite",
        ];
        let files = names.map(|name| (name, fs::read(folder.join(name)).expect("a finished run")));
        Self { folder, files }
    }

    /// What was in a file.
    pub fn content(&self, name: &str) -> &[u8] {
        let found = self.files.iter().find(|(of, _)| *of == name);
        found.map_or(&[], |(_, content)| content)
    }
}

fn run(spec: &Path, folder: &Path) {
    let loaded = load_study(spec, &[]).unwrap_or_else(|error| panic!("{}", error.render(false)));
    let written = Written {
        spec_path: spec,
        spec_text: SPEC,
        overrides: &[],
    };
    let options = Options {
        threads: 1,
        ..Options::default()
    };
    let resources = Resources {
        threads: 1,
        memory: 256 << 20,
    };
    let open = pipeline::open(folder, &loaded.study, &written, &options).expect("a new folder");
    let model =
        model::load(loaded.header, Dtype::F32, Device::Cpu, resources).expect("a whole model");
    pipeline::run(&loaded.study, &*model, open, &options, &mut Silent).expect("a study that runs");
}
