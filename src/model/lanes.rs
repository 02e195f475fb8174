//! How many rollouts are in flight at once, and what memory their keys and values take: decided before the first of them starts.

use super::decoder::Sizes;
use super::kv_cache::KvCache;

/// Rows of a forward pass that are computed together: enough to use the processor well, few enough to stay in its caches.
pub const BATCH_ROWS: usize = 256;

/// Memory for the slots of one lane, unless a single slot needs more.
const LANE_BYTES: usize = 256 << 20;

/// Fewest slots of a lane: with fewer, each weight would be read from memory for too few rows.
const FEWEST_SLOTS: usize = 8;

/// Rollouts in flight: a lane is a thread with its slots, a slot holds one rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// Number of lanes.
    pub count: usize,
    /// Slots of each lane.
    pub slots: usize,
    /// Positions that a slot can hold behind the shared prefix of its prompt.
    pub capacity: usize,
}

impl Lanes {
    /// For `cells` rollouts on at most `threads` threads.
    pub fn new(sizes: &Sizes, threads: usize, cells: usize, capacity: usize) -> Self {
        let count = threads.min(cells.div_ceil(4)).max(1);
        let slot = bytes_per_slot(sizes, capacity);
        let slots = (LANE_BYTES / slot.max(1))
            .clamp(FEWEST_SLOTS, BATCH_ROWS)
            .min(cells.div_ceil(count))
            .max(1);
        Self {
            count,
            slots,
            capacity,
        }
    }

    /// Bytes of the keys and values of all slots.
    pub fn cache_bytes(&self, sizes: &Sizes) -> usize {
        let slot = bytes_per_slot(sizes, self.capacity);
        self.count * self.slots * slot
    }
}

/// Bytes of a slot's keys and values: with steering, and without it when no other rollout has the same tokens.
fn bytes_per_slot(sizes: &Sizes, capacity: usize) -> usize {
    2 * KvCache::bytes(sizes.heads, sizes.layers, capacity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::Heads;

    #[test]
    fn long_rollouts_get_fewer_slots() {
        let sizes = Sizes {
            layers: 32,
            d_model: 4096,
            d_ff: 14336,
            vocab: 128_256,
            context: 131_072,
            heads: Heads {
                query: 32,
                kv: 8,
                dim: 128,
            },
        };
        let lanes = |cells, capacity| Lanes::new(&sizes, 2, cells, capacity);
        // 2 · 32 · 1024 · 4 bytes per position.
        assert_eq!(lanes(10_000, 32).slots, 32);
        assert_eq!(lanes(10_000, 32).cache_bytes(&sizes), 512 << 20);
        assert_eq!(lanes(10_000, 4096).slots, FEWEST_SLOTS);
        assert_eq!((lanes(1, 32).count, lanes(1, 32).slots), (1, 1));
        assert_eq!((lanes(10, 32).count, lanes(10, 32).slots), (2, 5));
    }
}
