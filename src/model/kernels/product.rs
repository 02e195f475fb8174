//! Matrix products.
//!
//! Our own rather than a library's because a rollout's numbers may not depend on what it is computed beside: every output is the sum of
//! its products in the order of the inputs, each added by one fused multiply-add, whatever the number of rows, the place of a row, and
//! the vector instructions of the machine. Weights are laid out once, in panels of as many columns as the registers hold.

use std::array;

use pulp::{Arch, Simd, WithSimd};

/// Rows that are multiplied together: with panels of four vectors, the sums fill 24 of the 32 vector registers of AVX-512 and NEON.
const ROWS: usize = 6;

/// A weight matrix, laid out for products with many rows.
pub struct Packed {
    /// Panels of neighbouring outputs, each `[inputs × width of the panel]`; the last is narrower, and padded to whole vectors.
    values: Vec<f32>,
    inputs: usize,
    outputs: usize,
    /// Outputs of every panel but the last.
    panel: usize,
}

impl Packed {
    /// Lays out a matrix given by `value(input, output)`.
    pub fn new(inputs: usize, outputs: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let (lanes, panel) = Arch::new().dispatch(Widths);
        let padded = outputs.next_multiple_of(lanes);
        let mut values = vec![0.0; inputs * padded];
        for first in (0..outputs).step_by(panel) {
            let width = panel.min(padded - first);
            let rows = values[first * inputs..][..width * inputs].chunks_exact_mut(width);
            for (input, row) in rows.enumerate() {
                for (output, place) in (first..outputs).zip(row) {
                    *place = value(input, output);
                }
            }
        }
        Self {
            values,
            inputs,
            outputs,
            panel,
        }
    }

    /// Lays out `weight: [inputs × outputs]`.
    pub fn from_input_major(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        Self::new(inputs, outputs, |input, output| {
            weight[input * outputs + output]
        })
    }

    /// Lays out `weight: [outputs × inputs]`.
    pub fn from_output_major(weight: &[f32], inputs: usize, outputs: usize) -> Self {
        Self::new(inputs, outputs, |input, output| {
            weight[output * inputs + input]
        })
    }

    /// Width of what is read.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Width of what is written.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The weights of one input, `[outputs]`.
    pub fn of_input(&self, input: usize) -> Vec<f32> {
        let mut row = Vec::with_capacity(self.outputs);
        for (first, width, values) in self.panels() {
            let used = width.min(self.outputs - first);
            row.extend_from_slice(&values[input * width..][..used]);
        }
        row
    }

    /// The weights of one output, `[inputs]`.
    pub fn of_output(&self, output: usize) -> impl Iterator<Item = f32> {
        let first = output / self.panel * self.panel;
        let width = self.panel_width(first);
        let values = &self.values[first * self.inputs..][..width * self.inputs];
        (values.iter().skip(output - first).step_by(width)).copied()
    }

    /// One output of one row, with the bits that [`matmul`] gives it.
    pub fn output(&self, x: &[f32], output: usize) -> f32 {
        Arch::new().dispatch(Single {
            x,
            weights: self.of_output(output),
        })
    }

    /// First output, width and values of each panel.
    fn panels(&self) -> impl Iterator<Item = (usize, usize, &[f32])> {
        (0..self.outputs).step_by(self.panel).map(|first| {
            let width = self.panel_width(first);
            let values = &self.values[first * self.inputs..][..width * self.inputs];
            (first, width, values)
        })
    }

    fn panel_width(&self, first: usize) -> usize {
        let padded = self.values.len() / self.inputs;
        self.panel.min(padded - first)
    }
}

/// `out = x · weight`, with `x: [rows × inputs]` and `out: [rows × outputs]`, row-major.
///
/// # Panics
/// If a slice's length does not fit the sizes.
pub fn matmul(x: &[f32], weight: &Packed, out: &mut [f32]) {
    assert!(x.len().is_multiple_of(weight.inputs) && out.len().is_multiple_of(weight.outputs));
    assert_eq!(x.len() / weight.inputs, out.len() / weight.outputs, "rows");
    Arch::new().dispatch(Product { x, weight, out });
}

/// One sum of products.
struct Single<'a, W> {
    x: &'a [f32],
    weights: W,
}

impl<W: Iterator<Item = f32>> WithSimd for Single<'_, W> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f32 {
        (self.x.iter().zip(self.weights)).fold(0.0, |sum, (x, weight)| x.mul_add(weight, sum))
    }
}

/// The lanes of a vector, and the columns of a panel.
struct Widths;

impl WithSimd for Widths {
    type Output = (usize, usize);

    fn with_simd<S: Simd>(self, _: S) -> (usize, usize) {
        (S::F32_LANES, S::F32_LANES * vectors::<S>())
    }
}

/// Vectors across a panel: as the number of registers allows.
const fn vectors<S: Simd>() -> usize {
    // AVX2 has 16 registers, the others that matter 32.
    if S::F32_LANES == 8 { 2 } else { 4 }
}

struct Product<'a> {
    x: &'a [f32],
    weight: &'a Packed,
    out: &'a mut [f32],
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { x, weight, out } = self;
        for (first, width, values) in weight.panels() {
            let mut panel = Panel {
                simd,
                x,
                inputs: weight.inputs,
                values,
                out,
                outputs: weight.outputs,
                first,
            };
            match width / S::F32_LANES {
                4 => panel.multiply::<4>(),
                3 => panel.multiply::<3>(),
                2 => panel.multiply::<2>(),
                _ => panel.multiply::<1>(),
            }
        }
    }
}

/// The product of all rows with one panel.
struct Panel<'a, S> {
    simd: S,
    x: &'a [f32],
    inputs: usize,
    values: &'a [f32],
    out: &'a mut [f32],
    outputs: usize,
    /// First output of the panel.
    first: usize,
}

impl<S: Simd> Panel<'_, S> {
    /// `V`: vectors across the panel.
    #[inline(always)]
    fn multiply<const V: usize>(&mut self) {
        let rows = self.x.len() / self.inputs;
        let mut row = 0;
        while row + ROWS <= rows {
            self.rows::<ROWS, V>(row);
            row += ROWS;
        }
        match rows - row {
            0 => {}
            1 => self.rows::<1, V>(row),
            2 => self.rows::<2, V>(row),
            3 => self.rows::<3, V>(row),
            4 => self.rows::<4, V>(row),
            _ => self.rows::<5, V>(row),
        }
    }

    /// The outputs of `R` rows, summed in registers.
    #[inline(always)]
    fn rows<const R: usize, const V: usize>(&mut self, row: usize) {
        let (simd, inputs) = (self.simd, self.inputs);
        let x: [&[f32]; R] = array::from_fn(|r| &self.x[(row + r) * inputs..][..inputs]);
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        let (vectors, _) = S::as_simd_f32s(self.values);
        for (i, weights) in (0..inputs).zip(vectors.chunks_exact(V)) {
            for r in 0..R {
                let x = simd.splat_f32s(x[r][i]);
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(x, weights[v], sums[r][v]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let out = &mut self.out[(row + r) * self.outputs..][..self.outputs][self.first..];
            for (sum, out) in sums.iter().zip(out.chunks_mut(S::F32_LANES)) {
                simd.partial_store_f32s(out, *sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::random;

    #[test]
    fn product_equals_the_plain_sum_in_any_batch() {
        for (inputs, outputs) in [(75, 50), (64, 176), (7, 1), (1, 130), (33, 64)] {
            let weight = random(inputs * outputs, 1);
            let packed = Packed::from_input_major(&weight, inputs, outputs);
            let x = random(23 * inputs, 2);
            let mut all = vec![0.0; 23 * outputs];
            matmul(&x, &packed, &mut all);
            for row in 0..23 {
                let x = &x[row * inputs..][..inputs];
                for o in 0..outputs {
                    let plain = (0..inputs).fold(0.0, |sum: f32, i| {
                        x[i].mul_add(weight[i * outputs + o], sum)
                    });
                    assert_eq!(all[row * outputs + o], plain);
                    assert_eq!(packed.output(x, o), plain);
                }
                let mut alone = vec![0.0; outputs];
                matmul(x, &packed, &mut alone);
                assert_eq!(
                    alone,
                    all[row * outputs..][..outputs],
                    "row {row} depends on its batch"
                );
            }
        }
    }

    #[test]
    fn rows_and_columns_are_found_in_their_panels() {
        let (inputs, outputs) = (5, 150);
        let weight = random(inputs * outputs, 1);
        let packed = Packed::from_input_major(&weight, inputs, outputs);
        let transposed: Vec<f32> = (0..inputs * outputs)
            .map(|i| weight[i % inputs * outputs + i / inputs])
            .collect();
        let same = Packed::from_output_major(&transposed, inputs, outputs);
        assert_eq!(packed.values, same.values);
        for i in 0..inputs {
            assert_eq!(packed.of_input(i), weight[i * outputs..][..outputs]);
        }
        for o in 0..outputs {
            assert!(
                packed
                    .of_output(o)
                    .eq(transposed[o * inputs..][..inputs].iter().copied())
            );
        }
    }
}
