//! Text to tokens and back, as transformers does it with the same folder.

mod pipeline;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{AddedToken, Tokenizer};

use super::chat::{ChatTemplate, Unrendered, find_template};
use super::{Detokenizer, ModelError};
use crate::caught::caught;
use crate::files;
use crate::spec::problem::quote;
use crate::spec::prompts::ChatMessage;
use crate::units::TokenId;

const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const MODEL: &str = "config.json";
/// Largest tokenizer, in bytes: the largest of published models, with 262,144 tokens, has 33 MB.
const LARGEST: u64 = 64 << 20;
/// Largest `tokenizer_config.json`, in bytes: those that list thousands of added tokens have 1 MB.
const LARGEST_CONFIG: u64 = 8 << 20;

/// What is said of a template that says the same to everybody.
const DEAF: &str =
    "the chat template never reads `messages`, so that every chat would be the same prompt";
/// What is said of a tokenizer in which the tokenizers crate panics.
const BROKEN: &str = "its parts do not fit together, or one of its patterns gives up on this text";

/// Does what the tokenizers crate may panic in. A tokenizer is not used any more after an error.
fn careful<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match caught(work) {
        Some(done) => done.map_err(|e| e.to_string()),
        None => Err(BROKEN.into()),
    }
}

fn refused(file: &Path, problem: String) -> ModelError {
    ModelError::Refused {
        file: file.display().to_string(),
        problem,
    }
}

/// A model's tokenizer with its chat template.
pub struct TextCodec {
    file: PathBuf,
    tokenizer: Tokenizer,
    /// The same without the white space that the tokenizer puts before a text; absent where it puts none.
    continuation: Option<Tokenizer>,
    /// The beginning-of-text token, where the tokenizer puts one before a plain text.
    added_beginning: Option<TokenId>,
    /// A template that cannot be used is an error only when a chat is encoded.
    template: Option<(PathBuf, Result<ChatTemplate, String>)>,
}

impl TextCodec {
    /// Reads `tokenizer.json`, and `tokenizer_config.json` and `chat_template.jinja` where they are.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let file = folder.join(TOKENIZER);
        let text = read_text(&file, LARGEST)?.ok_or_else(|| missing_tokenizer(folder))?;
        if let Some(problem) = pipeline::bloated(&text) {
            return Err((file.as_path(), problem).into());
        }
        let config = read_config(&folder.join(CONFIG))?;
        let text =
            match pipeline::as_class_builds(&text, &config, &read_config(&folder.join(MODEL))?) {
                Some(built) => built,
                None => text,
            };
        if let Some(problem) = pipeline::refusal(&text) {
            return Err((file.as_path(), problem.to_owned()).into());
        }
        let damaged = |e: String| -> ModelError {
            (
                file.as_path(),
                format!("is not a tokenizer: {e}; fetch it again"),
            )
                .into()
        };
        let tokenizer = careful(|| load(text.as_bytes(), &config)).map_err(damaged)?;
        let continuation = match pipeline::without_leading_space(&text) {
            Some(changed) => Some(careful(|| load(changed.as_bytes(), &config)).map_err(damaged)?),
            None => None,
        };
        let beginning = (token_contents(&config["bos_token"]).pop())
            .and_then(|content| tokenizer.token_to_id(&content));
        let frame = careful(|| tokenizer.encode_fast("", true)).map_err(damaged)?;
        let added_beginning = beginning.filter(|id| frame.get_ids().first() == Some(id));
        let compile = |source: String| ChatTemplate::compile(&source, named_tokens(&config));
        let template =
            find_template(folder, &config)?.map(|(file, source)| (file, source.and_then(compile)));
        Ok(Self {
            file,
            tokenizer,
            continuation,
            added_beginning,
            template,
        })
    }

    /// Plain text, with the special tokens that the post-processor of `tokenizer.json` puts around it: transformers 5 does not read
    /// `add_bos_token` and `add_eos_token` beside it. A text that itself starts with the beginning-of-text token gets no second one.
    pub fn encode_text(&self, text: &str) -> Result<Vec<TokenId>, ModelError> {
        let mut tokens = self.encode(&self.tokenizer, text, true)?;
        if let (Some(added), [first, second, ..]) = (self.added_beginning, &tokens[..])
            && (*first, *second) == (added, added)
        {
            tokens.remove(0);
        }
        Ok(tokens)
    }

    /// A chat, rendered by the model's template with a generation prompt. The template writes its own special tokens; none is added.
    ///
    /// # Errors
    /// The model has no chat template, or the template refuses the messages.
    pub fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<TokenId>, ModelError> {
        let text = self.render_chat(messages)?;
        self.encode(&self.tokenizer, &text, false)
    }

    /// The text that [`TextCodec::encode_chat`] encodes.
    pub fn render_chat(&self, messages: &[ChatMessage]) -> Result<String, ModelError> {
        let unusable = |file: &Path, problem: &str| {
            let problem = format!("{problem}; give `text` prompts");
            Err((file, problem).into())
        };
        match &self.template {
            None => {
                let problem = "has no chat template: give `text` prompts".into();
                Err(refused(&self.file, problem))
            }
            Some((file, Err(problem))) => unusable(file, problem),
            Some((file, Ok(template))) => match template.render(messages) {
                Ok(_) if !template.reads_messages() => unusable(file, DEAF),
                Ok(text) => Ok(text),
                Err(Unrendered::Refused(problem)) => Err(refused(file, problem)),
                Err(Unrendered::Unusable(problem)) => Err((file.as_path(), problem).into()),
            },
        }
    }

    /// Text that continues a prompt: no special tokens are added, and none of the white space that some tokenizers put before a text
    /// (`Prepend ▁`, `Metaspace`, `add_prefix_space`). `" park"` after `"the"` is the token `▁park`, and `"park"` is `park`, as they would be
    /// within a text. Tokens are not merged across the boundary.
    pub fn encode_continuation(&self, text: &str) -> Result<Vec<TokenId>, ModelError> {
        let tokenizer = self.continuation.as_ref().unwrap_or(&self.tokenizer);
        self.encode(tokenizer, text, false)
    }

    /// Text of tokens without special tokens, as transformers' `decode(skip_special_tokens=True, clean_up_tokenization_spaces=False)`.
    /// Bytes that are no UTF-8 become `�`; ids beyond the vocabulary have no text.
    pub fn decode(&self, tokens: &[TokenId]) -> String {
        // Decoders fail only on configurations that transformers cannot decode either; the tokens' own names are better than nothing.
        careful(|| self.tokenizer.decode(tokens, true)).unwrap_or_else(|_| {
            (tokens.iter())
                .filter_map(|id| self.tokenizer.id_to_token(*id))
                .collect()
        })
    }

    /// One token as it reads within a text, white space before it included; special tokens by their names. None beyond the vocabulary.
    pub fn token_text(&self, id: TokenId) -> Option<String> {
        let name = self.tokenizer.id_to_token(id)?;
        if self
            .tokenizer
            .get_added_vocabulary()
            .is_special_token(&name)
        {
            return Some(name);
        }
        // Decoders strip white space at the start of a text, so the token is decoded as the second of two.
        let (once, twice) = (self.decode(&[id]), self.decode(&[id, id]));
        let second = twice.strip_prefix(once.as_str()).map(str::to_owned);
        Some(second.unwrap_or(once))
    }

    /// Whether the model has a chat template; what is wrong with it if it cannot be used.
    pub fn chat_template(&self) -> Result<bool, &str> {
        match &self.template {
            None => Ok(false),
            Some((_, Ok(template))) if !template.reads_messages() => Err(DEAF),
            Some((_, Ok(_))) => Ok(true),
            Some((_, Err(problem))) => Err(problem),
        }
    }

    /// The token with the largest id, with its id. None for an empty vocabulary.
    pub fn last_token(&self) -> Option<(TokenId, String)> {
        let vocabulary = self.tokenizer.get_vocab(true);
        vocabulary.into_iter().map(|(name, id)| (id, name)).max()
    }

    /// Number of tokens, special ones included.
    pub fn len(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Whether there are no tokens.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn encode(
        &self,
        tokenizer: &Tokenizer,
        text: &str,
        special: bool,
    ) -> Result<Vec<TokenId>, ModelError> {
        let problem = |why: &str| format!("cannot encode {}: {why}", quote(text));
        match caught(|| tokenizer.encode_fast(text, special)) {
            Some(Ok(encoding)) => Ok(encoding.get_ids().to_vec()),
            // Such as a word that is not in a vocabulary without a token for unknown ones.
            Some(Err(e)) => Err(refused(&self.file, problem(&e.to_string()))),
            None => Err((self.file.as_path(), problem(BROKEN)).into()),
        }
    }
}

impl Detokenizer for TextCodec {
    fn decode(&self, tokens: &[TokenId]) -> String {
        TextCodec::decode(self, tokens)
    }
}

/// Loads a tokenizer and makes special what `tokenizer_config.json` says is special, as transformers does.
fn load(json: &[u8], config: &Value) -> tokenizers::Result<Tokenizer> {
    let mut tokenizer = Tokenizer::from_bytes(json)?;
    // A prompt is encoded whole, whatever was set when the tokenizer was saved.
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None)?;
    if !matches!(
        config["added_tokens_decoder"],
        Value::Null | Value::Object(_)
    ) {
        return Err(format!("`added_tokens_decoder` of {CONFIG} is no mapping").into());
    }
    let known: BTreeSet<u32> = tokenizer.get_added_tokens_decoder().into_keys().collect();
    let mut added: Vec<(u32, &Value)> = config["added_tokens_decoder"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(id, token)| Some((id.parse().ok()?, token)))
        .filter(|(id, _)| !known.contains(id))
        .collect();
    added.sort_by_key(|(id, _)| *id);
    for (_, token) in added {
        tokenizer.add_tokens(&[serde_json::from_value::<AddedToken>(token.clone())?]);
    }
    let keys = ["additional_special_tokens", "extra_special_tokens"];
    let special = (named_tokens(config).into_values())
        .chain(keys.iter().flat_map(|key| token_contents(&config[*key])));
    for content in special {
        // A name that is no token would become a new id beyond the embedding.
        if tokenizer.token_to_id(&content).is_some() {
            tokenizer.add_special_tokens(&[AddedToken::from(content, true)]);
        }
    }
    Ok(tokenizer)
}

/// `bos_token` and its like, by name.
fn named_tokens(config: &Value) -> BTreeMap<String, String> {
    let entries = config.as_object().into_iter().flatten();
    entries
        .filter(|(key, _)| key.ends_with("_token"))
        .filter_map(|(key, token)| Some((key.clone(), token_contents(token).pop()?)))
        .collect()
}

/// A token is written as a string or as an object with `content`; several as a list, or by name.
fn token_contents(value: &Value) -> Vec<String> {
    match value {
        Value::String(content) => vec![content.clone()],
        Value::Object(token) if token.contains_key("content") => token_contents(&token["content"]),
        Value::Object(named) => named.values().flat_map(token_contents).collect(),
        Value::Array(list) => list.iter().flat_map(token_contents).collect(),
        _ => Vec::new(),
    }
}

/// A mapping, or `null` where there is no such file.
fn read_config(file: &Path) -> Result<Value, ModelError> {
    let Some(text) = read_text(file, LARGEST_CONFIG)? else {
        return Ok(Value::Null);
    };
    match serde_json::from_str(&text) {
        Ok(config @ Value::Object(_)) => Ok(config),
        Ok(_) => Err((file, "is not a mapping; fetch it again".to_owned()).into()),
        Err(e) => Err((file, format!("not valid JSON: {e}; fetch it again")).into()),
    }
}

/// The text of a file of at most `limit` bytes; None where there is no such file.
fn read_text(file: &Path, limit: u64) -> Result<Option<String>, ModelError> {
    match files::read_text(file, limit) {
        Ok(text) => Ok(Some(text)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err((file, format!("cannot be read: {e}; {}", files::remedy(&e))).into()),
    }
}

fn missing_tokenizer(folder: &Path) -> ModelError {
    let advice = match folder.join("tokenizer.model").is_file() {
        true => {
            "is missing, and tokenizer.model is not read; convert it: in Python, \
             `transformers.AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`"
        }
        false => "is missing; fetch it from where the model came from",
    };
    (folder.join(TOKENIZER).as_path(), advice.to_owned()).into()
}
