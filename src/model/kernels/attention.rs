//! Attention, and the rotation of its queries and keys.

use std::array;

use pulp::{Arch, Simd, WithSimd};

use super::nonlinear::{exp, tanh};
use super::{LANES, largest, sum};

/// Turns the pairs `(i, i + half)` of the first channels of each head of `x: [heads × head_dim]` by angles given as cosines, then sines,
/// `[2·half]` (RoPE, Su et al. 2021, in the half-split layout of Hugging Face).
pub fn rotate(x: &mut [f32], head_dim: usize, angles: &[f32]) {
    Arch::new().dispatch(Rotate {
        x,
        head_dim,
        angles,
    });
}

struct Rotate<'a> {
    x: &'a mut [f32],
    head_dim: usize,
    angles: &'a [f32],
}

impl WithSimd for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let half = self.angles.len() / 2;
        let (cos, sin) = self.angles.split_at(half);
        for head in self.x.chunks_exact_mut(self.head_dim) {
            let (first, second) = head[..2 * half].split_at_mut(half);
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
            }
        }
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
        let stride = seen + SLACK;
        self.scratch.resize(query * stride, 0.0);
        let mut heads = Together {
            simd,
            query: self.query,
            spans: self.spans,
            kv_width: self.heads.kv_width(),
            dim,
            sharing: query / kv,
            weights: self.scratch,
            seen,
            stride,
            scores: self.scores,
            out: self.out,
        };
        // As many sums at a time as keep the processor busy: a single one would wait for each of its additions.
        match heads.sharing {
            1 => heads.attend_all::<4, 1>(),
            even if even.is_multiple_of(2) => heads.attend_all::<2, 2>(),
            _ => heads.attend_all::<2, 1>(),
        }
    }
}

/// Heads of one query row.
struct Together<'a, S> {
    simd: S,
    /// `[heads × dim]`
    query: &'a [f32],
    spans: &'a [Span<'a>],
    kv_width: usize,
    dim: usize,
    /// Query heads that share a key and value head.
    sharing: usize,
    /// By head: scores, then weights, of the positions, and [`SLACK`].
    weights: &'a mut [f32],
    /// Positions.
    seen: usize,
    stride: usize,
    scores: Scores,
    /// `[heads × dim]`
    out: &'a mut [f32],
}

impl<S: Simd> Together<'_, S> {
    /// Attention of all heads: those of `K` key and value heads together, `Q` query heads of each; `Q` divides the heads that share.
    #[inline(always)]
    fn attend_all<const K: usize, const Q: usize>(&mut self) {
        let kv_heads = self.kv_width / self.dim;
        let together = kv_heads / K * K;
        for head in (0..self.sharing).step_by(Q) {
            for kv_head in (0..together).step_by(K) {
                self.attend::<K, Q>(kv_head, head);
            }
            for kv_head in together..kv_heads {
                self.attend::<1, Q>(kv_head, head);
            }
        }
    }

    /// Attention of `Q` query heads of each of `K` key and value heads.
    #[inline(always)]
    fn attend<const K: usize, const Q: usize>(&mut self, kv_head: usize, head: usize) {
        let mut before = 0;
        for span in self.spans {
            let mut position = span.from;
            while position < span.to {
                let place = before + position - span.from;
                position += match (span.to - position).div_ceil(S::F32_LANES) {
                    1 => self.products::<K, Q, 1>([kv_head, head], span, position, place),
                    _ => self.products::<K, Q, 2>([kv_head, head], span, position, place),
                };
            }
            before += span.len();
        }
        for k in 0..K {
            for q in 0..Q {
                let first = self.number(kv_head + k, head + q) * self.stride;
                let weights = &mut self.weights[first..][..self.stride];
                softmax(weights, self.seen, self.scores);
            }
        }
        let mut channel = 0;
        while channel < self.dim {
            channel += match (self.dim - channel).div_ceil(S::F32_LANES) {
                1 => self.mix::<K, Q, 1>([kv_head, head], channel),
                _ => self.mix::<K, Q, 2>([kv_head, head], channel),
            };
        }
    }

    /// Number of a query head.
    #[inline(always)]
    fn number(&self, kv_head: usize, head: usize) -> usize {
        kv_head * self.sharing + head
    }

    /// Products of queries with the keys of `V` vectors of positions; those beyond the span mean nothing. Returns how many positions these
    /// are.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "several slices run along the channels"
    )]
    fn products<const K: usize, const Q: usize, const V: usize>(
        &mut self,
        [kv_head, head]: [usize; 2],
        span: &Span<'_>,
        position: usize,
        place: usize,
    ) -> usize {
        let (simd, dim) = (self.simd, self.dim);
        let width = V * S::F32_LANES;
        let queries: [[&[f32]; Q]; K] = array::from_fn(|k| {
            array::from_fn(|q| &self.query[self.number(kv_head + k, head + q) * dim..][..dim])
        });
        let mut sums = [[[simd.splat_f32s(0.0); V]; Q]; K];
        for channel in 0..dim {
            for k in 0..K {
                let keys = &span.keys[((kv_head + k) * dim + channel) * span.capacity + position..]
                    [..width];
                let (keys, _) = S::as_simd_f32s(keys);
                for q in 0..Q {
                    let query = simd.splat_f32s(queries[k][q][channel]);
                    for v in 0..V {
                        sums[k][q][v] = simd.mul_add_f32s(query, keys[v], sums[k][q][v]);
                    }
                }
            }
        }
        for (k, sums) in sums.iter().enumerate() {
            for (q, sums) in sums.iter().enumerate() {
                let first = self.number(kv_head + k, head + q) * self.stride + place;
                let (products, _) = S::as_mut_simd_f32s(&mut self.weights[first..][..width]);
                products.copy_from_slice(sums);
            }
        }
        width
    }

    /// `V` vectors of channels of the weighted values of all positions. Returns how many channels these are.
    #[inline(always)]
    fn mix<const K: usize, const Q: usize, const V: usize>(
        &mut self,
        [kv_head, head]: [usize; 2],
        channel: usize,
    ) -> usize {
        let (simd, dim) = (self.simd, self.dim);
        let width = V * S::F32_LANES;
        let mut sums = [[[simd.splat_f32s(0.0); V]; Q]; K];
        let mut before = 0;
        for span in self.spans {
            let length = span.len();
            let weights: [[&[f32]; Q]; K] = array::from_fn(|k| {
                array::from_fn(|q| {
                    let first = self.number(kv_head + k, head + q) * self.stride + before;
                    &self.weights[first..][..length]
                })
            });
            let first = span.from * self.kv_width + kv_head * dim + channel;
            let values = &span.values[first..];
            for position in 0..length {
                for k in 0..K {
                    let values = &values[position * self.kv_width + k * dim..][..width];
                    let (values, _) = S::as_simd_f32s(values);
                    for q in 0..Q {
                        let weight = simd.splat_f32s(weights[k][q][position]);
                        for v in 0..V {
                            sums[k][q][v] = simd.mul_add_f32s(weight, values[v], sums[k][q][v]);
                        }
                    }
                }
            }
            before += length;
        }
        for (k, sums) in sums.iter().enumerate() {
            for (q, sums) in sums.iter().enumerate() {
                let first = self.number(kv_head + k, head + q) * dim;
                let out = &mut self.out[first..][channel..dim];
                for (sum, out) in sums.iter().zip(out.chunks_mut(S::F32_LANES)) {
                    simd.partial_store_f32s(out, *sum);
                }
            }
        }
        width
    }
}

/// Softmax of the scores that `count` products make, in place; what stands behind them is overwritten.
#[inline(always)]
fn softmax(products: &mut [f32], count: usize, Scores { scale, soft_cap }: Scores) {
    // Whole vectors: what is behind the last score has a weight of e⁻⁸⁷, which changes no sum that has a 1 in it.
    let padded = count.next_multiple_of(LANES);
    let (row, _) = products[..padded].as_chunks_mut::<LANES>();
    match soft_cap {
        None => row.as_flattened_mut().iter_mut().for_each(|x| *x *= scale),
        Some(cap) => {
            (row.as_flattened_mut().iter_mut()).for_each(|x| *x = cap * tanh(*x * scale / cap))
        }
    }
    row.as_flattened_mut()[count..].fill(f32::NEG_INFINITY);
    let largest = largest(row.as_flattened());
    for x in row.as_flattened_mut() {
        *x = exp(*x - largest);
    }
    let share = 1.0 / sum(row.as_flattened());
    for x in row.as_flattened_mut() {
        *x *= share;
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
            assert_eq!(
                attended(&query, &late),
                attended(&query, &[whole.span(2, count)])
            );
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
