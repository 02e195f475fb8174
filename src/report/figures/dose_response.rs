//! Dose–response of one neuron: shares of prompts against `g`, the negative branch to the left, with cosθ on a second axis.

use super::legend::{self, Entry, Sample};
use super::scale::{Frame, Scale};
use super::style::{self, COLLAPSED, FLIPPED, SeriesStyle};
use super::svg::{Point, Svg};
use super::{Figure, slug};
use crate::report::format::{budgets, coordinate, percent};
use crate::report::input::Input;
use crate::report::text::label;
use crate::report::wording::window_kind;
use crate::stages::judge::{Curve, HorizonShares};
use crate::stages::verdict::{NeuronVerdict, Window};
use crate::units::Sign;

const SIZE: (f64, f64) = (430.0, 292.0);

/// A share of prompts at one dose, read from its outcomes.
type Reading = Box<dyn Fn(&HorizonShares) -> usize>;

struct Series {
    style: SeriesStyle,
    name: String,
    read: Reading,
}

/// Draws one neuron's curves for one behaviour. `place` counts the behaviours.
pub fn draw(input: &Input, place: usize, verdict: &NeuronVerdict) -> Figure {
    let curves: Vec<&Curve> = ([Sign::Negative, Sign::Positive].iter())
        .filter_map(|sign| input.curve(&verdict.behavior, verdict.neuron, *sign))
        .collect();
    let frame = frame(&curves);
    let series = series(input, &verdict.behavior);
    let mut svg = Svg::default();
    let title = format!("{} · {}", verdict.neuron, label(&verdict.behavior, 42));
    svg.text("head", (14.0, 18.0), &title);
    windows(&mut svg, input, verdict, &frame);
    frame.shares_left(&mut svg, "share of prompts");
    frame.axis_below(&mut svg, 7, "dose g (coherence budgets)");
    let ticks = coordinate_ticks(input, verdict, &curves);
    frame.axis_above(&mut svg, &ticks, "control coordinate cosθ");
    thresholds(&mut svg, input, &frame);
    for one in series.iter().rev() {
        let points = points(input, verdict, &curves, &frame, &one.read);
        let SeriesStyle {
            colour,
            dash,
            marker,
            ..
        } = one.style;
        svg.polyline(&format!("line {dash} s-{colour}"), &points);
        for point in points {
            svg.marker(marker, &format!("dot s-{colour} f-{colour}"), point, 2.6);
        }
    }
    let mut entries: Vec<Entry> = (series.into_iter())
        .map(|s| (Sample::Series(s.style), s.name))
        .collect();
    for (sample, name, kind) in [
        (Sample::Band, "open window", "open"),
        (Sample::Undecided, "undecided window", "undecided"),
    ] {
        if verdict
            .branches
            .iter()
            .any(|b| window_kind(&b.window) == kind)
        {
            entries.push((sample, name.into()));
        }
    }
    let used = legend::lines(&mut svg, (52.0, SIZE.1 - 6.0), SIZE.0 - 60.0, &entries);
    Figure {
        name: format!(
            "dose-response-{}-{}-{}",
            place + 1,
            slug(&verdict.behavior),
            slug(&verdict.neuron.to_string())
        ),
        title: format!("Dose–response of {title}"),
        description: describe(input, verdict, &curves),
        size: (SIZE.0, SIZE.1 + used),
        marks: svg,
    }
}

fn frame(curves: &[&Curve]) -> Frame {
    let largest = |sign: Sign| {
        let points = curves
            .iter()
            .filter(|c| c.sign == sign)
            .flat_map(|c| &c.points);
        points.map(|p| p.budgets).fold(0.0, f64::max) * 1.03
    };
    Frame {
        x: Scale::new(
            (-largest(Sign::Negative), largest(Sign::Positive)),
            (58.0, SIZE.0 - 14.0),
        ),
        y: Scale::new((0.0, 1.0), (SIZE.1 - 50.0, 66.0)),
    }
}

fn series(input: &Input, behavior: &str) -> Vec<Series> {
    let mut series = vec![
        Series {
            style: FLIPPED,
            name: "flipped".into(),
            read: Box::new(|h| h.flipped),
        },
        Series {
            style: COLLAPSED,
            name: "collapsed".into(),
            read: Box::new(|h| h.collapsed),
        },
    ];
    let outcomes = (input.study.behaviors.iter().find(|b| b.name == behavior))
        .map_or(&[][..], |b| &b.outcomes);
    if outcomes.len() > 1 {
        series.extend(outcomes.iter().enumerate().map(|(i, outcome)| Series {
            style: style::outcome(i, outcomes.len()),
            name: outcome.name.clone(),
            read: Box::new(move |h| h.outcomes.get(i).copied().unwrap_or(0)),
        }));
    }
    series
}

/// Open windows as bands from trigger to ceiling, undecided ones as frames.
fn windows(svg: &mut Svg, input: &Input, verdict: &NeuronVerdict, frame: &Frame) {
    for branch in &verdict.branches {
        let class = match branch.window {
            Window::Open => "band",
            Window::Undecided { .. } => "undecided",
            Window::Closed { .. } | Window::Censored { .. } => continue,
        };
        let Some(trigger) = branch.trigger(input.verdict_horizon()) else {
            continue;
        };
        let sign = branch.sign.factor();
        let (a, b) = (
            frame.x.at(sign * trigger.budgets()),
            frame.x.at(sign * branch.ceiling.budgets()),
        );
        let (top, bottom) = (frame.y.range.1, frame.y.range.0);
        svg.rect(class, (a.min(b), top), ((b - a).abs(), bottom - top));
    }
}

/// The shares at which a dose counts as flipped and as collapsed.
fn thresholds(svg: &mut Svg, input: &Input, frame: &Frame) {
    let thresholds = &input.study.thresholds;
    for share in [thresholds.flip_share, thresholds.collapse_share] {
        let y = frame.y.at(share);
        svg.line("guide", (frame.x.range.0, y), (frame.x.range.1, y));
    }
}

/// Pixels of one series: negative branch from its far end, the unsteered share, positive branch.
fn points(
    input: &Input,
    verdict: &NeuronVerdict,
    curves: &[&Curve],
    frame: &Frame,
    read: &Reading,
) -> Vec<Point> {
    let horizon = input.verdict_horizon();
    let mut points: Vec<Point> = Vec::new();
    let baseline = input
        .judgements
        .baselines
        .iter()
        .find(|b| b.behavior == verdict.behavior);
    if let Some(baseline) = baseline
        && let Some(shares) = baseline.horizons.iter().find(|h| h.horizon == horizon)
        && baseline.prompts > 0
    {
        points.push((0.0, read(shares) as f64 / baseline.prompts as f64));
    }
    for curve in curves {
        points.extend(curve.points.iter().filter_map(|point| {
            let count = read(point.at(horizon)?);
            (curve.prompts > 0).then(|| {
                (
                    curve.sign.factor() * point.budgets,
                    count as f64 / curve.prompts as f64,
                )
            })
        }));
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points.into_iter().map(|(x, y)| frame.at(x, y)).collect()
}

/// Where round coordinates lie on the axis of `g`, by interpolation in the law's coordinates of the curve.
fn coordinate_ticks(
    input: &Input,
    verdict: &NeuronVerdict,
    curves: &[&Curve],
) -> Vec<(f64, String)> {
    let mut ticks = Vec::new();
    for curve in curves {
        let sign = curve.sign.factor();
        let start =
            (input.calibration(verdict.neuron)).map_or(0.0, |n| n.coordinate(curve.sign, 0.0));
        let mut line = vec![(0.0, start)];
        line.extend(curve.points.iter().map(|p| (p.budgets, p.law_coordinate)));
        for wanted in [0.3, 0.5, 0.7, 0.8, 0.9] {
            if let Some(g) = inverse(&line, wanted) {
                let text = crate::report::format::fixed(sign * wanted, 1);
                ticks.push((sign * g, text));
            }
        }
    }
    ticks
}

fn inverse(line: &[(f64, f64)], wanted: f64) -> Option<f64> {
    let pair = line
        .windows(2)
        .find(|w| w[0].1 < wanted && wanted <= w[1].1)?;
    let ((g0, c0), (g1, c1)) = (pair[0], pair[1]);
    Some(g0 + (g1 - g0) * (wanted - c0) / (c1 - c0))
}

fn describe(input: &Input, verdict: &NeuronVerdict, curves: &[&Curve]) -> String {
    let horizon = input.verdict_horizon();
    let branch = |curve: &&Curve| {
        let best =
            (curve.points.iter().rev()).max_by_key(|p| p.at(horizon).map_or(0, |h| h.flipped))?;
        let flipped = best.at(horizon)?.flipped;
        let collapsed = curve.points.last()?.at(horizon)?.collapsed;
        Some(format!(
            "{} branch: at most {} flipped, at g {} (cosθ {}); {} collapsed at the largest dose.",
            match curve.sign {
                Sign::Positive => "Positive",
                Sign::Negative => "Negative",
            },
            percent(flipped, curve.prompts),
            budgets(best.budgets),
            coordinate(best.law_coordinate),
            percent(collapsed, curve.prompts),
        ))
    };
    let sentences: Vec<String> = curves.iter().filter_map(branch).collect();
    format!(
        "Shares of prompts at a horizon of {horizon} tokens. {} {}",
        sentences.join(" "),
        window_note(verdict)
    )
}

fn window_note(verdict: &NeuronVerdict) -> &'static str {
    match verdict.open {
        Some(true) => "The shaded band is the open window.",
        Some(false) => "No window is open.",
        None => "Whether a window is open is not known.",
    }
}
