//! Whether a run may go on with a study that is not quite the one it began with.

use serde_json::Value;

use super::canonical;
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
    differences.compare("", &before, &after);
    if differences.changes.is_empty() {
        Continuation::Extends(differences.extensions)
    } else {
        Continuation::Changed(differences.changes)
    }
}

struct Differences {
    generic_prompts: String,
    extensions: Vec<String>,
    changes: Vec<String>,
}

impl Differences {
    fn compare(&mut self, path: &str, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        if FREE.contains(&path) {
            self.extensions.push(worded(path, old, new));
            return;
        }
        match (old, new) {
            (Value::Object(before), Value::Object(after)) => {
                let keys = before
                    .keys()
                    .chain(after.keys().filter(|key| !before.contains_key(*key)));
                for key in keys {
                    let place = if path.is_empty() {
                        key.clone()
                    } else {
                        format!("{path}.{key}")
                    };
                    let side = |object: &serde_json::Map<String, Value>| {
                        object.get(key).cloned().unwrap_or_default()
                    };
                    self.compare(&place, &side(before), &side(after));
                }
            }
            (Value::Array(before), Value::Array(after)) => self.compare_lists(path, before, after),
            _ => self.changes.push(worded(path, old, new)),
        }
    }

    /// Lists whose items have names are compared by name; of others only additions are told apart.
    fn compare_lists(&mut self, path: &str, before: &[Value], after: &[Value]) {
        if let Some((before, after)) = by_name(before).zip(by_name(after)) {
            for (name, old) in &before {
                let new = after
                    .iter()
                    .find(|(other, _)| other == name)
                    .map_or(&Value::Null, |(_, new)| new);
                self.compare(&format!("{path}.{name}"), old, new);
            }
            for (name, _) in after
                .iter()
                .filter(|(name, _)| before.iter().all(|(other, _)| other != name))
            {
                self.file(path, format!("{path}.{name} was added"));
            }
            return;
        }
        let kept = before.iter().all(|item| after.contains(item));
        if kept && after.len() > before.len() {
            let more = after.len() - before.len();
            self.file(
                path,
                format!(
                    "{path}: {} → {} items, {more} added",
                    before.len(),
                    after.len()
                ),
            );
        } else {
            self.changes.push(listed(path, before, after));
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

/// The items by their `name`; `None` unless all have one.
fn by_name(items: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let named = |item| Some((Value::get(item, "name")?.as_str()?, item));
    items.iter().map(named).collect()
}

fn worded(path: &str, old: &Value, new: &Value) -> String {
    if let (Value::Array(before), Value::Array(after)) = (old, new) {
        return listed(path, before, after);
    }
    format!("{path}: {} → {}", shown(old), shown(new))
}

fn listed(path: &str, before: &[Value], after: &[Value]) -> String {
    let (old, new) = (canonical::json(before), canonical::json(after));
    if old.len() + new.len() <= 160 {
        return format!("{path}: {old} → {new}");
    }
    let lost = before.iter().filter(|item| !after.contains(item)).count();
    let added = after.iter().filter(|item| !before.contains(item)).count();
    format!(
        "{path}: {} → {} items, {lost} of the earlier ones gone, {added} new",
        before.len(),
        after.len()
    )
}

fn shown(value: &Value) -> String {
    const MOST: usize = 80;
    let text = match value {
        Value::Null => "absent".to_owned(),
        other => canonical::json(other),
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
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
        assert_eq!(after(|s| s.thresholds.flip_share = 0.25), {
            let Continuation::Extends(words) = after(|s| s.thresholds.flip_share = 0.25) else {
                panic!("thresholds extend")
            };
            assert!(words[0].starts_with("thresholds: "), "{words:?}");
            Continuation::Extends(words)
        });
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
