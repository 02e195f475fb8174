//! Keys of a `config.json`, read as transformers reads them: `null` counts as absent, and absent keys get the family's defaults.

use serde_json::{Map, Value};

/// Larger than any size of any model; small enough that products of a few of them cannot overflow.
const LARGEST: usize = 1 << 24;

/// More layers than any model has.
const MOST_LAYERS: usize = 1 << 16;

/// The keys of a configuration.
pub struct Keys<'a>(pub &'a Map<String, Value>);

impl<'a> Keys<'a> {
    /// A value, unless it is absent or `null`.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    /// Whether the key is written, be it as `null`.
    pub fn is_written(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// A size that every configuration gives.
    pub fn size(&self, key: &str) -> Result<usize, String> {
        self.optional_size(key)?
            .ok_or_else(|| format!("`{key}` is missing"))
    }

    /// The number of layers, under its key: lists of that length are made before the weights are looked at.
    pub fn layers(&self, key: &str) -> Result<usize, String> {
        match self.size(key)? {
            layers if layers <= MOST_LAYERS => Ok(layers),
            layers => Err(format!("`{key}` is {layers}, which no model has")),
        }
    }

    /// A size that may be left out.
    pub fn optional_size(&self, key: &str) -> Result<Option<usize>, String> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let size = value.as_u64().and_then(|size| usize::try_from(size).ok());
        match size {
            Some(size) if size > 0 && size <= LARGEST => Ok(Some(size)),
            Some(size) => Err(format!("`{key}` is {size}, which no model has")),
            None => Err(format!("`{key}` is {value}, not a whole number above 0")),
        }
    }

    /// A number that may be left out.
    pub fn optional_number(&self, key: &str) -> Result<Option<f64>, String> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let number = value.as_f64().filter(|number| (*number as f32).is_finite());
        number
            .map(Some)
            .ok_or_else(|| format!("`{key}` is {value}, not a number that fits into f32"))
    }

    /// A number above 0, in f32 too.
    pub fn positive(&self, key: &str, default: f64) -> Result<f64, String> {
        match self.optional_number(key)?.unwrap_or(default) {
            number if number as f32 > 0.0 => Ok(number),
            number => Err(format!("`{key}` is {number:e}, not a number above 0")),
        }
    }

    /// A share of a whole: above 0, at most 1.
    pub fn share(&self, key: &str, default: f64) -> Result<f64, String> {
        match self.positive(key, default)? {
            share if share <= 1.0 => Ok(share),
            share => Err(format!("`{key}` is {share}, more than the whole")),
        }
    }

    /// What a norm adds to the mean square or the variance.
    pub fn epsilon(&self, key: &str, default: f64) -> Result<f32, String> {
        match self.optional_number(key)?.unwrap_or(default) {
            epsilon if (0.0..1.0).contains(&epsilon) => Ok(epsilon as f32),
            other => Err(format!("`{key}` is {other}, which is not a small number")),
        }
    }

    /// A yes or no.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, String> {
        match self.get(key) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(other) => Err(format!("`{key}` is {other}, neither true nor false")),
        }
    }

    /// A text.
    pub fn text(&self, key: &str, default: &'a str) -> Result<&'a str, String> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_str()
                .ok_or_else(|| format!("`{key}` is {value}, not a text")),
        }
    }

    /// Refuses a flag whose effect is not computed.
    pub fn refuse_flag(&self, key: &str) -> Result<(), String> {
        match self.flag(key, false)? {
            false => Ok(()),
            true => Err(format!(
                "`{key}` is true, which this program does not compute"
            )),
        }
    }

    /// A mapping below a key.
    pub fn below(&self, key: &str) -> Result<Option<Keys<'a>>, String> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Keys(object))),
            Some(other) => Err(format!("`{key}` is {other}, not a mapping")),
        }
    }

    /// A list of positive numbers of a given length.
    pub fn factors(&self, key: &str, length: usize) -> Result<Vec<f64>, String> {
        let is_positive = |n: &f64| *n as f32 > 0.0 && (*n as f32).is_finite();
        let list = self.get(key).and_then(Value::as_array);
        let numbers: Option<Vec<f64>> =
            list.and_then(|list| list.iter().map(Value::as_f64).collect());
        match numbers {
            Some(numbers) if numbers.len() == length && numbers.iter().all(is_positive) => {
                Ok(numbers)
            }
            _ => Err(format!(
                "`{key}` is not a list of {length} positive numbers"
            )),
        }
    }

    /// The token ids of a key that holds one or several.
    pub fn token_ids(&self, key: &str) -> Result<Vec<u32>, String> {
        let one = |v: &Value| {
            (v.as_u64().and_then(|id| u32::try_from(id).ok()))
                .ok_or_else(|| format!("`{key}` is neither a token id nor a list of token ids"))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(ids)) => ids.iter().map(one).collect(),
            Some(id) => Ok(vec![one(id)?]),
        }
    }

    /// `sliding_window` where layers slide: `null` is no window, and an absent one is 4096 positions.
    pub fn sliding_window(&self) -> Result<Option<usize>, String> {
        match self.is_written("sliding_window") {
            true => self.optional_size("sliding_window"),
            false => Ok(Some(4096)),
        }
    }

    /// What is written about the rotary embedding: `rope_scaling` unless it is empty, else `rope_parameters`.
    pub fn rope(&self) -> Result<Option<Keys<'a>>, String> {
        match self.below("rope_scaling")? {
            Some(scaling) if !scaling.0.is_empty() => Ok(Some(scaling)),
            _ => self.below("rope_parameters"),
        }
    }

    /// The sliding window of each layer, none where attention is full: by `layer_types` where that is written, else as `slides` says.
    ///
    /// # Errors
    /// A kind of layer that is not computed, or a sliding layer without a window.
    pub fn windows(
        &self,
        layers: usize,
        window: Option<usize>,
        slides: impl Fn(usize) -> bool,
    ) -> Result<Vec<Option<usize>>, String> {
        let Some(kinds) = self.get("layer_types") else {
            return Ok((0..layers)
                .map(|layer| window.filter(|_| slides(layer)))
                .collect());
        };
        let kinds = kinds.as_array().filter(|kinds| kinds.len() == layers);
        let kinds = kinds.ok_or_else(|| {
            format!("`layer_types` is not a list with one entry for each of {layers} layers")
        })?;
        let window_of = |kind: &Value| match (kind.as_str(), window) {
            (Some("full_attention"), _) => Ok(None),
            (Some("sliding_attention"), Some(window)) => Ok(Some(window)),
            (Some("sliding_attention"), None) => {
                Err("`layer_types` has sliding layers, but there is no `sliding_window`".into())
            }
            _ => Err(format!(
                "`layer_types` has {kind}; supported are \"full_attention\" and \"sliding_attention\""
            )),
        };
        kinds.iter().map(window_of).collect()
    }
}
