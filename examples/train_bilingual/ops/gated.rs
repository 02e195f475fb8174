//! The gated activation: its output's channels are the neurons.

use std::f32::consts::FRAC_2_PI;

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::{floats, output};

/// The nonlinearity of the gate: `x · σ(z(x))`.
#[derive(Clone, Copy, Debug)]
pub enum Activation {
    /// `z = x`
    Silu,
    /// `z = 2·√(2/π)·(x + 0.044715·x³)`: the usual approximation, as `½·(1 + tanh(z/2)) = σ(z)`.
    GeluTanh,
}

impl Activation {
    fn value(self, x: f32) -> f32 {
        x * self.open(x).0
    }

    fn slope(self, x: f32) -> f32 {
        let (open, steepness) = self.open(x);
        open * (1.0 + x * steepness * (1.0 - open))
    }

    /// How far the gate is open, `σ(z(x))`, and `z'(x)`.
    fn open(self, x: f32) -> (f32, f32) {
        let (z, steepness) = match self {
            Activation::Silu => (x, 1.0),
            Activation::GeluTanh => {
                let (scale, square) = (2.0 * FRAC_2_PI.sqrt(), 0.044715 * x * x);
                (scale * x * (1.0 + square), scale * (1.0 + 3.0 * square))
            }
        };
        ((1.0 + (-z).exp()).recip(), steepness)
    }
}

/// `activation(gate) · up`.
pub fn gated(gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    gate.contiguous()?
        .apply_op2(&up.contiguous()?, Gated(activation))
}

struct Gated(Activation);

impl CustomOp2 for Gated {
    fn name(&self) -> &'static str {
        "gated"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (floats(s1, l1)?, floats(s2, l2)?);
        output(
            gate.iter()
                .zip(up)
                .map(|(&g, u)| self.0.value(g) * u)
                .collect(),
            l1,
        )
    }

    fn bwd(
        &self,
        gate: &Tensor,
        up: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let dgate = gate.apply_op3_no_bwd(up, &grad, &GateGrad(self.0))?;
        let dup = gate.apply_op2_no_bwd(&grad, &Gated(self.0))?;
        Ok((Some(dgate), Some(dup)))
    }
}

/// `dgate = g·up·activation'(gate)`.
struct GateGrad(Activation);

impl CustomOp3 for GateGrad {
    fn name(&self) -> &'static str {
        "gated-gate-grad"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (gate, up, grad) = (floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?);
        output(
            gate.iter()
                .zip(up)
                .zip(grad)
                .map(|((&x, u), g)| g * u * self.0.slope(x))
                .collect(),
            l1,
        )
    }
}
