//! `doses` and `rollout`: the grid and the horizons.

use super::context::Context;
use crate::spec::coherence::Detector;
use crate::spec::doses::{Apply, DoseRange, DoseUnit, DosesSpec, Search};
use crate::spec::model::Dtype;
use crate::spec::path::SpecPath;
use crate::study::{Doses, Rollout};
use crate::units::{Horizon, Sign};

/// Most magnitudes of a grid.
const MAGNITUDES: usize = 10_000;

/// The rollout settings, or `None` and reports.
pub fn rollout(context: &mut Context<'_>) -> Option<Rollout> {
    let spec = &context.written.spec.rollout;
    let path = SpecPath::root().key("rollout").key("horizons");
    let mut fine = true;
    for (index, horizon) in spec.horizons.iter().enumerate() {
        let before = index
            .checked_sub(1)
            .map_or(0, |before| spec.horizons[before].0);
        if horizon.0 <= before {
            let message = match index {
                0 => "a horizon of 0 tokens judges nothing".to_owned(),
                _ => format!("the horizon {horizon} does not come after {before}"),
            };
            context.reject(
                &path.item(index),
                message,
                "horizons are above 0 and increase",
            );
            fine = false;
        }
    }
    let longest = spec.horizons.last()?.0;
    let limit = context.target.shape().context;
    if fine && longest >= limit {
        let index = spec.horizons.len() - 1;
        let message = format!(
            "the horizon {longest} leaves no room for a prompt in the model's context of {limit} tokens"
        );
        context.reject(&path.item(index), message, "choose a shorter horizon");
        fine = false;
    }
    let verdict_horizon = verdict_horizon(context, &spec.horizons);
    let deciding = &context.written.spec.coherence.collapsed_if;
    if spec.stop_at_collapse && !deciding.contains(&Detector::Repetition) {
        context.reject(
            &path.key("stop_at_collapse"),
            "a rollout can only stop early where `repetition` decides collapse; it is not in `coherence.collapsed_if`",
            "add `repetition` to `coherence.collapsed_if`, or leave `stop_at_collapse` out",
        );
        fine = false;
    }
    fine.then_some(())?;
    Some(Rollout {
        horizons: spec.horizons.clone(),
        sample: spec.sample,
        stop_at_end: spec.stop_at_end,
        stop_at_collapse: spec.stop_at_collapse,
        verdict_horizon: verdict_horizon?,
    })
}

fn verdict_horizon(context: &mut Context<'_>, horizons: &[Horizon]) -> Option<Horizon> {
    let Some(horizon) = context.written.spec.verdict.horizon else {
        return horizons.last().copied();
    };
    if horizons.contains(&horizon) {
        return Some(horizon);
    }
    let known: Vec<String> = horizons.iter().map(Horizon::to_string).collect();
    context.reject(
        &SpecPath::root().key("verdict").key("horizon"),
        format!("the horizon {horizon} of the verdict is not one of `rollout.horizons`"),
        format!("choose one of {}", known.join(", ")),
    );
    None
}

/// The dose grid, or `None` and reports.
pub fn doses(context: &mut Context<'_>, rollout: Option<&Rollout>) -> Option<Doses> {
    let spec = &context.written.spec.doses;
    let path = SpecPath::root().key("doses");
    window(context, &path.key("window"), spec, rollout);
    let tolerance = tolerance(context, &path, spec)?;
    let magnitudes = magnitudes(context, &path, spec)?;
    let signs = signs(
        context,
        &SpecPath::root().key("doses").key("signs"),
        &spec.signs,
    )?;
    Some(Doses {
        unit: spec.unit,
        magnitudes,
        tolerance,
        signs,
        apply: spec.apply,
        window: spec.window,
    })
}

/// What a search starts from when the spec names no grid: 0.2 to 3 budgets.
const SEARCH_START: DoseRange = DoseRange {
    from: 0.2,
    to: 3.0,
    count: 6,
};

/// The magnitudes, or `None` and reports.
fn magnitudes(context: &mut Context<'_>, path: &SpecPath, spec: &DosesSpec) -> Option<Vec<f64>> {
    let given = [
        ("grid", spec.grid.is_some()),
        ("linear", spec.linear.is_some()),
        ("geometric", spec.geometric.is_some()),
    ];
    if spec.search.is_some() && given.iter().all(|(_, written)| !written) {
        if spec.unit == DoseUnit::Activation {
            context.reject(
                &path.key("unit"),
                "a search without a grid starts from doses in budgets",
                "give a `grid` in activation units, or leave `unit` out",
            );
            return None;
        }
        return range_magnitudes(context, path, &SEARCH_START, geometric);
    }
    let key = context.exactly_one(path, &given)?;
    let path = path.key(key);
    let magnitudes = match (&spec.grid, &spec.linear, &spec.geometric) {
        (Some(grid), _, _) => grid.clone(),
        (_, Some(range), _) => range_magnitudes(context, &path, range, linear)?,
        (_, _, Some(range)) => range_magnitudes(context, &path, range, geometric)?,
        _ => return None,
    };
    check_magnitudes(context, &path, &magnitudes, spec.grid.is_some())?;
    Some(magnitudes)
}

/// How closely a search encloses the thresholds; `Some(None)` without a search, `None` and a report when it makes no sense.
fn tolerance(context: &mut Context<'_>, path: &SpecPath, spec: &DosesSpec) -> Option<Option<f64>> {
    const DEFAULT: f64 = 0.05;
    // Doses enter the forward pass in single precision, of which this leaves enough.
    const LEAST: f64 = 1e-4;
    match (spec.search, spec.tolerance) {
        (None, None) => Some(None),
        (None, Some(_)) => {
            context.reject(
                &path.key("tolerance"),
                "a tolerance is for a search, and there is none",
                "add `search: bisect`, or remove `tolerance`",
            );
            None
        }
        (Some(Search::Bisect), tolerance) => {
            let tolerance = tolerance.unwrap_or(DEFAULT);
            if tolerance < LEAST {
                context.reject(
                    &path.key("tolerance"),
                    format!("the tolerance {tolerance} is finer than {LEAST} budgets"),
                    "a few hundredths are usual: the share of a few dozen prompts says no more",
                );
                return None;
            }
            Some(Some(tolerance))
        }
    }
}

/// The signs in order, each written once.
fn signs(context: &mut Context<'_>, path: &SpecPath, written: &[Sign]) -> Option<Vec<Sign>> {
    let mut signs: Vec<Sign> = Vec::new();
    for (index, sign) in written.iter().enumerate() {
        if signs.contains(sign) {
            context.reject(
                &path.item(index),
                "this sign is written twice",
                "leave one of them out",
            );
            return None;
        }
        signs.push(*sign);
    }
    signs.sort();
    Some(signs)
}

fn window(context: &mut Context<'_>, path: &SpecPath, spec: &DosesSpec, rollout: Option<&Rollout>) {
    let Some(window) = spec.window else {
        return;
    };
    if spec.apply == Apply::All {
        let help = "remove `window`, or write `apply: generation`";
        context.reject(
            path,
            "a window of generation steps does not go with `apply: all`",
            help,
        );
    }
    if window.from >= window.to {
        let message = format!(
            "the window from step {} to step {} is empty",
            window.from, window.to
        );
        context.reject(
            path,
            message,
            "`to` is the first step that is not steered any more",
        );
    }
    if let Some(rollout) = rollout {
        window_reaches(context, path, window.from, rollout);
    }
}

/// The window must begin before the verdict's horizon, and had better begin before all of them: `from` is the first steered step, and step
/// `n` writes token `n + 1`.
fn window_reaches(context: &mut Context<'_>, path: &SpecPath, from: usize, rollout: &Rollout) {
    let (longest, verdict) = (rollout.longest(), rollout.verdict_horizon);
    if from >= longest.0 {
        let message =
            format!("the window starts at step {from}, but a rollout has only {longest} steps");
        let help = "no dose would ever be applied: start earlier";
        return context.reject(path, message, help);
    }
    if from >= verdict.0 {
        let message = format!(
            "the window starts at step {from}, but the verdict is on the first {verdict} tokens, which no dose would reach"
        );
        let help = "start earlier, or choose a later `verdict.horizon`";
        return context.reject(path, message, help);
    }
    let unsteered = rollout.horizons.iter().filter(|horizon| from >= horizon.0);
    let unsteered: Vec<String> = unsteered.map(Horizon::to_string).collect();
    if !unsteered.is_empty() {
        let message = format!(
            "the window starts at step {from}: up to horizon {} no token is steered, at any dose",
            unsteered.join(" and ")
        );
        let help = "what is judged there is the unsteered model: start earlier, or leave it out of `rollout.horizons`";
        context.warn(path, message, help);
    }
}

fn range_magnitudes(
    context: &mut Context<'_>,
    path: &SpecPath,
    range: &DoseRange,
    magnitude: fn(&DoseRange, f64) -> f64,
) -> Option<Vec<f64>> {
    let is_ordered = range.from > 0.0 && range.from < range.to;
    if !is_ordered {
        let message = format!(
            "the range from {} to {} is no range of magnitudes",
            range.from, range.to
        );
        context.reject(
            path,
            message,
            "`from` is above 0 and below `to`; use `signs` for negative doses",
        );
        return None;
    }
    let last = range.count.saturating_sub(1).max(1) as f64;
    let at = |i: usize| match i {
        0 => range.from,
        i if i + 1 == range.count => range.to,
        i => round(magnitude(range, i as f64 / last)),
    };
    Some((0..range.count.min(MAGNITUDES)).map(at).collect())
}

fn linear(range: &DoseRange, share: f64) -> f64 {
    range.from + (range.to - range.from) * share
}

fn geometric(range: &DoseRange, share: f64) -> f64 {
    range.from * (range.to / range.from).powf(share)
}

/// Twelve significant digits, so that a range and the grid that a person would write for it are the same study.
fn round(magnitude: f64) -> f64 {
    format!("{magnitude:.11e}").parse().unwrap_or(magnitude)
}

fn check_magnitudes(
    context: &mut Context<'_>,
    path: &SpecPath,
    magnitudes: &[f64],
    is_grid: bool,
) -> Option<()> {
    let place = |index: usize| {
        if is_grid {
            path.item(index)
        } else {
            path.clone()
        }
    };
    if magnitudes.len() > MAGNITUDES {
        let message = format!("the grid has more than {MAGNITUDES} magnitudes");
        context.reject(path, message, "a dozen or two are usual");
        return None;
    }
    let mut before = 0.0;
    // Doses in activation units enter as they are; what budgets come to is known after calibration only.
    let spec = &context.written.spec;
    let enters = spec.doses.unit == DoseUnit::Activation && spec.model.dtype != Dtype::F32;
    let dtype = enters.then_some(spec.model.dtype);
    for (index, &magnitude) in magnitudes.iter().enumerate() {
        // The dose enters the forward pass in single precision.
        let single = magnitude as f32;
        let same = |dtype: &Dtype| dtype.rounded(magnitude) == dtype.rounded(before);
        let fault = if magnitude <= 0.0 {
            Some((
                format!("the magnitude {magnitude} is not above 0"),
                "dose 0 is always measured, and `signs` makes doses negative".to_owned(),
            ))
        } else if single == 0.0 || !single.is_finite() {
            Some((
                format!("the magnitude {magnitude:e} does not fit single precision"),
                "choose one between 1e-30 and 1e30".to_owned(),
            ))
        } else if let Some(dtype) = dtype.filter(|dtype| !dtype.holds(magnitude)) {
            Some((
                format!("the dose {magnitude:e} does not fit `dtype: {dtype}`"),
                dtype.refusal(magnitude),
            ))
        } else if let Some(dtype) = dtype.filter(|dtype| same(dtype) && magnitude > before) {
            Some((
                format!("the doses {before} and {magnitude} are the same in `dtype: {dtype}`"),
                "leave one of them out, or choose another number type".to_owned(),
            ))
        } else if single == before as f32 && magnitude > before {
            Some((
                format!("the magnitudes {before} and {magnitude} are the same in single precision"),
                "leave one of them out".to_owned(),
            ))
        } else if magnitude <= before {
            Some((
                format!("the magnitude {magnitude} does not come after {before}"),
                "magnitudes increase".to_owned(),
            ))
        } else {
            None
        };
        if let Some((message, help)) = fault {
            context.reject(&place(index), message, help);
            return None;
        }
        before = magnitude;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_the_grids_that_a_person_would_write() {
        let range = DoseRange {
            from: 0.1,
            to: 0.5,
            count: 5,
        };
        let at = |magnitude: fn(&DoseRange, f64) -> f64, i: i32| {
            round(magnitude(&range, f64::from(i) / 4.0))
        };
        assert_eq!(
            (0..5).map(|i| at(linear, i)).collect::<Vec<_>>(),
            [0.1, 0.2, 0.3, 0.4, 0.5]
        );
        let doubling = DoseRange {
            from: 0.25,
            to: 4.0,
            count: 5,
        };
        let at = |i: i32| round(geometric(&doubling, f64::from(i) / 4.0));
        assert_eq!(
            (0..5).map(at).collect::<Vec<_>>(),
            [0.25, 0.5, 1.0, 2.0, 4.0]
        );
    }
}
