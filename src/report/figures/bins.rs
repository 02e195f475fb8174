//! Scatter plots of many points: what lies close together becomes one mark, by a fixed grid of cells, so that no part of the data is
//! left out and a census does not make the file large.

use std::collections::BTreeMap;

use super::scale::Frame;
use super::svg::{Marker, Point, Svg};

/// More points than this are gathered in cells.
pub const MOST_POINTS: usize = 1000;
/// What a figure's description then adds.
pub const NOTE: &str =
    " Points that lie close together are one mark, whose area grows with their number.";
/// Width and height of a cell in pixels.
const CELL: f64 = 9.0;

/// Points of one kind.
pub struct Kind {
    /// Their marker.
    pub marker: Marker,
    /// Their class.
    pub class: &'static str,
    /// Radius of a single point, in pixels.
    pub radius: f64,
    /// The points, in the plot's units.
    pub points: Vec<Point>,
}

/// Draws points of several kinds; returns whether they were gathered in cells.
pub fn scatter(svg: &mut Svg, frame: &Frame, kinds: &[Kind]) -> bool {
    let total: usize = kinds.iter().map(|kind| kind.points.len()).sum();
    let gathered = total > MOST_POINTS;
    for kind in kinds {
        let pixels = (kind.points.iter())
            .map(|&(x, y)| frame.at(x, y))
            .filter(|(x, y)| x.is_finite() && y.is_finite());
        if gathered {
            cells(svg, kind, pixels);
        } else {
            pixels.for_each(|at| svg.marker(kind.marker, kind.class, at, kind.radius));
        }
    }
    gathered
}

/// One mark per cell that holds a point, at the mean of its points; its area grows with their number up to the size of the cell.
fn cells(svg: &mut Svg, kind: &Kind, pixels: impl Iterator<Item = Point>) {
    let mut cells: BTreeMap<(i64, i64), (usize, f64, f64)> = BTreeMap::new();
    for (x, y) in pixels {
        let cell = cells
            .entry(((x / CELL).floor() as i64, (y / CELL).floor() as i64))
            .or_default();
        *cell = (cell.0 + 1, cell.1 + x, cell.2 + y);
    }
    let most = cells.values().map(|cell| cell.0).max().unwrap_or(1) as f64;
    for (count, x, y) in cells.into_values() {
        let n = count as f64;
        let radius = (CELL / 2.0 * (n / most).sqrt()).max(1.0);
        svg.marker(kind.marker, kind.class, (x / n, y / n), radius);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::figures::scale::Scale;

    fn marks(count: usize) -> (bool, usize) {
        let frame = Frame {
            x: Scale::new((0.0, 1.0), (0.0, 90.0)),
            y: Scale::new((0.0, 1.0), (90.0, 0.0)),
        };
        let points = (0..count)
            .map(|i| ((i % 97) as f64 / 97.0, (i % 89) as f64 / 89.0))
            .collect();
        let kind = Kind {
            marker: Marker::Circle,
            class: "a",
            radius: 3.0,
            points,
        };
        let mut svg = Svg::default();
        let gathered = scatter(&mut svg, &frame, &[kind]);
        (gathered, svg.into_body().lines().count())
    }

    #[test]
    fn few_points_are_drawn_one_by_one_and_many_in_cells() {
        assert_eq!(marks(800), (false, 800));
        let (gathered, drawn) = marks(5000);
        assert!(gathered && drawn <= 11 * 11, "{drawn}");
    }
}
