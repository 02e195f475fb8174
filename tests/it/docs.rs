//! The pages for users: their links lead somewhere, and the program knows the flags that they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn pages() -> Vec<PathBuf> {
    let docs = std::fs::read_dir(Path::new(ROOT).join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.extend(
        ["README.md", "benches/README.md", "tests/readers/README.md"]
            .map(|page| Path::new(ROOT).join(page)),
    );
    pages.sort();
    pages
}

fn text(page: &Path) -> String {
    std::fs::read_to_string(page).unwrap_or_else(|error| panic!("{}: {error}", page.display()))
}

/// What stands between `](` and `)` outside of code.
fn links(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut links = Vec::new();
    for line in text.lines() {
        fenced ^= line.trim_start().starts_with("```");
        if !fenced {
            let targets = line
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next());
            links.extend(targets.map(str::to_owned));
        }
    }
    links
}

/// The anchors of a page's headings, as code hosts make them.
fn anchors(page: &Path) -> BTreeSet<String> {
    let slug = |title: &str| -> String {
        let kept = title.to_lowercase().replace(' ', "-");
        kept.chars()
            .filter(|c| c.is_alphanumeric() || "-_".contains(*c))
            .collect()
    };
    let text = text(page);
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| slug(line.trim_start_matches('#').trim()))
        .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let mut checked = 0;
    for page in pages() {
        for link in links(&text(&page)) {
            if link.starts_with("https://") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(target.exists(), "{}: {link}", page.display());
            let found = anchor.is_empty() || anchors(&target).contains(anchor);
            assert!(found, "{}: no heading for {link}", page.display());
            checked += 1;
        }
    }
    assert!(checked > 60, "only {checked} links");
}

#[test]
fn every_page_is_listed() {
    let index = text(&Path::new(ROOT).join("docs/README.md"));
    for page in pages()
        .iter()
        .filter(|page| page.parent().unwrap().ends_with("docs"))
    {
        let name = page.file_name().unwrap().to_str().unwrap();
        assert!(
            name == "README.md" || index.contains(&format!("({name})")),
            "{name}"
        );
    }
}

/// Lines of shell blocks and code spans that call the program: subcommand and flags.
fn calls(text: &str) -> Vec<(String, Vec<String>)> {
    let whole = text.replace(['`', ';', '|', ')'], "\n");
    let called = whole
        .lines()
        .filter_map(|line| line.split("reachspec ").nth(1));
    called
        .filter_map(|call| {
            let mut words = call.split_whitespace();
            let command = words.next()?.to_owned();
            let flags = words
                .take_while(|word| *word != "#")
                .filter(|word| word.starts_with("--"));
            let flags = flags
                .map(|flag| flag.split('=').next().unwrap().to_owned())
                .collect();
            Some((command, flags))
        })
        .filter(|(command, _)| command.chars().all(|c| c.is_ascii_lowercase()))
        .collect()
}

#[test]
fn every_flag_in_a_command_exists() {
    let help = |command: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_reachspec"))
            .args([command, "--help"])
            .output()
            .unwrap();
        output
            .status
            .success()
            .then(|| String::from_utf8(output.stdout).unwrap())
    };
    let mut checked = 0;
    for page in pages() {
        for (command, flags) in calls(&text(&page)) {
            // `reachspec is …` is prose.
            let Some(help) = help(&command).filter(|_| !flags.is_empty()) else {
                continue;
            };
            for flag in flags {
                assert!(help.contains(&flag), "{}: {command} {flag}", page.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 25, "only {checked} flags");
}
