//! What one neuron, or one random direction, writes into the residual stream, and the norm that may stand in between.

use std::f64::consts::TAU;

use super::parts::Norm;
use crate::stats::SplitMix64;

/// A random unit direction, `[d_model]`: standard normal components, normalised. It depends on these numbers only, not on the weights.
///
/// The seed of its stream is the first number of [`SplitMix64`] at `layer · 2³² + number`; components come in pairs (Box & Muller 1958).
pub fn random_direction(layer: usize, number: usize, d_model: usize) -> Vec<f32> {
    let seed = SplitMix64((layer as u64) << 32 | number as u64).next_u64();
    let mut random = SplitMix64(seed);
    // In (0, 1], so that its logarithm is finite.
    let mut uniform = || ((random.next_u64() >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    let pairs = std::iter::repeat_with(|| {
        let (length, angle) = ((-2.0 * uniform().ln()).sqrt(), TAU * uniform());
        [length * angle.cos(), length * angle.sin()]
    });
    let components: Vec<f64> = pairs.flatten().take(d_model).collect();
    let norm = components.iter().map(|x| x * x).sum::<f64>().sqrt();
    components.iter().map(|x| (x / norm) as f32).collect()
}

/// A normalisation between a layer's down projection and the residual stream: with it, the write of one neuron saturates.
#[derive(Clone, Debug, PartialEq)]
pub struct FfnNorm {
    /// What the normalised row is multiplied by, `[d_model]`, as it is applied: Gemma's stored weight plus 1.
    pub gain: Vec<f32>,
    /// Of a LayerNorm, which takes the mean away first: added at the end, `[d_model]`. None for an RMSNorm.
    pub bias: Option<Vec<f32>>,
    /// Added to the mean square.
    pub eps: f32,
}

impl FfnNorm {
    /// What reaches the residual stream of a row `[d_model]` of the down projection's output, with the bits of the forward pass.
    pub fn apply(&self, written: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        Norm::from(self.clone()).apply(written, &mut out);
        out
    }

    /// Where the residual stream moves when the row moves far along `v`: `gain ⊙ v`, of the centred `v` for a LayerNorm.
    pub fn effective(&self, v: &[f32]) -> Vec<f32> {
        let mean = match self.bias {
            Some(_) => v.iter().sum::<f32>() / v.len() as f32,
            None => 0.0,
        };
        (v.iter().zip(&self.gain))
            .map(|(v, gain)| (v - mean) * gain)
            .collect()
    }
}

impl From<FfnNorm> for Norm {
    fn from(FfnNorm { gain, bias, eps }: FfnNorm) -> Self {
        match bias {
            Some(bias) => Norm::Layer { gain, bias, eps },
            None => Norm::Rms { gain, eps },
        }
    }
}

impl From<&Norm> for FfnNorm {
    fn from(norm: &Norm) -> Self {
        let (gain, bias, eps) = match norm {
            Norm::Rms { gain, eps } => (gain, None, eps),
            Norm::Layer { gain, bias, eps } => (gain, Some(bias.clone()), eps),
        };
        Self {
            gain: gain.clone(),
            bias,
            eps: *eps,
        }
    }
}

/// What a dose of 1 adds.
#[derive(Debug)]
pub struct Write {
    /// To the output of the down projection, `[d_model]`.
    pub direction: Vec<f32>,
    /// Behind the norm that follows, if one does.
    effective: Option<Vec<f32>>,
}

impl Write {
    /// A direction and the norm after it.
    pub fn new(direction: Vec<f32>, norm: Option<&FfnNorm>) -> Self {
        Self {
            effective: norm.map(|norm| norm.effective(&direction)),
            direction,
        }
    }

    /// The direction in which it reaches the residual stream, `[d_model]`.
    pub fn effective(&self) -> &[f32] {
        self.effective.as_ref().unwrap_or(&self.direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_directions_have_length_1_and_little_in_common() {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let sites = [(0, 0), (0, 1), (1, 0), (2, 7)];
        let all: Vec<Vec<f32>> = (sites.iter())
            .map(|&(layer, number)| random_direction(layer, number, 1001))
            .collect();
        for (i, a) in all.iter().enumerate() {
            assert!((dot(a, a) - 1.0).abs() < 1e-5);
            assert!(all[..i].iter().all(|b| dot(a, b).abs() < 0.15));
            // A standard normal component has fourth moment 3.
            let fourth = a.iter().map(|x| x.powi(4)).sum::<f32>() * 1001.0;
            assert!((2.3..3.7).contains(&fourth), "{fourth}");
        }
        assert_eq!(all[0], random_direction(0, 0, 1001));
    }

    #[test]
    fn far_along_a_direction_a_norm_moves_along_the_effective_one() {
        let v = [0.5, -1.0, 2.0, 0.25];
        let gain = vec![1.0, 0.5, -2.0, 3.0];
        for bias in [None, Some(vec![0.0; 4])] {
            let norm = FfnNorm {
                gain: gain.clone(),
                bias,
                eps: 1e-6,
            };
            let far = norm.apply(&v.map(|v| v * 1e6));
            let effective = norm.effective(&v);
            let ratios: Vec<f32> = (far.iter().zip(&effective)).map(|(a, b)| a / b).collect();
            assert!(
                ratios.iter().all(|r| (r / ratios[0] - 1.0).abs() < 1e-5),
                "{ratios:?}"
            );
        }
    }
}
