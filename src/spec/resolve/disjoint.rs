//! What must not overlap: roles in neurons, and calibration and behaviours in prompts.

use std::collections::{BTreeMap, BTreeSet};

use super::context::Context;
use super::neurons::{Named, role_name};
use crate::spec::neurons::{NeuronGroupSpec, Role};
use crate::spec::path::SpecPath;
use crate::study::Prompt;
use crate::units::{NeuronId, TokenId};

/// No neuron has two roles, or is measured twice on one behaviour. `named` holds the neurons of each group.
pub fn roles(context: &mut Context<'_>, section: &SpecPath, named: &[Named]) {
    let mut owners: BTreeMap<NeuronId, usize> = BTreeMap::new();
    let mut shared: BTreeMap<(usize, usize), Vec<NeuronId>> = BTreeMap::new();
    for (group, neurons) in named.iter().enumerate() {
        for &neuron in neurons.keys() {
            match owners.get(&neuron) {
                Some(&first) => shared.entry((first, group)).or_default().push(neuron),
                None => drop(owners.insert(neuron, group)),
            }
        }
    }
    let groups = &context.written.spec.neurons;
    for ((first, second), neurons) in shared {
        let neuron = neurons[0];
        let more = match neurons.len() {
            1 => String::new(),
            n => format!(" and {} more", n - 1),
        };
        let (a, b) = (&groups[first], &groups[second]);
        let message = if a.role != b.role {
            format!(
                "neuron {neuron}{more} would be both `{}` and `{}`",
                role_name(a.role),
                role_name(b.role)
            )
        } else if measure_the_same(a, b) {
            format!(
                "neuron {neuron}{more} would be measured twice as `{}`",
                role_name(a.role)
            )
        } else {
            continue;
        };
        let place_of = |group: usize| (named[group].get(&neuron)).unwrap_or(section).clone();
        let problem = context
            .problem(&place_of(second), message)
            .also(
                context.written.located.place(&place_of(first)),
                "named here first",
            )
            .help("remove it from one of the groups");
        context.report(problem);
    }
}

fn measure_the_same(a: &NeuronGroupSpec, b: &NeuronGroupSpec) -> bool {
    match (&a.behaviors, &b.behaviors) {
        (Some(a_names), Some(b_names)) if a.role != Role::Calibration => {
            a_names.iter().any(|name| b_names.contains(name))
        }
        _ => true,
    }
}

/// Budgets, and the ceilings of calibration neurons, are measured on calibration prompts; behaviours on others.
pub fn calibration_prompts(context: &mut Context<'_>, sets: &BTreeMap<String, Vec<Prompt>>) {
    let calibration = &context.written.spec.calibration;
    not_measured(context, sets, &calibration.prompts);
    if let Some(name) = calibration
        .steer_on
        .as_ref()
        .filter(|name| **name != calibration.prompts)
    {
        not_measured(context, sets, name);
    }
    if let Some(name) = &calibration.contrast {
        not_measured(context, sets, name);
    }
}

/// No prompt of a calibration set stands in a behaviour's set too.
fn not_measured(
    context: &mut Context<'_>,
    sets: &BTreeMap<String, Vec<Prompt>>,
    generic_name: &str,
) {
    let written = context.written;
    let Some(generic) = sets.get(generic_name) else {
        return;
    };
    let by_tokens: BTreeMap<&[TokenId], &Prompt> = generic
        .iter()
        .map(|prompt| (prompt.tokens.as_slice(), prompt))
        .collect();
    let mut compared: BTreeSet<&str> = BTreeSet::new();
    for (name, behavior) in &written.spec.behaviors {
        let path = SpecPath::root().key("behaviors").key(name).key("prompts");
        if behavior.prompts == generic_name {
            let message = format!(
                "the behavior `{name}` uses the prompt set `{generic_name}`, on which the model is calibrated"
            );
            context.reject(
                &path,
                message,
                "calibration and measurement need different prompts: give one of them another set",
            );
            continue;
        }
        if !compared.insert(&behavior.prompts) {
            continue;
        }
        let prompts = sets
            .get(&behavior.prompts)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let shared: Vec<(&Prompt, &&Prompt)> = (prompts.iter())
            .filter_map(|prompt| Some((prompt, by_tokens.get(prompt.tokens.as_slice())?)))
            .collect();
        if let Some((prompt, other)) = shared.first() {
            let message = format!(
                "`{}` and the calibration set `{generic_name}` share {} of their prompts: `{}` here is `{}` there",
                behavior.prompts,
                shared.len(),
                prompt.id,
                other.id
            );
            let remedy = "calibration and measurement need different prompts: remove them from one of the sets";
            let help = if prompt.text == other.text {
                remedy.to_owned()
            } else {
                format!(
                    "their texts differ, but this model's tokenizer encodes them alike; {remedy}"
                )
            };
            context.reject(&path, message, help);
        }
    }
}
