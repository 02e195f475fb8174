//! Outcome classes over horizons: one stacked bar per horizon.

use super::Figure;
use super::legend::{self, Entry, Sample};
use super::scale::Scale;
use super::style;
use super::svg::Svg;
use crate::report::format::{percent, share};
use crate::report::text::label;
use crate::stages::judge::HorizonShares;

const WIDTH: f64 = 430.0;
const TOP: f64 = 34.0;
const ROW: f64 = 26.0;

/// What to draw.
pub struct Bars<'a> {
    /// File name without its ending.
    pub name: String,
    /// Head of the figure.
    pub title: String,
    /// Names of the behaviour's outcome classes.
    pub classes: Vec<String>,
    /// Number of prompts.
    pub prompts: usize,
    /// One bar each.
    pub horizons: &'a [HorizonShares],
}

/// Draws the bars.
pub fn draw(bars: Bars) -> Figure {
    let scale = Scale::new((0.0, bars.prompts.max(1) as f64), (64.0, WIDTH - 16.0));
    let mut svg = Svg::default();
    svg.text("head", (14.0, 18.0), &bars.title);
    for (row, shares) in bars.horizons.iter().enumerate() {
        let y = TOP + ROW * row as f64;
        svg.text(
            "tick end",
            (56.0, y + 14.0),
            &format!("τ = {}", shares.horizon),
        );
        bar(&mut svg, &bars, &scale, shares, y);
    }
    let bottom = TOP + ROW * bars.horizons.len() as f64;
    for tick in [0, 25, 50, 75, 100] {
        let x = scale.at(bars.prompts.max(1) as f64 * f64::from(tick) / 100.0);
        svg.text("tick mid", (x, bottom + 10.0), &format!("{tick}%"));
    }
    let entries: Vec<Entry> = (names(&bars.classes).into_iter().enumerate())
        .map(|(i, name)| (Sample::Series(style::outcome(i, bars.classes.len())), name))
        .collect();
    let used = legend::areas(
        &mut svg,
        &bars.name,
        (20.0, bottom + 20.0),
        WIDTH - 36.0,
        &entries,
    );
    Figure {
        title: format!("Outcome classes over horizons: {}", bars.title),
        description: describe(&bars),
        size: (WIDTH, bottom + 26.0 + used),
        name: bars.name,
        marks: svg,
    }
}

fn bar(svg: &mut Svg, bars: &Bars, scale: &Scale, shares: &HorizonShares, y: f64) {
    let mut before = 0;
    for (i, count) in shares.outcomes.iter().enumerate() {
        let (from, to) = (scale.at(before as f64), scale.at((before + count) as f64));
        let pattern = style::outcome(i, bars.classes.len()).pattern;
        svg.patterned(&bars.name, pattern, (from, y), (to - from, 20.0));
        if before > 0 && *count > 0 {
            svg.line("axis", (from, y), (from, y + 20.0));
        }
        before += count;
    }
}

/// The classes, then `other`, then `collapse`.
pub fn names(classes: &[String]) -> Vec<String> {
    let last = ["other", "collapse"].map(String::from);
    classes.iter().cloned().chain(last).collect()
}

fn describe(bars: &Bars) -> String {
    let names = names(&bars.classes);
    let sentences: Vec<String> = (bars.horizons.iter())
        .map(|shares| {
            let parts: Vec<String> = (names.iter().zip(&shares.outcomes))
                .filter(|(_, count)| **count > 0)
                .map(|(name, count)| {
                    format!("{} {}", label(name, 30), percent(*count, bars.prompts))
                })
                .collect();
            format!("After {} tokens: {}.", shares.horizon, parts.join(", "))
        })
        .collect();
    match bars.prompts {
        0 => format!("No prompts ({}).", share(0, 0)),
        _ => sentences.join(" "),
    }
}
