//! `model`: which language model is studied.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The model under study: a local folder in Hugging Face form, or a repository of the hub.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Folder with `config.json`, `tokenizer.json` and safetensors weights, relative to the spec file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Repository of the Hugging Face hub, as `owner/name`; needs `revision`. Give either this or `path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)?$"))]
    pub hub: Option<String>,
    /// Commit of the hub repository, as its full hash of 40 digits. A tag or branch needs `allow_moving_revision`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._/-]*$"))]
    pub revision: Option<String>,
    /// Whether `revision` may be a tag or branch, which can point to other files tomorrow. The record names the commit that was used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_moving_revision: bool,
    /// Number type of the computation: `f32`, `bf16` or `f16`. Weights stored in another type are converted when read.
    #[serde(default)]
    pub dtype: Dtype,
    /// Where to compute.
    #[serde(default)]
    pub device: Device,
}

/// Number type of the computation. Norms, softmax and logits are computed in f32 whatever it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit floating point.
    #[default]
    F32,
    /// 16-bit floating point with the range of f32 (bfloat16). Slower than f32 on a processor.
    Bf16,
    /// 16-bit floating point (IEEE 754 half precision): numbers beyond 65504 overflow. Slower than f32 on a processor.
    F16,
}

impl Dtype {
    /// Bits of the significand, the implied one included; the exponents of the smallest and of the largest numbers, as powers of 2.
    fn bits(self) -> (i32, i32, i32) {
        match self {
            Dtype::F32 => (24, -149, 127),
            Dtype::Bf16 => (8, -133, 127),
            Dtype::F16 => (11, -24, 15),
        }
    }

    /// The nearest number of this type, as arithmetic in it would round; infinite beyond the largest.
    pub fn rounded(self, x: f64) -> f64 {
        let (significand, smallest, largest) = self.bits();
        if x == 0.0 || !x.is_finite() {
            return x;
        }
        let exponent = x.abs().log2().floor() as i32;
        let unit = 2_f64.powi((exponent - significand + 1).max(smallest));
        let rounded = (x / unit).round_ties_even() * unit;
        match rounded.abs() < 2_f64.powi(largest + 1) {
            true => rounded,
            false => x.signum() * f64::INFINITY,
        }
    }

    /// Whether a number does not become infinite in this type.
    pub fn fits(self, x: f32) -> bool {
        // Half a unit beyond the largest number, from where on rounding goes up.
        let limit = match self {
            Dtype::F32 => f32::INFINITY,
            Dtype::Bf16 => f32::from_bits(0x7f7f_8000),
            Dtype::F16 => 65520.0,
        };
        x.abs() < limit
    }

    /// Whether a number is neither infinite nor 0 in this type.
    pub fn holds(self, x: f64) -> bool {
        let rounded = self.rounded(x);
        rounded.is_finite() && rounded != 0.0
    }

    /// Why a number is not held, and what to do.
    pub fn refusal(self, x: f64) -> String {
        let (what, then) = match self.rounded(x) == 0.0 {
            true => ("rounds to 0", "larger"),
            false => ("overflows", "smaller"),
        };
        let wider = match self {
            Dtype::F32 => "",
            Dtype::Bf16 => ", or `dtype: f32`",
            Dtype::F16 => ", or `dtype: bf16` or `f32`",
        };
        format!("{x:e} {what} in {self}; choose a {then} dose{wider}")
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
            Dtype::F16 => "f16",
        })
    }
}

/// Where to compute: `cpu`, `cuda` (the first graphics processor), `cuda:1`, or `metal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
    /// A CUDA device by its number; needs a program built with `--features cuda`.
    Cuda(u16),
    /// The graphics processor of a Mac; needs a program built with `--features metal`.
    Metal,
}

impl Device {
    /// `cpu`, `cuda` or `metal`: devices of one kind compute the same.
    pub fn kind(self) -> &'static str {
        match self {
            Device::Cpu => "cpu",
            Device::Cuda(_) => "cuda",
            Device::Metal => "metal",
        }
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("cuda:").map(str::parse);
        match (text, number) {
            ("cpu", _) => Ok(Device::Cpu),
            ("metal", _) => Ok(Device::Metal),
            ("cuda", _) => Ok(Device::Cuda(0)),
            (_, Some(Ok(number))) => Ok(Device::Cuda(number)),
            _ => Err(format!(
                "`{text}` is no device; known are cpu, cuda, cuda:1 and so on, and metal"
            )),
        }
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Device::Cuda(number) => write!(f, "cuda:{number}"),
            other => f.write_str(other.kind()),
        }
    }
}

impl Serialize for Device {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl JsonSchema for Device {
    fn schema_name() -> Cow<'static, str> {
        "Device".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where to compute: `cpu`, `cuda` (the first graphics processor), `cuda:1`, or `metal`. Devices other than `cpu` need a program built with the feature of that name.",
            "type": "string",
            "pattern": r"^(cpu|metal|cuda(:[0-9]{1,4})?)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_they_are_read() {
        for (text, device, written) in [
            ("cpu", Device::Cpu, "cpu"),
            ("cuda", Device::Cuda(0), "cuda:0"),
            ("cuda:3", Device::Cuda(3), "cuda:3"),
            ("metal", Device::Metal, "metal"),
        ] {
            assert_eq!(text.parse(), Ok(device));
            assert_eq!(device.to_string(), written);
        }
        for text in ["", "CPU", "cuda:", "cuda:-1", "cuda:99999999", "tpu"] {
            assert!(text.parse::<Device>().unwrap_err().contains("no device"));
        }
    }

    #[test]
    fn numbers_are_rounded_as_the_types_round() {
        for x in [
            1.0, 0.1, -3.7, 65504.0, 65519.9, 65520.0, 5.9e-8, 2.9e-8, 1e-30, 3.39e38, 3.4e38,
        ] {
            assert_eq!(Dtype::F32.rounded(x), f64::from(x as f32), "{x}");
        }
        assert_eq!(Dtype::F16.rounded(0.1), 0.0999755859375);
        assert_eq!(Dtype::F16.rounded(65519.9), 65504.0);
        assert_eq!(Dtype::F16.rounded(-65520.0), f64::NEG_INFINITY);
        assert_eq!(Dtype::F16.rounded(2.9e-8), 0.0);
        assert_eq!(Dtype::F16.rounded(3.1e-8), 2_f64.powi(-24));
        assert_eq!(Dtype::Bf16.rounded(1.003), 1.0);
        assert_eq!(Dtype::Bf16.rounded(65520.0), 65536.0);
        assert!(Dtype::Bf16.holds(1e-38) && !Dtype::Bf16.holds(3.4e38));
        assert!(!Dtype::F32.holds(1e39) && !Dtype::F32.holds(1e-46) && !Dtype::F32.holds(f64::NAN));
    }
}
