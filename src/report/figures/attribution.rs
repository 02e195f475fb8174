//! Scores against control: Spearman's correlation of each, with its interval.

use super::scale::{Frame, Scale};
use super::svg::{Marker, Svg};
use super::{Figure, slug};
use crate::report::format::{fixed, keyword, signed_interval};
use crate::report::text::label;
use crate::stages::attribution::{BehaviorAttribution, ScoreControl};

const WIDTH: f64 = 560.0;
const TOP: f64 = 32.0;
const ROW: f64 = 24.0;
/// Pixels for the scores' names.
const NAMES: f64 = 172.0;

/// Draws the scores of one behaviour; `None` when no correlation is defined. `place` counts the behaviours.
pub fn draw(place: usize, found: &BehaviorAttribution) -> Option<Figure> {
    let defined: Vec<(&ScoreControl, f64)> = (found.scores.iter())
        .filter_map(|score| Some((score, score.correlation?)))
        .collect();
    if defined.is_empty() {
        return None;
    }
    let bottom = TOP + ROW * defined.len() as f64;
    let frame = Frame {
        x: Scale::new((-1.0, 1.0), (NAMES, WIDTH - 16.0)),
        y: Scale::new((0.0, 1.0), (bottom, TOP)),
    };
    let mut svg = Svg::default();
    let name = label(&found.behavior, 60);
    svg.text("head", (14.0, 18.0), &name);
    frame.axis_below(&mut svg, 8, "Spearman’s correlation with control");
    svg.line("axis", frame.at(0.0, 0.0), frame.at(0.0, 1.0));
    for (row, (score, correlation)) in defined.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        svg.text("end", (NAMES - 10.0, y + 4.0), &keyword(score.score));
        if let Some(interval) = score.correlation_interval {
            let (from, to) = (frame.x.at(interval.low), frame.x.at(interval.high));
            svg.line("tickmark s-blue", (from, y), (to, y));
            for x in [from, to] {
                svg.line("edge s-blue", (x, y - 4.0), (x, y + 4.0));
            }
        }
        let at = (frame.x.at(*correlation), y);
        svg.marker(Marker::Circle, "dot s-ink f-blue", at, 4.0);
    }
    Some(Figure {
        name: format!("attribution-{}-{}", place + 1, slug(&found.behavior))
            .trim_end_matches('-')
            .into(),
        title: format!("Scores against control: {name}"),
        description: describe(&defined),
        size: (WIDTH, bottom + 40.0),
        marks: svg,
    })
}

fn describe(defined: &[(&ScoreControl, f64)]) -> String {
    let sentences: Vec<String> = (defined.iter())
        .map(|(score, correlation)| {
            let interval = score
                .correlation_interval
                .map_or(String::new(), |i| format!(" ({})", signed_interval(i)));
            format!(
                "{}: {}{interval}.",
                keyword(score.score),
                fixed(*correlation, 2)
            )
        })
        .collect();
    format!(
        "Rank correlation of each score’s size with the largest coherent flip share, over measured neurons. {}",
        sentences.join(" ")
    )
}
