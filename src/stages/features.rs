//! What the ceiling predictor `regression` reads: features of a neuron from weights and one generic forward pass, no steering.

use serde::{Deserialize, Serialize};

use super::calibrate::NeuronCalibration;
use crate::model::LanguageModel;
use crate::model::kernels::{self, Packed};
use crate::units::{Sign, TokenId};

/// Tokens whose logits are computed at a time.
const TOKENS: usize = 1024;

/// Features of one neuron.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// Largest z-score of the logit lens of the write, above zero and below zero: how much a push favours one token over all others.
    pub lens_peak: [f64; 2],
    /// Excess kurtosis of the logit lens.
    pub lens_kurtosis: f64,
}

/// Computes the features of every neuron. The logit lens of a write `v` is `W_U·(gain ⊙ v)`, with the gain of the final norm.
pub fn add(neurons: &mut [NeuronCalibration], model: &dyn LanguageModel) {
    let writes: Vec<f32> = (neurons.iter())
        .flat_map(|n| model.effective_write(n.neuron))
        .collect();
    let mut moments = vec![Moments::default(); neurons.len()];
    let (d, vocab) = (model.shape().d_model, model.shape().vocab);
    for first in (0..vocab).step_by(TOKENS) {
        let tokens = first..(first + TOKENS).min(vocab);
        let count = tokens.len();
        let readout: Vec<f32> = tokens
            .flat_map(|token| model.readout_direction(token as TokenId))
            .collect();
        let readout = Packed::from_output_major(&readout, d, count);
        let mut lens = vec![0.0; neurons.len() * count];
        kernels::matmul(&writes, &readout, &mut lens);
        for (moments, lens) in moments.iter_mut().zip(lens.chunks_exact(count)) {
            lens.iter().for_each(|&logit| moments.add(f64::from(logit)));
        }
    }
    for (neuron, moments) in neurons.iter_mut().zip(moments) {
        neuron.features = Some(moments.features());
    }
}

/// Sums of powers over a vocabulary.
#[derive(Clone, Copy, Debug)]
struct Moments {
    count: f64,
    powers: [f64; 4],
    low: f64,
    high: f64,
}

impl Default for Moments {
    fn default() -> Self {
        Self {
            count: 0.0,
            powers: [0.0; 4],
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        }
    }
}

impl Moments {
    fn add(&mut self, x: f64) {
        self.count += 1.0;
        let mut power = 1.0;
        for sum in &mut self.powers {
            power *= x;
            *sum += power;
        }
        self.low = self.low.min(x);
        self.high = self.high.max(x);
    }

    fn features(&self) -> Features {
        let [m1, m2, m3, m4] = self.powers.map(|sum| sum / self.count.max(1.0));
        let variance = m2 - m1 * m1;
        // A write that moves all logits alike favours none.
        if variance <= 1e-12 * m2 {
            return Features::default();
        }
        let deviation = variance.sqrt();
        let fourth = m4 - 4.0 * m1 * m3 + 6.0 * m1 * m1 * m2 - 3.0 * m1.powi(4);
        Features {
            lens_peak: [(self.high - m1) / deviation, (m1 - self.low) / deviation],
            lens_kurtosis: fourth / (variance * variance) - 3.0,
        }
    }
}

/// The regression's row for one branch of a neuron; zeros without features.
pub fn row(neuron: &NeuronCalibration, sign: Sign, layers: usize) -> Vec<f64> {
    let features = neuron.features.unwrap_or_default();
    let depth = neuron.neuron.layer as f64 / (layers - 1).max(1) as f64;
    let branch = usize::from(sign == Sign::Negative);
    vec![
        features.lens_peak[branch],
        features.lens_peak[1 - branch],
        features.lens_kurtosis,
        sign.factor() * neuron.c0,
        depth,
        depth * depth,
        f64::from(neuron.neuron.layer + 1 == layers),
    ]
}
