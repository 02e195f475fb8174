//! Files of this repository that are made by the program: JSON schemas and reference pages. A test fails where one is stale.

use std::path::Path;

use crate::record::export::{page, schema};
use crate::spec::schema as study;

/// A file that is made by the program.
pub struct Generated {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub text: fn() -> String,
}

/// The JSON schemas, in `schemas/`.
pub const SCHEMAS: &[Generated] = &[
    Generated {
        name: study::FILE_NAME,
        text: study::study_text,
    },
    Generated {
        name: schema::FILE_NAME,
        text: schema::text,
    },
];

/// The reference pages, in `docs/`.
pub const PAGES: &[Generated] = &[Generated {
    name: page::FILE_NAME,
    text: page::text,
}];

impl Generated {
    /// Writes the file into a folder.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn write(&self, folder: &Path) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(self.name), (self.text)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_files_are_fresh() {
        for (folder, files) in [("schemas", SCHEMAS), ("docs", PAGES)] {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            for file in files {
                let checked_in = std::fs::read_to_string(root.join(file.name)).unwrap_or_default();
                assert!(
                    checked_in == (file.text)(),
                    "{folder}/{} is stale: run `cargo run -- schema --write schemas --docs docs`",
                    file.name
                );
            }
        }
    }

    #[test]
    fn every_checked_in_schema_is_made_by_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let mut found: Vec<_> = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        let mut listed: Vec<_> = SCHEMAS.iter().map(|file| file.name).collect();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }
}
