//! Predicted against measured ceilings, one plot per predictor.

use super::bins::{self, Kind};
use super::legend::text_width;
use super::scale::{Frame, Scale};
use super::svg::{Marker, Svg};
use super::{Figure, slug};
use crate::report::format::{coordinate, counted, thousands};

const SIZE: (f64, f64) = (340.0, 384.0);

/// One branch with a prediction.
#[derive(Clone, Copy, Debug)]
pub struct Pair {
    /// Predicted cosθ.
    pub predicted: f64,
    /// Measured cosθ, or its lower bound.
    pub measured: f64,
    /// Whether the ceiling was reached.
    pub reached: bool,
    /// Whether the layer counts as bulk.
    pub bulk: bool,
}

/// Draws the branches of one predictor.
pub fn draw(predictor: &str, pairs: &[Pair]) -> Figure {
    let lowest = (pairs.iter().flat_map(|p| [p.predicted, p.measured])).fold(0.8, f64::min);
    let from = (lowest * 10.0 - 0.2).floor() / 10.0;
    let frame = Frame {
        x: Scale::new((from, 1.0), (52.0, SIZE.0 - 16.0)),
        y: Scale::new((from, 1.0), (304.0, 32.0)),
    };
    let mut svg = Svg::default();
    svg.text("head", (14.0, 18.0), predictor);
    band(&mut svg, &frame, from);
    frame.axis_below(&mut svg, 5, "predicted ceiling (cosθ)");
    frame.axis_left(&mut svg, 5, "measured ceiling (cosθ)");
    svg.line("law", frame.at(from, from), frame.at(1.0, 1.0));
    let gathered = bins::scatter(&mut svg, &frame, &kinds(pairs));
    key(&mut svg);
    Figure {
        name: format!("ceilings-{}", slug(predictor)),
        title: format!("Predicted and measured ceilings: {predictor}"),
        description: describe(pairs, gathered),
        size: SIZE,
        marks: svg,
    }
}

/// How branches in bulk layers look, those in others, and those whose ceiling is only bounded.
const LOOKS: [(Marker, &str, &str); 3] = [
    (Marker::Circle, "cut f-blue", "bulk layer"),
    (Marker::Square, "s-vermilion edge", "other layer"),
    (Marker::Triangle, "s-grey edge", "at least (censored)"),
];

fn kinds(pairs: &[Pair]) -> Vec<Kind> {
    let place = |pair: &Pair| match (pair.reached, pair.bulk) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 2,
    };
    (LOOKS.into_iter().enumerate())
        .map(|(wanted, (marker, class, _))| Kind {
            marker,
            class,
            radius: 3.6,
            points: (pairs.iter().filter(|pair| place(pair) == wanted))
                .map(|pair| (pair.predicted, pair.measured))
                .collect(),
        })
        .collect()
}

/// Within 0.1 of the diagonal.
fn band(svg: &mut Svg, frame: &Frame, from: f64) {
    const HALF: f64 = 0.1;
    let corners = [
        (from, from + HALF),
        (1.0 - HALF, 1.0),
        (1.0, 1.0),
        (1.0, 1.0 - HALF),
        (from + HALF, from),
        (from, from),
    ];
    svg.polygon("zone", &corners.map(|(x, y)| frame.at(x, y)));
}

fn key(svg: &mut Svg) {
    let (mut x, y) = (24.0, 356.0);
    for (marker, class, text) in LOOKS {
        svg.marker(marker, class, (x, y), 3.6);
        svg.text("small", (x + 9.0, y + 4.0), text);
        x += 9.0 + text_width(text) + 12.0;
    }
    svg.rect("zone", (19.0, 368.0), (14.0, 10.0));
    svg.text("small", (38.0, 377.0), "within 0.1 of the prediction");
}

fn describe(pairs: &[Pair], gathered: bool) -> String {
    let errors: Vec<f64> = (pairs.iter().filter(|p| p.reached))
        .map(|p| (p.measured - p.predicted).abs())
        .collect();
    let close = errors.iter().filter(|e| **e <= 0.1).count();
    match crate::stats::mean(&errors) {
        None => "No held-out branch reached its ceiling within the grid.".into(),
        Some(mean) => format!(
            "{}: mean absolute error {} in cosθ, {} within 0.1; {} censored.{}",
            counted(errors.len(), "held-out branch"),
            coordinate(mean),
            thousands(close),
            pairs.len() - errors.len(),
            if gathered { bins::NOTE } else { "" },
        ),
    }
}
