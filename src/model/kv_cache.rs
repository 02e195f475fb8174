//! Keys and values of the sequences in flight.

use std::sync::Arc;

use super::kernels::Span;
use super::parts::Row;

/// Keys and values of every layer, each `[positions × width]`.
#[derive(Default)]
pub struct Prefix {
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    len: usize,
}

impl Prefix {
    /// Number of positions.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no position.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A slot for each sequence: a shared prefix that is never written again, and positions of its own behind it.
pub struct KvCache {
    /// Key–value heads × head width.
    width: usize,
    /// Positions of its own that a slot can hold.
    capacity: usize,
    /// Keys and values by layer, each `[slots × capacity × width]`.
    layers: Vec<(Vec<f32>, Vec<f32>)>,
    prefixes: Vec<Arc<Prefix>>,
}

impl KvCache {
    /// An empty cache for `slots` sequences of at most `capacity` positions each behind their prefixes.
    pub fn new(layers: usize, width: usize, slots: usize, capacity: usize) -> Self {
        let size = slots * capacity * width;
        let empty = Arc::new(Prefix {
            layers: vec![Default::default(); layers],
            len: 0,
        });
        Self {
            width,
            capacity,
            layers: (0..layers)
                .map(|_| (vec![0.0; size], vec![0.0; size]))
                .collect(),
            prefixes: vec![empty; slots],
        }
    }

    /// Bytes that one slot takes.
    pub fn bytes_per_slot(layers: usize, width: usize, capacity: usize) -> usize {
        2 * layers * width * capacity * size_of::<f32>()
    }

    /// Starts a new sequence in a slot, behind a prefix.
    pub fn begin(&mut self, slot: usize, prefix: Arc<Prefix>) {
        self.prefixes[slot] = prefix;
    }

    /// Writes the rows' keys and values, `[rows × width]` each.
    pub fn store(&mut self, layer: usize, rows: &[Row], keys: &[f32], values: &[f32]) {
        let width = self.width;
        for (i, row) in rows.iter().enumerate() {
            let at = self.place(row) * width;
            let (all_keys, all_values) = &mut self.layers[layer];
            all_keys[at..at + width].copy_from_slice(&keys[i * width..][..width]);
            all_values[at..at + width].copy_from_slice(&values[i * width..][..width]);
        }
    }

    /// Keys and values of a row's sequence, up to and including the row: the prefix, then the slot's own. With a window, only those of
    /// the last `window` positions.
    pub fn spans(&self, layer: usize, row: &Row, window: Option<usize>) -> [Span<'_>; 2] {
        let prefix = &self.prefixes[row.slot];
        let first = window.map_or(0, |window| (row.position + 1).saturating_sub(window));
        let (keys, values) = &prefix.layers[layer];
        let before = first.min(prefix.len) * self.width..prefix.len * self.width;
        let (all_keys, all_values) = &self.layers[layer];
        let start = row.slot * self.capacity + first.saturating_sub(prefix.len);
        let own = start * self.width..(self.place(row) + 1) * self.width;
        [
            Span {
                keys: &keys[before.clone()],
                values: &values[before],
            },
            Span {
                keys: &all_keys[own.clone()],
                values: &all_values[own],
            },
        ]
    }

    /// Copies a slot's first `len` positions out as a prefix. The slot must have begun without one.
    pub fn to_prefix(&self, slot: usize, len: usize) -> Prefix {
        debug_assert!(self.prefixes[slot].is_empty());
        let range = slot * self.capacity * self.width..(slot * self.capacity + len) * self.width;
        let layers = (self.layers.iter())
            .map(|(keys, values)| (keys[range.clone()].to_vec(), values[range.clone()].to_vec()))
            .collect();
        Prefix { layers, len }
    }

    /// A row's place among all slots' own positions.
    fn place(&self, row: &Row) -> usize {
        let own = row.position - self.prefixes[row.slot].len;
        assert!(
            own < self.capacity,
            "position {} exceeds its slot",
            row.position
        );
        row.slot * self.capacity + own
    }
}
