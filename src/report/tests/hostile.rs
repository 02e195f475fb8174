//! Text from models and strangers stays text, in every format.

use super::{assert_only_our_script, assert_well_formed, rendered};
use crate::report::fixture::Fixture;
use crate::stages::verdict::Window;

/// What strangers write.
pub fn texts() -> Vec<String> {
    let mut texts = [
        "<script>alert(1)</script><img src=x onerror=alert(1)>",
        "]]> --> </style></svg></table> &lt; &amp;",
        "[x](javascript:alert(1)) ![y](http://evil.example/z.png) <http://a.b> https://evil.example www.evil.example a@evil.example",
        "a | b || c \\| d ` `` ``` e\n\n# head\n---\n- item\n1. one\n> quote\n```\nfence",
        "nul\0 esc\u{1b}[31m bidi\u{202e}gnp.exe\u{2066} zero\u{200b}width\u{feff}",
        "{{ 12345 * 5 }} {% include 'x' %} 👩\u{200d}🚀 🏴 ✊🏽",
    ]
    .map(str::to_owned)
    .to_vec();
    texts.push("x".repeat(100_000));
    texts
}

#[test]
fn hostile_text_stays_text() {
    for hostile in &texts() {
        let report = rendered(&hostile_fixture(hostile));
        assert_well_formed(&report.html);
        for (file, svg) in &report.figures {
            assert_well_formed(svg);
            assert!(
                file.bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b)),
                "{file}"
            );
        }
        assert_only_our_script(&report.html);
        assert!(!report.html.contains("<img"));
        let texts: Vec<&String> = [&report.html, &report.markdown]
            .into_iter()
            .chain(report.figures.values())
            .collect();
        for text in texts {
            assert!(!text.contains([
                '\0', '\u{1b}', '\u{202e}', '\u{2066}', '\u{200b}', '\u{feff}'
            ]));
            assert!(!text.contains("61725"), "templates in data are not run");
        }
        assert_markdown_is_calm(&report.markdown);
    }
}

/// Hostile text wherever strangers can put text.
pub fn hostile_fixture(hostile: &str) -> Fixture {
    let mut fixture = Fixture::new();
    let study = &mut fixture.study;
    (study.title, study.description) = (hostile.into(), hostile.into());
    study.name = hostile.into();
    study.model.name = hostile.into();
    study.model.files.insert(hostile.into(), "00".repeat(32));
    for prompt in study.prompts.values_mut().flatten() {
        prompt.text = hostile.into();
    }
    study.behaviors[0].name = hostile.into();
    study.behaviors[0].description = hostile.into();
    study.behaviors[1].outcomes[1].name = hostile.into();
    let name = |name: &mut String| {
        if name == "language-routing" {
            *name = hostile.into();
        }
    };
    fixture
        .judgements
        .baselines
        .iter_mut()
        .for_each(|b| name(&mut b.behavior));
    fixture
        .judgements
        .curves
        .iter_mut()
        .for_each(|c| name(&mut c.behavior));
    fixture
        .judgements
        .detectors
        .iter_mut()
        .for_each(|d| name(&mut d.behavior));
    fixture
        .verdicts
        .neurons
        .iter_mut()
        .for_each(|v| name(&mut v.behavior));
    fixture
        .verdicts
        .scoreboard
        .forecasts
        .iter_mut()
        .for_each(|f| name(&mut f.behavior));
    let board = &mut fixture.verdicts;
    board
        .attribution
        .iter_mut()
        .for_each(|a| name(&mut a.behavior));
    let predictions = &mut fixture.predictions;
    for of_behavior in &mut predictions.screening.scores {
        name(&mut of_behavior.behavior);
    }
    for push in &mut predictions.calibration.pushes {
        name(&mut push.behavior);
    }
    for fitted in &mut predictions.trigger_predictors {
        name(&mut fitted.behavior);
        fitted.source = hostile.into();
    }
    for fitted in &mut predictions.predictors {
        fitted.source = hostile.into();
    }
    predictions
        .ratios
        .iter_mut()
        .for_each(|r| name(&mut r.behavior));
    for group in &mut predictions.screening.groups {
        group.behaviors.iter_mut().for_each(&name);
        group.name = hostile.into();
    }
    for screen in &mut fixture.predictions.screening.screens {
        name(&mut screen.behavior);
        screen.group = hostile.into();
    }
    for branch in fixture
        .verdicts
        .neurons
        .iter_mut()
        .flat_map(|v| &mut v.branches)
    {
        if let Window::Closed { evidence, .. } | Window::Undecided { evidence } = &mut branch.window
        {
            *evidence = hostile.into();
        }
        for class in branch.classes.iter_mut().filter(|c| c.class == "reach") {
            class.class = hostile.into();
        }
    }
    fixture.texts = [hostile, hostile, hostile].map(String::from);
    fixture
}

/// Only our own headings, images and links; tables keep their columns; no raw HTML outside of code.
fn assert_markdown_is_calm(markdown: &str) {
    let calm = rendered(&Fixture::new()).markdown;
    let count = |text: &str, start: &str| {
        text.lines()
            .filter(|l| l.trim_start().starts_with(start))
            .count()
    };
    for start in ["# ", "## ", "### ", "```", "![", "|---"] {
        assert_eq!(count(markdown, start), count(&calm, start), "{start}");
    }
    let (mut columns, mut fenced) = (0, false);
    for line in markdown.lines() {
        let cells = line.replace("\\|", "").matches('|').count();
        match line.starts_with('|') {
            true if columns == 0 => columns = cells,
            true => assert_eq!(cells, columns, "{line:.200}"),
            false => columns = 0,
        }
        fenced ^= line.starts_with("```");
        let prose = if fenced {
            String::new()
        } else {
            without_code(line)
        };
        assert!(
            !prose.contains("<script") && !prose.contains("<img") && !prose.contains("<http"),
            "{line:.200}"
        );
        assert!(
            !prose.contains("https://") && !prose.contains("www."),
            "{line:.200}"
        );
        assert!(
            !prose.contains("](javascript") && !prose.contains("](http"),
            "{line:.200}"
        );
        assert!(
            fenced || line.chars().count() < 12_000,
            "{}",
            line.chars().count()
        );
    }
}

/// A line without its code spans, and without escaped characters.
fn without_code(line: &str) -> String {
    let mut rest = line
        .replace("\\\\", "")
        .replace("\\`", "")
        .replace("\\[", "(")
        .replace("\\]", ")");
    while let Some(start) = rest.find('`') {
        let run = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        let fence = "`".repeat(run);
        let Some(length) = closing(&rest[start + run..], &fence) else {
            break;
        };
        rest.replace_range(start..start + run + length + run, "");
    }
    rest
}

/// Where a run of exactly this many backticks starts.
fn closing(text: &str, fence: &str) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = text[from..].find('`') {
        let at = from + found;
        let run = text[at..].len() - text[at..].trim_start_matches('`').len();
        if run == fence.len() {
            return Some(at);
        }
        from = at + run;
    }
    None
}
