//! What this program is built from: where it comes from, under which licences, and which of it is native code. The offline equivalent of
//! `cargo deny check bans licenses sources`.
//!
//! Versions that their authors have taken back, often for a hole, are named by `tests/yanked`, which needs the index of crates.io.
//! Not covered: advisories. RustSec's database is a Git repository that could not be reached where this was written, and no registry
//! packages it. Where the network allows it, `cargo audit` says what this test cannot: whether a version in `Cargo.lock` has a known hole.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const LOCK: &str = include_str!("../../Cargo.lock");
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences under which a dependency may be used beside ours, by their SPDX names. `MPL-2.0` asks for the source of changed files of its
/// own crate, of which we change none.
const LICENCES: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that stand in the lock file in several versions, as their users do not agree. Each costs build time: a new one is looked at.
const SEVERAL: [(&str, usize); 18] = [
    ("base64", 2),
    ("block-buffer", 2),
    ("cpufeatures", 2),
    ("crypto-common", 2),
    ("digest", 2),
    ("fancy-regex", 3),
    ("getrandom", 3),
    ("hashbrown", 2),
    ("num-bigint", 2),
    ("r-efi", 2),
    ("rand", 2),
    ("rand_core", 2),
    ("sha2", 2),
    ("syn", 2),
    ("thiserror", 2),
    ("thiserror-impl", 2),
    ("tokenizers", 2),
    ("windows-sys", 2),
];

/// Crates that compile or link code that is not Rust: Oniguruma and a suffix array for tokenizers, SQLite for the store, the
/// cryptography of TLS. The others are for platforms that are not ours (WebAssembly, Haiku) or compile nothing by default.
const NATIVE: [&str; 9] = [
    "esaxx-rs",
    "iana-time-zone-haiku",
    "libsqlite3-sys",
    "onig_sys",
    "rayon-core",
    "ring",
    "signal-hook",
    "sqlite-wasm-rs",
    "wasm-bindgen-shared",
];

/// Crates that have no place here, and why; a `*` stands for any ending. The lock file holds what the features `cuda` and `metal` need as
/// well, such as `libloading`, which looks for CUDA's libraries: that one is left out.
const BANNED: [(&str, &str); 21] = [
    (
        "openssl*",
        "TLS is rustls'; a system's OpenSSL makes the build depend on it",
    ),
    ("native-tls", "as openssl"),
    ("serde-pickle*", "pickles run code when they are read"),
    ("pyo3*", "no Python"),
    ("cpython", "no Python"),
    ("rustpython*", "no Python"),
    ("dlopen*", "nothing is loaded at run time"),
    ("wasmtime*", "nothing named in a spec is executed"),
    ("mlua*", "nothing named in a spec is executed"),
    ("rhai", "nothing named in a spec is executed"),
    ("rquickjs*", "nothing named in a spec is executed"),
    ("deno_core", "nothing named in a spec is executed"),
    ("git2", "models come over HTTP, from one hub"),
    ("libgit2-sys", "models come over HTTP, from one hub"),
    ("curl*", "models come over HTTP, by ureq"),
    ("reqwest", "models come over HTTP, by ureq"),
    ("hyper*", "no server, and no second client"),
    ("axum*", "no server"),
    ("actix*", "no server"),
    ("tiny_http", "no server"),
    ("tokio*", "nothing here waits for thousands of connections"),
];

/// One `[[package]]` of the lock file: its keys.
fn locked() -> Vec<BTreeMap<&'static str, &'static str>> {
    (LOCK.split("[[package]]").skip(1))
        .map(|package| {
            let pairs = package.lines().filter_map(|line| line.split_once(" = "));
            pairs
                .map(|(key, value)| (key, value.trim_matches('"')))
                .collect()
        })
        .collect()
}

#[test]
fn every_package_comes_from_crates_io_with_a_checksum() {
    let packages = locked();
    assert!(packages.len() > 100, "the lock file was not read");
    for package in packages {
        let name = package["name"];
        if name == env!("CARGO_PKG_NAME") {
            assert_eq!(package.get("source"), None, "we are not our own dependency");
            continue;
        }
        assert_eq!(package.get("source"), Some(&CRATES_IO), "{name}");
        let checksum = package.get("checksum").copied().unwrap_or_default();
        let is_hash = checksum.len() == 64 && checksum.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(is_hash, "{name} has no checksum");
    }
}

#[test]
fn nothing_is_there_twice_that_is_not_known_to_be() {
    let mut versions: BTreeMap<&str, usize> = BTreeMap::new();
    for package in locked() {
        *versions.entry(package["name"]).or_default() += 1;
    }
    versions.retain(|_, count| *count > 1);
    assert_eq!(
        versions,
        BTreeMap::from(SEVERAL),
        "`cargo tree --duplicates` says who wants which"
    );
}

#[test]
fn nothing_is_there_that_has_no_place() {
    for package in locked() {
        let name = package["name"];
        for (banned, why) in BANNED {
            let is = match banned.strip_suffix('*') {
                Some(beginning) => name.starts_with(beginning),
                None => name == banned,
            };
            assert!(!is, "{name}: {why}");
        }
    }
}

/// What cargo knows of every package; of those for this platform only where the others were never fetched.
fn metadata() -> Option<Vec<Value>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = |arguments: &[&str]| {
        Command::new(&cargo)
            .args(arguments)
            .current_dir(ROOT)
            .output()
    };
    let version = match run(&["-vV"]) {
        Ok(version) => version.stdout,
        Err(error) => {
            eprintln!("skipped: there is no cargo to ask ({error})");
            return None;
        }
    };
    let version = String::from_utf8(version).unwrap();
    let host = (version.lines().find_map(|line| line.strip_prefix("host: ")))
        .unwrap()
        .to_owned();
    let everything = ["metadata", "--locked", "--offline", "--format-version", "1"];
    let ours = [&everything[..], &["--filter-platform", &host]].concat();
    let output = [&everything[..], &ours]
        .into_iter()
        .map(|arguments| run(arguments).unwrap())
        .find(|output| output.status.success())
        .expect("the dependencies were fetched to build this");
    let mut found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let Value::Array(packages) = found["packages"].take() else {
        panic!("cargo metadata lists packages");
    };
    Some(packages)
}

#[test]
fn every_licence_is_one_that_may_be_used() {
    let Some(packages) = metadata() else { return };
    for package in &packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str();
        let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
        assert_eq!(satisfied(licence), Ok(true), "{name}: {licence}");
    }
}

#[test]
fn native_code_is_known_by_name() {
    let Some(packages) = metadata() else { return };
    let compiles = ["cc", "cmake", "bindgen", "pkg-config", "vcpkg", "nasm-rs"];
    let native: BTreeSet<&str> = (packages.iter())
        .filter(|package| {
            let mut dependencies = package["dependencies"].as_array().unwrap().iter();
            let builds_with = dependencies
                .any(|d| d["kind"] == "build" && compiles.contains(&d["name"].as_str().unwrap()));
            builds_with || package["links"].is_string()
        })
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    let unknown: Vec<&&str> = native
        .iter()
        .filter(|name| !NATIVE.contains(name))
        .collect();
    assert!(
        unknown.is_empty(),
        "native code, new in the tree: {unknown:?}"
    );
    assert!(
        native.contains("libsqlite3-sys"),
        "the list was made wrongly: {native:?}"
    );
}

/// Whether a licence expression (SPDX, annex D; `/` is an old way to write `OR`) is satisfied by [`LICENCES`].
fn satisfied(expression: &str) -> Result<bool, String> {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = &words[..];
    let value = any_of(&mut rest)?;
    match rest {
        [] => Ok(value),
        [word, ..] => Err(format!("`{word}` is not expected")),
    }
}

fn any_of(rest: &mut &[&str]) -> Result<bool, String> {
    let mut value = all_of(rest)?;
    while let ["OR", left @ ..] = *rest {
        *rest = left;
        value |= all_of(rest)?;
    }
    Ok(value)
}

fn all_of(rest: &mut &[&str]) -> Result<bool, String> {
    let mut value = one(rest)?;
    while let ["AND", left @ ..] = *rest {
        *rest = left;
        value &= one(rest)?;
    }
    Ok(value)
}

fn one(rest: &mut &[&str]) -> Result<bool, String> {
    match *rest {
        ["(", left @ ..] => {
            *rest = left;
            let value = any_of(rest)?;
            let [")", left @ ..] = *rest else {
                return Err("a bracket stays open".into());
            };
            *rest = left;
            Ok(value)
        }
        [name, "WITH", exception, left @ ..] => {
            *rest = left;
            Ok(LICENCES.contains(&format!("{name} WITH {exception}").as_str()))
        }
        [name, left @ ..] if !["OR", "AND", "WITH", ")"].contains(name) => {
            *rest = left;
            Ok(LICENCES.contains(name))
        }
        _ => Err("a licence is missing".into()),
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_says() {
    for (expression, expected) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        // AND binds tighter.
        ("MIT OR GPL-3.0 AND ISC", true),
        ("(MIT OR GPL-3.0) AND GPL-2.0", false),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0 WITH Classpath-exception-2.0", false),
    ] {
        assert_eq!(satisfied(expression), Ok(expected), "{expression}");
    }
    for broken in ["", "MIT OR", "(MIT", "MIT)", "MIT Apache-2.0", "AND MIT"] {
        assert!(satisfied(broken).is_err(), "{broken}");
    }
}
