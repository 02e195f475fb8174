//! Writes a rendered report beside a run, or anywhere else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Rendered;
use crate::files;
use crate::record::folder::refuse_link;
use crate::record::{RecordError, RunFolder};

/// How the names of our figures start: only such files are ever removed.
const KINDS: [&str; 8] = [
    "windows-",
    "layers-",
    "controls-",
    "attribution-",
    "ceilings-",
    "dose-response-",
    "outcomes-",
    "saturation",
];

/// Which reports to write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// report.md with its figures beside it
    Md,
    /// report.html: one file that needs no other
    Html,
    /// Both of them
    #[default]
    Both,
}

impl Format {
    /// Whether a file of the reports, by its name in the folder, is written in this format.
    pub fn writes(self, name: &str) -> bool {
        match self {
            Self::Both => true,
            Self::Html => name == "report.html",
            Self::Md => name != "report.html",
        }
    }
}

/// Writes the reports into the folder `out`, which may be the run folder itself, and returns their paths. Figures that an earlier report left
/// there, and this one has no more, are removed.
///
/// # Errors
/// If a file cannot be written or removed.
pub fn write(
    rendered: &Rendered,
    format: Format,
    run: &RunFolder,
    out: &Path,
) -> Result<Vec<PathBuf>, RecordError> {
    let mut written = Vec::new();
    if format != Format::Html {
        let figures = out.join("figures");
        for (name, svg) in &rendered.figures {
            run.write(&figures.join(name), svg.as_bytes())?;
        }
        remove_stale(rendered, out)?;
        written.push(out.join("report.md"));
        run.write(&written[0], rendered.markdown.as_bytes())?;
    }
    if format != Format::Md {
        let path = out.join("report.html");
        run.write(&path, rendered.html.as_bytes())?;
        written.push(path);
    }
    Ok(written)
}

/// Longer files are no reports.
const LONGEST: u64 = 1 << 30;

/// Removes the figures that the report which is about to be replaced shows, and the new one does not: nobody else's.
fn remove_stale(rendered: &Rendered, out: &Path) -> Result<(), RecordError> {
    let replaced = files::read_text(&out.join("report.md"), LONGEST).unwrap_or_default();
    let figures = out.join("figures");
    for name in our_figures(&figures)? {
        let shown = shows(&replaced, &format!("figures/{name}"));
        if shown && !rendered.figures.contains_key(&name) {
            let path = figures.join(name);
            fs::remove_file(&path).map_err(|e| RecordError::io("remove", &path, e))?;
        }
    }
    Ok(())
}

/// Whether a Markdown report shows a figure, by its path beside the report.
pub fn shows(report: &str, figure: &str) -> bool {
    report.contains(&format!("]({figure})"))
}

/// Names of the figures of reports in a folder, by their names; none where there is no folder.
///
/// # Errors
/// If it cannot be listed, or is a link: what lies elsewhere is not ours.
pub fn our_figures(folder: &Path) -> Result<Vec<String>, RecordError> {
    refuse_link(folder)?;
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(RecordError::io("list", folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| RecordError::io("list", folder, error))?;
        names.extend(entry.file_name().into_string());
    }
    let ours =
        |name: &String| name.ends_with(".svg") && KINDS.iter().any(|kind| name.starts_with(kind));
    names.retain(ours);
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::Fixture;

    #[test]
    fn figures_of_an_earlier_report_go_and_other_files_stay() {
        let root = tempfile::tempdir().unwrap();
        let run = RunFolder::create_or_open(&root.path().join("run")).unwrap();
        let out = root.path().join("out");
        fs::create_dir_all(out.join("figures")).unwrap();
        for name in ["windows-9-gone.svg", "windows-mine.svg", "windows-9.txt"] {
            fs::write(out.join("figures").join(name), "x").unwrap();
        }
        let earlier = "![](figures/windows-9-gone.svg)";
        fs::write(out.join("report.md"), earlier).unwrap();
        let rendered = crate::report::render(&Fixture::new().input(), None).unwrap();
        let written = write(&rendered, Format::Both, &run, &out).unwrap();
        assert_eq!(written, [out.join("report.md"), out.join("report.html")]);
        assert!(!out.join("figures/windows-9-gone.svg").exists());
        assert!(
            out.join("figures/windows-mine.svg").exists()
                && out.join("figures/windows-9.txt").exists()
        );
        let files = fs::read_dir(out.join("figures")).unwrap().count();
        assert_eq!(files, rendered.figures.len() + 2);
    }
}
