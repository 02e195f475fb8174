//! Legends: a sample of each mark with its name, set in rows.

use super::style::SeriesStyle;
use super::svg::{Point, Svg};
use crate::report::text::label;

/// What an entry shows.
#[derive(Clone, Copy, Debug)]
pub enum Sample {
    /// A line with its marker, or an area with its pattern.
    Series(SeriesStyle),
    /// The band of an open window.
    Band,
    /// The frame of an undecided one.
    Undecided,
}

/// One entry: how it looks, what it is called.
pub type Entry = (Sample, String);

/// Rough width of text in pixels at the figures' size.
pub fn text_width(text: &str) -> f64 {
    text.chars()
        .map(|c| if c.is_ascii() { 6.1 } else { 8.5 })
        .sum()
}

/// Draws line samples in rows of at most `width`, from the upper left corner; returns the height used.
pub fn lines(svg: &mut Svg, corner: Point, width: f64, entries: &[Entry]) -> f64 {
    rows(svg, corner, width, entries, |svg, style, (x, y)| {
        let SeriesStyle {
            colour,
            dash,
            marker,
            ..
        } = *style;
        svg.line(&format!("line {dash} s-{colour}"), (x, y), (x + 24.0, y));
        svg.marker(
            marker,
            &format!("dot s-{colour} f-{colour}"),
            (x + 12.0, y),
            3.2,
        );
    })
}

/// Draws area samples, as [`lines`].
pub fn areas(svg: &mut Svg, figure: &str, corner: Point, width: f64, entries: &[Entry]) -> f64 {
    rows(svg, corner, width, entries, |svg, style, (x, y)| {
        svg.patterned(figure, style.pattern, (x, y - 5.0), (24.0, 10.0));
    })
}

const ROW: f64 = 16.0;

fn rows(
    svg: &mut Svg,
    (left, top): Point,
    width: f64,
    entries: &[Entry],
    draw: impl Fn(&mut Svg, &SeriesStyle, Point),
) -> f64 {
    let (mut x, mut y) = (left, top + ROW / 2.0);
    for (sample, name) in entries {
        let name = label(name, 22);
        let wide = 29.0 + text_width(&name);
        if x > left && x + wide > left + width {
            (x, y) = (left, y + ROW);
        }
        match sample {
            Sample::Series(style) => draw(svg, style, (x, y)),
            Sample::Band => svg.rect("band", (x, y - 6.0), (24.0, 12.0)),
            Sample::Undecided => svg.rect("undecided", (x, y - 5.0), (24.0, 10.0)),
        }
        svg.text("small", (x + 29.0, y + 4.0), &name);
        x += wide + 14.0;
    }
    y + ROW / 2.0 - top
}
