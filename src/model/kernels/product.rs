//! Matrix products.

use gemm::Parallelism;

/// Rows per matrix product. Products always have this many rows (the last tile is padded), because the library may choose another
/// order of summation for another shape.
pub const TILE: usize = 32;

/// `out = x · weight`, with `x: [rows × inputs]`, `weight: [inputs × outputs]`, `out: [rows × outputs]`, row-major.
///
/// # Panics
/// If a slice's length does not fit the sizes.
pub fn matmul(x: &[f32], weight: &[f32], out: &mut [f32], inputs: usize, outputs: usize) {
    multiply(x, Weight::InputMajor(weight), out, inputs, outputs);
}

/// `out = x · weightᵀ`, with `weight: [outputs × inputs]`, otherwise like [`matmul`].
///
/// # Panics
/// If a slice's length does not fit the sizes.
pub fn matmul_transposed(
    x: &[f32],
    weight: &[f32],
    out: &mut [f32],
    inputs: usize,
    outputs: usize,
) {
    multiply(x, Weight::OutputMajor(weight), out, inputs, outputs);
}

/// A weight matrix in either order.
#[derive(Clone, Copy)]
enum Weight<'a> {
    /// `[inputs × outputs]`
    InputMajor(&'a [f32]),
    /// `[outputs × inputs]`
    OutputMajor(&'a [f32]),
}

fn multiply(x: &[f32], weight: Weight<'_>, out: &mut [f32], inputs: usize, outputs: usize) {
    assert_eq!(x.len() / inputs, out.len() / outputs, "rows");
    assert!(x.len().is_multiple_of(inputs) && out.len().is_multiple_of(outputs));
    let (whole_x, rest_x) = x.as_chunks_dyn(TILE * inputs);
    let (whole_out, rest_out) = out.as_chunks_dyn_mut(TILE * outputs);
    for (x, out) in whole_x.zip(whole_out) {
        multiply_tile(x, weight, out, inputs, outputs);
    }
    if !rest_x.is_empty() {
        let mut padded = vec![0.0; TILE * inputs];
        padded[..rest_x.len()].copy_from_slice(rest_x);
        let mut padded_out = vec![0.0; TILE * outputs];
        multiply_tile(&padded, weight, &mut padded_out, inputs, outputs);
        rest_out.copy_from_slice(&padded_out[..rest_out.len()]);
    }
}

/// One product of [`TILE`] rows.
fn multiply_tile(x: &[f32], weight: Weight<'_>, out: &mut [f32], inputs: usize, outputs: usize) {
    assert!(x.len() == TILE * inputs && out.len() == TILE * outputs);
    let (weight, input_stride, output_stride) = match weight {
        Weight::InputMajor(weight) => (weight, outputs, 1),
        Weight::OutputMajor(weight) => (weight, 1, inputs),
    };
    assert_eq!(weight.len(), inputs * outputs, "weight shape");
    // SAFETY: the asserts above hold the three matrices inside their slices for these sizes and strides; `out` is borrowed
    // mutably and so overlaps neither of the others; `read_dst` is false, and every element of `out` is initialised anyway.
    // candle's own product would be safe to call, but splits itself over threads; here threads work on whole batches instead.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            TILE,
            outputs,
            inputs,
            out.as_mut_ptr(),
            1,
            outputs as isize,
            false,
            x.as_ptr(),
            1,
            inputs as isize,
            weight.as_ptr(),
            output_stride as isize,
            input_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// Whole chunks of a size known at run time, and the rest.
trait Chunked {
    fn as_chunks_dyn(&self, size: usize) -> (std::slice::ChunksExact<'_, f32>, &[f32]);
    fn as_chunks_dyn_mut(
        &mut self,
        size: usize,
    ) -> (std::slice::ChunksExactMut<'_, f32>, &mut [f32]);
}

impl Chunked for [f32] {
    fn as_chunks_dyn(&self, size: usize) -> (std::slice::ChunksExact<'_, f32>, &[f32]) {
        let (whole, rest) = self.split_at(self.len() / size * size);
        (whole.chunks_exact(size), rest)
    }

    fn as_chunks_dyn_mut(
        &mut self,
        size: usize,
    ) -> (std::slice::ChunksExactMut<'_, f32>, &mut [f32]) {
        let (whole, rest) = self.split_at_mut(self.len() / size * size);
        (whole.chunks_exact_mut(size), rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::random;

    #[test]
    fn product_equals_the_plain_sum_in_any_batch() {
        let (inputs, outputs) = (75, 50);
        let weight = random(inputs * outputs, 1);
        let x = random(70 * inputs, 2);
        let mut all = vec![0.0; 70 * outputs];
        matmul(&x, &weight, &mut all, inputs, outputs);
        for row in 0..70 {
            let x = &x[row * inputs..][..inputs];
            for o in 0..outputs {
                let plain: f64 = (0..inputs)
                    .map(|i| x[i] as f64 * weight[i * outputs + o] as f64)
                    .sum();
                assert!((all[row * outputs + o] as f64 - plain).abs() < 1e-4);
            }
            let mut alone = vec![0.0; outputs];
            matmul(x, &weight, &mut alone, inputs, outputs);
            assert_eq!(
                alone,
                all[row * outputs..][..outputs],
                "row {row} depends on its batch"
            );
        }
    }

    #[test]
    fn transposed_product_is_the_same_product() {
        let (inputs, outputs) = (33, 17);
        let (weight, x) = (random(inputs * outputs, 1), random(5 * inputs, 2));
        let transposed: Vec<f32> = (0..inputs * outputs)
            .map(|i| weight[i % inputs * outputs + i / inputs])
            .collect();
        let (mut a, mut b) = (vec![0.0; 5 * outputs], vec![0.0; 5 * outputs]);
        matmul(&x, &weight, &mut a, inputs, outputs);
        matmul_transposed(&x, &transposed, &mut b, inputs, outputs);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
