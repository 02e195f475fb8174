//! What happens while a study runs. Progress bars, the log and the JSON stream are consumers of the same events.

use serde::Serialize;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A stage begins.
    Stage {
        /// Which one.
        stage: Stage,
    },
    /// The trials of the current stage are known.
    Trials {
        /// How many the stage needs.
        planned: usize,
        /// How many of them an earlier run has left.
        stored: usize,
    },
    /// A trial of the current stage is done.
    TrialDone {
        /// Tokens that it generated.
        tokens: usize,
    },
    /// Something that a person should know.
    Note {
        /// In words.
        text: String,
    },
}

/// A stage of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Reading the residual stream on generic text.
    Residuals,
    /// Choosing neurons.
    Screen,
    /// Budgets, and the calibration neurons' collapse.
    Calibrate,
    /// Predictions and their seal.
    Predict,
    /// Rollouts.
    Sweep,
    /// Outcomes and collapse.
    Judge,
    /// Windows and scores.
    Verdict,
    /// Rendering.
    Report,
    /// Rollouts of a finished run, made again.
    Rerun,
}

impl Stage {
    /// The stage's name for people.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Residuals => "residuals",
            Stage::Screen => "screen",
            Stage::Calibrate => "calibrate",
            Stage::Predict => "predict",
            Stage::Sweep => "sweep",
            Stage::Judge => "judge",
            Stage::Verdict => "verdict",
            Stage::Report => "report",
            Stage::Rerun => "rerun",
        }
    }
}

/// Someone who wants to know.
pub trait Listener {
    /// Called as things happen, in order.
    fn on(&mut self, event: &Event);
}

/// Nobody.
pub struct Silent;

impl Listener for Silent {
    fn on(&mut self, _: &Event) {}
}
