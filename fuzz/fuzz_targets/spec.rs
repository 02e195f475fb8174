//! Feeds a spec file: its bytes, and perhaps `--set` arguments. Parsing and resolution must answer, with a study or with problems that can
//! be rendered; they may never panic, nor take time or memory out of proportion to the file.
//!
//! Input: the spec; whatever lines follow the last line `@set` are `--set` arguments.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use reachspec::spec::resolve;
use reachspec::spec::target::ToyTarget;
use reachspec::spec::written::Written;

const SETTINGS: &[u8] = b"\n@set\n";

fuzz_target!(|input: &[u8]| {
    let (spec, settings) = split(input);
    let answer = Written::from_bytes(Path::new("a.yaml"), spec, &settings)
        .and_then(|written| resolve(&written, Path::new("/nonexistent"), &ToyTarget::default()));
    match answer {
        Ok((study, warnings)) => {
            assert_eq!(study.hash().len(), 64);
            assert!(warnings.iter().all(|warning| !warning.message.is_empty()));
        }
        Err(error) => {
            assert!(!error.problems.is_empty());
            assert!(!error.render(true).is_empty());
            assert!(!error.render(false).is_empty());
        }
    }
});

/// The spec, and the `--set` arguments.
fn split(input: &[u8]) -> (&[u8], Vec<String>) {
    let windows = input.windows(SETTINGS.len());
    let Some(at) = windows.rev().position(|window| window == SETTINGS) else {
        return (input, Vec::new());
    };
    let at = input.len() - SETTINGS.len() - at;
    let settings = String::from_utf8_lossy(&input[at + SETTINGS.len()..]);
    (&input[..at], settings.lines().map(str::to_owned).collect())
}
