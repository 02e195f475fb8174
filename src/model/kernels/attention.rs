//! Attention, and the rotation of its queries and keys.

use super::nonlinear::{exp, tanh};
use super::{dot, largest, sum, vectorised};

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

/// Keys and values of consecutive positions of one sequence in one layer, each `[positions × kv_heads × head_dim]`.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// Keys.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
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

/// How attention scores are made from the products of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// What products are multiplied by.
    pub scale: f32,
    /// Scores are `cap · tanh(score / cap)`.
    pub soft_cap: Option<f32>,
}

/// Attention of one query row `[query × dim]` over a sequence's positions, given as spans in order; `scores` is scratch space.
pub fn attend(
    query: &[f32],
    spans: &[Span<'_>],
    heads: Heads,
    Scores {
        scale,
        soft_cap: cap,
    }: Scores,
    out: &mut [f32],
    scores: &mut Vec<f32>,
) {
    let group = heads.query / heads.kv;
    let stride = heads.kv * heads.dim;
    vectorised(|| {
        for head in 0..heads.query {
            let q = &query[head * heads.dim..][..heads.dim];
            let offset = head / group * heads.dim;
            scores.clear();
            for span in spans {
                for keys in span.keys.chunks_exact(stride) {
                    scores.push(dot(q, &keys[offset..][..heads.dim]) * scale);
                }
            }
            if let Some(cap) = cap {
                scores.iter_mut().for_each(|x| *x = cap * tanh(*x / cap));
            }
            softmax(scores);
            let out = &mut out[head * heads.dim..][..heads.dim];
            out.fill(0.0);
            let values = (spans.iter()).flat_map(|span| span.values.chunks_exact(stride));
            for (weight, values) in scores.iter().zip(values) {
                for (out, value) in out.iter_mut().zip(&values[offset..][..heads.dim]) {
                    *out += weight * value;
                }
            }
        }
    });
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

    #[test]
    fn attention_does_not_see_how_a_sequence_is_split() {
        let heads = Heads {
            query: 6,
            kv: 2,
            dim: 10,
        };
        let (keys, values, query) = (random(7 * 20, 4), random(7 * 20, 5), random(60, 6));
        let (mut whole, mut split) = (vec![0.0; 60], vec![0.0; 60]);
        let span = |from: usize, to: usize| Span {
            keys: &keys[from * 20..to * 20],
            values: &values[from * 20..to * 20],
        };
        let scores = Scores {
            scale: 0.3,
            soft_cap: Some(2.0),
        };
        let scratch = &mut Vec::new();
        attend(&query, &[span(0, 7)], heads, scores, &mut whole, scratch);
        let parts = [span(0, 3), span(3, 7)];
        attend(&query, &parts, heads, scores, &mut split, scratch);
        assert_eq!(whole, split);
        // One position: its value, whatever the query.
        attend(&query, &[span(0, 1)], heads, scores, &mut whole, scratch);
        assert_eq!(whole[..10], values[..10]);
        assert_eq!(whole[50..], values[10..20]);
    }
}
