//! From the bytes of a spec file to [`StudySpec`], with the place of every key.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::located::Located;
use super::path::{SpecPath, Step};
use super::problem::{Problem, SpecError};
use super::schema;
use super::set::Setting;
use super::source::{Place, SPEC_BYTES, Source, decode, read_bytes};
use super::violations::violations;
use super::{StudySpec, tree, value};
use crate::record::canonical;

/// A spec that is well-formed: every key is known and every value has its type. Whether it makes sense is for resolution to say.
#[derive(Debug)]
pub struct Written {
    /// The spec.
    pub spec: StudySpec,
    /// Where everything in it stands.
    pub located: Located,
    /// The folder of the spec file, to which its paths are relative; empty for the current one.
    pub folder: PathBuf,
    /// SHA-256 of the file's bytes, lower-case hex.
    pub sha256: String,
}

impl Written {
    /// Reads a spec file and changes it by `--set` arguments.
    pub fn read(path: &Path, settings: &[String]) -> Result<Self, SpecError> {
        let name = path.display().to_string();
        match read_bytes(path, SPEC_BYTES) {
            Ok(bytes) => Self::from_bytes(path, &bytes, settings),
            Err(reason) => {
                let source = Arc::new(Source {
                    name: name.clone(),
                    text: String::new(),
                });
                Err(whole(&source, format!("the spec {name} {reason}")))
            }
        }
    }

    /// The same for a file that was read already; `path` is its name.
    pub fn from_bytes(path: &Path, bytes: &[u8], settings: &[String]) -> Result<Self, SpecError> {
        let name = path.display().to_string();
        let text = decode(bytes);
        let source = Arc::new(Source {
            name: name.clone(),
            text: text.clone().unwrap_or_default(),
        });
        text.map_err(|reason| whole(&source, format!("the spec {name} {reason}")))?;
        let (spec, located) =
            interpret(&source, settings).map_err(|problems| SpecError::new(&source, problems))?;
        Ok(Self {
            spec,
            located,
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            sha256: canonical::hex(&Sha256::digest(bytes)),
        })
    }

    /// The text of the file.
    pub fn text(&self) -> &str {
        &self.located.source().text
    }

    /// All problems of this spec as one error.
    pub fn error(&self, problems: Vec<Problem>) -> SpecError {
        SpecError::new(self.located.source(), problems)
    }
}

fn whole(source: &Arc<Source>, message: String) -> SpecError {
    let problem = Problem::new(SpecPath::root(), Place::whole(source), message);
    SpecError::new(source, vec![problem])
}

fn interpret(
    source: &Arc<Source>,
    settings: &[String],
) -> Result<(StudySpec, Located), Vec<Problem>> {
    let tree = tree::build(source)?;
    let mut value = value::parse(source, &tree)?;
    let mut located = Located::file(source.clone(), tree);
    apply(settings, &mut value, &mut located)?;
    let problems = violations(&schema::STUDY, &value, &located);
    if !problems.is_empty() {
        return Err(problems);
    }
    keep_expected_text(&mut value, &located);
    match serde_json::from_value(value) {
        Ok(spec) => Ok((spec, located)),
        Err(error) => Err(vec![located.problem(&SpecPath::root(), error.to_string())]),
    }
}

fn apply(
    settings: &[String],
    value: &mut Value,
    located: &mut Located,
) -> Result<(), Vec<Problem>> {
    let mut problems = Vec::new();
    for argument in settings {
        match Setting::parse(argument).and_then(|setting| setting.apply(value)) {
            Ok(applied) => located.apply(applied),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// Expected values are compared as text, so that `expect: {answer: 3.10}` means `3.10` and not `3.1`.
fn keep_expected_text(value: &mut Value, located: &Located) {
    let Some(Value::Object(sets)) = value.get_mut("prompts") else {
        return;
    };
    for (name, set) in sets {
        let Some(Value::Array(prompts)) = set.get_mut("inline") else {
            continue;
        };
        let path = SpecPath::root().key("prompts").key(name).key("inline");
        for (index, prompt) in prompts.iter_mut().enumerate() {
            let Some(Value::Object(expect)) = prompt.get_mut("expect") else {
                continue;
            };
            let path = path.item(index).key("expect");
            for (key, expected) in expect {
                let written = located.plain_text(&path.then(Step::Key(key.clone())));
                if let (false, Some(written)) = (expected.is_string(), written) {
                    *expected = Value::String(written.to_owned());
                }
            }
        }
    }
}
