//! Measured cosθ against dose, over the universal saturation curve.

use super::Figure;
use super::scale::{Frame, Scale};
use super::svg::{Marker, Point, Svg};
use crate::law::control_coordinate;
use crate::report::format::{coordinate, counted};
use crate::report::input::Input;
use crate::stats;
use crate::units::Sign;

const SIZE: (f64, f64) = (560.0, 350.0);
/// More points than this would make the file large without showing more.
const MOST_POINTS: usize = 800;

struct Measured {
    sign: Sign,
    budgets: f64,
    law: f64,
    cosine: f64,
}

/// Draws every measured dose of every curve; `None` when nothing was measured.
pub fn draw(input: &Input) -> Option<Figure> {
    let measured = measured(input);
    let largest = measured.iter().map(|m| m.budgets).fold(0.0, f64::max);
    let lowest = measured.iter().map(|m| m.cosine).fold(0.0, f64::min);
    if measured.is_empty() {
        return None;
    }
    let frame = Frame {
        x: Scale::new((0.0, largest * 1.03), (56.0, SIZE.0 - 16.0)),
        y: Scale::new((lowest, 1.0), (SIZE.1 - 62.0, 16.0)),
    };
    let mut svg = Svg::default();
    frame.axis_below(&mut svg, 8, "dose |g| (coherence budgets)");
    frame.axis_left(&mut svg, 5, "cosθ along the branch");
    let step = measured.len().div_ceil(MOST_POINTS).max(1);
    for m in measured.iter().step_by(step) {
        let (marker, class) = look(m.sign);
        svg.marker(marker, class, frame.at(m.budgets, m.cosine), 3.0);
    }
    svg.polyline("law", &universal(&frame, largest * 1.03));
    key(&mut svg);
    Some(Figure {
        name: "saturation".into(),
        title: "Saturation of the control coordinate".into(),
        description: describe(&measured),
        size: SIZE,
        marks: svg,
    })
}

/// Mean absolute difference between the measured cosθ and the law's, with each neuron's own `c0`.
pub fn mean_difference(input: &Input) -> Option<f64> {
    stats::mean(&differences(&measured(input)))
}

fn measured(input: &Input) -> Vec<Measured> {
    let points = (input.judgements.curves.iter())
        .flat_map(|curve| curve.points.iter().map(|point| (curve.sign, point)));
    points
        .filter(|(_, p)| p.measured_coordinate.is_finite() && p.law_coordinate.is_finite())
        .map(|(sign, p)| Measured {
            sign,
            budgets: p.budgets,
            law: p.law_coordinate,
            cosine: p.measured_coordinate,
        })
        .collect()
}

fn differences(measured: &[Measured]) -> Vec<f64> {
    measured.iter().map(|m| (m.cosine - m.law).abs()).collect()
}

fn look(sign: Sign) -> (Marker, &'static str) {
    match sign {
        Sign::Positive => (Marker::Circle, "s-blue edge"),
        Sign::Negative => (Marker::Triangle, "s-orange edge"),
    }
}

fn universal(frame: &Frame, largest: f64) -> Vec<Point> {
    (0..=80)
        .map(|i| largest * f64::from(i) / 80.0)
        .map(|g| frame.at(g, control_coordinate(g, 0.0)))
        .collect()
}

fn key(svg: &mut Svg) {
    let y = SIZE.1 - 12.0;
    for (x, sign, text) in [
        (60.0, Sign::Positive, "positive branch"),
        (180.0, Sign::Negative, "negative branch"),
    ] {
        let (marker, class) = look(sign);
        svg.marker(marker, class, (x, y - 4.0), 3.4);
        svg.text("small", (x + 9.0, y), text);
    }
    svg.line("law", (304.0, y - 4.0), (328.0, y - 4.0));
    svg.text("small", (334.0, y), "g/√(1+g²): the law with c0 = 0");
}

fn describe(measured: &[Measured]) -> String {
    let mean = stats::mean(&differences(measured)).unwrap_or(f64::NAN);
    format!(
        "{} over all neurons and behaviours rise with the dose and level off below 1; they differ from the law (with each neuron's own c0) by {} in cosθ on average.",
        counted(measured.len(), "measured dose"),
        coordinate(mean),
    )
}
