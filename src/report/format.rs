//! Number formats of the reports: fixed, so that a rerun prints the same bytes.

use serde::Serialize;

use crate::stages::verdict::ThresholdInterval;
use crate::stats::Interval;

/// What stands for a number that is not there.
pub const NOTHING: &str = "–";

/// A number with a fixed count of decimals and a typographic minus; [`NOTHING`] when it is not finite.
pub fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return NOTHING.into();
    }
    let text = format!("{value:.decimals$}");
    match text.strip_prefix('-') {
        Some(zero) if zero.bytes().all(|b| b == b'0' || b == b'.') => zero.into(),
        Some(magnitude) => format!("−{magnitude}"),
        None => text,
    }
}

/// A coordinate `cosθ`, or a difference of two: three decimals.
pub fn coordinate(value: f64) -> String {
    fixed(value, 3)
}

/// A dose in budgets: two to three significant digits.
pub fn budgets(value: f64) -> String {
    let decimals = match value.abs() {
        v if v < 0.0995 => 3,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    fixed(value, decimals)
}

/// A count with its total and percentage, `5/12 (42%)`.
pub fn share(count: usize, total: usize) -> String {
    match total {
        0 => "0/0".into(),
        _ => format!(
            "{}/{} ({})",
            thousands(count),
            thousands(total),
            percent(count, total)
        ),
    }
}

/// A whole percentage, `42%`; within one point of none or all with a decimal, `99.7%`.
pub fn percent(count: usize, total: usize) -> String {
    match total {
        0 => NOTHING.into(),
        _ => percentage(count as f64 / total as f64),
    }
}

/// A share as a percentage, as [`percent`].
pub fn percentage(share: f64) -> String {
    let decimals = usize::from(is_near_end(share));
    format!("{}%", fixed(100.0 * share, decimals))
}

/// Whether a whole percentage would call a share that is not quite none or all so, or nearly.
fn is_near_end(share: f64) -> bool {
    let rest = share.min(1.0 - share);
    (0.0005..0.01).contains(&rest)
}

/// An interval of coordinates, `0.031–0.078`.
pub fn interval(interval: Interval) -> String {
    format!("{}–{}", coordinate(interval.low), coordinate(interval.high))
}

/// An interval of differences or correlations, whose ends may be negative: `−0.12 to 0.40`.
pub fn signed_interval(interval: Interval) -> String {
    format!("{} to {}", fixed(interval.low, 2), fixed(interval.high, 2))
}

/// The interval of a threshold, `0.412–0.503`; an end that lies beyond the doses is a bound, `0.412 to > 0.949`.
pub fn threshold_interval(interval: ThresholdInterval) -> String {
    let ThresholdInterval { low, high } = interval;
    let (from, to) = (coordinate(low.coordinate()), coordinate(high.coordinate()));
    match (low.reached(), high.reached()) {
        (true, true) => format!("{from}–{to}"),
        (true, false) => format!("{from} to > {to}"),
        (false, _) => format!("> {from}"),
    }
}

/// A level such as `95%`.
pub fn level(share: f64) -> String {
    // Levels such as 0.999 keep their digit.
    let percent = (share * 1e4).round() / 1e2;
    format!("{percent}%")
}

/// An interval of shares in whole percentages, `72–97%`; a narrow one, or one that ends near none or all, with a decimal.
pub fn percent_interval(interval: Interval) -> String {
    let Interval { low, high } = interval;
    let decimals = usize::from(high - low < 0.02 || is_near_end(low) || is_near_end(high));
    format!(
        "{}–{}%",
        fixed(100.0 * low, decimals),
        fixed(100.0 * high, decimals)
    )
}

/// `1 neuron`, `2 neurons`; `noun` in the singular.
pub fn counted(count: usize, noun: &str) -> String {
    let plural = match noun {
        _ if count == 1 => noun.into(),
        _ if noun.ends_with("ch") => format!("{noun}es"),
        _ => format!("{noun}s"),
    };
    format!("{} {plural}", thousands(count))
}

/// Digits in groups of three, `12,288`.
pub fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A spec keyword as it is written: the serde name of a unit variant.
pub fn keyword<T: Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        Ok(other) => other.to_string(),
        Err(_) => NOTHING.into(),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub fn listed(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The first 12 digits of a hash.
pub fn short_hash(hash: &str) -> String {
    hash.chars().take(12).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_form() {
        assert_eq!(coordinate(-0.0004), "0.000");
        assert_eq!(coordinate(-0.25), "−0.250");
        assert_eq!(coordinate(f64::NAN), NOTHING);
        assert_eq!(
            [0.05, 0.6, 1.4567, 12.34, 120.0].map(budgets),
            ["0.050", "0.60", "1.46", "12.3", "120"]
        );
        assert_eq!(share(5, 12), "5/12 (42%)");
        assert_eq!(share(0, 0), "0/0");
        assert_eq!(share(23, 5632), "23/5,632 (0.4%)");
        let narrow = Interval {
            low: 0.994,
            high: 0.998,
        };
        assert_eq!(percent_interval(narrow), "99.4–99.8%");
        assert_eq!(
            percent_interval(Interval {
                low: 0.0,
                high: 0.66
            }),
            "0–66%"
        );
        assert_eq!(thousands(1_225_344), "1,225,344");
        assert_eq!(counted(1, "branch"), "1 branch");
        assert_eq!(counted(2, "signed branch"), "2 signed branches");
    }

    #[test]
    fn lists_read_as_prose() {
        let items = |n: usize| {
            ["a", "b", "c"][..n]
                .iter()
                .map(|s| s.to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(listed(&items(0)), "");
        assert_eq!(listed(&items(2)), "a and b");
        assert_eq!(listed(&items(3)), "a, b and c");
    }
}
