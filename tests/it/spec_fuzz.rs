//! Whatever is written, the interpreter answers; it never panics.

use std::path::Path;

use proptest::prelude::*;
use reachspec::spec::resolve;
use reachspec::spec::target::ToyTarget;
use reachspec::spec::written::Written;

const SPEC: &str = "
schema: reachspec/study/v1
name: small
model: {path: .}
prompts:
  asked: &asked {inline: [{text: one, expect: {n: 3}}, {tokens: [1, 2]}, {chat: [{role: user, content: é}]}], limit: 3}
  other: {<<: *asked, limit: 2}
  generic: {inline: [{text: generic}]}
behaviors:
  dogs:
    prompts: asked
    contrast: {prompts: asked, prefill: '!'}
    target_tokens: [dog]
    control_tokens: [cat]
    outcomes:
      - {name: a, flipped: true, when: {any: [{contains: {any: [dog]}}, {lexicon: {words: [x], against: [y]}}]}}
      - {name: b, when: {not: {unicode_script: {script: Latin, at_least: 0.5}}}}
neurons:
  - {role: held_out, at: [{layer: 1, index: 0..2}]}
  - {role: control, random: {count: 3, seed: 1, layers: 0..2}}
  - {role: held_out, name: s, screen: {behavior: dogs, top: 2, score: one_step_push}}
  - {role: calibration, at: [{layer: 0, index: 3}]}
doses: {geometric: {from: 0.5, to: 4, count: 3}, signs: [negative], window: {to: 3}}
rollout: {horizons: [4, 8], sample: {temperature: 0.5}}
thresholds: {confidence: 0.9}
";

/// Reads and resolves, and renders whatever is wrong.
fn interpret(bytes: &[u8], settings: &[String]) -> bool {
    let answer = Written::from_bytes(Path::new("a.yaml"), bytes, settings)
        .and_then(|written| resolve(&written, Path::new("."), &ToyTarget::default()));
    match answer {
        Ok((study, _)) => study.hash().len() == 64,
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(!error.render(true).is_empty() && !error.to_string().is_empty());
            false
        }
    }
}

#[test]
fn the_unbroken_spec_is_accepted() {
    assert!(interpret(SPEC.as_bytes(), &[]));
}

/// Pieces that YAML and the spec language give a meaning to.
const PIECES: [&str; 30] = [
    ":", "-", "\n", "  ", "\t", "[", "]", "{", "}", "&a", "*a", "*asked", "<<: ", "!t ", "|\n",
    ">-\n", "'", "\"", "#", "? ", "---\n", "...\n", "0..9", "-1", "1e309", ".nan", "null",
    "\u{feff}", "\u{0}", "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        interpret(&bytes, &[]);
    }

    #[test]
    fn arbitrary_yaml_never_panics(pieces in proptest::collection::vec(0..PIECES.len(), 0..60)) {
        let text: String = pieces.into_iter().map(|piece| PIECES[piece]).collect();
        interpret(text.as_bytes(), &[]);
    }

    #[test]
    fn mutated_specs_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0usize..12, 0..PIECES.len()), 1..6)
    ) {
        let mut bytes = SPEC.as_bytes().to_vec();
        for (at, removed, piece) in changes {
            let start = at.index(bytes.len() + 1).min(bytes.len());
            let end = (start + removed).min(bytes.len());
            bytes.splice(start..end, PIECES[piece].bytes());
        }
        interpret(&bytes, &[]);
    }

    #[test]
    fn swapped_values_never_panic(key in any::<prop::sample::Index>(), value in 0usize..14) {
        const KEYS: [&str; 25] = [
            "schema", "name", "model.path", "seed", "prompts.asked.inline.0.text", "prompts.asked.limit", "prompts.asked.skip",
            "prompts.asked", "behaviors.dogs.outcomes.0.when", "behaviors.dogs.contrast.prefill", "behaviors.dogs.target_tokens",
            "behaviors.dogs.expected_trigger", "neurons.0.at.0.layer", "neurons.0.at.0.index", "neurons.1.random.count",
            "neurons.1.random.layers", "neurons.2.screen.top", "neurons", "doses.geometric.from", "doses.geometric.count",
            "doses.window.from", "rollout.horizons", "rollout.sample.temperature", "ceiling.bulk", "prompts.asked.inline.0.expect.n",
        ];
        const VALUES: [&str; 14] = [
            "0", "-1", "18446744073709551615", "1e300", "0.5", "''", "x", "[]", "[1, 2]", "{}", "null", "true", "0..99999999999", "[0, 0]",
        ];
        let setting = format!("{}={}", KEYS[key.index(KEYS.len())], VALUES[value]);
        interpret(SPEC.as_bytes(), &[setting]);
    }
}
