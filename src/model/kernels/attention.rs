//! Attention, and the rotation of its queries and keys.

use pulp::{Arch, Simd, WithSimd};

use super::nonlinear::{exp, tanh};
use super::{largest, sum};

/// Turns the pairs `(i, i + half)` of `x: [2·half]` by angles given as cosines, then sines, `[2·half]` (RoPE, Su et al. 2021, in the
/// half-split layout of Hugging Face).
pub fn rotate(x: &mut [f32], angles: &[f32]) {
    let half = x.len() / 2;
    let (first, second) = x.split_at_mut(half);
    let (cos, sin) = angles.split_at(half);
    for i in 0..half {
        let (a, b) = (first[i], second[i]);
        first[i] = a * cos[i] - b * sin[i];
        second[i] = b * cos[i] + a * sin[i];
    }
}

/// Numbers behind the last key and the last value that may be read, and do not count: whole vectors are read throughout.
pub const SLACK: usize = 64;

/// Keys and values of consecutive positions of one sequence in one layer.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// `[kv_heads × head_dim × capacity]`, so that one vector holds a channel of neighbouring positions; then [`SLACK`].
    pub keys: &'a [f32],
    /// `[capacity × kv_heads × head_dim]`, then [`SLACK`].
    pub values: &'a [f32],
    /// Positions that there is room for.
    pub capacity: usize,
    /// First position that is seen.
    pub from: usize,
    /// First position that is not seen.
    pub to: usize,
}

impl Span<'_> {
    fn len(&self) -> usize {
        self.to - self.from
    }
}

/// Head counts and width of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads; divides `query`.
    pub kv: usize,
    /// Width of a head.
    pub dim: usize,
}

impl Heads {
    /// Width of the keys, or values, of one position.
    pub fn kv_width(&self) -> usize {
        self.kv * self.dim
    }
}

/// How attention scores are made from the products of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// What products are multiplied by.
    pub scale: f32,
    /// Scores are `cap · tanh(score / cap)`.
    pub soft_cap: Option<f32>,
}

/// Attention of one query row `[query × dim]` over a sequence's positions, given as spans in order; `scratch` is reused space. Every sum
/// runs in the order of channels, or of positions, so that it does not matter how a sequence is divided into spans.
pub fn attend(
    query: &[f32],
    spans: &[Span<'_>],
    heads: Heads,
    scores: Scores,
    out: &mut [f32],
    scratch: &mut Vec<f32>,
) {
    Arch::new().dispatch(Attend {
        query,
        spans,
        heads,
        scores,
        out,
        scratch,
    });
}

struct Attend<'a> {
    query: &'a [f32],
    spans: &'a [Span<'a>],
    heads: Heads,
    scores: Scores,
    out: &'a mut [f32],
    scratch: &'a mut Vec<f32>,
}

impl WithSimd for Attend<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Heads { query, kv, dim } = self.heads;
        let seen: usize = self.spans.iter().map(Span::len).sum();
        self.scratch.resize(seen + SLACK, 0.0);
        for head in 0..query {
            let kv_head = head / (query / kv);
            let q = &self.query[head * dim..][..dim];
            let mut before = 0;
            for span in self.spans {
                products(simd, q, span, kv_head, &mut self.scratch[before..]);
                before += span.len();
            }
            let weights = &mut self.scratch[..seen];
            scaled(weights, self.scores);
            softmax(weights);
            let out = &mut self.out[head * dim..][..dim];
            mix(simd, weights, self.spans, self.heads, kv_head, out);
        }
    }
}

/// Products of a query with the keys of a span's positions, followed by up to [`SLACK`] numbers that mean nothing.
#[inline(always)]
fn products<S: Simd>(simd: S, query: &[f32], span: &Span<'_>, kv_head: usize, out: &mut [f32]) {
    let keys = &span.keys[kv_head * query.len() * span.capacity..];
    let mut position = span.from;
    while position < span.to {
        let out = &mut out[position - span.from..];
        position += match (span.to - position).div_ceil(S::F32_LANES) {
            1 => products_of::<S, 1>(simd, query, &keys[position..], span.capacity, out),
            2 => products_of::<S, 2>(simd, query, &keys[position..], span.capacity, out),
            _ => products_of::<S, 4>(simd, query, &keys[position..], span.capacity, out),
        };
    }
}

/// The same for `V` vectors of positions; returns how many positions these are.
#[inline(always)]
fn products_of<S: Simd, const V: usize>(
    simd: S,
    query: &[f32],
    keys: &[f32],
    stride: usize,
    out: &mut [f32],
) -> usize {
    let width = V * S::F32_LANES;
    let mut sums = [simd.splat_f32s(0.0); V];
    for (channel, q) in query.iter().enumerate() {
        let (keys, _) = S::as_simd_f32s(&keys[channel * stride..][..width]);
        let q = simd.splat_f32s(*q);
        for v in 0..V {
            sums[v] = simd.mul_add_f32s(q, keys[v], sums[v]);
        }
    }
    let (out, _) = S::as_mut_simd_f32s(&mut out[..width]);
    out.copy_from_slice(&sums);
    width
}

/// Scores from products, in place.
#[inline(always)]
fn scaled(products: &mut [f32], Scores { scale, soft_cap }: Scores) {
    match soft_cap {
        None => products.iter_mut().for_each(|x| *x *= scale),
        Some(cap) => (products.iter_mut()).for_each(|x| *x = cap * tanh(*x * scale / cap)),
    }
}

/// Values of all positions, weighted.
#[inline(always)]
fn mix<S: Simd>(
    simd: S,
    weights: &[f32],
    spans: &[Span<'_>],
    heads: Heads,
    kv_head: usize,
    out: &mut [f32],
) {
    let mut channel = 0;
    while channel < out.len() {
        let first = kv_head * heads.dim + channel;
        let out = &mut out[channel..];
        channel += match out.len().div_ceil(S::F32_LANES) {
            1 => mix_of::<S, 1>(simd, weights, spans, heads, first, out),
            2 => mix_of::<S, 2>(simd, weights, spans, heads, first, out),
            _ => mix_of::<S, 4>(simd, weights, spans, heads, first, out),
        };
    }
}

/// The same for `V` vectors of channels; returns how many channels these are.
#[inline(always)]
fn mix_of<S: Simd, const V: usize>(
    simd: S,
    weights: &[f32],
    spans: &[Span<'_>],
    heads: Heads,
    first: usize,
    out: &mut [f32],
) -> usize {
    let mut sums = [simd.splat_f32s(0.0); V];
    let mut weights = weights.iter();
    for span in spans {
        for (position, weight) in (span.from..span.to).zip(&mut weights) {
            let values = &span.values[position * heads.kv_width() + first..];
            let (values, _) = S::as_simd_f32s(&values[..V * S::F32_LANES]);
            let weight = simd.splat_f32s(*weight);
            for v in 0..V {
                sums[v] = simd.mul_add_f32s(weight, values[v], sums[v]);
            }
        }
    }
    for (sum, out) in sums.iter().zip(out.chunks_mut(S::F32_LANES)) {
        simd.partial_store_f32s(out, *sum);
    }
    V * S::F32_LANES
}

/// Softmax of a row, in place.
#[inline(always)]
fn softmax(row: &mut [f32]) {
    let largest = largest(row);
    for x in row.iter_mut() {
        *x = exp(*x - largest);
    }
    let scale = 1.0 / sum(row);
    for x in row.iter_mut() {
        *x *= scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::random;

    const HEADS: Heads = Heads {
        query: 6,
        kv: 2,
        dim: 10,
    };
    const SCORES: Scores = Scores {
        scale: 0.3,
        soft_cap: Some(2.0),
    };

    /// Keys or values of positions `[positions × 20]` as a cache with room for `capacity` positions holds them.
    struct Held {
        keys: Vec<f32>,
        values: Vec<f32>,
        capacity: usize,
    }

    impl Held {
        fn new(keys: &[f32], values: &[f32], capacity: usize) -> Self {
            // What lies behind the last position must not count.
            let mut held = Self {
                keys: vec![f32::NAN; capacity * 20 + SLACK],
                values: vec![f32::NAN; capacity * 20 + SLACK],
                capacity,
            };
            held.values[..values.len()].copy_from_slice(values);
            for (i, key) in keys.iter().enumerate() {
                held.keys[i % 20 * capacity + i / 20] = *key;
            }
            held
        }

        fn span(&self, from: usize, to: usize) -> Span<'_> {
            Span {
                keys: &self.keys,
                values: &self.values,
                capacity: self.capacity,
                from,
                to,
            }
        }
    }

    fn attended(query: &[f32], spans: &[Span<'_>]) -> Vec<f32> {
        let mut out = vec![0.0; 60];
        attend(query, spans, HEADS, SCORES, &mut out, &mut Vec::new());
        out
    }

    #[test]
    fn attention_does_not_see_how_a_sequence_is_split() {
        for count in [7, 40, 150] {
            let (keys, values) = (random(count * 20, 4), random(count * 20, 5));
            let query = random(60, 6);
            let whole = Held::new(&keys, &values, count);
            let all = attended(&query, &[whole.span(0, count)]);
            let first = Held::new(&keys[..60], &values[..60], 16);
            let second = Held::new(&keys[60..], &values[60..], count + 9);
            let parts = [first.span(0, 3), second.span(0, count - 3)];
            assert_eq!(attended(&query, &parts), all);
            // A window that begins anywhere.
            let late = [first.span(2, 3), second.span(0, count - 3)];
            assert_eq!(attended(&query, &late), attended(&query, &[whole.span(2, count)]));
            // One position: its value, whatever the query.
            let alone = attended(&query, &[whole.span(0, 1)]);
            assert_eq!(alone[..10], values[..10]);
            assert_eq!(alone[50..], values[10..20]);
        }
    }

    #[test]
    fn attention_equals_its_definition() {
        let count = 21;
        let (keys, values) = (random(count * 20, 4), random(count * 20, 5));
        let query = random(60, 6);
        let out = attended(&query, &[Held::new(&keys, &values, 32).span(0, count)]);
        for head in 0..6 {
            let at = |position: usize, channel: usize| position * 20 + head / 3 * 10 + channel;
            let score = |position: usize| {
                let product: f64 = (0..10)
                    .map(|c| f64::from(query[head * 10 + c]) * f64::from(keys[at(position, c)]))
                    .sum();
                (2.0 * (product * 0.3 / 2.0).tanh()).exp()
            };
            let total: f64 = (0..count).map(score).sum();
            for channel in 0..10 {
                let mixed: f64 = (0..count)
                    .map(|p| score(p) / total * f64::from(values[at(p, channel)]))
                    .sum();
                assert!((f64::from(out[head * 10 + channel]) - mixed).abs() < 1e-6);
            }
        }
    }
}
