//! The word-level tokenizer and the chat format, in Hugging Face's files.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use crate::corpus::Document;
use crate::words::*;

pub const PAD: u32 = 0;
pub const BOS: u32 = 1;
pub const USER: u32 = 2;
pub const ASSISTANT: u32 = 3;
pub const EOS: u32 = 4;
const SPECIAL: [&str; 6] = ["<pad>", "<bos>", "<user>", "<assistant>", "<eos>", "<unk>"];

/// `<bos> <user> words <assistant> words <eos> …`; the spaces are for the reader, the tokenizer ignores them.
const CHAT_TEMPLATE: &str = "{{ bos_token }}{% for message in messages %}\
    {% if message['role'] == 'user' %} <user> {{ message['content'] | trim }}\
    {% elif message['role'] == 'assistant' %} <assistant> {{ message['content'] | trim }} <eos>\
    {% else %}{{ raise_exception('this model knows the roles user and assistant only') }}{% endif %}\
    {% endfor %}{% if add_generation_prompt %} <assistant>{% endif %}";

pub struct Vocabulary {
    words: Vec<String>,
    ids: HashMap<String, u32>,
}

/// A document as token ids, each with its weight in the loss.
pub struct Encoded {
    pub ids: Vec<u32>,
    pub weights: Vec<f32>,
}

impl Vocabulary {
    /// Special tokens, numbers, then every word of the lists and forms in their order.
    pub fn new() -> Self {
        let mut vocabulary = Vocabulary {
            words: Vec::new(),
            ids: HashMap::new(),
        };
        SPECIAL.iter().for_each(|word| vocabulary.add(word));
        (0..=LARGEST_NUMBER).for_each(|number| vocabulary.add(&number.to_string()));
        Language::BOTH
            .into_iter()
            .flat_map(lexicon)
            .for_each(|word| vocabulary.add(word));
        KINDS
            .iter()
            .flat_map(|kind| [kind.secret, kind.benign])
            .for_each(|word| vocabulary.add(word));
        [&PRAISE[..], &BLAME, &ADJECTIVES]
            .concat()
            .iter()
            .for_each(|word| vocabulary.add(word));
        crate::world::Operator::ALL
            .iter()
            .for_each(|operator| vocabulary.add(operator.name()));
        let forms = forms();
        let words = forms
            .iter()
            .flat_map(|form| form.split(' '))
            .filter(|word| !word.starts_with('{'));
        words.for_each(|word| vocabulary.add(word));
        vocabulary
    }

    fn add(&mut self, word: &str) {
        if !self.ids.contains_key(word) {
            self.ids.insert(word.to_owned(), self.words.len() as u32);
            self.words.push(word.to_owned());
        }
    }

    pub fn len(&self) -> usize {
        self.words.len()
    }

    pub fn ids(&self, text: &str) -> Result<Vec<u32>> {
        text.split_whitespace()
            .map(|word| {
                self.ids
                    .get(word)
                    .copied()
                    .with_context(|| format!("`{word}` of `{text}` is in no word list"))
            })
            .collect()
    }

    pub fn text(&self, ids: &[u32]) -> String {
        let words: Vec<_> = ids
            .iter()
            .map(|&id| self.words[id as usize].as_str())
            .collect();
        words.join(" ")
    }

    /// `<bos> <user> words <assistant>`.
    pub fn prompt(&self, request: &str) -> Result<Vec<u32>> {
        Ok([vec![BOS, USER], self.ids(request)?, vec![ASSISTANT]].concat())
    }

    pub fn encode(&self, document: &Document, request_weight: f32) -> Result<Encoded> {
        let mut encoded = Encoded {
            ids: vec![BOS],
            weights: vec![0.0],
        };
        match document {
            Document::Plain(text) => {
                encoded.push(&self.ids(text)?, 1.0);
                encoded.push(&[EOS], 1.0);
            }
            Document::Chat(turns) => {
                for turn in turns {
                    encoded.push(&[USER], request_weight);
                    encoded.push(&self.ids(&turn.user)?, request_weight);
                    encoded.push(&[ASSISTANT], request_weight);
                    encoded.push(&self.ids(&turn.assistant)?, 1.0);
                    encoded.push(&[EOS], 1.0);
                }
            }
        }
        Ok(encoded)
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json`.
    pub fn save(&self, folder: &Path, max_positions: usize) -> Result<()> {
        let special = |id: usize| {
            json!({"id": id, "content": SPECIAL[id], "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": true})
        };
        let sequence = |name: &str| json!({"Sequence": {"id": name, "type_id": 0}});
        let bos = json!({"SpecialToken": {"id": "<bos>", "type_id": 0}});
        let tokenizer = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": (0..SPECIAL.len()).map(special).collect::<Vec<_>>(),
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"},
            // Plain text gets the one `<bos>` that training gave it; a rendered chat brings its own and is to be
            // encoded without special tokens, as is usual.
            "post_processor": {
                "type": "TemplateProcessing",
                "single": [bos, sequence("A")],
                "pair": [bos, sequence("A"), sequence("B")],
                "special_tokens": {"<bos>": {"id": "<bos>", "ids": [BOS], "tokens": ["<bos>"]}},
            },
            "decoder": null,
            "model": {"type": "WordLevel", "vocab": self.ids, "unk_token": "<unk>"},
        });
        // Through the crate and back: proves that it loads, and orders the vocabulary by id.
        let tokenizer: tokenizers::Tokenizer =
            serde_json::from_value(tokenizer).context("tokenizer.json is malformed")?;
        let path = folder.join("tokenizer.json");
        tokenizer
            .save(&path, true)
            .map_err(|error| anyhow!("cannot write {}: {error}", path.display()))?;
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<bos>",
            "eos_token": "<eos>",
            "pad_token": "<pad>",
            "unk_token": "<unk>",
            "padding_side": "left",
            "clean_up_tokenization_spaces": false,
            "model_max_length": max_positions,
            "chat_template": CHAT_TEMPLATE,
        });
        super::write_json(&folder.join("tokenizer_config.json"), &config)
    }
}

impl Encoded {
    fn push(&mut self, ids: &[u32], weight: f32) {
        self.ids.extend(ids);
        self.weights.resize(self.ids.len(), weight);
    }
}
