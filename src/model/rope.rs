//! Rotary position embeddings (RoPE, Su et al. 2021), with the scalings of transformers' `modeling_rope_utils.py`.

use std::sync::OnceLock;

use super::kernels;
use super::keys::Keys;

/// Positions whose angles are computed together, when the first of them is needed.
const CHUNK: usize = 256;
/// No position is further away.
const LONGEST: f32 = (1 << 24) as f32;

/// What `config.json` says about the rotary embedding of a kind of layer.
#[derive(Clone, Debug, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f64,
    /// Channels of each head that are rotated: the first ones; even.
    pub channels: usize,
    /// Scaling of the frequencies.
    pub scaling: Scaling,
}

/// Scaling of the rotary frequencies.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// None.
    Default,
    /// Frequencies divided by a factor.
    Linear(f64),
    /// Llama 3.1's: low frequencies divided by a factor, high ones kept, those between blended.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f64,
        /// Context ÷ wavelength below which a frequency is low.
        low: f64,
        /// Context ÷ wavelength above which a frequency is high.
        high: f64,
        /// The context the model was first trained on.
        context: f64,
    },
    /// Phi-3's LongRoPE up to the context that the model was first trained on: each frequency divided by its factor, and cosines and
    /// sines multiplied. (Beyond it transformers takes other factors for the whole text, so that a text's earlier tokens change when
    /// it grows; such lengths are refused.)
    Long {
        /// Divisor of each frequency.
        factors: Vec<f64>,
        /// Multiplier of cosines and sines.
        attention: f64,
    },
}

impl RopeConfig {
    /// The common spelling: `rope_scaling`, else `rope_parameters`, with `rope_theta` in it or beside it.
    pub fn read(keys: &Keys<'_>, channels: usize, context: usize) -> Result<Self, String> {
        let scaling = keys.rope()?;
        for keys in [Some(keys), scaling.as_ref()].into_iter().flatten() {
            if keys.positive("partial_rotary_factor", 1.0)? != 1.0 {
                return Err("`partial_rotary_factor` is not computed for this family".into());
            }
        }
        let theta = keys.positive("rope_theta", 10_000.0)?;
        match scaling {
            None => Self::new(theta, channels, Scaling::Default),
            Some(scaling) => Self::new(
                scaling.positive("rope_theta", theta)?,
                channels,
                Scaling::read(&scaling, context)?,
            ),
        }
    }

    /// A checked configuration.
    pub fn new(theta: f64, channels: usize, scaling: Scaling) -> Result<Self, String> {
        if channels == 0 || !channels.is_multiple_of(2) {
            return Err(format!(
                "rotary embeddings turn pairs of channels, but {channels} channels of each head (`head_dim`) are to turn"
            ));
        }
        let config = Self {
            theta,
            channels,
            scaling,
        };
        let amplitude = config.scaling.amplitude();
        let fits = |frequency: f32| (frequency * LONGEST).is_finite();
        match amplitude.is_finite() && config.inverse_frequencies().into_iter().all(fits) {
            true => Ok(config),
            false => Err(format!(
                "rotary embeddings of base `rope_theta` = {theta:e} with this scaling have angles beyond f32"
            )),
        }
    }

    /// Angle per position of each pair of channels, `[channels / 2]`.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        (0..self.channels / 2)
            .map(|i| {
                // In f32 throughout, as transformers computes them.
                let base = (self.theta as f32).powf((2 * i) as f32 / self.channels as f32);
                self.scaling.apply(i, base)
            })
            .collect()
    }
}

impl Scaling {
    /// Reads a mapping such as `rope_scaling`.
    pub fn read(keys: &Keys<'_>, context: usize) -> Result<Self, String> {
        let kind = keys.text("type", "default")?;
        let kind = keys.text("rope_type", kind)?;
        let needed = |key: &str| match keys.optional_number(key)? {
            Some(number) if number as f32 > 0.0 => Ok(number),
            _ => Err(format!(
                "rope scaling `{kind}` needs a positive number `{key}`"
            )),
        };
        match kind {
            "default" => Ok(Scaling::Default),
            "linear" => Ok(Scaling::Linear(needed("factor")?)),
            "llama3" => {
                let (low, high) = (needed("low_freq_factor")?, needed("high_freq_factor")?);
                if low >= high {
                    return Err(format!(
                        "`low_freq_factor` ({low}) is not below `high_freq_factor` ({high})"
                    ));
                }
                Ok(Scaling::Llama3 {
                    factor: needed("factor")?,
                    low,
                    high,
                    context: keys.positive("original_max_position_embeddings", context as f64)?,
                })
            }
            other => Err(format!(
                "rope scaling `{other}` is not supported here; supported are `default`, `linear` and `llama3`, and `longrope` for Phi-3"
            )),
        }
    }

    /// The `i`-th inverse frequency, from what the unscaled one is the inverse of.
    fn apply(&self, i: usize, base: f32) -> f32 {
        let frequency = 1.0 / base;
        match self {
            Scaling::Default => frequency,
            Scaling::Linear(factor) => frequency / *factor as f32,
            Scaling::Long { factors, .. } => 1.0 / (factors[i] as f32 * base),
            // transformers, modeling_rope_utils.py, _compute_llama3_parameters.
            Scaling::Llama3 {
                factor,
                low,
                high,
                context,
            } => {
                let wavelength = 2.0 * std::f64::consts::PI / frequency as f64;
                if wavelength < context / high {
                    frequency
                } else if wavelength > context / low {
                    frequency / *factor as f32
                } else {
                    let smooth = ((context / wavelength - low) / (high - low)) as f32;
                    (1.0 - smooth) * frequency / *factor as f32 + smooth * frequency
                }
            }
        }
    }

    /// What cosines and sines are multiplied by.
    fn amplitude(&self) -> f32 {
        match self {
            Scaling::Long { attention, .. } => *attention as f32,
            _ => 1.0,
        }
    }
}

/// The rotary embedding of a layer.
#[derive(Debug)]
pub struct Rope {
    frequencies: Vec<f32>,
    amplitude: f32,
    /// Cosines, then sines, of consecutive positions: `[CHUNK × 2 · frequencies]`.
    chunks: Vec<OnceLock<Box<[f32]>>>,
}

impl Rope {
    /// An embedding for `context` positions; nothing is computed yet.
    pub fn new(config: &RopeConfig, context: usize) -> Self {
        Self {
            frequencies: config.inverse_frequencies(),
            amplitude: config.scaling.amplitude(),
            chunks: (0..context.div_ceil(CHUNK))
                .map(|_| OnceLock::new())
                .collect(),
        }
    }

    /// Rotates the first channels of each head of `x: [rows × heads × head_dim]` by its row's position.
    ///
    /// # Panics
    /// If a position lies beyond the context.
    pub fn rotate(
        &self,
        x: &mut [f32],
        positions: impl Iterator<Item = usize>,
        heads: usize,
        head_dim: usize,
    ) {
        for (row, position) in x.chunks_exact_mut(heads * head_dim).zip(positions) {
            kernels::rotate(row, head_dim, self.angles(position));
        }
    }

    /// Channels of each head that are rotated: the first ones.
    pub fn channels(&self) -> usize {
        self.frequencies.len() * 2
    }

    /// Cosines, then sines, of a position's angles, `[channels]`.
    ///
    /// # Panics
    /// If the position lies beyond the context.
    pub fn angles(&self, position: usize) -> &[f32] {
        let width = self.channels();
        &self.chunk(position / CHUNK)[position % CHUNK * width..][..width]
    }

    fn chunk(&self, number: usize) -> &[f32] {
        self.chunks[number].get_or_init(|| {
            (number * CHUNK..(number + 1) * CHUNK)
                .flat_map(|position| {
                    let angle = move |f: &f32| position as f32 * f;
                    let cosines = self.frequencies.iter().map(move |f| angle(f).cos());
                    let sines = self.frequencies.iter().map(move |f| angle(f).sin());
                    cosines.chain(sines).map(|x| x * self.amplitude)
                })
                .collect()
        })
    }
}
