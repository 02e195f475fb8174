//! The window chart: per neuron, the interval between trigger and ceiling on the cosθ axis, negative branch to the left.

use super::legend;
use super::scale::{Frame, Scale};
use super::svg::{Marker, Point, Svg};
use super::{Figure, slug};
use crate::report::format::counted;
use crate::report::input::Input;
use crate::report::text::label;
use crate::report::wording::window_label;
use crate::spec::neurons::Role;
use crate::stages::verdict::{BranchVerdict, NeuronVerdict, ThresholdInterval, Window};
use crate::units::Sign;

const ROW: f64 = 21.0;
const TOP: f64 = 38.0;
const WIDTH: f64 = 720.0;
/// Right end of the neurons' names.
const NAMES: f64 = 88.0;
/// Pixels left and right of the axis: neuron names and verdicts.
const SIDES: (f64, f64) = (224.0, 108.0);
/// How far above and below its row an interval is drawn.
const AWAY: f64 = 7.0;

/// Draws the given neurons of a behaviour, top to bottom.
pub fn draw(input: &Input, behavior: &str, name: String, neurons: &[&NeuronVerdict]) -> Figure {
    let signs = &input.study.doses.signs;
    let reach = reach(input, neurons);
    let left = if signs.contains(&Sign::Negative) {
        -reach
    } else {
        0.0
    };
    let right = if signs.contains(&Sign::Positive) {
        reach
    } else {
        0.0
    };
    let bottom = TOP + ROW * neurons.len() as f64;
    let frame = Frame {
        x: Scale::new((left, right), (SIDES.0, WIDTH - SIDES.1)),
        y: Scale::new((0.0, neurons.len() as f64), (bottom, TOP)),
    };
    let mut svg = Svg::default();
    frame.axis_below(&mut svg, 8, "control coordinate cosθ (sign = branch)");
    heads(&mut svg, &frame, signs);
    for (row, verdict) in neurons.iter().enumerate() {
        let y = TOP + ROW * (row as f64 + 0.5);
        svg.text("end strong", (NAMES, y + 4.0), &verdict.neuron.to_string());
        if verdict.role == Role::Control {
            svg.text("small", (NAMES + 4.0, y + 4.0), "control");
        }
        for branch in &verdict.branches {
            draw_branch(&mut svg, input, &name, &frame, (verdict, branch), y);
        }
    }
    let used = key(&mut svg, &name, (16.0, bottom + 44.0));
    Figure {
        title: format!("Control windows: {}", label(behavior, 60)),
        description: describe(input, neurons),
        size: (WIDTH, bottom + 44.0 + used + 6.0),
        name,
        marks: svg,
    }
}

/// File name of a behaviour's chart.
pub fn file_name(place: usize, behavior: &str) -> String {
    format!("windows-{}-{}", place + 1, slug(behavior))
        .trim_end_matches('-')
        .into()
}

fn heads(svg: &mut Svg, frame: &Frame, signs: &[Sign]) {
    let y = TOP - 12.0;
    svg.text("end small", (NAMES, y), "neuron");
    for sign in signs {
        let (verdict, branch) = match sign {
            Sign::Negative => (("end small", SIDES.0 - 8.0), "− branch: dose below zero"),
            Sign::Positive => (
                ("small", WIDTH - SIDES.1 + 8.0),
                "+ branch: dose above zero",
            ),
        };
        svg.text(verdict.0, (verdict.1, y), "verdict");
        let middle = 0.5 * sign.factor() * frame.x.domain.1.max(-frame.x.domain.0);
        svg.text("small mid", (frame.x.at(middle), y), branch);
    }
    svg.line(
        "axis",
        (frame.x.at(0.0), TOP - 4.0),
        (frame.x.at(0.0), frame.y.range.0),
    );
}

fn draw_branch(
    svg: &mut Svg,
    input: &Input,
    figure: &str,
    frame: &Frame,
    (verdict, branch): (&NeuronVerdict, &BranchVerdict),
    y: f64,
) {
    let sign = branch.sign.factor();
    let at = |coordinate: f64| frame.x.clamped(sign * coordinate);
    let bar = |from: f64, to: f64, height: f64| -> (Point, Point) {
        let (a, b) = (at(from).min(at(to)), at(from).max(at(to)));
        ((a, y - height / 2.0), (b - a, height))
    };
    let trigger = branch.trigger(input.verdict_horizon());
    let end = grid_end(input, verdict, branch);
    svg.line("guide", (at(0.0), y), (at(end), y));
    if branch.ceiling.reached() {
        let (corner, size) = bar(branch.ceiling.coordinate(), end, 9.0);
        svg.patterned(figure, "hatch", corner, size);
    } else {
        arrow(svg, (at(end), y), sign);
    }
    if let Some(trigger) = trigger.filter(|t| t.reached()) {
        let (corner, size) = bar(trigger.coordinate(), branch.ceiling.coordinate(), 9.0);
        let class = match branch.window {
            Window::Open => {
                svg.rect("f-green", corner, size);
                "dot s-ink f-blue"
            }
            Window::Undecided { .. } => {
                svg.rect("undecided", corner, size);
                "s-blue hollow"
            }
            Window::Closed { .. } | Window::Censored { .. } => "s-blue hollow",
        };
        svg.marker(Marker::Circle, class, (at(trigger.coordinate()), y), 4.0);
    }
    let of_trigger = branch.at(input.verdict_horizon()).and_then(|t| t.interval);
    for (interval, class, y) in [
        (of_trigger, "edge s-blue", y - AWAY),
        (branch.ceiling_interval, "edge s-vermilion", y + AWAY),
    ] {
        if let Some(interval) = interval {
            whisker(svg, class, &at, interval, y);
        }
    }
    if branch.ceiling.reached() {
        let x = at(branch.ceiling.coordinate());
        svg.line("tickmark s-vermilion", (x, y - 7.5), (x, y + 7.5));
    }
    if let Some(predicted) = input.headline(verdict.neuron, branch.sign) {
        let x = at(predicted.coordinate);
        svg.marker(Marker::Diamond, "s-ink hollow", (x, y), 3.2);
    }
    let (class, x) = match branch.sign {
        Sign::Negative => ("end small", SIDES.0 - 8.0),
        Sign::Positive => ("small", WIDTH - SIDES.1 + 8.0),
    };
    let class = if branch.window == Window::Open {
        format!("{class} strong")
    } else {
        class.into()
    };
    svg.text(&class, (x, y + 4.0), window_label(&branch.window));
}

/// An interval; an end that lies beyond the doses is left open.
fn whisker(
    svg: &mut Svg,
    class: &str,
    at: &dyn Fn(f64) -> f64,
    ThresholdInterval { low, high }: ThresholdInterval,
    y: f64,
) {
    if !low.reached() {
        return;
    }
    let ends = [low, high].map(|end| at(end.coordinate()));
    svg.line(class, (ends[0], y), (ends[1], y));
    for (end, x) in [low, high].into_iter().zip(ends) {
        if end.reached() {
            svg.line(class, (x, y - 2.0), (x, y + 2.0));
        }
    }
}

/// How far the axis goes: to 1, or as far as there is something to see, where a norm caps every coordinate well below.
fn reach(input: &Input, neurons: &[&NeuronVerdict]) -> f64 {
    let branches = neurons
        .iter()
        .flat_map(|v| v.branches.iter().map(move |b| (*v, b)));
    let largest = branches
        .flat_map(|(verdict, branch)| {
            let predicted = input.headline(verdict.neuron, branch.sign);
            [
                grid_end(input, verdict, branch),
                predicted.map_or(0.0, |p| p.coordinate),
            ]
        })
        .fold(0.0, f64::max);
    ((largest * 10.0 + 0.5).ceil() / 10.0).clamp(0.1, 1.0)
}

/// The largest coordinate measured on a branch.
fn grid_end(input: &Input, verdict: &NeuronVerdict, branch: &BranchVerdict) -> f64 {
    let measured = (input.curve(&verdict.behavior, verdict.neuron, branch.sign))
        .and_then(|curve| curve.points.last())
        .map_or(0.0, |point| match input.study.thresholds.coordinate {
            crate::spec::ceiling::Coordinate::Law => point.law_coordinate,
            crate::spec::ceiling::Coordinate::Measured => point.measured_coordinate,
        });
    measured.max(branch.ceiling.coordinate())
}

/// The grid ended here, and nothing is known beyond.
fn arrow(svg: &mut Svg, (x, y): Point, sign: f64) {
    svg.line("edge s-grey", (x, y), (x - 5.0 * sign, y - 4.0));
    svg.line("edge s-grey", (x, y), (x - 5.0 * sign, y + 4.0));
}

/// A sample of a mark at a place.
type Sample<'a> = &'a dyn Fn(&mut Svg, Point);

/// What each mark means, in rows; returns the height used.
fn key(svg: &mut Svg, figure: &str, (left, top): Point) -> f64 {
    let dot = |class: &'static str| {
        move |svg: &mut Svg, (x, y)| svg.marker(Marker::Circle, class, (x + 8.0, y), 4.0)
    };
    let entries: [(&str, Sample); 10] = [
        ("trigger", &dot("dot s-ink f-blue")),
        ("open window", &|svg, (x, y)| {
            svg.rect("f-green", (x, y - 4.5), (16.0, 9.0))
        }),
        ("undecided", &|svg, (x, y)| {
            svg.rect("undecided", (x, y - 4.5), (16.0, 9.0));
        }),
        ("ceiling", &|svg, (x, y)| {
            svg.line(
                "tickmark s-vermilion",
                (x + 8.0, y - 7.5),
                (x + 8.0, y + 7.5),
            );
        }),
        ("predicted ceiling", &|svg, (x, y)| {
            svg.marker(Marker::Diamond, "s-ink hollow", (x + 8.0, y), 3.2);
        }),
        ("collapsed", &|svg, (x, y)| {
            svg.patterned(figure, "hatch", (x, y - 4.5), (16.0, 9.0));
        }),
        ("trigger of a window not open", &dot("s-blue hollow")),
        ("interval of the trigger, above", &|svg, (x, y)| {
            svg.line("edge s-blue", (x, y - 2.0), (x + 16.0, y - 2.0));
        }),
        ("of the ceiling, below", &|svg, (x, y)| {
            svg.line("edge s-vermilion", (x, y + 2.0), (x + 16.0, y + 2.0));
        }),
        ("grid ended", &|svg, (x, y)| arrow(svg, (x + 12.0, y), 1.0)),
    ];
    let (mut x, mut y) = (left, top + 8.0);
    for (text, sample) in entries {
        let width = 20.0 + legend::text_width(text);
        if x + width > WIDTH {
            (x, y) = (left, y + 18.0);
        }
        sample(svg, (x, y));
        svg.text("small", (x + 20.0, y + 4.0), text);
        x += width + 12.0;
    }
    y + 10.0 - top
}

fn describe(input: &Input, neurons: &[&NeuronVerdict]) -> String {
    let branches: Vec<_> = neurons.iter().flat_map(|v| &v.branches).collect();
    let count = |wanted: fn(&Window) -> bool| branches.iter().filter(|b| wanted(&b.window)).count();
    format!(
        "{} in rows, {} in all, at a horizon of {} tokens: {} open, {} undecided, {} closed, {} censored. The table below holds every figure.",
        counted(neurons.len(), "neuron"),
        counted(branches.len(), "branch"),
        input.verdict_horizon(),
        count(|w| *w == Window::Open),
        count(|w| matches!(w, Window::Undecided { .. })),
        count(|w| matches!(w, Window::Closed { .. })),
        count(|w| matches!(w, Window::Censored { .. })),
    )
}
