//! Whole reports, from a made-up record.

use std::path::Path;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use sha2::Digest;

use super::fixture::Fixture;
use super::{Rendered, ReportError, render, templates};
use crate::spec::report::Section;
use crate::stages::verdict::{Threshold, Window};

mod hostile;
mod law;

fn rendered(fixture: &Fixture) -> Rendered {
    render(&fixture.input(), None).expect("the built-in templates render")
}

#[test]
fn markdown_of_the_made_up_record() {
    insta::assert_snapshot!("report.md", rendered(&Fixture::new()).markdown);
}

#[test]
fn the_same_record_gives_the_same_bytes() {
    let (one, two) = (rendered(&Fixture::new()), rendered(&Fixture::new()));
    assert_eq!(
        (one.markdown, one.html, one.figures),
        (two.markdown, two.html, two.figures)
    );
}

#[test]
fn nothing_that_varies_between_reruns() {
    let one = rendered(&Fixture::new());
    let mut fixture = Fixture::new();
    fixture.seal.sealed_at = "2044-12-31T23:59:59Z".into();
    fixture.study.model.folder = "/elsewhere".into();
    let two = rendered(&fixture);
    assert_eq!((&one.markdown, &one.html), (&two.markdown, &two.html));
    for text in [&one.markdown, &one.html] {
        assert!(!text.contains("/home/"));
    }
}

#[test]
fn html_is_well_formed_and_needs_nothing_else() {
    let html = rendered(&Fixture::new()).html;
    assert_well_formed(&html);
    assert_only_our_script(&html);
    for outside in [
        "<link", "<iframe", "<img", "src=", "@import", "http://", "https://",
    ] {
        assert!(!html.contains(outside), "{outside}");
    }
    let urls = html.matches("url(").count();
    assert_eq!(
        urls,
        html.matches("url(#").count(),
        "only patterns of the page itself"
    );
    for id in html
        .match_indices(" id=\"")
        .map(|(at, _)| html[at + 5..].split('"').next())
    {
        let id = id.unwrap_or_default();
        assert_eq!(
            html.matches(&format!(" id=\"{id}\"")).count(),
            1,
            "id {id} is unique"
        );
    }
    for (at, _) in html.match_indices("href=\"#") {
        let target = html[at + 7..].split('"').next().unwrap_or_default();
        assert!(
            html.contains(&format!(" id=\"{target}\"")),
            "#{target} leads somewhere"
        );
    }
}

#[test]
fn every_figure_is_linked_once_and_drawn_without_gaps_in_arithmetic() {
    let report = rendered(&Fixture::new());
    assert!(report.figures.len() >= 15, "{}", report.figures.len());
    for (file, svg) in &report.figures {
        assert_well_formed(svg);
        for bad in ["NaN", "inf", "var("] {
            assert!(!svg.contains(bad), "{file}: {bad}");
        }
        assert_eq!(
            report
                .markdown
                .matches(&format!("(figures/{file})"))
                .count(),
            1,
            "{file}"
        );
        assert!(
            svg.contains("<title id=") && svg.contains("<desc id=") && svg.contains("role=\"img\"")
        );
    }
}

#[test]
fn hidden_sections_and_redacted_texts_are_not_there() {
    let mut fixture = Fixture::new();
    fixture.study.report.hide = vec![
        Section::Ceilings,
        Section::DoseResponse,
        Section::Saturation,
        Section::Outcomes,
        Section::Screens,
        Section::Detectors,
    ];
    fixture.study.report.redact = true;
    let report = rendered(&fixture);
    for file in report.figures.keys() {
        let stays = ["windows-", "layers-", "controls-", "attribution-"];
        assert!(stays.iter().any(|kind| file.starts_with(kind)), "{file}");
    }
    for text in [&report.markdown, &report.html] {
        for hidden in [
            "gato",
            "small dogs",
            "describe the picture",
            "Collapse detectors",
            "Saturation",
            "Screens",
            "Typed outcomes",
        ] {
            assert!(!text.contains(hidden), "{hidden}");
        }
        assert!(text.contains("Sample rollouts") && text.contains("are hidden"));
    }
    fixture.study.report.hide.push(Section::Samples);
    assert!(!rendered(&fixture).html.contains("Sample rollouts"));
}

#[test]
fn a_seal_that_came_late_is_said_plainly() {
    let mut fixture = Fixture::new();
    fixture.seal.trials_before = 12;
    let report = rendered(&fixture);
    for text in [&report.markdown, &report.html] {
        assert!(text.contains("Not prospective throughout: 12 steered trials"));
        // A run that was killed may have lost them: it was not extended.
        let causes = "(the run was extended, or its earlier predictions were lost)";
        assert!(text.contains(causes));
    }
    assert!(
        !rendered(&Fixture::new())
            .markdown
            .contains("Not prospective")
    );
}

#[test]
fn without_open_windows_the_answer_is_none() {
    let mut fixture = Fixture::new();
    for verdict in &mut fixture.verdicts.neurons {
        verdict.open = Some(false);
        for branch in &mut verdict.branches {
            branch.window = Window::Closed {
                reason: crate::stages::verdict::Reason::TooLate,
                evidence: "relative depth 1.00".into(),
            };
        }
    }
    let markdown = rendered(&fixture).markdown;
    assert!(markdown.contains("None of the 9 held-out neurons controls refusal coherently"));
    assert!(!markdown.contains("**open**"));
}

#[test]
fn when_everything_is_censored_nothing_is_claimed() {
    let mut fixture = Fixture::new();
    let bound = Threshold::Above {
        budgets: 3.0,
        coordinate: 0.949,
    };
    for verdict in &mut fixture.verdicts.neurons {
        verdict.open = None;
        for branch in &mut verdict.branches {
            (branch.ceiling, branch.ceiling_interval) = (bound, None);
            for trigger in &mut branch.triggers {
                (trigger.trigger, trigger.interval) = (bound, None);
            }
            branch.window = Window::Censored {
                evidence: "the grid ended".into(),
            };
        }
    }
    for score in &mut fixture.verdicts.scoreboard.ceilings {
        (score.overall, score.bulk) = (None, None);
    }
    for score in &mut fixture.verdicts.scoreboard.forecasts {
        (score.scored, score.right, score.majority, score.interval) = (0, 0, 0, None);
    }
    let report = rendered(&fixture);
    assert_well_formed(&report.html);
    assert!(
        report.markdown.contains(
            "No collapse ceiling by the headline predictor, calibrated, could be compared"
        )
    );
    assert!(
        report
            .markdown
            .contains("No sealed open/closed forecast could be scored.")
    );
    assert!(report.markdown.contains("52 of 52 branches censored"));
    assert!(report.markdown.contains("> 0.949 (> 3.00)"));
}

#[test]
fn an_empty_record_still_gives_a_report() {
    let mut fixture = Fixture::new();
    fixture.verdicts.neurons.clear();
    fixture.judgements.curves.clear();
    fixture.judgements.baselines.clear();
    fixture.judgements.detectors.clear();
    fixture.predictions.ceilings.clear();
    fixture.predictions.predictors.clear();
    fixture.predictions.calibration.neurons.clear();
    fixture.predictions.calibration.thresholds.clear();
    fixture.predictions.calibration.pushes.clear();
    fixture.predictions.trigger_predictors.clear();
    fixture.predictions.triggers.clear();
    fixture.predictions.screening.scores.clear();
    fixture.verdicts.attribution.clear();
    fixture.verdicts.scoreboard.triggers.clear();
    fixture.verdicts.scoreboard.ceilings.clear();
    fixture.verdicts.scoreboard.forecasts.clear();
    fixture.trials = 0;
    let report = rendered(&fixture);
    assert_well_formed(&report.html);
    assert!(report.figures.is_empty());
    assert!(
        report
            .markdown
            .contains("No held-out neuron was measured on language-routing.")
    );
}

#[test]
fn a_folder_replaces_single_templates() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("report.md.jinja"),
        "{{ study }}: {{ answer.behaviors | length }} <b>{{ '<b>' }}",
    )
    .unwrap();
    let report = render(&Fixture::new().input(), Some(folder.path())).unwrap();
    assert_eq!(report.markdown, "two-modes: 2 <b>&lt;b>");
    assert!(
        report.html.starts_with("<!DOCTYPE html>"),
        "the others stay built in"
    );
}

#[test]
fn template_errors_name_template_and_line() {
    let problem = |name: &str, text: &str| {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("html")).unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        render(&Fixture::new().input(), Some(folder.path()))
            .unwrap_err()
            .to_string()
    };
    let unknown = problem("html/methods.html.jinja", "ok\n\n{{ methodes }}");
    assert!(
        unknown.starts_with("template html/methods.html.jinja, line 3: undefined value"),
        "{unknown}"
    );
    let syntax = problem("report.md.jinja", "a\n{% if %}");
    assert!(
        syntax.starts_with("template report.md.jinja, line 2: syntax error"),
        "{syntax}"
    );
    let endless = problem(
        "report.md.jinja",
        "{% for a in range(9999) %}{% for b in range(9999) %}{{ b }}{% endfor %}{% endfor %}",
    );
    assert!(endless.contains("out of fuel"), "{endless}");
    let outside = problem("report.md.jinja", "{% include '../../etc/passwd' %}");
    assert!(
        outside.starts_with("template report.md.jinja, line 1: template not found"),
        "{outside}"
    );
}

#[test]
fn hostile_templates_of_a_user_end_with_an_error() {
    for (template, expected) in [
        (
            "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
            "recursion",
        ),
        ("{% include 'report.md.jinja' %}", "recursion"),
        ("{{ range(1000000000) }}", "range"),
        ("{{ 'x' * 100000000000 }}", "fuel"),
        (
            "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
            "fuel",
        ),
        ("{% extends '/etc/passwd' %}", "template not found"),
        (
            "{% import '../macros.md.jinja' as m %}",
            "template not found",
        ),
        ("{% include 'html/../../x' %}", "template not found"),
        (
            "{% include ['C:\\\\x', '//etc/passwd', './x'] %}",
            "not found",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("report.md.jinja"), template).unwrap();
        let error = render(&Fixture::new().input(), Some(folder.path()))
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with("template ") && error.contains(expected),
            "{template}: {error}"
        );
    }
}

#[test]
fn too_little_for_an_interval_is_said() {
    let mut fixture = Fixture::new();
    for (prompts, said) in [
        (
            1,
            "Too few prompts for an interval for language-routing: 1. It decides every share alone",
        ),
        (
            2,
            "Too few prompts for an interval for language-routing: 2. Those of thresholds are resampled",
        ),
        (
            5,
            "Too few prompts for an interval for language-routing: 5.",
        ),
        (6, "Few prompts for language-routing: 6,"),
    ] {
        fixture.judgements.baselines[0].prompts = prompts;
        let report = rendered(&fixture);
        assert!(
            report.markdown.contains(said) && report.html.contains(said),
            "{prompts}"
        );
        assert_eq!(
            report.markdown.contains("Too few prompts"),
            prompts < 6,
            "{prompts}"
        );
    }
    for absent in ["Too little generic text", "Too few neurons"] {
        assert!(!rendered(&fixture).markdown.contains(absent));
    }
    fixture.predictions.calibration.positions = 15;
    for score in &mut fixture.verdicts.scoreboard.ceilings {
        score.overall.as_mut().unwrap().neurons = 3;
    }
    let report = rendered(&fixture);
    for said in [
        "were read at 15 positions of it",
        "Too few neurons for an interval of the errors: 3.",
    ] {
        assert!(
            report.markdown.contains(said) && report.html.contains(said),
            "{said}"
        );
    }
}

#[test]
fn what_templates_see_is_what_the_schema_says() {
    let schema = crate::generated::of_output::<super::Page<'_>>();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut redacted = Fixture::new();
    redacted.study.report.redact = true;
    for fixture in [
        Fixture::new(),
        Fixture::post_norm(),
        Fixture::census(100),
        redacted,
    ] {
        let input = fixture.input();
        let (view, figures) = super::view::build(&input);
        let page = serde_json::to_value(super::Page::new(&view, &figures)).unwrap();
        if let Err(error) = validator.validate(&page) {
            panic!("{}: {error}", error.instance_path());
        }
        let mut more = page.clone();
        more["answer"]["behaviors"][0]["more"] = 1.into();
        assert!(!validator.is_valid(&more), "the schema is closed");
    }
}

#[test]
fn a_missing_folder_is_said() {
    let error = render(&Fixture::new().input(), Some(Path::new("/nowhere/at/all"))).unwrap_err();
    assert!(matches!(error, ReportError::NoTemplates(_)), "{error}");
}

/// One script, ours, and a policy by which no other one would run.
fn assert_only_our_script(html: &str) {
    let (_, script) = (templates::BUILT_IN.iter())
        .find(|(name, _)| *name == "tables.js")
        .unwrap();
    assert_eq!(html.matches("<script").count(), 1);
    assert!(html.contains(&format!("<script>{script}</script>")));
    let hash = BASE64_STANDARD.encode(sha2::Sha256::digest(script));
    assert!(html.contains(&format!("script-src 'sha256-{hash}'\">")));
}

/// Every tag is closed in order, and every attribute is quoted.
fn assert_well_formed(text: &str) {
    const VOID: [&str; 3] = ["meta", "br", "!DOCTYPE"];
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[..end];
        let name = tag
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap_or_default();
        assert!(
            name == "!DOCTYPE" || name.bytes().all(|b| b.is_ascii_alphanumeric()),
            "<{tag:.80}>"
        );
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag:.80}>");
        if tag.starts_with('/') {
            assert_eq!(
                open.pop(),
                Some(name),
                "before {:.80}",
                &rest[end..].replace('\n', " ")
            );
        } else if !tag.ends_with('/') && !VOID.contains(&name) {
            open.push(name);
        }
        rest = &rest[end + 1..];
        for raw in ["style", "script"] {
            if name == raw && !tag.starts_with('/') {
                rest = &rest[rest.find(&format!("</{raw}>")).expect("it ends")..];
            }
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// `REPORT_PREVIEWS=DIR cargo test --lib report_previews -- --ignored` writes reports of made-up records, to be looked at and to be
/// checked in a browser: one of each kind, and those in which a stranger's text stands wherever one can, in folders `hostile-N`.
#[test]
#[ignore = "writes files for tests/browser/run"]
fn report_previews() {
    let folder = std::env::var("REPORT_PREVIEWS").expect("REPORT_PREVIEWS names a folder");
    let write =
        |name: &str, fixture: &Fixture| write_report(&Path::new(&folder).join(name), fixture);
    write("made-up", &Fixture::new());
    write("post-norm", &Fixture::post_norm());
    write("census", &Fixture::census(4096));
    for (number, text) in hostile::texts().iter().enumerate() {
        write(
            &format!("hostile-{number}"),
            &hostile::hostile_fixture(text),
        );
    }
}

fn write_report(folder: &Path, fixture: &Fixture) {
    let report = rendered(fixture);
    let figures = folder.join("figures");
    std::fs::create_dir_all(&figures).unwrap();
    std::fs::write(folder.join("report.md"), &report.markdown).unwrap();
    std::fs::write(folder.join("report.html"), &report.html).unwrap();
    for (file, svg) in &report.figures {
        std::fs::write(figures.join(file), svg).unwrap();
    }
}
