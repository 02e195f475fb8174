//! The exported folder, read back with the implementations of candle-transformers, which share no code with the trainer's.

use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{gemma2, llama};

use crate::recipe::Arch;

pub enum Exported {
    Llama {
        llama: Box<llama::Llama>,
        config: llama::Config,
        cache: llama::Cache,
    },
    Gemma2(gemma2::Model),
}

impl Exported {
    pub fn read(folder: &Path, arch: Arch) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path)
                .with_context(|| format!("cannot read {}; train the model first", path.display()))
        };
        let config = read("config.json")?;
        let weights = VarBuilder::from_buffered_safetensors(
            read("model.safetensors")?,
            DType::F32,
            &Device::Cpu,
        )?;
        Ok(match arch {
            Arch::Llama => {
                let config: llama::LlamaConfig = serde_json::from_slice(&config)?;
                let config = config.into_config(false);
                Exported::Llama {
                    llama: Box::new(llama::Llama::load(weights, &config)?),
                    cache: empty_cache(&config)?,
                    config,
                }
            }
            Arch::Gemma2 => {
                let config: gemma2::Config = serde_json::from_slice(&config)?;
                Exported::Gemma2(gemma2::Model::new(false, &config, weights)?)
            }
        })
    }

    /// Forgets all positions.
    pub fn restart(&mut self) -> Result<()> {
        match self {
            Exported::Llama { config, cache, .. } => *cache = empty_cache(config)?,
            Exported::Gemma2(model) => model.clear_kv_cache(),
        }
        Ok(())
    }

    /// Logits after the last of the tokens `[rows, count]`, which follow `position` earlier ones: `[rows, vocabulary]`.
    pub fn forward(&mut self, tokens: &Tensor, position: usize) -> Result<Tensor> {
        Ok(match self {
            Exported::Llama { llama, cache, .. } => llama.forward(tokens, position, cache)?,
            Exported::Gemma2(model) => model.forward(tokens, position)?.squeeze(1)?,
        })
    }
}

fn empty_cache(config: &llama::Config) -> Result<llama::Cache> {
    Ok(llama::Cache::new(true, DType::F32, config, &Device::Cpu)?)
}
