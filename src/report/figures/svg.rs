//! A small writer of SVG: fixed two decimals, escaped text, and no mark with a coordinate that is not finite.

use std::fmt::Write as _;

use crate::report::text::xml;

/// A point in pixels.
pub type Point = (f64, f64);

/// The marks of a figure, in drawing order.
#[derive(Clone, Debug, Default)]
pub struct Svg {
    body: String,
}

/// Shapes of data points, told apart without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// A disc.
    Circle,
    /// A square.
    Square,
    /// A triangle that points up.
    Triangle,
    /// A square on its corner.
    Diamond,
    /// Two diagonal strokes.
    Cross,
    /// A triangle that points down.
    Wedge,
}

impl Svg {
    /// What was drawn.
    pub fn into_body(self) -> String {
        self.body
    }

    /// A straight line.
    pub fn line(&mut self, class: &str, from: Point, to: Point) {
        if let (Some((x1, y1)), Some((x2, y2))) = (pixels(from), pixels(to)) {
            let _ = writeln!(
                self.body,
                r#"<line class="{class}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>"#
            );
        }
    }

    /// A rectangle from its upper left corner; nothing when it has no area.
    pub fn rect(&mut self, class: &str, corner: Point, size: Point) {
        if size.0 <= 0.0 || size.1 <= 0.0 {
            return;
        }
        if let (Some((x, y)), Some((w, h))) = (pixels(corner), pixels(size)) {
            let _ = writeln!(
                self.body,
                r#"<rect class="{class}" x="{x}" y="{y}" width="{w}" height="{h}"/>"#
            );
        }
    }

    /// A rectangle filled with a pattern of the figure, by the pattern's name.
    pub fn patterned(&mut self, figure: &str, pattern: &str, corner: Point, size: Point) {
        if size.0 <= 0.0 || size.1 <= 0.0 {
            return;
        }
        if let (Some((x, y)), Some((w, h))) = (pixels(corner), pixels(size)) {
            let _ = writeln!(
                self.body,
                r#"<rect x="{x}" y="{y}" width="{w}" height="{h}" fill="url(#{figure}-{pattern})"/>"#
            );
        }
    }

    /// A line through points; points that are not finite interrupt it.
    pub fn polyline(&mut self, class: &str, points: &[Point]) {
        for run in points
            .split(|p| pixels(*p).is_none())
            .filter(|r| r.len() > 1)
        {
            let _ = writeln!(
                self.body,
                r#"<polyline class="{class}" points="{}"/>"#,
                path(run)
            );
        }
    }

    /// A closed area; nothing when a point is not finite.
    pub fn polygon(&mut self, class: &str, points: &[Point]) {
        if points.iter().all(|p| pixels(*p).is_some()) && points.len() > 2 {
            let _ = writeln!(
                self.body,
                r#"<polygon class="{class}" points="{}"/>"#,
                path(points)
            );
        }
    }

    /// Text at its baseline; `class` says how it is anchored.
    pub fn text(&mut self, class: &str, at: Point, text: &str) {
        if let Some((x, y)) = pixels(at) {
            let text = xml(text);
            let _ = writeln!(
                self.body,
                r#"<text class="{class}" x="{x}" y="{y}">{text}</text>"#
            );
        }
    }

    /// Text that reads upwards, for the label of a vertical axis.
    pub fn upward_text(&mut self, class: &str, at: Point, text: &str) {
        if let Some((x, y)) = pixels(at) {
            let text = xml(text);
            let _ = writeln!(
                self.body,
                r#"<text class="{class}" transform="translate({x} {y}) rotate(-90)">{text}</text>"#
            );
        }
    }

    /// A data point of the given radius.
    pub fn marker(&mut self, marker: Marker, class: &str, at: Point, radius: f64) {
        let ((x, y), r) = (at, radius);
        match marker {
            Marker::Circle => {
                if let (Some((cx, cy)), Some((r, _))) = (pixels(at), pixels((r, r))) {
                    let _ = writeln!(
                        self.body,
                        r#"<circle class="{class}" cx="{cx}" cy="{cy}" r="{r}"/>"#
                    );
                }
            }
            Marker::Square => {
                let r = r * 0.9;
                self.rect(class, (x - r, y - r), (2.0 * r, 2.0 * r));
            }
            Marker::Triangle => {
                let r = r * 1.15;
                self.polygon(
                    class,
                    &[(x, y - r), (x + r, y + 0.8 * r), (x - r, y + 0.8 * r)],
                );
            }
            Marker::Wedge => {
                let r = r * 1.15;
                self.polygon(
                    class,
                    &[(x, y + r), (x + r, y - 0.8 * r), (x - r, y - 0.8 * r)],
                );
            }
            Marker::Diamond => {
                let r = r * 1.25;
                self.polygon(class, &[(x, y - r), (x + r, y), (x, y + r), (x - r, y)]);
            }
            Marker::Cross => {
                self.line(class, (x - r, y - r), (x + r, y + r));
                self.line(class, (x - r, y + r), (x + r, y - r));
            }
        }
    }
}

fn pixels((x, y): Point) -> Option<(String, String)> {
    (x.is_finite() && y.is_finite()).then(|| (number(x), number(y)))
}

/// Two decimals, never `-0.00`.
fn number(value: f64) -> String {
    let text = format!("{value:.2}");
    if text == "-0.00" { "0.00".into() } else { text }
}

fn path(points: &[Point]) -> String {
    let pairs: Vec<String> = (points.iter())
        .filter_map(|p| pixels(*p))
        .map(|(x, y)| format!("{x},{y}"))
        .collect();
    pairs.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finite_is_not_drawn() {
        let mut svg = Svg::default();
        svg.line("a", (f64::NAN, 0.0), (1.0, 1.0));
        svg.rect("a", (0.0, 0.0), (-1.0, 2.0));
        svg.polygon("a", &[(0.0, 0.0), (1.0, f64::INFINITY), (2.0, 0.0)]);
        assert_eq!(svg.into_body(), "");
    }

    #[test]
    fn gaps_interrupt_a_line_and_zero_has_no_sign() {
        let mut svg = Svg::default();
        let gap = (f64::NAN, 0.0);
        svg.polyline(
            "a",
            &[
                (0.0, -0.001),
                (1.0, 1.0),
                gap,
                (2.0, 2.0),
                (3.0, 3.0),
                gap,
                (4.0, 4.0),
            ],
        );
        let body = svg.into_body();
        assert_eq!(body.lines().count(), 2);
        assert!(body.starts_with(r#"<polyline class="a" points="0.00,0.00 1.00,1.00"/>"#));
    }
}
