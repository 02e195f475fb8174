//! The spec that `reachspec init` writes.

const TEMPLATE: &str = include_str!("starter.yaml");

/// What a starter spec names.
pub struct Names {
    /// The spec file, as a word of the commands in its comments.
    pub file: String,
    /// Name of the study.
    pub study: String,
    /// The model's folder, as seen from the spec.
    pub model: String,
    /// The JSON schema, as seen from the spec.
    pub schema: String,
}

/// The text of a starter spec.
pub fn spec(names: &Names) -> String {
    TEMPLATE
        .replace("{{schema}}", &names.schema)
        .replace("{{file}}", &names.file)
        .replace("{{name}}", &names.study)
        .replace("{{model}}", &quoted(&names.model))
}

/// A path as a YAML scalar: in single quotes where it could be read as something else.
fn quoted(path: &str) -> String {
    let is_plain = path
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "/._-~".contains(c))
        && path.starts_with(|c: char| c.is_ascii_alphabetic() || "/.".contains(c));
    if is_plain {
        path.to_owned()
    } else {
        format!("'{}'", path.replace('\'', "''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Network;
    use crate::spec::load::load_with;
    use crate::spec::target::ToyTarget;

    #[test]
    fn the_starter_is_a_study_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("it's a model: #1");
        std::fs::create_dir(&model).unwrap();
        let text = spec(&Names {
            file: "study.yaml".into(),
            study: "study".into(),
            model: "it's a model: #1".into(),
            schema: "study.schema.json".into(),
        });
        assert!(text.starts_with("# yaml-language-server: $schema=study.schema.json\n"));
        let path = folder.path().join("study.yaml");
        std::fs::write(&path, text).unwrap();
        let loaded = load_with(&path, &[], Network::Off, |_| Ok(ToyTarget::default()));
        let study = loaded.map_err(|e| e.to_string()).map(|l| l.study).unwrap();
        assert_eq!(study.neurons.len(), 2);
        assert_eq!(study.doses.magnitudes.len(), 9);
        assert_eq!(study.model.name, "it's a model: #1");
    }
}
