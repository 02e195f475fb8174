//! Groups that need no list: every neuron that is left, and random directions.

use std::collections::{BTreeMap, BTreeSet};

use super::context::Context;
use super::neurons::layers;
use crate::report::format::thousands;
use crate::spec::neurons::Role;
use crate::spec::path::SpecPath;
use crate::units::NeuronId;

/// The neurons of a group with `rest`, by the group's place; they are taken afterwards.
pub fn rest(
    context: &mut Context<'_>,
    section: &SpecPath,
    taken: &mut BTreeSet<NeuronId>,
) -> BTreeMap<usize, Vec<NeuronId>> {
    let written = context.written;
    let groups = written.spec.neurons.iter().enumerate();
    let mut found: BTreeMap<usize, Vec<NeuronId>> = BTreeMap::new();
    for (index, group) in groups {
        let Some(spec) = &group.rest else { continue };
        let path = section.item(index).key("rest");
        if let Some((&first, _)) = found.first_key_value() {
            let place = written.located.place(&section.item(first).key("rest"));
            let problem = context
                .problem(&path, "two groups take every neuron that is left")
                .also(place, "the other one")
                .help("leave one of them out");
            context.report(problem);
            continue;
        }
        if written.spec.neurons.iter().any(|g| g.screen.is_some()) {
            context.reject(
                &path,
                "a group with `rest` leaves a screen nothing to choose from",
                "remove the screen: a census records every score of every neuron anyway",
            );
            continue;
        }
        let Some(layers) = layers(context, &path.key("layers"), spec.layers.as_ref()) else {
            continue;
        };
        let d_ff = context.target.shape().d_ff;
        let neurons: Vec<NeuronId> = layers
            .flat_map(|layer| (0..d_ff).map(move |index| NeuronId { layer, index }))
            .filter(|neuron| !taken.contains(neuron))
            .collect();
        if neurons.is_empty() {
            context.reject(
                &path,
                "no neuron is left for this group",
                "name fewer elsewhere, or remove the group",
            );
            continue;
        }
        taken.extend(&neurons);
        found.insert(index, neurons);
    }
    found
}

/// Most random directions of a study.
const MOST_DIRECTIONS: usize = 100_000;

/// The random directions of groups with `random_directions`, by the group's place: evenly over layers, numbered through the spec.
pub fn directions(context: &mut Context<'_>, section: &SpecPath) -> BTreeMap<usize, Vec<NeuronId>> {
    let written = context.written;
    let mut found = BTreeMap::new();
    let mut next: BTreeMap<usize, usize> = BTreeMap::new();
    let mut count = 0_usize;
    for (index, group) in written.spec.neurons.iter().enumerate() {
        let Some(spec) = &group.random_directions else {
            continue;
        };
        let path = section.item(index).key("random_directions");
        if group.role != Role::Control {
            context.reject(
                &section.item(index).key("role"),
                "random directions are no neurons: they can only be a control",
                "write `role: control`",
            );
        }
        let Some(layers) = layers(context, &path.key("layers"), spec.layers.as_ref()) else {
            continue;
        };
        count = count.saturating_add(spec.count);
        if count > MOST_DIRECTIONS {
            let message = format!(
                "the groups have more than {} random directions",
                thousands(MOST_DIRECTIONS)
            );
            context.reject(&path.key("count"), message, "draw fewer");
            break;
        }
        let of_layer: Vec<usize> = layers.collect();
        let mut directions: Vec<NeuronId> = (0..spec.count)
            .map(|place| {
                let layer = of_layer[place * of_layer.len() / spec.count.max(1)];
                let number = next.entry(layer).or_default();
                *number += 1;
                NeuronId::random_direction(layer, *number - 1)
            })
            .collect();
        directions.sort();
        found.insert(index, directions);
    }
    found
}
