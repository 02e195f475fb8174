//! How many rollouts are in flight at once, and what memory that takes: decided before the first of them starts.

use sysinfo::{MemoryRefreshKind, RefreshKind, System};

use super::ModelError;
use super::decoder::Sizes;
use super::kv_cache::KvCache;
use super::lane::{LOGIT_ROWS, MAX_ROWS};

/// Rows of a forward pass that are computed together where weights are read from memory for each pass: enough to hide that.
pub const BATCH_ROWS: usize = 256;

/// The same where the weights stay in the processor's cache: few, so that keys and values stay there too.
const CACHED_ROWS: usize = 64;

/// Weights that stay in the cache.
const CACHED_WEIGHTS: usize = 16 << 20;

/// Fewest slots for which a further lane pays.
const FEWEST_SLOTS: usize = 8;

/// The program itself, with a tokenizer, the study and its open record.
pub const PROGRAM: usize = 96 << 20;

/// What is used of a machine that does not say how much is free.
const UNKNOWN_MEMORY: usize = 4 << 30;

/// What a run may use of a machine. None of it changes a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Threads that make rollouts.
    pub threads: usize,
    /// Memory in bytes, for everything.
    pub memory: usize,
}

impl Resources {
    /// All processors that this process may use, and half of the memory that is free, within the limits of the process's group.
    pub fn of_machine() -> Self {
        let kind = RefreshKind::nothing().with_memory(MemoryRefreshKind::nothing().with_ram());
        let system = System::new_with_specifics(kind).ok();
        let free = system.map(|system| match system.cgroup_limits() {
            Some(limits) => limits.free_memory.min(system.available_memory()),
            None => system.available_memory(),
        });
        let half = free.filter(|free| *free > 0).map(|free| free / 2);
        Self {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            memory: half.map_or(UNKNOWN_MEMORY, |half| half as usize),
        }
    }
}

/// A model and the rollouts of one call to it, as far as they decide what is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Weights of the model.
    pub parameters: usize,
    /// How many.
    pub cells: usize,
    /// Positions that each needs behind the prefix that it shares, at most.
    pub capacity: usize,
    /// Positions of the longest prefix.
    pub prefix: usize,
    /// Prompt tokens that a rollout reads by itself, at most: 1 unless whole prompts are steered.
    pub prompt: usize,
}

impl Load {
    /// Bytes of the weights.
    fn weights(&self) -> usize {
        self.parameters * size_of::<f32>()
    }
}

/// Rollouts in flight: a lane is a thread with its slots, a slot holds one rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// Number of lanes.
    pub count: usize,
    /// Slots of each lane.
    pub slots: usize,
}

impl Lanes {
    /// As many as pay, and as the memory allows.
    ///
    /// # Errors
    /// When not even one rollout at a time fits.
    pub fn new(sizes: &Sizes, load: Load, resources: Resources) -> Result<Self, ModelError> {
        let most = match load.weights() <= CACHED_WEIGHTS {
            true => CACHED_ROWS,
            false => BATCH_ROWS,
        };
        let wanted = resources.threads.min(load.cells.div_ceil(4)).max(1);
        let slots = |count: usize| most.min(load.cells.div_ceil(count)).max(1);
        let fits = |lanes: &Lanes| Memory::of(sizes, load, *lanes).peak() <= resources.memory;
        let largest = |count: usize| {
            let few = FEWEST_SLOTS.min(slots(count));
            let lanes = move |slots| Lanes { count, slots };
            (few..=slots(count)).rev().map(lanes).find(fits)
        };
        let single = Lanes { count: 1, slots: 1 };
        let fewer = || (1..=slots(1)).rev().map(|slots| Lanes { count: 1, slots });
        (1..=wanted)
            .rev()
            .find_map(largest)
            .or_else(|| fewer().find(fits))
            .ok_or_else(|| ModelError::Memory {
                what: "the model and one rollout at a time",
                needed: Memory::of(sizes, load, single).peak(),
                allowed: resources.memory,
            })
    }
}

/// What a run holds in memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Memory {
    /// The program, its tokenizer and the open record.
    pub program: usize,
    /// The weights.
    pub weights: usize,
    /// What is computed on the way.
    pub buffers: usize,
    /// Keys and values of the rollouts in flight, and of their prompts.
    pub cache: usize,
}

impl Memory {
    /// What rollouts on these lanes take, at most.
    pub fn of(sizes: &Sizes, load: Load, lanes: Lanes) -> Self {
        let Sizes { heads, layers, .. } = *sizes;
        // Each with steering, and without it where no other rollout has the same tokens; and a prompt of its own.
        let slot = 2 * KvCache::bytes(heads, layers, load.capacity)
            + KvCache::bytes(heads, layers, load.prefix);
        // Steered and unsteered rows; of whole prompts where they are steered.
        let prompts = match load.prompt {
            0 | 1 => 0,
            several => MAX_ROWS.max(several),
        };
        let rows = 2 * (lanes.slots + prompts);
        let query = heads.query * heads.dim;
        // With what one steered rollout writes.
        let row = 7 * sizes.d_model + 3 * query + 3 * heads.kv_width() + 2 * sizes.d_ff;
        let numbers = rows * row + LOGIT_ROWS * (sizes.vocab + sizes.d_model);
        Self {
            program: PROGRAM,
            weights: load.weights(),
            // Before the rollouts, the largest tensor is there twice while it is laid out.
            buffers: (lanes.count * numbers).max(sizes.vocab * sizes.d_model) * size_of::<f32>(),
            cache: lanes.count * lanes.slots * slot,
        }
    }

    /// Everything.
    pub fn peak(&self) -> usize {
        self.program + self.weights + self.buffers + self.cache
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::Heads;

    const LARGE: Sizes = Sizes {
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

    fn lanes(cells: usize, capacity: usize, memory: usize) -> Result<Lanes, ModelError> {
        let load = Load {
            parameters: 8_030_261_248,
            cells,
            capacity,
            prefix: 16,
            prompt: 1,
        };
        let resources = Resources {
            threads: 2,
            memory: memory << 30,
        };
        Lanes::new(&LARGE, load, resources)
    }

    #[test]
    fn less_memory_means_fewer_rollouts_at_a_time() {
        let all = lanes(10_000, 32, 64).unwrap();
        assert_eq!((all.count, all.slots), (2, BATCH_ROWS));
        let some = lanes(10_000, 32, 34).unwrap();
        assert_eq!(some.count, 2);
        assert!((FEWEST_SLOTS..BATCH_ROWS).contains(&some.slots), "{some:?}");
        let one = lanes(10_000, 1024, 33).unwrap();
        assert_eq!(one.count, 1, "{one:?}");
        let error = lanes(10_000, 32, 29).unwrap_err().to_string();
        assert!(
            error.contains("32.0 GiB") && error.contains("--memory"),
            "{error}"
        );
    }

    #[test]
    fn few_cells_need_few_slots() {
        assert_eq!(lanes(1, 32, 64).unwrap(), Lanes { count: 1, slots: 1 });
        assert_eq!(lanes(10, 32, 64).unwrap(), Lanes { count: 2, slots: 5 });
    }

    #[test]
    fn the_machine_has_memory() {
        let machine = Resources::of_machine();
        assert!(
            machine.threads > 0 && machine.memory > 1 << 20,
            "{machine:?}"
        );
    }
}
