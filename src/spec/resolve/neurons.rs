//! `neurons`: groups with their neurons, within range of the model.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::behaviors::measured_on;
use super::context::Context;
use super::{disjoint, random, remaining, screens};
use crate::spec::neurons::{NeuronGroupSpec, NeuronsAt, RandomSpec, Role};
use crate::spec::path::SpecPath;
use crate::spec::range::IndexRange;
use crate::study::{NeuronGroup, Selection};
use crate::units::NeuronId;

/// Most neurons that a spec may write out, in all groups.
const WRITTEN_NEURONS: usize = 2_000_000;

/// Neurons that a group names, each with where it is named.
pub type Named = BTreeMap<NeuronId, SpecPath>;

/// The groups without problems, in the order of the spec.
pub fn groups(context: &mut Context<'_>) -> Vec<NeuronGroup> {
    let section = SpecPath::root().key("neurons");
    let specs = &context.written.spec.neurons;
    let mut count = 0;
    let named: Vec<Named> = (specs.iter().enumerate())
        .map(|(index, spec)| {
            named_neurons(context, &section.item(index).key("at"), spec, &mut count)
        })
        .collect();
    let names = group_names(context, &section);
    disjoint::roles(context, &section, &named);
    something_is_measured(context, &section);

    let mut taken: BTreeSet<NeuronId> = named
        .iter()
        .flat_map(|group| group.keys().copied())
        .collect();
    let mut drawn = draws(context, &section, &mut taken);
    drawn.extend(remaining::rest(context, &section, &mut taken));
    drawn.extend(remaining::directions(context, &section));
    let mut groups = Vec::new();
    for (index, (spec, name)) in specs.iter().zip(names).enumerate() {
        let path = section.item(index);
        let behaviors = behaviors(context, &path, spec);
        let selection = match (&spec.screen, drawn.get(&index)) {
            (Some(screen), _) => screens::screen(context, &path.key("screen"), screen, &taken),
            (None, Some(drawn)) => Some(Selection::Fixed(drawn.clone())),
            (None, None) => Some(Selection::Fixed(named[index].keys().copied().collect())),
        };
        if let Some(selection) = selection {
            groups.push(NeuronGroup {
                name,
                role: spec.role,
                selection,
                behaviors,
            });
        }
    }
    groups
}

/// The neurons written under `at`, within range. `count` is how many were written before.
fn named_neurons(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &NeuronGroupSpec,
    count: &mut usize,
) -> Named {
    let given = [
        ("at", spec.at.is_some()),
        ("random", spec.random.is_some()),
        ("rest", spec.rest.is_some()),
        ("screen", spec.screen.is_some()),
        ("random_directions", spec.random_directions.is_some()),
    ];
    let group = path.parent().unwrap_or_default();
    let mut named = Named::new();
    if context.exactly_one(&group, &given) != Some("at") {
        return named;
    }
    for (index, at) in spec.at.iter().flatten().enumerate() {
        let path = path.item(index);
        if !in_range(context, &path, at) {
            continue;
        }
        *count = count.saturating_add(at.layer.0.len().saturating_mul(at.index.0.len()));
        if *count > WRITTEN_NEURONS {
            let message = format!("the groups name more than {WRITTEN_NEURONS} neurons");
            context.reject(&path, message, "use `random` or `screen`");
            break;
        }
        for layer in at.layer.0.clone() {
            for index in at.index.0.clone() {
                named
                    .entry(NeuronId { layer, index })
                    .or_insert_with(|| path.clone());
            }
        }
    }
    named
}

fn in_range(context: &mut Context<'_>, path: &SpecPath, at: &NeuronsAt) -> bool {
    let shape = context.target.shape();
    let (layers, neurons) = (shape.layers, shape.d_ff);
    let layer = within(context, &path.key("layer"), &at.layer, layers, "layers");
    let index = within(
        context,
        &path.key("index"),
        &at.index,
        neurons,
        "neurons in each layer",
    );
    layer && index
}

/// Whether a range lies below `count`; reports it otherwise.
pub fn within(
    context: &mut Context<'_>,
    path: &SpecPath,
    range: &IndexRange,
    count: usize,
    what: &str,
) -> bool {
    if range.0.end <= count {
        return true;
    }
    let message = format!("{range} is out of range: the model has {count} {what}");
    let help = format!("they are counted from 0 to {}", count.saturating_sub(1));
    context.reject(path, message, help);
    false
}

/// Layers that are asked for, all when none are; `None` and a report when they are out of range.
pub fn layers(
    context: &mut Context<'_>,
    path: &SpecPath,
    asked: Option<&IndexRange>,
) -> Option<Range<usize>> {
    let count = context.target.shape().layers;
    match asked {
        None => Some(0..count),
        Some(range) => within(context, path, range, count, "layers").then(|| range.0.clone()),
    }
}

/// Draws the random groups in the order of the spec, and adds them to what is taken.
fn draws(
    context: &mut Context<'_>,
    section: &SpecPath,
    taken: &mut BTreeSet<NeuronId>,
) -> BTreeMap<usize, Vec<NeuronId>> {
    let written = context.written;
    let random = (written.spec.neurons.iter().enumerate())
        .filter_map(|(index, group)| Some((index, group.random.as_ref()?)));
    let mut drawn = BTreeMap::new();
    for (stream, (index, spec)) in random.enumerate() {
        let path = section.item(index).key("random");
        if let Some(neurons) = draw(context, &path, spec, stream, taken) {
            taken.extend(&neurons);
            drawn.insert(index, neurons);
        }
    }
    drawn
}

fn draw(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &RandomSpec,
    stream: usize,
    taken: &BTreeSet<NeuronId>,
) -> Option<Vec<NeuronId>> {
    let layers = layers(context, &path.key("layers"), spec.layers.as_ref())?;
    let d_ff = context.target.shape().d_ff;
    let seed = spec.seed.unwrap_or(context.written.spec.seed);
    match random::draw(spec.count, layers, d_ff, taken, seed, stream) {
        Ok(neurons) => Some(neurons),
        Err(random::TooMany {
            layer,
            wanted,
            free,
        }) => {
            let message = format!(
                "{} random neurons take {wanted} of layer {layer}, where only {free} of {d_ff} are not named elsewhere",
                spec.count
            );
            context.reject(
                &path.key("count"),
                message,
                "draw fewer, or from more layers",
            );
            None
        }
    }
}

fn behaviors(context: &mut Context<'_>, path: &SpecPath, spec: &NeuronGroupSpec) -> Vec<String> {
    let path = path.key("behaviors");
    if spec.role == Role::Calibration {
        if spec.behaviors.is_some() {
            context.reject(
                &path,
                "calibration neurons are steered on the calibration prompts, not on behaviors",
                "remove `behaviors`",
            );
        }
        return Vec::new();
    }
    measured_on(context, &path, spec.behaviors.as_deref())
}

/// The names of the groups: as written, or the role, numbered where that is taken.
fn group_names(context: &mut Context<'_>, section: &SpecPath) -> Vec<String> {
    let written = context.written;
    let mut seen: BTreeMap<String, SpecPath> = BTreeMap::new();
    for (index, group) in written.spec.neurons.iter().enumerate() {
        let Some(name) = &group.name else { continue };
        let path = section.item(index).key("name");
        context.is_named(&path, name, "group");
        if let Some(first) = seen.insert(name.clone(), path.clone()) {
            let place = written.located.place(&first);
            let problem = context
                .problem(&path, format!("two groups are named `{name}`"))
                .also(place, "the other one")
                .help("rename one of the two");
            context.report(problem);
        }
    }
    let taken: BTreeSet<String> = seen.into_keys().collect();
    let mut next: BTreeMap<&str, usize> = BTreeMap::new();
    let mut fresh = |role: &'static str| {
        let number = next.entry(role).or_default();
        loop {
            *number += 1;
            let name = match *number {
                1 => role.to_owned(),
                n => format!("{role} {n}"),
            };
            if !taken.contains(&name) {
                return name;
            }
        }
    };
    (written.spec.neurons.iter())
        .map(|group| {
            group
                .name
                .clone()
                .unwrap_or_else(|| fresh(role_name(group.role)))
        })
        .collect()
}

/// A role as it is written.
pub fn role_name(role: Role) -> &'static str {
    match role {
        Role::Calibration => "calibration",
        Role::HeldOut => "held_out",
        Role::Control => "control",
    }
}

fn something_is_measured(context: &mut Context<'_>, section: &SpecPath) {
    let groups = &context.written.spec.neurons;
    if groups.iter().all(|group| group.role == Role::Calibration) {
        context.reject(
            section,
            "every group is for calibration, so that no behavior would be measured",
            "add a group with `role: held_out`",
        );
    }
}
