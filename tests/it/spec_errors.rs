//! Broken specs, each with its report as a snapshot. A new case is a new file in `tests/inputs/spec-errors`.
//!
//! A line `#! --set key.path=value` at the top of a case is a `--set` argument.

use std::path::Path;

use reachspec::hub::Network;
use reachspec::spec::load::{LoadError, load_with};
use reachspec::spec::target::ToyTarget;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The report on a spec, its path as seen from the root of the repository.
fn report(path: &Path) -> String {
    let settings = settings(path);
    // Paths in reports are relative, as a user at the root of the repository sees them.
    let path = path
        .strip_prefix(ROOT)
        .expect("the cases lie in the repository");
    match load_with(path, &settings, Network::Off, |_| Ok(ToyTarget::default())) {
        Ok(_) => "accepted".into(),
        Err(LoadError::Spec(error)) => error.to_string(),
        Err(LoadError::Model(error)) => format!("{error}\n(the model is to blame)"),
    }
}

fn settings(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).expect("the case was just listed");
    let text = String::from_utf8_lossy(&bytes);
    let lines = text
        .lines()
        .map_while(|line| line.strip_prefix("#! --set "));
    lines.map(str::to_owned).collect()
}

#[test]
fn every_broken_spec_is_explained() {
    insta::with_settings!({omit_expression => true, prepend_module_to_snapshot => false}, {
        insta::glob!("../inputs/spec-errors", "*.yaml", |path| {
            let report = report(path);
            assert_ne!(report, "accepted", "{} is no broken spec", path.display());
            for word in ["anyOf", "oneOf", "is not valid under", "invalid type"] {
                assert!(!report.contains(word), "{word} is not for people:\n{report}");
            }
            insta::assert_snapshot!(report);
        });
    });
}

#[test]
fn files_that_are_no_specs_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    let large = folder.path().join("large.yaml");
    std::fs::write(&large, "#".repeat((1 << 20) + 1)).unwrap();
    for (path, expected) in [
        (folder.path().join("missing.yaml"), "does not exist"),
        (folder.path().to_owned(), "is a folder, not a file"),
        (large, "is larger than the limit of 1 MiB"),
    ] {
        let error = load_with(&path, &[], Network::Off, |_| Ok(ToyTarget::default()))
            .map(|_| ())
            .unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(matches!(error, LoadError::Spec(_)));
    }
}

#[cfg(target_os = "linux")]
pub fn visit(_: crate::bad_inputs::Visit<'_>) {}
