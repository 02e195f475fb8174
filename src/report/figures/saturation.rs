//! Measured cosθ against dose, over the law's saturation curve.

use super::Figure;
use super::bins::{self, Kind};
use super::scale::{Frame, Scale};
use super::svg::{Marker, Point, Svg};
use crate::law::control_coordinate;
use crate::report::format::{coordinate, counted};
use crate::report::input::Input;
use crate::stats;
use crate::units::Sign;

const SIZE: (f64, f64) = (560.0, 350.0);
/// Places at which a law's curve is computed.
const STEPS: usize = 80;

/// One measured dose.
struct Measured {
    sign: Sign,
    budgets: f64,
    law: f64,
    cosine: f64,
}

/// Draws every measured dose of every curve; `None` when nothing was measured.
pub fn draw(input: &Input) -> Option<Figure> {
    let measured = measured(input);
    let largest = measured.iter().map(|m| m.budgets).fold(0.0, f64::max) * 1.03;
    let lowest = measured.iter().map(|m| m.cosine).fold(0.0, f64::min);
    if measured.is_empty() {
        return None;
    }
    let frame = Frame {
        x: Scale::new((0.0, largest), (56.0, SIZE.0 - 16.0)),
        y: Scale::new((lowest, 1.0), (SIZE.1 - 78.0, 16.0)),
    };
    let mut svg = Svg::default();
    frame.axis_below(&mut svg, 8, "dose |g| (coherence budgets)");
    frame.axis_left(&mut svg, 5, "cosθ along the branch");
    let capped = is_capped(input);
    if capped {
        caps(&mut svg, input, &frame, largest);
    }
    let kinds = [Sign::Positive, Sign::Negative].map(|sign| kind(sign, &measured));
    let gathered = bins::scatter(&mut svg, &frame, &kinds);
    svg.polyline("law", &universal(&frame, largest));
    key(&mut svg, capped);
    Some(Figure {
        name: "saturation".into(),
        title: "Saturation of the control coordinate".into(),
        description: describe(&measured, capped, gathered),
        size: SIZE,
        marks: svg,
    })
}

/// Mean absolute difference between the measured cosθ and the law's, with each neuron's own alignment and norm.
pub fn mean_difference(input: &Input) -> Option<f64> {
    stats::mean(&differences(&measured(input)))
}

/// Whether a norm after the feed-forward caps the coordinate.
pub fn is_capped(input: &Input) -> bool {
    let neurons = &input.predictions.calibration.neurons;
    neurons.iter().any(|neuron| neuron.normed.is_some())
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

fn kind(sign: Sign, measured: &[Measured]) -> Kind {
    let (marker, class) = look(sign);
    Kind {
        marker,
        class,
        radius: 3.0,
        points: (measured.iter().filter(|m| m.sign == sign))
            .map(|m| (m.budgets, m.cosine))
            .collect(),
    }
}

/// Doses at equal distances.
fn steps(largest: f64) -> impl Iterator<Item = f64> {
    (0..=STEPS).map(move |step| largest * step as f64 / STEPS as f64)
}

fn universal(frame: &Frame, largest: f64) -> Vec<Point> {
    steps(largest)
        .map(|g| frame.at(g, control_coordinate(g, 0.0)))
        .collect()
}

/// What a norm leaves of the law: the range of the middle nine tenths of the branches, and their median.
fn caps(svg: &mut Svg, input: &Input, frame: &Frame, largest: f64) {
    let neurons = &input.predictions.calibration.neurons;
    let signs = &input.study.doses.signs;
    let (mut low, mut middle, mut high) = (Vec::new(), Vec::new(), Vec::new());
    for g in steps(largest) {
        let of_all: Vec<f64> = (neurons.iter())
            .flat_map(|neuron| signs.iter().map(move |&sign| neuron.coordinate(sign, g)))
            .collect();
        for (share, line) in [(0.05, &mut low), (0.5, &mut middle), (0.95, &mut high)] {
            let cosine = stats::quantile(&of_all, share).unwrap_or(f64::NAN);
            line.push(frame.at(g, cosine));
        }
    }
    low.extend(high.into_iter().rev());
    svg.polygon("zone", &low);
    svg.polyline("line d1 s-purple", &middle);
}

fn key(svg: &mut Svg, capped: bool) {
    let y = SIZE.1 - 28.0;
    for (x, sign, text) in [
        (60.0, Sign::Positive, "positive branch"),
        (180.0, Sign::Negative, "negative branch"),
    ] {
        let (marker, class) = look(sign);
        svg.marker(marker, class, (x, y - 4.0), 3.4);
        svg.text("small", (x + 9.0, y), text);
    }
    svg.line("law", (304.0, y - 4.0), (328.0, y - 4.0));
    svg.text("small", (334.0, y), "g/√(1+g²): no norm, c0 = 0");
    if capped {
        let y = y + 18.0;
        svg.line("line d1 s-purple", (54.0, y - 4.0), (78.0, y - 4.0));
        svg.text(
            "small",
            (84.0, y),
            "law behind the norm: median over branches",
        );
        svg.rect("zone", (330.0, y - 9.0), (24.0, 10.0));
        svg.text("small", (360.0, y), "nine tenths of them");
    }
}

fn describe(measured: &[Measured], capped: bool, gathered: bool) -> String {
    let mean = stats::mean(&differences(measured)).unwrap_or(f64::NAN);
    format!(
        "{} over all neurons and behaviours rise with the dose and level off {}; they differ from the law (with each neuron's own alignment{}) by {} in cosθ on average.{}",
        counted(measured.len(), "measured dose"),
        if capped {
            "where the norm after the feed-forward caps them"
        } else {
            "below 1"
        },
        if capped { " and norm" } else { "" },
        coordinate(mean),
        if gathered { bins::NOTE } else { "" },
    )
}
