//! The model's files against the hashes in the study; its tokenizer, for judging.

use std::path::Path;

use super::{Check, VerifyError};
use crate::model::tokenizer::TextCodec;
use crate::record::reading::file_sha256;
use crate::report::format::{counted, listed};
use crate::study::Study;

/// Files that say how tokens become text.
const TEXT: [&str; 3] = ["config.json", "tokenizer.json", "tokenizer_config.json"];

/// The run noted a relative path as it was given: from elsewhere, that may lead to another model.
fn other_file(folder: &Path) -> String {
    let problem = "the file is not the one that the run was made with";
    match folder.is_relative() {
        false => problem.into(),
        true => format!(
            "{problem} (it was looked for from the current folder; `--model DIR` says where the model is)"
        ),
    }
}

/// Compares the files in a folder, and reads the tokenizer where its files are those of the run. Weights need not be there.
///
/// # Errors
/// If there is no tokenizer, or a file cannot be read.
pub fn files(study: &Study, folder: &Path) -> Result<(Check, Option<TextCodec>), VerifyError> {
    if !folder.join("tokenizer.json").is_file() {
        let folder = folder.to_owned();
        return Err(VerifyError::NoTokenizer { folder });
    }
    let mut check = Check::new("model");
    let (mut compared, mut missing, mut same_text) = (0, Vec::new(), true);
    for (name, recorded) in &study.model.files {
        let path = folder.join(name);
        let is_text = TEXT.contains(&&**name);
        if path.is_file() {
            compared += 1;
            if file_sha256(&path)? != *recorded {
                same_text &= !is_text;
                check.problem(path.display().to_string(), other_file(folder));
            }
        } else if is_text {
            same_text = false;
            let problem = "the file was part of the model, and is gone";
            check.problem(path.display().to_string(), problem);
        } else {
            missing.push(name.clone());
        }
    }
    let mut words = format!(
        "{} of {} in {} under their hashes",
        compared,
        counted(study.model.files.len(), "file"),
        folder.display()
    );
    if !missing.is_empty() {
        words += &format!("; not there, so not compared: {}", listed(&missing));
    }
    let text = same_text.then(|| TextCodec::read(folder)).transpose()?;
    Ok((check.of(words), text))
}
