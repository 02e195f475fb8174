//! Random draws of neurons: seeded, evenly over layers, without those that are taken.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::stats::SplitMix64;
use crate::units::NeuronId;

/// A layer has fewer free neurons than its share of the draw.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany {
    pub layer: usize,
    pub wanted: usize,
    pub free: usize,
}

/// Draws `count` neurons, as many from each layer as evenness allows, sorted. `stream` tells apart draws with the same seed.
pub fn draw(
    count: usize,
    layers: Range<usize>,
    d_ff: usize,
    taken: &BTreeSet<NeuronId>,
    seed: u64,
    stream: usize,
) -> Result<Vec<NeuronId>, TooMany> {
    let mut random = seeded(seed, stream);
    let mut drawn = Vec::new();
    for (position, layer) in layers.clone().enumerate() {
        let wanted = share(count, position, layers.len());
        let mut free: Vec<usize> = (0..d_ff)
            .filter(|&index| !taken.contains(&NeuronId { layer, index }))
            .collect();
        if wanted > free.len() {
            let free = free.len();
            return Err(TooMany {
                layer,
                wanted,
                free,
            });
        }
        // Fisher–Yates, as far as it is needed.
        for place in 0..wanted {
            let chosen = place + random.below(free.len() - place);
            free.swap(place, chosen);
            let index = free[place];
            drawn.push(NeuronId { layer, index });
        }
    }
    drawn.sort();
    Ok(drawn)
}

/// How many of `count` fall to the part in this position of `parts`: the shares differ by at most one and add up to `count`.
fn share(count: usize, position: usize, parts: usize) -> usize {
    let up_to = |position: usize| (count as u128 * position as u128 / parts as u128) as usize;
    up_to(position + 1) - up_to(position)
}

/// The random numbers of one draw.
fn seeded(seed: u64, stream: usize) -> SplitMix64 {
    let mut streams = SplitMix64(seed);
    for _ in 0..stream {
        streams.next_u64();
    }
    SplitMix64(streams.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_even_seeded_and_leave_out_what_is_taken() {
        let taken: BTreeSet<NeuronId> = (0..20).map(|index| NeuronId { layer: 1, index }).collect();
        let drawn = draw(10, 0..4, 32, &taken, 7, 0).unwrap();
        let per_layer: Vec<usize> = (0..4)
            .map(|layer| drawn.iter().filter(|n| n.layer == layer).count())
            .collect();
        assert_eq!(per_layer, [2, 3, 2, 3]);
        assert!(drawn.is_sorted() && drawn.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(drawn.iter().all(|neuron| !taken.contains(neuron)));
        assert_eq!(Ok(&drawn), draw(10, 0..4, 32, &taken, 7, 0).as_ref());
        assert_ne!(Ok(&drawn), draw(10, 0..4, 32, &taken, 8, 0).as_ref());
        assert_ne!(Ok(&drawn), draw(10, 0..4, 32, &taken, 7, 1).as_ref());
    }

    /// The stream is part of what a spec's seed means: a change of this list changes published studies.
    #[test]
    fn the_draw_never_changes() {
        let drawn = draw(4, 2..4, 1000, &BTreeSet::new(), 0, 0).unwrap();
        let shown: Vec<String> = drawn.iter().map(NeuronId::to_string).collect();
        assert_eq!(shown.join(" "), "L2.652 L2.701 L3.387 L3.656");
    }

    #[test]
    fn too_many_are_refused_with_the_layer() {
        let too_many = draw(usize::MAX, 0..2, 8, &BTreeSet::new(), 0, 0).unwrap_err();
        assert_eq!((too_many.layer, too_many.free), (0, 8));
        assert_eq!(draw(16, 0..2, 8, &BTreeSet::new(), 0, 0).unwrap().len(), 16);
    }
}
