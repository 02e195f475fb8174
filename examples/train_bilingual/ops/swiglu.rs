//! The gated activation: its output's channels are the neurons.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::{floats, output};

/// `silu(gate) · up`.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.contiguous()?.apply_op2(&up.contiguous()?, SwiGlu)
}

struct SwiGlu;

fn sigmoid(x: f32) -> f32 {
    (1.0 + (-x).exp()).recip()
}

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
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
                .map(|(&g, u)| g * sigmoid(g) * u)
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
        let dgate = gate.apply_op3_no_bwd(up, &grad, &SwiGluGateGrad)?;
        let dup = gate.apply_op2_no_bwd(&grad, &SwiGlu)?;
        Ok((Some(dgate), Some(dup)))
    }
}

/// `dgate = g·up·silu'(gate)`.
struct SwiGluGateGrad;

impl CustomOp3 for SwiGluGateGrad {
    fn name(&self) -> &'static str {
        "swiglu-gate-grad"
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
        let slope = |x: f32| {
            let s = sigmoid(x);
            s * (1.0 + x * (1.0 - s))
        };
        output(
            gate.iter()
                .zip(up)
                .zip(grad)
                .map(|((&x, u), g)| g * u * slope(x))
                .collect(),
            l1,
        )
    }
}
