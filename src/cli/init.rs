//! `reachspec init`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::{Failure, place};
use crate::report::text::shell_path;
use crate::spec::schema;
use crate::spec::starter;

/// The model that comes with the project, from the root of the repository.
const SHIPPED_MODEL: &str = "specs/models/bilingual";

/// Write a commented spec to start from
///
/// The spec passes `check` as it is. Its model is the one given; in the root of reachspec's repository, the small one that is shipped there.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The file to write; it must not exist
    #[arg(default_value = "study.yaml")]
    path: PathBuf,

    /// Folder of the model, with `config.json`, `tokenizer.json` and safetensors weights
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  reachspec init my-study.yaml
  reachspec init my-study.yaml --model ~/models/llama-3.2-1b";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let model = args.model.unwrap_or_else(|| SHIPPED_MODEL.into());
    if !model.join("config.json").is_file() {
        let message = format!(
            "there is no model in {} (config.json is missing)",
            model.display()
        );
        let error = anyhow!("{message}; name its folder with `--model DIR`");
        return Err(Failure::Unusable(error));
    }
    place::refuse_in_run(&args.path, "file")?;
    let folder = args.path.parent().unwrap_or(Path::new("")).to_owned();
    let text = starter::spec(&starter::Names {
        file: shell_path(&args.path),
        study: study_name(&args.path),
        model: seen_from(&folder, &model)?,
        schema: seen_from(&folder, &Path::new("schemas").join(schema::FILE_NAME))?,
    });
    write_new(&args.path, &text)?;
    super::say(format_args!(
        "wrote {}; next: reachspec check {}",
        args.path.display(),
        shell_path(&args.path)
    ))?;
    Ok(())
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    let mut file = match OpenOptions::new().write(true).create_new(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            let error = anyhow!("{} exists already; choose another name", path.display());
            return Err(Failure::Rejected(error));
        }
        Err(error) => {
            let error = anyhow!(error).context(format!("cannot write {}", path.display()));
            return Err(Failure::Failed(error));
        }
    };
    (file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write {}", path.display()))
        .map_err(Failure::Failed)
}

/// The file's name without its ending, with what a study's name cannot hold replaced.
fn study_name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || c == '_' {
            c
        } else {
            '-'
        }
    };
    let name: String = stem.chars().map(plain).take(100).collect();
    let name = name.trim_start_matches(['-', '_']);
    if name.is_empty() {
        "study".into()
    } else {
        name.into()
    }
}

/// A path as it is written in a spec that lies in `folder`: relative when the spec lies here, absolute otherwise.
fn seen_from(folder: &Path, path: &Path) -> Result<String, Failure> {
    let here = folder.as_os_str().is_empty() || folder == Path::new(".");
    let path = if here {
        path.to_owned()
    } else {
        (std::path::absolute(path))
            .with_context(|| format!("cannot find {}", path.display()))
            .map_err(Failure::Unusable)?
    };
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::Rejected(anyhow!("{} is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_file_name_gives_a_study_name() {
        for (path, expected) in [
            ("a/my study.yaml", "my-study"),
            ("--.yaml", "study"),
            ("é_1.yaml", "1"),
            ("x.y.yaml", "x-y"),
        ] {
            assert_eq!(study_name(Path::new(path)), expected);
        }
    }
}
