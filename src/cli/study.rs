//! What every subcommand that resolves one spec takes: the file, changes to it, and a limit for a quick look.

use std::path::PathBuf;

use super::Failure;
use super::check::Settings;
use crate::spec::load::{Loaded, load_study};
use crate::spec::model::Device;

/// A spec and how it is changed for this command.
#[derive(clap::Args)]
pub struct StudyArgs {
    /// The study's spec file
    pub spec: PathBuf,

    #[command(flatten)]
    pub settings: Settings,

    /// Where to compute: cpu, cuda, cuda:1 or metal; the same as `--set model.device=…`
    #[arg(long, value_name = "DEVICE")]
    device: Option<Device>,

    /// Use at most this many prompts of each behaviour: for a quick look
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
}

impl StudyArgs {
    /// Every change to the spec, as `key.path=value`.
    pub fn overrides(&self) -> Vec<String> {
        let device = self.device.map(|device| format!("model.device={device}"));
        self.settings.set.iter().cloned().chain(device).collect()
    }

    /// The resolved study, with its model's header.
    pub fn load(&self) -> Result<Loaded, Failure> {
        let mut loaded = load_study(&self.spec, &self.overrides())?;
        if let Some(limit) = self.limit {
            loaded.study.limit_prompts(limit as usize);
        }
        Ok(loaded)
    }
}
