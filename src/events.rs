//! What happens while a study runs. Progress bars, plain lines and the JSON stream are consumers of the same events.
//!
//! The JSON stream is for other programs, and stable: `docs/events.md` describes it, `schemas/events.schema.json` is made from these types.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Version of the stream. Events and keys may be added to it; a program that reads it ignores what it does not know.
pub const FORMAT: u32 = 1;

/// One line of the event stream of `reachspec run --events jsonl`: something that happened. A key whose value is not known is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run folder is open and the model is loaded: always first, unless the run failed before.
    RunBegun {
        /// Version of the stream: 1.
        format: u32,
        /// When, RFC 3339 in UTC. All other times are seconds since then.
        at: String,
        /// Program and version, such as `reachspec 0.1.0`.
        program: String,
        /// Name of the study.
        study: String,
        /// Hash of the resolved study.
        study_sha256: String,
        /// The run folder.
        folder: String,
        /// Whether an earlier run goes on.
        resumed: bool,
        /// Rollouts that the run folder holds already.
        stored: usize,
    },
    /// A stage begins.
    StageBegun {
        /// Which one.
        stage: Stage,
        /// Seconds since the run began.
        seconds: f64,
    },
    /// The rollouts are known that the stage needs; where doses are searched, those of its next round.
    Trials {
        /// Which one.
        stage: Stage,
        /// How many it needs.
        planned: usize,
        /// How many of them the run folder holds already.
        stored: usize,
        /// Number of the round, from 1 on, where doses are searched: then more rounds may follow.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        round: Option<usize>,
    },
    /// How far the stage is: after its first rollout, and then at most about once a second.
    Progress(Progress),
    /// A stage has ended.
    StageFinished {
        /// Which one.
        stage: Stage,
        /// Seconds since the run began.
        seconds: f64,
        /// Seconds that the stage took.
        stage_seconds: f64,
        /// Rollouts that it made.
        made: usize,
        /// Rollouts that it found in the run folder.
        stored: usize,
        /// Tokens that it generated.
        tokens: usize,
    },
    /// The predictions are sealed. With `--until seal` this is the last line but for the end of its stage.
    Sealed {
        /// SHA-256 that seals them.
        seal: String,
        /// When they were sealed, RFC 3339 in UTC; earlier than this run where it found them as they are.
        at: String,
        /// Rollouts of held-out or control neurons that stood in the run folder before: 0 unless an earlier run was extended, or lost its predictions.
        trials_before: usize,
    },
    /// Something that a person should know.
    Note {
        /// In words.
        text: String,
    },
    /// The run has come to its end: always last.
    RunFinished(Finished),
    /// The run was asked to stop, by Ctrl-C or a signal, and did: always last. Everything that it had finished is kept.
    Interrupted {
        /// The stage in which it stopped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stage: Option<Stage>,
        /// Seconds since the run began.
        seconds: f64,
        /// Rollouts of that stage that are in the run folder.
        kept: usize,
        /// Rollouts that the stage needs, as far as that was known.
        planned: usize,
        /// Exit code of the program.
        exit_code: u8,
        /// The command that continues the run, for a shell.
        continue_with: String,
    },
    /// The run failed: always last. Everything that it had finished is kept.
    Failed {
        /// What went wrong, and what to do.
        message: String,
        /// Exit code of the program.
        exit_code: u8,
    },
}

/// How far a stage is, and the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Progress {
    /// The stage.
    pub stage: Stage,
    /// Seconds since the run began.
    pub seconds: f64,
    /// What is counted.
    pub unit: Unit,
    /// How many are done, with those that the run folder held already; in this round where doses are searched.
    pub done: usize,
    /// How many are needed.
    pub planned: usize,
    /// Tokens that the stage has generated.
    pub tokens: usize,
    /// Number of the round, from 1 on, where doses are searched: then more rounds may follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<usize>,
    /// About how many seconds what is planned of the stage will still take; left out until there is enough to judge by. Where doses are
    /// searched that is this round.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_seconds_left: Option<f64>,
    /// Rollouts of the whole run that are done; left out where doses are searched, and their number is not known beforehand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_done: Option<usize>,
    /// Rollouts of the whole run, at most; left out as `run_done`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_planned: Option<usize>,
    /// About how many seconds the whole run will still take; left out until there is enough to judge by, and where doses are searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_seconds_left: Option<f64>,
}

/// What progress counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Rollouts: one prompt, one neuron, one dose each.
    Rollouts,
    /// Judgements: one rollout at one horizon each.
    Judgements,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finished {
    /// Seconds since the run began.
    pub seconds: f64,
    /// Rollouts that were made.
    pub made: usize,
    /// Rollouts that the run folder held already.
    pub reused: usize,
    /// Tokens that were generated.
    pub tokens: usize,
    /// SHA-256 of the sealed predictions.
    pub seal: String,
    /// One entry per behaviour, in the order of the study.
    pub behaviors: Vec<BehaviorCounts>,
    /// The most interesting finding, in a sentence.
    pub finding: String,
    /// The HTML report.
    pub report: String,
}

/// Held-out neurons of a behaviour, by what is known of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BehaviorCounts {
    /// Name of the behaviour.
    pub behavior: String,
    /// Held-out neurons.
    pub held_out: usize,
    /// Those with an open window.
    pub open: usize,
    /// Those that more prompts might decide.
    pub undecided: usize,
    /// Those that larger doses might decide.
    pub censored: usize,
}

/// A stage of a study.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    /// How many there are.
    pub const COUNT: usize = 8;

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

    /// Its place among the stages, from 1 on.
    pub fn number(self) -> usize {
        self as usize + 1
    }
}

impl Unit {
    /// In words, in the plural.
    pub fn name(self) -> &'static str {
        match self {
            Unit::Rollouts => "rollouts",
            Unit::Judgements => "judgements",
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
