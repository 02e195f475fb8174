//! What a spec resolves to. What is refused is shown in `tests/inputs/spec-errors`.

use std::path::{Path, PathBuf};

use super::*;
use crate::oracles::Oracle;
use crate::spec::ceiling::Predictor;
use crate::spec::coherence::Detector;
use crate::spec::neurons::Role;
use crate::spec::target::ToyTarget;
use crate::study::Selection;
use crate::units::{Horizon, NeuronId, Sign};

const SMALL: &str = "
schema: reachspec/study/v1
name: small
model: {path: model}
prompts:
  asked: {inline: [{text: one}, {text: two, id: second}]}
  generic: {inline: [{text: generic}]}
behaviors:
  dogs: {prompts: asked, flipped_when: {contains: {any: [dog]}}}
neurons:
  - {role: held_out, at: [{layer: 1, index: 0..2}]}
  - {role: calibration, at: [{layer: 0, index: 3}]}
doses: {grid: [0.5, 1]}
rollout: {horizons: [4, 8]}
";

fn resolved(folder: &Path, text: &str, settings: &[&str]) -> Result<Study, String> {
    let settings: Vec<String> = settings.iter().map(|s| s.to_string()).collect();
    Written::from_bytes(&folder.join("study.yaml"), text.as_bytes(), &settings)
        .and_then(|written| resolve(&written, &folder.join("model"), &ToyTarget::default()))
        .map(|(study, _)| study)
        .map_err(|error| error.to_string())
}

fn small(settings: &[&str]) -> Study {
    resolved(Path::new("specs"), SMALL, settings).unwrap()
}

#[test]
fn every_default_is_filled_in() {
    let study = small(&[]);
    assert_eq!(
        (study.name.as_str(), study.title.as_str(), study.seed),
        ("small", "small", 0)
    );
    assert_eq!(study.model.name, "model");
    assert_eq!(study.model.folder, PathBuf::from("specs/model"));
    assert_eq!(study.doses.signs, [Sign::Positive, Sign::Negative]);
    assert_eq!(study.rollout.verdict_horizon, Horizon(8));
    assert_eq!(study.ceiling.headline, Predictor::Calibrated);
    assert_eq!(
        study.coherence.collapsed_if,
        [Detector::Likelihood, Detector::Repetition]
    );
    let [behavior] = study.behaviors.as_slice() else {
        panic!("one behaviour is written")
    };
    assert_eq!(
        (
            behavior.outcomes[0].name.as_str(),
            behavior.outcomes[0].flipped
        ),
        ("flipped", true)
    );
    assert_eq!(behavior.expected_trigger, 0.3);
}

#[test]
fn prompts_are_named_and_encoded() {
    let prompts = &small(&[]).prompts["asked"];
    assert_eq!(prompts[0].id, "0");
    assert_eq!(prompts[0].tokens, [1, 114, 113, 104]);
    assert_eq!(
        (prompts[1].id.as_str(), prompts[1].text.as_str()),
        ("second", "two")
    );
}

#[test]
fn groups_have_names_roles_and_behaviours() {
    let study = small(&[]);
    let [held_out, calibration] = study.neurons.as_slice() else {
        panic!("two groups are written")
    };
    assert_eq!(
        (held_out.name.as_str(), held_out.role),
        ("held_out", Role::HeldOut)
    );
    assert_eq!(held_out.behaviors, ["dogs"]);
    assert!(calibration.behaviors.is_empty());
    let Selection::Fixed(neurons) = &held_out.selection else {
        panic!("the neurons are written")
    };
    assert_eq!(
        neurons,
        &[
            NeuronId { layer: 1, index: 0 },
            NeuronId { layer: 1, index: 1 }
        ]
    );
}

#[test]
fn random_groups_leave_out_what_is_written() {
    let study = small(&["neurons.1={role: calibration, random: {count: 30, layers: 1}}"]);
    let Selection::Fixed(drawn) = &study.neurons[1].selection else {
        panic!("random neurons are drawn at once")
    };
    assert_eq!(drawn.len(), 30);
    assert!(
        drawn
            .iter()
            .all(|neuron| neuron.layer == 1 && neuron.index >= 2)
    );
}

#[test]
fn the_same_meaning_has_the_same_hash_wherever_it_lies() {
    let same = resolved(
        Path::new("elsewhere"),
        &SMALL
            .replace("0..2", "'0..2'")
            .replace("0.5, 1", "0.50, 1.0 ")
            .replace("[dog]", "[dog, dog]"),
        &[
            "doses.signs=[negative, positive]",
            "report.title=small",
            "rollout.stop_at_end=true",
        ],
    )
    .unwrap();
    assert_eq!(small(&[]).hash(), same.hash());
    for different in [
        "seed=1",
        "doses.grid.1=2",
        "rollout.horizons.0=5",
        "prompts.asked.inline.0.text=three",
    ] {
        assert_ne!(small(&[]).hash(), small(&[different]).hash(), "{different}");
    }
}

#[test]
fn files_are_read_beside_the_spec() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write(
        "asked.jsonl",
        "{\"text\": \"a\", \"expect\": {\"n\": 3.0, \"w\": \"x\"}}\n\n{\"chat\": [{\"role\": \"user\", \"content\": \"h\u{e9}\"}], \"id\": \"b\", \"expect\": {\"n\": \"4\"}}\r\n{\"tokens\": [1, 100]}\n",
    );
    write("generic.txt", "\u{feff}first\r\n\r\nsecond\n");
    write("dogs.txt", "Dog\nhound\n\n");
    let settings = [
        "prompts.asked={jsonl: asked.jsonl, limit: 2}",
        "prompts.generic={text_file: generic.txt, skip: 1}",
        "behaviors.dogs.flipped_when={all: [{lexicon: {words_file: dogs.txt, against: [cat]}}, {number: {expect: n}}]}",
    ];
    let study = resolved(folder.path(), SMALL, &settings).unwrap();
    let asked = &study.prompts["asked"];
    assert_eq!(
        (asked.len(), asked[1].id.as_str(), asked[1].text.as_str()),
        (2, "b", "hé")
    );
    assert_eq!(
        (asked[0].expect["n"].as_str(), asked[0].expect["w"].as_str()),
        ("3", "x")
    );
    assert_eq!(
        (
            study.generic_prompts()[0].text.as_str(),
            study.generic_prompts()[0].id.as_str()
        ),
        ("second", "1")
    );
    let Oracle::All(oracles) = &study.behaviors[0].outcomes[0].oracle else {
        panic!("the oracle is a conjunction")
    };
    let Oracle::Lexicon(lexicon) = &oracles[0] else {
        panic!("the first oracle is a lexicon")
    };
    assert_eq!(lexicon.words.iter().collect::<Vec<_>>(), ["dog", "hound"]);
}

#[test]
fn expected_values_keep_the_text_that_is_written() {
    let study = small(&[]);
    assert!(study.prompts["asked"][0].expect.is_empty());
    let text = SMALL.replace(
        "{text: one}",
        "{text: one, expect: {a: 3.10, b: 007, c: true, d: 'x', e: 1e3}}",
    );
    let study = resolved(
        Path::new("."),
        &text,
        &["prompts.asked.inline.0.expect.f=2.50"],
    )
    .unwrap();
    let expect = &study.prompts["asked"][0].expect;
    let shown: Vec<&str> = expect.values().map(String::as_str).collect();
    assert_eq!(shown, ["3.10", "007", "true", "x", "1e3", "2.5"]);
}

#[test]
fn contrasts_and_readout_tokens_are_encoded() {
    let study = small(&[
        "prompts.other={inline: [{text: uno}, {text: dos}]}",
        "behaviors.dogs.contrast={prompts: other, prefill: '!'}",
        "behaviors.dogs.target_tokens=[dog, do]",
        "behaviors.dogs.control_tokens=[cat]",
        "neurons.0={role: held_out, screen: {behavior: dogs, top: 3, score: direct_importance}}",
    ]);
    let behavior = &study.behaviors[0];
    let contrast = behavior.contrast.as_ref().unwrap();
    assert_eq!(contrast.original[0], [1, 114, 113, 104, 36]);
    assert_eq!(contrast.perturbed.len(), 2);
    assert_eq!(
        (&behavior.target_tokens[..], &behavior.control_tokens[..]),
        (&[103][..], &[102][..])
    );
    assert!(
        matches!(&study.neurons[0].selection, Selection::Screen { top: 3, layers, .. } if layers.len() == 4)
    );
    assert!(study.prompts.contains_key("other"));
}

#[test]
fn sets_that_nothing_uses_are_no_part_of_the_study() {
    let study = small(&["prompts.spare={inline: [{text: spare}]}"]);
    assert_eq!(study.hash(), small(&[]).hash());
}

#[test]
fn every_problem_is_listed_at_once_with_its_place() {
    let settings = [
        "neurons.0.at.0.layer=9",
        "verdict.horizon=5",
        "behaviors.dogs.prompts=askde",
    ];
    let report = resolved(Path::new("."), SMALL, &settings).unwrap_err();
    for part in [
        "9 is out of range: the model has 4 layers",
        "neurons.0.at.0.layer=9",
        "the horizon 5 of the verdict",
        "did you mean `asked`?",
        "3 problems",
    ] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
    }
}

#[test]
fn settings_that_never_or_always_do_something_are_pointed_out() {
    let warnings = |setting: &str| {
        let settings = [setting.to_owned()];
        let written = Written::from_bytes(Path::new("a.yaml"), SMALL.as_bytes(), &settings);
        let resolved = resolve(&written.unwrap(), Path::new("."), &ToyTarget::default());
        let said = resolved.unwrap().1.into_iter().map(|w| w.message);
        said.collect::<Vec<_>>().join("\n")
    };
    for (setting, said) in [
        ("coherence.repetition.min_tokens=8", ""),
        (
            "coherence.repetition.min_tokens=9",
            "the detector `repetition` cannot fire within the verdict's 8 tokens",
        ),
        (
            "coherence={collapsed_if: [likelihood, distinct], distinct: {n: 8}}",
            "the detector `distinct` cannot fire",
        ),
        // It does not decide.
        ("coherence.distinct.n=1000", ""),
        (
            "behaviors.dogs.flipped_when={lexicon: {words: [dog], min_words: 9}}",
            "9 words are needed, and no rollout is longer than 8 tokens",
        ),
        (
            "behaviors.dogs.flipped_when={regex: '(dog)*'}",
            "this pattern matches the empty text",
        ),
        ("behaviors.dogs.flipped_when={regex: '^$'}", ""),
        ("doses.window={from: 3, to: 8}", ""),
        (
            "doses.window={from: 4, to: 8}",
            "up to horizon 4 no token is steered",
        ),
    ] {
        let found = warnings(setting);
        assert!(found.contains(said), "{setting}: {found}");
        assert_eq!(found.is_empty(), said.is_empty(), "{setting}: {found}");
    }
}

#[test]
fn a_study_survives_its_own_json() {
    let study = small(&[]);
    let json = serde_json::to_string(&study).unwrap();
    let again: Study = serde_json::from_str(&json).unwrap();
    assert_eq!(study.hash(), again.hash());
}
