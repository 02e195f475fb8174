//! What the screens chose, and whether the chosen neurons turned out to control.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::format::{NOTHING, fixed, keyword, share, thousands};
use crate::report::input::Input;
use crate::report::wording::neuron_label;
use crate::stages::screen::{Scored, ScreenResult};

/// Neurons shown per screen; the rest is counted.
const SHOWN: usize = 20;

/// One screen.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Screen {
    /// The group that it filled.
    pub group: String,
    /// The behaviour whose contrast was screened.
    pub behavior: String,
    /// The score.
    pub score: String,
    /// How many neurons were scored.
    pub scored: String,
    /// How many were chosen.
    pub chosen: usize,
    /// How many of those measured on the screened behaviour have an open window, of how many; absent when none was measured.
    pub open: Option<String>,
    /// The best, in order.
    pub rows: Vec<ScreenRow>,
    /// Chosen neurons that are not shown.
    pub left_out: usize,
}

/// One chosen neuron.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ScreenRow {
    /// Rank, from 1.
    pub rank: usize,
    /// `L3.12`.
    pub neuron: String,
    /// The branch that the score favours.
    pub sign: String,
    /// The score.
    pub score: String,
    /// Its verdict on the screened behaviour; `–` when it was not measured.
    pub verdict: &'static str,
}

/// Screens in the order of the spec.
pub fn build(input: &Input) -> Option<Vec<Screen>> {
    let screens = &input.predictions.screening.screens;
    (!screens.is_empty()).then(|| screens.iter().map(|s| screen(input, s)).collect())
}

fn screen(input: &Input, screen: &ScreenResult) -> Screen {
    let verdicts: Vec<&str> = screen
        .chosen
        .iter()
        .map(|c| verdict(input, screen, c))
        .collect();
    let measured = verdicts.iter().filter(|v| **v != NOTHING).count();
    let open = verdicts.iter().filter(|v| **v == "open").count();
    let rows = screen.chosen.iter().zip(&verdicts).take(SHOWN).enumerate();
    Screen {
        group: screen.group.clone(),
        behavior: screen.behavior.clone(),
        score: keyword(screen.score),
        scored: thousands(screen.scored),
        chosen: screen.chosen.len(),
        open: (measured > 0).then(|| share(open, measured)),
        rows: rows
            .map(|(i, (scored, verdict))| ScreenRow {
                rank: i + 1,
                neuron: scored.neuron.to_string(),
                sign: scored.sign.to_string(),
                score: fixed(scored.score, 4),
                verdict,
            })
            .collect(),
        left_out: screen.chosen.len().saturating_sub(SHOWN),
    }
}

fn verdict(input: &Input, screen: &ScreenResult, scored: &Scored) -> &'static str {
    (input.index.verdict(&screen.behavior, scored.neuron)).map_or(NOTHING, neuron_label)
}
