//! What the ceiling predictor `regression` reads: features of a neuron from weights and one generic forward pass, no steering.

use serde::{Deserialize, Serialize};

use super::calibrate::NeuronCalibration;
use crate::model::LanguageModel;
use crate::model::kernels::{self, Packed};
use crate::units::{Sign, TokenId};

/// Tokens whose logits are computed at a time.
const TOKENS: usize = 1024;

/// Features of one neuron, of the logit lens of its write (nostalgebraist 2020): the logits `z = W_U·(gain ⊙ u)` of the unit vector `u`
/// along the effective write, with the gain of the final norm. Pairs are above zero, below zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Features {
    /// Largest z-score: how much a push favours one token over all others.
    pub peak: [f64; 2],
    /// Largest logit above the mean, of a write as long as a normalised residual stream, `√d_model`.
    pub height: [f64; 2],
    /// Entropy of the softmax of the same write's logits, in nats.
    pub entropy: [f64; 2],
    /// Largest cosine between `u` and a token's readout direction.
    pub token: [f64; 2],
    /// Skewness.
    pub skew: f64,
}

/// Computes the features of every neuron.
pub fn add(neurons: &mut [NeuronCalibration], model: &dyn LanguageModel) {
    let (d, vocab) = (model.shape().d_model, model.shape().vocab);
    let writes: Vec<f32> = (neurons.iter())
        .flat_map(|n| unit(model.effective_write(n.neuron)))
        .collect();
    let mut lenses = vec![Lens::default(); neurons.len()];
    for first in (0..vocab).step_by(TOKENS) {
        let tokens = first..(first + TOKENS).min(vocab);
        let count = tokens.len();
        let readout: Vec<f32> = tokens
            .flat_map(|token| model.readout_direction(token as TokenId))
            .collect();
        let lengths: Vec<f64> = readout.chunks_exact(d).map(length).collect();
        let readout = Packed::from_output_major(&readout, d, count);
        let mut logits = vec![0.0; neurons.len() * count];
        kernels::matmul(&writes, &readout, &mut logits);
        for (lens, logits) in lenses.iter_mut().zip(logits.chunks_exact(count)) {
            for (&logit, &length) in logits.iter().zip(&lengths) {
                lens.add(f64::from(logit), length, (d as f64).sqrt());
            }
        }
    }
    for (neuron, lens) in neurons.iter_mut().zip(lenses) {
        neuron.features = Some(lens.features((d as f64).sqrt()));
    }
}

/// Euclidean length.
pub fn length(x: &[f32]) -> f64 {
    x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// The vector at length 1; zero stays zero.
pub fn unit(x: Vec<f32>) -> Vec<f32> {
    let length = length(&x);
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    x.into_iter()
        .map(|x| (f64::from(x) * scale) as f32)
        .collect()
}

/// Sums over a vocabulary.
#[derive(Clone, Copy, Debug)]
struct Lens {
    count: f64,
    powers: [f64; 3],
    low: f64,
    high: f64,
    /// Softmax of `±√d·z`: above zero, below zero.
    softmax: [Softmax; 2],
    token: [f64; 2],
}

impl Default for Lens {
    fn default() -> Self {
        Self {
            count: 0.0,
            powers: [0.0; 3],
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
            softmax: [Softmax::default(); 2],
            token: [-1.0; 2],
        }
    }
}

impl Lens {
    /// `readout`: length of the token's readout direction; `scale`: length of the write whose softmax is taken.
    fn add(&mut self, z: f64, readout: f64, scale: f64) {
        self.count += 1.0;
        for (sum, power) in self.powers.iter_mut().zip([z, z * z, z * z * z]) {
            *sum += power;
        }
        self.low = self.low.min(z);
        self.high = self.high.max(z);
        for (branch, sign) in [1.0, -1.0].into_iter().enumerate() {
            self.softmax[branch].add(sign * scale * z);
            if readout > 0.0 {
                self.token[branch] = self.token[branch].max(sign * z / readout);
            }
        }
    }

    fn features(&self, scale: f64) -> Features {
        let [m1, m2, m3] = self.powers.map(|sum| sum / self.count.max(1.0));
        let variance = m2 - m1 * m1;
        // A write that moves all logits alike favours none.
        if variance <= 1e-12 * m2 || m2 == 0.0 {
            return Features::default();
        }
        let deviation = variance.sqrt();
        let heights = [self.high - m1, m1 - self.low];
        Features {
            peak: heights.map(|height| height / deviation),
            height: heights.map(|height| height * scale),
            entropy: self.softmax.map(Softmax::entropy),
            token: self.token,
            skew: (m3 - 3.0 * m1 * m2 + 2.0 * m1.powi(3)) / deviation.powi(3),
        }
    }
}

/// A softmax, added up logit by logit.
#[derive(Clone, Copy, Debug)]
struct Softmax {
    largest: f64,
    /// `Σ exp(x − largest)`
    total: f64,
    /// `Σ x·exp(x − largest)`
    weighted: f64,
}

impl Default for Softmax {
    fn default() -> Self {
        Self {
            largest: f64::NEG_INFINITY,
            total: 0.0,
            weighted: 0.0,
        }
    }
}

impl Softmax {
    fn add(&mut self, x: f64) {
        if x > self.largest {
            let shrink = (self.largest - x).exp();
            self.total *= shrink;
            self.weighted *= shrink;
            self.largest = x;
        }
        let weight = (x - self.largest).exp();
        self.total += weight;
        self.weighted += x * weight;
    }

    fn entropy(self) -> f64 {
        self.largest + self.total.ln() - self.weighted / self.total
    }
}

/// The regression's row for one branch of a neuron; zeros without features.
pub fn row(neuron: &NeuronCalibration, sign: Sign) -> Vec<f64> {
    let features = neuron.features.unwrap_or_default();
    let branch = usize::from(sign == Sign::Negative);
    vec![
        features.peak[branch],
        features.height[branch],
        features.entropy[branch],
        features.token[branch],
        sign.factor() * features.skew,
        sign.factor() * neuron.c0,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_equal_their_definitions() {
        let logits = [0.5_f64, -1.0, 0.25, 2.0];
        let mut lens = Lens::default();
        logits.iter().for_each(|&z| lens.add(z, 4.0, 2.0));
        let found = lens.features(2.0);
        let mean = logits.iter().sum::<f64>() / 4.0;
        let moment = |k| logits.iter().map(|z| (z - mean).powi(k)).sum::<f64>() / 4.0;
        let deviation = moment(2).sqrt();
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} {b}");
        close(found.peak[0], (2.0 - mean) / deviation);
        close(found.peak[1], (mean + 1.0) / deviation);
        close(found.height[0], 2.0 * (2.0 - mean));
        close(found.token[1], 0.25);
        close(found.skew, moment(3) / deviation.powi(3));
        for (branch, sign) in [1.0, -1.0].into_iter().enumerate() {
            let weights = logits.map(|z| (sign * 2.0 * z).exp());
            let total: f64 = weights.iter().sum();
            let entropy: f64 = (weights.iter())
                .map(|w| -(w / total) * (w / total).ln())
                .sum();
            close(found.entropy[branch], entropy);
        }
    }

    #[test]
    fn a_write_that_moves_all_logits_alike_has_no_features() {
        let mut lens = Lens::default();
        [0.5; 8].iter().for_each(|&z| lens.add(z, 1.0, 1.0));
        assert_eq!(lens.features(1.0), Features::default());
    }
}
