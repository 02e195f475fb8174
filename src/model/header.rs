//! Everything about a model folder that can be known without reading its weights.

/// A model folder's configuration, tokenizer and tensor list.
pub struct ModelHeader;
