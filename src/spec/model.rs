//! `model`: which language model is studied.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    /// Number type of the computation. Weights stored in another type are converted when read.
    #[serde(default)]
    pub dtype: Dtype,
    /// Where to compute.
    #[serde(default)]
    pub device: Device,
}

/// Number type of the computation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Dtype {
    /// 32-bit floating point.
    #[default]
    F32,
}

/// Where to compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Device {
    /// The processor.
    #[default]
    Cpu,
}
