//! Scales and axes, shared by every plot.

use super::svg::{Point, Svg};
use crate::report::format::fixed;

/// A linear map from data to pixels.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Ends of the data.
    pub domain: (f64, f64),
    /// Ends in pixels.
    pub range: (f64, f64),
}

impl Scale {
    /// A scale; an empty or unusable domain becomes one unit wide.
    pub fn new(domain: (f64, f64), range: (f64, f64)) -> Self {
        let usable = domain.0.is_finite() && domain.1.is_finite() && domain.0 < domain.1;
        let start = if domain.0.is_finite() { domain.0 } else { 0.0 };
        let domain = if usable { domain } else { (start, start + 1.0) };
        Self { domain, range }
    }

    /// Pixel of a value.
    pub fn at(&self, value: f64) -> f64 {
        let share = (value - self.domain.0) / (self.domain.1 - self.domain.0);
        self.range.0 + share * (self.range.1 - self.range.0)
    }

    /// Pixel of a value, held within the range.
    pub fn clamped(&self, value: f64) -> f64 {
        self.at(value.clamp(self.domain.0, self.domain.1))
    }

    /// Round values within the domain, about `count` of them, and the decimals that they need.
    pub fn ticks(&self, count: usize) -> (Vec<f64>, usize) {
        let (from, to) = self.domain;
        let rough = (to - from) / count.max(1) as f64;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .map(|k| k * power)
            .into_iter()
            .find(|step| *step >= rough * 0.999)
            .unwrap_or(10.0 * power);
        let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
        let first = (from / step - 1e-9).ceil() as i64;
        let last = (to / step + 1e-9).floor() as i64;
        let ticks = (first..=last).take(50).map(|i| i as f64 * step).collect();
        (ticks, decimals)
    }
}

/// A plot's frame: both scales in pixels, `y` upwards.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// Horizontal scale.
    pub x: Scale,
    /// Vertical scale.
    pub y: Scale,
}

impl Frame {
    /// Pixel of a point.
    pub fn at(&self, x: f64, y: f64) -> Point {
        (self.x.at(x), self.y.at(y))
    }

    /// Upper and lower edge in pixels.
    fn edges(&self) -> (f64, f64) {
        (self.y.range.1, self.y.range.0)
    }

    /// Horizontal axis below, with vertical grid lines, ticks and a label.
    pub fn axis_below(&self, svg: &mut Svg, count: usize, label: &str) {
        let (top, bottom) = self.edges();
        let (ticks, decimals) = self.x.ticks(count);
        for tick in ticks {
            let x = self.x.at(tick);
            svg.line("grid", (x, top), (x, bottom));
            svg.text("tick mid", (x, bottom + 15.0), &fixed(tick, decimals));
        }
        svg.line("axis", (self.x.range.0, bottom), (self.x.range.1, bottom));
        let middle = (self.x.range.0 + self.x.range.1) / 2.0;
        svg.text("label mid", (middle, bottom + 31.0), label);
    }

    /// Vertical axis on the left, with horizontal grid lines, ticks and a label.
    pub fn axis_left(&self, svg: &mut Svg, count: usize, label: &str) {
        let (ticks, decimals) = self.y.ticks(count);
        let left = self.x.range.0;
        for tick in ticks {
            let y = self.y.at(tick);
            svg.line("grid", (left, y), (self.x.range.1, y));
            svg.text("tick end", (left - 6.0, y + 4.0), &fixed(tick, decimals));
        }
        let (top, bottom) = self.edges();
        svg.line("axis", (left, top), (left, bottom));
        svg.upward_text("label mid", (left - 36.0, (top + bottom) / 2.0), label);
    }

    /// Vertical axis of shares from 0 to 100%.
    pub fn shares_left(&self, svg: &mut Svg, label: &str) {
        let left = self.x.range.0;
        for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let y = self.y.at(tick);
            svg.line("grid", (left, y), (self.x.range.1, y));
            let text = format!("{}%", fixed(100.0 * tick, 0));
            svg.text("tick end", (left - 6.0, y + 4.0), &text);
        }
        let (top, bottom) = self.edges();
        svg.upward_text("label mid", (left - 42.0, (top + bottom) / 2.0), label);
    }

    /// Second horizontal axis above: ticks at given places (`x`, text), left out where they would touch.
    pub fn axis_above(&self, svg: &mut Svg, ticks: &[(f64, String)], label: &str) {
        let (top, _) = self.edges();
        svg.line("axis", (self.x.range.0, top), (self.x.range.1, top));
        let mut taken: Vec<f64> = Vec::new();
        for (value, text) in ticks {
            let x = self.x.at(*value);
            if taken.iter().all(|t| (t - x).abs() >= 30.0) {
                svg.line("axis", (x, top), (x, top - 4.0));
                svg.text("tick mid", (x, top - 7.0), text);
                taken.push(x);
            }
        }
        svg.text(
            "label mid",
            ((self.x.range.0 + self.x.range.1) / 2.0, top - 22.0),
            label,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let (ticks, decimals) = Scale::new((0.0, 1.0), (0.0, 100.0)).ticks(5);
        assert_eq!((ticks.len(), decimals), (6, 1));
        let (ticks, decimals) = Scale::new((-2.1, 2.1), (0.0, 100.0)).ticks(5);
        assert_eq!((ticks, decimals), (vec![-2.0, -1.0, 0.0, 1.0, 2.0], 0));
    }

    #[test]
    fn unusable_domains_still_give_pixels() {
        for domain in [(1.0, 1.0), (f64::NAN, 2.0), (0.0, f64::INFINITY)] {
            assert!(Scale::new(domain, (0.0, 10.0)).at(1.0).is_finite());
        }
    }
}
