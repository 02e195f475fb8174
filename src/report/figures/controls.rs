//! Matched controls: mean share of prompts against dose, by group of neurons.

use super::legend::{self, Entry, Sample};
use super::scale::{Frame, Scale};
use super::style::{GROUPS, SeriesStyle};
use super::svg::Svg;
use super::{Figure, slug};
use crate::report::format::{budgets, fixed};
use crate::report::text::label;

const SIZE: (f64, f64) = (400.0, 250.0);

/// Mean shares of one group at the doses of the grid.
pub struct Line {
    /// Name of the group.
    pub group: String,
    /// Mean `|g|`, and mean share of prompts.
    pub points: Vec<(f64, f64)>,
}

/// What is drawn: `flipped` or `collapsed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Flipped without collapse, at the verdict horizon.
    Flipped,
    /// Collapsed, at the longest horizon.
    Collapsed,
}

/// Draws one behaviour's groups; `place` counts the behaviours.
pub fn draw(place: usize, behavior: &str, share: Share, lines: &[Line]) -> Figure {
    let (word, axis) = match share {
        Share::Flipped => ("flipped", "mean share flipped"),
        Share::Collapsed => ("collapsed", "mean share collapsed"),
    };
    let points = || lines.iter().flat_map(|line| &line.points);
    let largest = points().map(|p| p.0).fold(0.0, f64::max) * 1.03;
    let frame = Frame {
        x: Scale::new((0.0, largest), (58.0, SIZE.0 - 14.0)),
        y: Scale::new((0.0, 1.0), (SIZE.1 - 50.0, 34.0)),
    };
    let mut svg = Svg::default();
    let title = format!("{word} · {}", label(behavior, 34));
    svg.text("head", (14.0, 18.0), &title);
    frame.shares_left(&mut svg, axis);
    frame.axis_below(&mut svg, 6, "dose |g| (coherence budgets)");
    for (number, line) in lines.iter().enumerate().rev() {
        let SeriesStyle {
            colour,
            dash,
            marker,
            ..
        } = style(number);
        let points: Vec<_> = line.points.iter().map(|&(x, y)| frame.at(x, y)).collect();
        svg.polyline(&format!("line {dash} s-{colour}"), &points);
        for point in points {
            svg.marker(marker, &format!("dot s-{colour} f-{colour}"), point, 2.6);
        }
    }
    let entries: Vec<Entry> = (lines.iter().enumerate())
        .map(|(number, line)| (Sample::Series(style(number)), line.group.clone()))
        .collect();
    let used = legend::lines(&mut svg, (52.0, SIZE.1 - 6.0), SIZE.0 - 60.0, &entries);
    Figure {
        name: format!("controls-{}-{}-{word}", place + 1, slug(behavior)),
        title: format!("Mean share {word} by group: {}", label(behavior, 60)),
        description: describe(word, lines),
        size: (SIZE.0, SIZE.1 + used),
        marks: svg,
    }
}

fn style(number: usize) -> SeriesStyle {
    GROUPS[number % GROUPS.len()]
}

fn describe(word: &str, lines: &[Line]) -> String {
    let sentences: Vec<String> = (lines.iter())
        .filter_map(|line| {
            let best = (line.points.iter().rev()).max_by(|a, b| a.1.total_cmp(&b.1))?;
            Some(format!(
                "{}: at most {}% {word} on average, at g {}.",
                label(&line.group, 40),
                fixed(100.0 * best.1, 0),
                budgets(best.0)
            ))
        })
        .collect();
    format!(
        "Mean over both branches of all neurons of a group, at the doses of the grid. {}",
        sentences.join(" ")
    )
}
