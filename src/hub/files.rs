//! Which files of a repository are fetched, in which order.

use super::error::Problem;
use crate::model::checkpoint::{INDEX, SINGLE};

/// Files that every model has.
pub const REQUIRED: [&str; 2] = ["config.json", "tokenizer.json"];
/// Files that change results where they are.
pub const OPTIONAL: [&str; 3] = [
    "generation_config.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// What is fetched of a repository with these files before its weights, and the file that holds the weights or names their shards.
///
/// # Errors
/// A required file is not there, or no safetensors.
pub fn chosen(names: &[String]) -> Result<(Vec<&'static str>, &'static str), Problem> {
    let there = |name: &str| names.iter().any(|n| n == name);
    if let Some(missing) = REQUIRED.iter().find(|name| !there(name)) {
        return Err(Problem::NoSuchFile((*missing).to_owned()));
    }
    let weights = [SINGLE, INDEX].into_iter().find(|name| there(name));
    let weights = weights.ok_or_else(|| Problem::NoSafetensors {
        instead: instead(names),
    })?;
    let small = REQUIRED.iter().chain(&OPTIONAL).copied();
    Ok((small.filter(|name| there(name)).collect(), weights))
}

/// The weights of a repository without the safetensors that are looked for.
fn instead(names: &[String]) -> Option<String> {
    let endings = [
        ".safetensors",
        ".bin",
        ".bin.index.json",
        ".pth",
        ".pt",
        ".gguf",
    ];
    let ends = |ending: &&str| names.iter().find(|name| name.ends_with(ending));
    endings.iter().find_map(ends).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn pickles_and_code_are_never_chosen() {
        let all = names(&[
            "README.md",
            "config.json",
            "modeling_x.py",
            "model.safetensors",
            "pytorch_model.bin",
            "tokenizer.json",
            "tokenizer_config.json",
        ]);
        assert_eq!(
            chosen(&all).unwrap(),
            (
                vec!["config.json", "tokenizer.json", "tokenizer_config.json"],
                "model.safetensors"
            )
        );
    }

    #[test]
    fn what_is_there_instead_of_safetensors_is_named() {
        let pickled = names(&["config.json", "tokenizer.json", "pytorch_model.bin"]);
        let Err(Problem::NoSafetensors { instead }) = chosen(&pickled) else {
            panic!("a pickle was chosen");
        };
        assert_eq!(instead.as_deref(), Some("pytorch_model.bin"));
    }
}
