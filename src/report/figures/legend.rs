//! Legends: a sample of each mark with its name, set in rows.

use super::style::SeriesStyle;
use super::svg::{Point, Svg};
use crate::report::text::label;

/// One entry: how it looks, what it is called.
pub type Entry = (SeriesStyle, String);

/// Rough width of text in pixels at the figures' size.
pub fn text_width(text: &str) -> f64 {
    text.chars()
        .map(|c| if c.is_ascii() { 6.1 } else { 8.5 })
        .sum()
}

/// Draws line samples in rows of at most `width`, from the upper left corner; returns the height used.
pub fn lines(svg: &mut Svg, corner: Point, width: f64, entries: &[Entry]) -> f64 {
    rows(corner, width, entries, |style, (x, y), name| {
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
        svg.text("small", (x + 29.0, y + 4.0), name);
    })
}

/// Draws area samples, as [`lines`].
pub fn areas(svg: &mut Svg, figure: &str, corner: Point, width: f64, entries: &[Entry]) -> f64 {
    rows(corner, width, entries, |style, (x, y), name| {
        svg.patterned(figure, style.pattern, (x, y - 5.0), (24.0, 10.0));
        svg.text("small", (x + 29.0, y + 4.0), name);
    })
}

const ROW: f64 = 16.0;

fn rows(
    (left, top): Point,
    width: f64,
    entries: &[Entry],
    mut draw: impl FnMut(&SeriesStyle, Point, &str),
) -> f64 {
    let (mut x, mut y) = (left, top + ROW / 2.0);
    for (style, name) in entries {
        let name = label(name, 22);
        let wide = 29.0 + text_width(&name) + 14.0;
        if x > left && x + wide - 14.0 > left + width {
            (x, y) = (left, y + ROW);
        }
        draw(style, (x, y), &name);
        x += wide;
    }
    y + ROW / 2.0 - top
}
