//! The models in `specs/models`: each card was written of the files that lie beside it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

fn folders() -> Vec<PathBuf> {
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("specs/models");
    let mut folders: Vec<PathBuf> = (std::fs::read_dir(models).unwrap())
        .map(|folder| folder.unwrap().path())
        .collect();
    folders.sort();
    folders
}

/// Size and SHA-256 (lower-case hex) of each file but the card, as the card's table writes them.
fn files(folder: &Path) -> BTreeMap<String, [String; 2]> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap())
        .filter(|file| file.file_name() != "README.md")
        .map(|file| {
            let bytes = std::fs::read(file.path()).unwrap();
            let hash: String = (Sha256::digest(&bytes).iter())
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let name = file.file_name().into_string().unwrap();
            (name, [bytes.len().to_string(), hash])
        })
        .collect()
}

/// The rows of the card's table of files.
fn listed(card: &str) -> BTreeMap<String, [String; 2]> {
    let cells = |line: &str| -> Option<(String, [String; 2])> {
        let mut cells = line.strip_prefix("| `")?.split(" | ");
        let name = cells.next()?.strip_suffix('`')?.to_owned();
        let bytes = cells.next()?.to_owned();
        let hash = cells.next()?.strip_prefix('`')?.strip_suffix("` |")?;
        Some((name, [bytes, hash.to_owned()]))
    };
    card.lines().filter_map(cells).collect()
}

#[test]
fn every_card_is_of_the_files_beside_it() {
    let folders = folders();
    assert!(folders.len() >= 2);
    for folder in folders {
        let card = std::fs::read_to_string(folder.join("README.md")).unwrap();
        assert_eq!(listed(&card), files(&folder), "{}", folder.display());
    }
}
