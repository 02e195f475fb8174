//! Windows by layer: one stacked bar per layer.

use super::legend::{self, Entry, Sample};
use super::scale::Scale;
use super::style::{self, SeriesStyle};
use super::svg::Svg;
use super::{Figure, slug};
use crate::report::format::counted;
use crate::report::text::label;

const WIDTH: f64 = 430.0;
const TOP: f64 = 34.0;

/// Branches of one layer by what is known of their windows, in the order of [`style::WINDOWS`].
pub struct Bar {
    /// The layer.
    pub layer: usize,
    /// How many branches of each kind.
    pub counts: [usize; 6],
}

/// Draws the bars of a behaviour; `place` counts the behaviours.
pub fn draw(place: usize, behavior: &str, bars: &[Bar]) -> Figure {
    // Many layers get thinner bars.
    let row = if bars.len() > 16 { 13.0 } else { 22.0 };
    let name = format!("layers-{}-{}", place + 1, slug(behavior));
    let name = name.trim_end_matches('-').to_owned();
    let largest = bars.iter().map(|bar| bar.counts.iter().sum()).max();
    let most: usize = largest.unwrap_or(0);
    let scale = Scale::new((0.0, most.max(1) as f64), (64.0, WIDTH - 16.0));
    let mut svg = Svg::default();
    svg.text("head", (14.0, 18.0), &label(behavior, 48));
    for (number, bar) in bars.iter().enumerate() {
        let y = TOP + row * number as f64;
        let text = format!("layer {}", bar.layer);
        svg.text("tick end", (56.0, y + row / 2.0 + 2.0), &text);
        let mut before = 0;
        for (style, count) in style::WINDOWS.iter().zip(bar.counts) {
            let (from, to) = (scale.at(before as f64), scale.at((before + count) as f64));
            svg.patterned(&name, style.pattern, (from, y), (to - from, row - 4.0));
            if before > 0 && count > 0 {
                svg.line("axis", (from, y), (from, y + row - 4.0));
            }
            before += count;
        }
    }
    let bottom = TOP + row * bars.len() as f64;
    let (ticks, _) = scale.ticks(5);
    for tick in ticks.into_iter().filter(|tick| tick.fract() == 0.0) {
        let text = format!("{tick:.0}");
        svg.text("tick mid", (scale.at(tick), bottom + 10.0), &text);
    }
    let middle = (scale.range.0 + scale.range.1) / 2.0;
    svg.text("label mid", (middle, bottom + 26.0), "held-out branches");
    let used = legend::areas(
        &mut svg,
        &name,
        (20.0, bottom + 36.0),
        WIDTH - 36.0,
        &entries(bars),
    );
    Figure {
        title: format!("Windows by layer: {}", label(behavior, 60)),
        description: describe(bars),
        size: (WIDTH, bottom + 42.0 + used),
        name,
        marks: svg,
    }
}

/// The kinds that occur.
fn entries(bars: &[Bar]) -> Vec<Entry> {
    (style::WINDOWS.iter().zip(NAMES).enumerate())
        .filter(|(kind, _)| bars.iter().any(|bar| bar.counts[*kind] > 0))
        .map(|(_, (style, name)): (usize, (&SeriesStyle, &str))| {
            (Sample::Series(*style), name.into())
        })
        .collect()
}

const NAMES: [&str; 6] = [
    "open",
    "undecided",
    "collapses first",
    "too late",
    "capped by norm",
    "censored",
];

fn describe(bars: &[Bar]) -> String {
    let sentences: Vec<String> = (bars.iter())
        .map(|bar| {
            let parts: Vec<String> = (NAMES.iter().zip(bar.counts))
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| format!("{count} {name}"))
                .collect();
            format!("Layer {}: {}.", bar.layer, parts.join(", "))
        })
        .collect();
    let total = bars.iter().flat_map(|bar| bar.counts).sum();
    format!(
        "{} by layer. {}",
        counted(total, "held-out branch"),
        sentences.join(" ")
    )
}
