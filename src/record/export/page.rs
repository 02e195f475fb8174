//! The page that explains every table and column, made from the declared columns.

use std::fmt::Write;

use clap::ValueEnum;

use super::Table;
use super::column::{About, Kind};
use super::schema::null_when;

/// Name of the page's file.
pub const FILE_NAME: &str = "export.md";

/// The page before the tables.
const HEAD: &str = include_str!("page.md");

/// The page, in Markdown.
pub fn text() -> String {
    let mut page = HEAD.to_owned();
    for &table in Table::value_variants() {
        let about = table.about();
        let _ = write!(page, "\n## `{}`\n\n{}.\n\n", table.name(), table.meaning());
        columns(&mut page, &about.columns);
        if !about.at_horizon.is_empty() {
            page += "\nAt each horizon, from the shortest to the longest:\n\n";
            columns(&mut page, &about.at_horizon);
        }
    }
    page
}

fn columns(page: &mut String, columns: &[About]) {
    *page += "| column | type | unit | meaning | null when |\n|---|---|---|---|---|\n";
    for about in columns {
        let (name, kind, meaning) = (about.name, kind(about.kind), about.meaning);
        let unit = about.unit.unwrap_or_default();
        let null = null_when(about).unwrap_or("never".into());
        let _ = writeln!(page, "| `{name}` | {kind} | {unit} | {meaning} | {null} |");
    }
}

fn kind(kind: Kind) -> String {
    match kind {
        Kind::Integer => "integer".into(),
        Kind::Number => "number".into(),
        Kind::Boolean => "boolean".into(),
        Kind::Text => "text".into(),
        Kind::Integers => "list of integers".into(),
        Kind::Word(words) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            words.join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_has_a_line_of_five_cells() {
        let page = text();
        let lines = page.lines().filter(|line| line.starts_with("| `"));
        assert!(lines.clone().count() > 40);
        for line in lines {
            assert_eq!(line.matches('|').count(), 6, "{line}");
        }
    }
}
