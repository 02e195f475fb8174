//! The arithmetic of the forward pass on a processor, on plain slices.
//!
//! Every kernel computes each row from that row alone, in an order that does not depend on the number of rows, on their places or
//! on threads, so that a token's numbers are the same bits in whatever batch they are computed. Vector width does not matter
//! either: sums run in order, or over a fixed number of lanes, and multiplications are fused with additions only where that is written.

mod attention;
mod nonlinear;
mod norm;
mod product;
mod readout;

pub use attention::{Heads, SLACK, Scores, Span, attend, rotate};
pub use nonlinear::{Activation, activate, gated, soft_cap};
pub use norm::{layer_norm, rms_norm};
pub use product::{Packed, matmul};
pub use readout::{LogSumExp, argmax, cosine, finite};

/// Lanes of every sum over a row.
const LANES: usize = 16;

/// Dot product over fixed lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = (a_chunks.remainder().iter()).zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest) {
        *lane += a * b;
    }
    fold(lanes)
}

/// Sum over fixed lanes.
#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    sum_of(row, |x| x)
}

/// Sum of a function over fixed lanes.
#[inline(always)]
fn sum_of(row: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += function(*x);
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += function(*x);
    }
    fold(lanes)
}

#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The largest number; NaN is passed over.
#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    // Comparing is one instruction for a vector; `f32::max` is not.
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, *x);
        }
    }
    (lanes.iter().chain(rest)).fold(f32::NEG_INFINITY, |a, b| larger(a, *b))
}

/// Numbers from −1 to 1 for tests.
#[cfg(test)]
fn random(n: usize, seed: u64) -> Vec<f32> {
    let mut random = crate::stats::SplitMix64(seed);
    (0..n)
        .map(|_| (random.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0)
        .collect()
}
