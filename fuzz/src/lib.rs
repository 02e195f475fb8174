//! What several fuzz targets need: inputs of several parts, and a model of a few hundred bytes.

pub mod parts;
pub mod run;
pub mod tamper;
pub mod tiny;
