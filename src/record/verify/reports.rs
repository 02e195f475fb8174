//! The reports, rendered again.

use super::{Check, Intact, difference};
use crate::record::RunRecord;
use crate::record::folder::{RunFolder, is_report};
use crate::record::manifest::{Evidence, PROGRAM};
use crate::record::reading::read_file;
use crate::record::run_record::VerdictsFile;
use crate::report::Rendered;
use crate::report::format::counted;
use crate::report::from_record::render_record;

/// Compares the reports with those that the record gives through the built-in templates.
pub fn reports(run: &RunFolder, intact: Intact, answer: Option<VerdictsFile>) -> Check {
    let not_compared = |why: &str| Check::not_compared("reports", why);
    let program = &intact.manifest.program;
    let Some((answer, evidence)) = answer.zip(intact.manifest.evidence.clone()) else {
        return not_compared("the verdicts could not be derived again");
    };
    if evidence.own_templates {
        return not_compared("made with templates of its own (`files` has compared their bytes)");
    }
    if program != PROGRAM {
        let why =
            format!("made by {program}, this is {PROGRAM} (`files` has compared their bytes)");
        return not_compared(&why);
    }
    if !evidence.files.keys().any(|name| is_report(name)) {
        return not_compared("there is none; `reachspec report RUN` writes them");
    }
    let mut check = Check::new("reports");
    let folder = match RunFolder::open(run.root()) {
        Ok(folder) => folder,
        Err(error) => {
            check.failure(run, &error);
            return check;
        }
    };
    let record = RunRecord {
        folder,
        manifest: intact.manifest,
        sealed: intact.sealed,
        judgements: answer.judgements,
        verdicts: answer.verdicts,
        store: intact.store,
    };
    match render_record(&record, None) {
        Ok(rendered) => compare(check, run, &evidence, &rendered),
        Err(error) => {
            check.problem("report.md", format!("cannot be rendered again: {error:#}"));
            check
        }
    }
}

fn compare(mut check: Check, run: &RunFolder, evidence: &Evidence, rendered: &Rendered) -> Check {
    let mut count = 0;
    for name in evidence.files.keys() {
        let Some(text) = text_of(rendered, name) else {
            continue;
        };
        count += 1;
        let difference = match read_file(&run.root().join(name)) {
            Ok(found) => difference::of_texts(&String::from_utf8_lossy(&found), text),
            Err(error) => Some(error.to_string()),
        };
        if let Some(difference) = difference {
            check.problem(name, difference);
        }
    }
    check.of(format!("{} rendered again", counted(count, "file")))
}

/// What a file of the reports should hold; `None` for files that are not of this report.
fn text_of<'a>(rendered: &'a Rendered, name: &str) -> Option<&'a str> {
    match name {
        "report.md" => Some(&rendered.markdown),
        "report.html" => Some(&rendered.html),
        _ => {
            let figure = name.strip_prefix("figures/")?;
            rendered.figures.get(figure).map(String::as_str)
        }
    }
}
