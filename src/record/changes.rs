//! Whether a run may go on with a study that is not quite the one it began with.

use serde_json::Value;

use super::by_key::{self, KeyChange};
use crate::study::Study;

/// How a study relates to the one that a run folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// It is the same study.
    Same,
    /// It asks more, or judges the same rollouts otherwise: recorded trials stay valid, and what is missing is run. Each difference in words.
    Extends(Vec<String>),
    /// Something has changed under the recorded trials or predictions: they answer another question. Each such difference in words.
    Changed(Vec<String>),
}

/// Keys that may differ freely: what they change is derived again from the recorded trials, or asks for further ones.
const FREE: [&str; 11] = [
    "title",
    "description",
    "doses.magnitudes",
    "doses.signs",
    "doses.tolerance",
    "rollout.horizons",
    "rollout.verdict_horizon",
    "coherence",
    "thresholds",
    "reasons",
    "report",
];

/// Whether a key, or the section that it stands in, may differ.
fn is_free(key: &str) -> bool {
    let under = |section: &str| {
        key.strip_prefix(section)
            .is_some_and(|rest| rest.starts_with('.'))
    };
    FREE.iter().any(|free| key == *free || under(free))
}

fn pointer(key: &str) -> String {
    format!("/{}", key.replace('.', "/"))
}

/// Compares two studies key by key.
pub fn compare(old: &Study, new: &Study) -> Continuation {
    let value = |study: &Study| serde_json::to_value(study).expect("studies are plain data");
    let (before, after) = (value(old), value(new));
    if before == after {
        return Continuation::Same;
    }
    let mut differences = Differences {
        generic_prompts: old.calibration.prompts.clone(),
        extensions: Vec::new(),
        changes: Vec::new(),
    };
    // Lists of numbers are shown whole; sections are looked into, so that the key that differs is named.
    let is_whole = |key: &str| {
        FREE.contains(&key) && !before.pointer(&pointer(key)).is_some_and(Value::is_object)
    };
    for change in by_key::changes(&before, &after, &is_whole) {
        differences.add(&change);
    }
    if differences.changes.is_empty() {
        Continuation::Extends(differences.extensions)
    } else {
        Continuation::Changed(differences.changes)
    }
}

/// Sorts differences by whether they leave what is recorded valid.
struct Differences {
    generic_prompts: String,
    extensions: Vec<String>,
    changes: Vec<String>,
}

impl Differences {
    fn add(&mut self, change: &KeyChange) {
        if is_free(&change.key) {
            self.extensions.push(change.to_string());
        } else if let Some((list, words)) = addition(change) {
            self.file(list, words);
        } else {
            self.changes.push(change.to_string());
        }
    }

    /// An addition extends the study where it only asks for more trials.
    fn file(&mut self, path: &str, words: String) {
        let mut parts = path.split('.');
        let extends = match (parts.next(), parts.next_back()) {
            (Some("prompts"), Some(set)) => set != self.generic_prompts,
            (Some("neurons"), _) => true,
            (Some("behaviors"), Some("original" | "perturbed")) => true,
            _ => false,
        };
        if extends {
            self.extensions.push(words);
        } else {
            self.changes.push(words);
        }
    }
}

/// The list to which a change only adds, or whose items it only puts into another order, and what it does in words.
fn addition(change: &KeyChange) -> Option<(&str, String)> {
    let KeyChange {
        key,
        first,
        second,
        item_of,
    } = change;
    match (item_of, first, second) {
        (Some(list), Value::Null, _) => Some((list, format!("{key} was added"))),
        (Some(list), ..) if list == key => Some((list, change.to_string())),
        (_, Value::Array(before), Value::Array(after)) => {
            let kept = before.iter().all(|item| after.contains(item));
            let more = after
                .len()
                .checked_sub(before.len())
                .filter(|more| *more > 0)?;
            let (old, new) = (before.len(), after.len());
            kept.then(|| {
                (
                    key.as_str(),
                    format!("{key}: {old} → {new} items, {more} added"),
                )
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::{NEURON, prompt, study};
    use crate::spec::doses::DoseUnit;
    use crate::spec::neurons::Role;
    use crate::study::{NeuronGroup, Selection};
    use crate::units::{Horizon, NeuronId, Sign};

    fn after(change: impl FnOnce(&mut Study)) -> Continuation {
        let mut changed = study();
        change(&mut changed);
        compare(&study(), &changed)
    }

    fn extends(words: &str) -> Continuation {
        Continuation::Extends(vec![words.into()])
    }

    fn changed(words: &str) -> Continuation {
        Continuation::Changed(vec![words.into()])
    }

    #[test]
    fn where_the_files_lie_changes_nothing() {
        assert_eq!(after(|_| ()), Continuation::Same);
        assert_eq!(
            after(|s| s.model.folder = "/elsewhere".into()),
            Continuation::Same
        );
    }

    #[test]
    fn asking_more_or_judging_otherwise_extends() {
        assert_eq!(
            after(|s| s.doses.magnitudes.push(1.2)),
            extends("doses.magnitudes: [0.3,0.6] → [0.3,0.6,1.2]")
        );
        assert_eq!(
            after(|s| s.doses.signs.push(Sign::Negative)),
            extends("doses.signs: [\"positive\"] → [\"positive\",\"negative\"]")
        );
        assert_eq!(
            after(|s| s.rollout.horizons = vec![Horizon(8)]),
            extends("rollout.horizons: [4,8] → [8]")
        );
        assert_eq!(
            after(|s| s.thresholds.flip_share = 0.25),
            extends("thresholds.flip_share: 0.5 → 0.25")
        );
        assert_eq!(
            after(|s| s.title = "New".into()),
            extends("title: \"Fixture\" → \"New\"")
        );
        assert_eq!(
            after(|s| s
                .prompts
                .get_mut("questions")
                .unwrap()
                .insert(0, prompt(3, "three"))),
            extends("prompts.questions: 2 → 3 items, 1 added")
        );
        let more = NeuronId { layer: 1, index: 0 };
        assert_eq!(
            after(|s| s.neurons[0].selection = Selection::Fixed(vec![NEURON, more])),
            extends("neurons.held_out.selection.fixed: 1 → 2 items, 1 added")
        );
        let group = NeuronGroup {
            name: "control".into(),
            role: Role::Control,
            selection: Selection::Fixed(vec![more]),
            behaviors: vec!["routing".into()],
        };
        assert_eq!(
            after(|s| s.neurons.push(group)),
            extends("neurons.control was added")
        );
    }

    #[test]
    fn what_lies_under_the_record_must_not_change() {
        assert_eq!(after(|s| s.seed = 8), changed("seed: 7 → 8"));
        assert_eq!(
            after(|s| s.doses.unit = DoseUnit::Activation),
            changed("doses.unit: \"budget\" → \"activation\"")
        );
        assert_eq!(
            after(|s| s.calibration.push = 0.7),
            changed("calibration.push: 0.6 → 0.7")
        );
        assert_eq!(
            after(|s| drop(
                s.model
                    .files
                    .insert("model.safetensors".into(), "ff".into())
            )),
            changed("model.files.model.safetensors: absent → \"ff\"")
        );
        let is_change = |continuation| matches!(continuation, Continuation::Changed(_));
        // A prompt that was removed or edited, and any change of the generic prompts behind the budgets.
        assert!(is_change(after(|s| drop(
            s.prompts.get_mut("questions").unwrap().pop()
        ))));
        assert!(is_change(after(|s| s
            .prompts
            .get_mut("questions")
            .unwrap()[0]
            .tokens
            .push(5))));
        assert!(is_change(after(|s| s
            .prompts
            .get_mut("generic")
            .unwrap()
            .push(prompt(3, "three")))));
        assert!(is_change(after(|s| s.neurons[0].role = Role::Calibration)));
        assert!(is_change(after(|s| drop(s.neurons.pop()))));
    }

    #[test]
    fn one_change_outweighs_every_extension() {
        let both = after(|s| {
            s.title = "New".into();
            s.seed = 8;
        });
        assert_eq!(both, changed("seed: 7 → 8"));
    }
}
