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

/// Every broken spec with the program that checks it, beside a model like the one that the reports above are made for.
#[cfg(target_os = "linux")]
pub fn visit(visit: crate::bad_inputs::Visit<'_>) {
    use crate::{byte_model, verify};

    let cases = Path::new(ROOT).join("tests/inputs/spec-errors");
    let folder = tempfile::tempdir().unwrap();
    verify::copy(&cases, folder.path());
    byte_model::write(folder.path());
    let mut names: Vec<_> = (std::fs::read_dir(&cases).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    for name in names {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_reachspec"));
        command.current_dir(&folder).args(["check", &name]);
        command.env("HF_HUB_OFFLINE", "1");
        for setting in settings(&cases.join(&name)) {
            command.args(["--set", &setting]);
        }
        visit(&name, &mut command);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_program_rejects_every_broken_spec_in_little_memory() {
    visit(&mut |name, command| {
        let ended = crate::bad_inputs::run(name, command);
        let code = ended.status.code();
        assert!(
            matches!(code, Some(2 | 3)),
            "{name}: {code:?} {}",
            ended.stderr
        );
    });
}
