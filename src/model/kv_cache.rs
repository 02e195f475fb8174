//! Keys and values of the sequences in flight.

use std::sync::Arc;

use super::decoder::{Decoder, Sizes};
use super::kernels::{Heads, SLACK, Span};

/// Keys and values of consecutive positions of one sequence, in the layers from one on.
#[derive(Clone)]
pub struct KvCache {
    heads: Heads,
    first_layer: usize,
    /// Position in its sequence of the first position here.
    start: usize,
    /// Positions that there is room for.
    capacity: usize,
    /// By layer: keys `[kv_heads × head_dim × capacity]`, then values `[capacity × kv_heads × head_dim]`. At the end, [`SLACK`].
    numbers: Vec<f32>,
}

impl KvCache {
    /// An empty cache for `capacity` positions from `start` on, in the layers of `first_layer..layers`.
    pub fn new(
        heads: Heads,
        first_layer: usize,
        layers: usize,
        start: usize,
        capacity: usize,
    ) -> Self {
        let numbers = (layers - first_layer) * 2 * heads.kv_width() * capacity;
        Self {
            heads,
            first_layer,
            start,
            capacity,
            numbers: vec![0.0; numbers + SLACK],
        }
    }

    /// Bytes that a cache takes.
    pub fn bytes(heads: Heads, layers: usize, capacity: usize) -> usize {
        (layers * 2 * heads.kv_width() * capacity + SLACK) * size_of::<f32>()
    }

    /// Writes a position's keys and values, `[kv_heads × head_dim]` each.
    fn store(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        let (width, capacity) = (self.heads.kv_width(), self.capacity);
        let own = position - self.start;
        assert!(own < capacity, "position {position} exceeds its cache");
        let numbers = &mut self.numbers[(layer - self.first_layer) * 2 * width * capacity..];
        let places = numbers[own..].iter_mut().step_by(capacity);
        for (place, key) in places.zip(keys) {
            *place = *key;
        }
        numbers[(capacity + own) * width..][..width].copy_from_slice(values);
    }

    /// Keys and values of the positions `from..to`, counted in the sequence.
    fn span(&self, layer: usize, from: usize, to: usize) -> Span<'_> {
        let size = self.heads.kv_width() * self.capacity;
        let first = (layer - self.first_layer) * 2 * size;
        Span {
            keys: &self.numbers[first..],
            values: &self.numbers[first + size..],
            capacity: self.capacity,
            from: from - self.start,
            to: to - self.start,
        }
    }
}

/// A sequence in flight: a prefix that it shares with others and never changes, and positions of its own behind it.
pub struct Sequence {
    prefix: Arc<KvCache>,
    own: KvCache,
}

impl Sequence {
    /// A sequence with no position of its own yet. The prefix holds the positions before the first of `own`.
    pub fn new(prefix: Arc<KvCache>, own: KvCache) -> Self {
        Self { prefix, own }
    }

    /// The same sequence once more, to go on otherwise.
    pub fn fork(&self) -> Self {
        Self {
            prefix: self.prefix.clone(),
            own: self.own.clone(),
        }
    }

    /// A sequence by itself, in all layers, of at most `capacity` positions.
    pub fn whole(decoder: &Decoder, capacity: usize) -> Self {
        let Sizes { heads, layers, .. } = decoder.sizes;
        let none = KvCache::new(heads, 0, layers, 0, 0);
        Self::new(Arc::new(none), KvCache::new(heads, 0, layers, 0, capacity))
    }

    /// Its own positions.
    pub fn into_own(self) -> KvCache {
        self.own
    }

    /// Writes a position's keys and values, `[kv_heads × head_dim]` each.
    pub fn store(&mut self, layer: usize, position: usize, keys: &[f32], values: &[f32]) {
        self.own.store(layer, position, keys, values);
    }

    /// What a position sees: itself and those before it; with a window, only the last `window` of them.
    pub fn seen(&self, layer: usize, position: usize, window: Option<usize>) -> [Span<'_>; 2] {
        let to = position + 1;
        let from = window.map_or(0, |window| to.saturating_sub(window));
        let start = self.own.start;
        // Without a prefix there may be no such layer in it.
        let prefix = match start {
            0 => self.own.span(layer, 0, 0),
            _ => self.prefix.span(layer, from.min(start), start),
        };
        [prefix, self.own.span(layer, from.max(start), to)]
    }
}
