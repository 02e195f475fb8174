//! What the report says of windows, attribution, controls and norms.

use std::collections::BTreeSet;

use super::{assert_well_formed, rendered};
use crate::report::fixture::Fixture;
use crate::report::wording::window_label;
use crate::stats::Interval;

/// What every branch is known for, in a word or two.
fn labels(fixture: &Fixture) -> BTreeSet<&'static str> {
    let neurons = fixture.verdicts.neurons.iter();
    let branches = neurons.flat_map(|verdict| &verdict.branches);
    branches
        .map(|branch| window_label(&branch.window))
        .collect()
}

#[test]
fn the_made_up_record_holds_every_kind_of_window() {
    let all = [
        "censored",
        "collapses first",
        "open",
        "too late",
        "undecided",
    ];
    assert!(labels(&Fixture::new()).iter().eq(&all));
    assert!(labels(&Fixture::post_norm()).contains("capped by norm"));
}

#[test]
fn undecided_windows_are_counted_apart() {
    let fixture = Fixture::new();
    let report = rendered(&fixture);
    assert!(
        report
            .markdown
            .contains("undecided because the intervals of trigger and ceiling overlap")
    );
    assert!(report.html.contains("badge undecided") && report.html.contains("swatch undecided"));
    assert!(
        report
            .markdown
            .contains("undecided: the trigger lies below the ceiling")
    );
}

#[test]
fn attribution_is_stated_plainly_whichever_way_it_goes() {
    let mut fixture = Fixture::new();
    let says = |fixture: &Fixture| rendered(fixture).markdown;
    assert!(says(&fixture).contains("anti-predicts control of language-routing here"));
    let mut set = |low: f64, high: f64| {
        for score in fixture
            .verdicts
            .attribution
            .iter_mut()
            .flat_map(|a| &mut a.scores)
        {
            score.correlation = Some((low + high) / 2.0);
            score.correlation_interval = Some(Interval { low, high });
        }
        says(&fixture)
    };
    assert!(set(0.2, 0.6).contains("The paper says that it anti-predicts: not so here."));
    assert!(set(-0.2, 0.3).contains("(gradient × activation) says nothing about control"));
}

#[test]
fn controls_that_do_as_well_are_not_hidden() {
    let mut fixture = Fixture::new();
    let differ = "noise: a push of this size alone does not do it";
    assert!(rendered(&fixture).markdown.contains(differ));
    for curve in &mut fixture.judgements.curves {
        for shares in curve.points.iter_mut().flat_map(|p| &mut p.horizons) {
            shares.flipped = curve.prompts / 2;
        }
    }
    let markdown = rendered(&fixture).markdown;
    assert!(!markdown.contains(differ));
    assert!(markdown.contains("cannot rule out that any push of this size does it"));
}

#[test]
fn behind_a_norm_the_law_is_the_neurons_own() {
    let report = rendered(&Fixture::post_norm());
    assert_well_formed(&report.html);
    let saturation = &report.figures["saturation.svg"];
    assert!(saturation.contains("law behind the norm"));
    assert!(report.markdown.contains("levels off at a cap below 1"));
    assert!(
        report
            .markdown
            .contains("the norm after the feed-forward caps cosθ at")
    );
    let plain = &rendered(&Fixture::new()).figures["saturation.svg"];
    assert!(!plain.contains("law behind the norm"));
}

#[test]
fn a_census_stays_small() {
    let report = rendered(&Fixture::census(3072));
    assert!(report.html.len() < 5_000_000, "{}", report.html.len());
    let lines = report.markdown.lines().count();
    assert!(lines < 600, "{lines}");
    for (file, svg) in &report.figures {
        assert!(svg.len() < 250_000, "{file}: {}", svg.len());
    }
    assert!(report.figures["saturation.svg"].contains("whose area grows with their number"));
}
