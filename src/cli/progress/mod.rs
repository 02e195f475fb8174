//! Consumers of a run's events: progress bars on a terminal, plain lines elsewhere, JSON lines on request.

mod bars;
mod lines;

use std::io::{self, IsTerminal, Write};

use indicatif::MultiProgress;

use crate::cli::complain;
use crate::events::{Event, Listener, Progress};
use crate::report::format::{counted, thousands};
use crate::throughput::about;
use crate::units::duration;

/// How a run's events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Events {
    /// Progress bars on a terminal, plain lines elsewhere.
    Human,
    /// One JSON object per line, on standard error; see docs/events.md and `reachspec schema events`.
    Jsonl,
}

/// The consumer that fits the standard error stream, and a way to say something to a person beside it from another thread.
pub fn listener(events: Events) -> (Box<dyn Listener>, Aside) {
    match events {
        Events::Jsonl => (Box::new(JsonLines), Aside::Nobody),
        Events::Human if is_full_terminal() => {
            let bars = bars::Bars::new();
            let above = Aside::Above(bars.terminal());
            (Box::new(bars), above)
        }
        Events::Human => (Box::<lines::Lines>::default(), Aside::Plain),
    }
}

/// Where a line for a person goes while a listener writes to standard error.
#[derive(Clone)]
pub enum Aside {
    /// Nowhere: programs read the stream.
    Nobody,
    /// Between the others.
    Plain,
    /// Above the progress bars.
    Above(MultiProgress),
}

impl Aside {
    /// Says a line.
    pub fn say(&self, line: &str) {
        match self {
            Aside::Nobody => {}
            Aside::Plain => complain(line),
            Aside::Above(bars) => bars.suspend(|| complain(line)),
        }
    }
}

/// A terminal on which lines can be drawn anew.
fn is_full_terminal() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// One JSON object per event.
struct JsonLines;

impl Listener for JsonLines {
    fn on(&mut self, event: &Event) {
        let line = serde_json::to_string(event).expect("events are plain data");
        // A reader that has gone away is no reason to stop a run.
        let _ = writeln!(io::stderr(), "{line}");
    }
}

/// `sweep       12.3 s  1,234 rollouts (and 480 from before), 5,678 tokens/s`; none for other events than the end of a stage.
fn finished(event: &Event) -> Option<String> {
    let Event::StageFinished {
        stage,
        stage_seconds,
        made,
        stored,
        tokens,
        ..
    } = event
    else {
        return None;
    };
    let mut line = format!("{:9} {:>8}", stage.name(), duration(*stage_seconds));
    if *made > 0 || *stored > 0 {
        line += &format!("  {}", counted(*made, "rollout"));
    }
    if *stored > 0 {
        line += &format!(" (and {} from before)", thousands(*stored));
    }
    if *tokens > 0 {
        line += &format!(", {} tokens/s", speed(*tokens, *stage_seconds));
    }
    Some(line)
}

fn speed(tokens: usize, seconds: f64) -> String {
    thousands((tokens as f64 / seconds.max(1e-3)) as usize)
}

/// What is known of the time that a stage will take; a round of searched doses says that others may follow.
fn stage_left(progress: &Progress) -> String {
    let left = progress
        .stage_seconds_left
        .map(|seconds| format!(", {} left", about(seconds)));
    let left = left.unwrap_or_default();
    match progress.round {
        Some(round) => format!("round {round}{left}; more rounds may follow"),
        None => left.trim_start_matches(", ").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Stage, Unit};

    pub fn progress(done: usize, seconds: f64) -> Progress {
        Progress {
            stage: Stage::Sweep,
            seconds,
            unit: Unit::Rollouts,
            done,
            planned: 1000,
            tokens: 0,
            round: None,
            stage_seconds_left: Some(100.0),
            run_done: Some(done + 200),
            run_planned: Some(1200),
            run_seconds_left: Some(200.0),
        }
    }

    #[test]
    fn a_round_says_that_others_may_follow() {
        let mut searched = progress(10, 1.0);
        assert_eq!(stage_left(&searched), "about 2 min left");
        searched.round = Some(3);
        let text = "round 3, about 2 min left; more rounds may follow";
        assert_eq!(stage_left(&searched), text);
        searched.stage_seconds_left = None;
        assert_eq!(stage_left(&searched), "round 3; more rounds may follow");
    }

    #[test]
    fn the_end_of_a_stage_is_a_line() {
        let mut event = Event::StageFinished {
            stage: Stage::Sweep,
            seconds: 30.0,
            stage_seconds: 12.34,
            made: 1234,
            stored: 480,
            tokens: 12_345,
        };
        let line = "sweep       12.3 s  1,234 rollouts (and 480 from before), 1,000 tokens/s";
        assert_eq!(finished(&event).unwrap(), line);
        event = Event::StageFinished {
            stage: Stage::Predict,
            seconds: 30.0,
            stage_seconds: 0.0,
            made: 0,
            stored: 0,
            tokens: 0,
        };
        assert_eq!(finished(&event).unwrap(), "predict      0.0 s");
        assert_eq!(finished(&Event::Note { text: "x".into() }), None);
    }
}
