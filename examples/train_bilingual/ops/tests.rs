//! Every gradient against central differences.

use candle_core::{Device, Result, Tensor, Var};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;

fn random(seed: u64, shape: &[usize]) -> Result<Var> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| StandardNormal.sample(rng))
        .collect();
    Var::from_vec(values, shape, &Device::Cpu)
}

/// Compares the gradient of a fixed random projection of `f` in each input with central differences.
fn check(inputs: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let inputs: Vec<Var> = inputs
        .iter()
        .zip(1..)
        .map(|(shape, seed)| random(seed, shape))
        .collect::<Result<_>>()?;
    let tensors = || {
        inputs
            .iter()
            .map(|var| var.as_tensor().clone())
            .collect::<Vec<_>>()
    };
    let projection = random(99, f(&tensors())?.dims())?;
    let loss = || (f(&tensors())? * projection.as_tensor())?.sum_all();
    let grads = loss()?.backward()?;
    const STEP: f32 = 1e-2;
    for var in &inputs {
        let Some(grad) = grads.get(var) else {
            panic!("an input got no gradient")
        };
        let (grad, start) = (
            grad.flatten_all()?.to_vec1::<f32>()?,
            var.flatten_all()?.to_vec1::<f32>()?,
        );
        for (i, grad) in grad.iter().enumerate() {
            let at = |offset: f32| -> Result<f32> {
                let mut moved = start.clone();
                moved[i] += offset;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu)?)?;
                loss()?.to_scalar()
            };
            let difference = (at(STEP)? - at(-STEP)?) / (2.0 * STEP);
            assert!(
                (grad - difference).abs() < 2e-2 * (1.0 + grad.abs()),
                "gradient {grad}, difference {difference}"
            );
            at(0.0)?;
        }
    }
    Ok(())
}

#[test]
fn norm() -> Result<()> {
    check(&[&[2, 3, 8], &[8]], |x| rms_norm(&x[0], &x[1], 1e-6))
}

#[test]
fn gated_activation() -> Result<()> {
    for activation in [Activation::Silu, Activation::GeluTanh] {
        check(&[&[2, 3, 4], &[2, 3, 4]], |x| {
            gated(&x[0], &x[1], activation)
        })?;
    }
    Ok(())
}

#[test]
fn gated_activation_is_that_of_candle() -> Result<()> {
    let (gate, up) = (random(1, &[64])?, random(2, &[64])?);
    for (activation, theirs) in [
        (Activation::Silu, gate.silu()?),
        (Activation::GeluTanh, gate.gelu()?),
    ] {
        let difference = (gated(&gate, &up, activation)? - (theirs * up.as_tensor())?)?;
        let worst: f32 = difference.abs()?.max_all()?.to_scalar()?;
        assert!(worst < 1e-5, "{activation:?} differs by {worst}");
    }
    Ok(())
}

#[test]
fn contributions() -> Result<()> {
    check(&[&[2, 3, 4], &[4]], |x| weighted_abs_sum(&x[0], &x[1]))
}

#[test]
fn rotation() -> Result<()> {
    check(&[&[2, 3, 8]], |x| Rotary::new(3, 4, 100.0).apply(&x[0]))
}

#[test]
fn attention_probabilities() -> Result<()> {
    let mask: Vec<f32> = (0..9)
        .map(|i| if i % 3 > i / 3 { MASKED } else { 0.0 })
        .collect();
    let mask = Tensor::from_vec([mask.clone(), mask].concat(), (2, 3, 3), &Device::Cpu)?;
    check(&[&[2, 2, 6, 3]], |x| masked_softmax(&x[0], &mask, 0.5))
}
