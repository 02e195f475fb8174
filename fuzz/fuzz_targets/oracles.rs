//! Feeds oracles and the texts that they judge. An oracle that is refused is refused with words; one that is accepted judges every text in
//! time linear in it, never panics, says the same twice, and points at bytes of the text between characters.
//!
//! Input: an oracle as YAML, as in a spec, or as the JSON of a resolved one; then the parts `@@text` (several) and `@@expect`.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use reachspec::oracles::Oracle;
use reachspec::spec::resolve;
use reachspec::spec::target::ToyTarget;
use reachspec::spec::written::Written;
use reachspec_fuzz::parts::{part, parts};

/// The smallest study with a behaviour, whose oracle is put in its place.
const STUDY: &[u8] = b"
schema: reachspec/study/v1
name: small
model: {path: .}
prompts:
  asked: {inline: [{text: one, expect: {n: '3', word: el}}]}
  generic: {inline: [{text: generic}]}
behaviors:
  dogs: {prompts: asked, outcomes: [{name: a, flipped: true, when: {contains: {any: [dog]}}}]}
neurons:
  - {role: held_out, at: [{layer: 1, index: 0}]}
  - {role: calibration, at: [{layer: 0, index: 3}]}
doses: {grid: [1]}
rollout: {horizons: [4]}
";

fuzz_target!(|input: &[u8]| {
    let parts = parts(input);
    let Ok(spec) = std::str::from_utf8(parts[0].1) else {
        return;
    };
    let expect = part(&parts, "expect").unwrap_or(b"3");
    let expect = String::from_utf8_lossy(expect).into_owned();
    let expect = BTreeMap::from([("n".into(), expect.clone()), ("word".into(), expect)]);
    let texts: Vec<_> = (parts.iter().filter(|(name, _)| *name == b"text"))
        .map(|(_, text)| String::from_utf8_lossy(text))
        .collect();
    for oracle in oracles(spec) {
        for text in &texts {
            judge(&oracle, text, &expect);
        }
    }
});

/// The oracles that are written, by a person or by the program.
fn oracles(spec: &str) -> Vec<Oracle> {
    if let Ok(oracle) = serde_json::from_str(spec) {
        return vec![oracle];
    }
    let setting = format!("behaviors.dogs.outcomes.0.when={spec}");
    let answer = Written::from_bytes(Path::new("a.yaml"), STUDY, &[setting])
        .and_then(|written| resolve(&written, Path::new("/nonexistent"), &ToyTarget::default()));
    match answer {
        Err(error) => {
            assert!(!error.render(false).is_empty());
            Vec::new()
        }
        Ok((study, _)) => {
            let outcomes = study.behaviors.into_iter().flat_map(|b| b.outcomes);
            let oracles: Vec<Oracle> = outcomes.map(|outcome| outcome.oracle).collect();
            // A study is read back from its manifest.
            for oracle in &oracles {
                let json = serde_json::to_string(oracle).unwrap();
                assert_eq!(serde_json::from_str::<Oracle>(&json).unwrap(), *oracle);
                oracle.compile().expect("a resolved study holds no other");
            }
            oracles
        }
    }
}

fn judge(oracle: &Oracle, text: &str, expect: &BTreeMap<String, String>) {
    let judge = match oracle.compile() {
        Ok(judge) => judge,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    let judgement = judge.judge(text, expect);
    assert_eq!(judgement, judge.judge(text, expect));
    if let Some(span) = judgement.span {
        assert!(judgement.holds);
        assert!(text.get(span).is_some());
    }
}
