//! Consumers of a run's events: progress bars on a terminal, plain lines elsewhere, JSON lines on request.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use crate::events::{Event, Listener, Stage};

/// How a run's events are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Events {
    /// Progress bars on a terminal, one line per stage elsewhere.
    Human,
    /// One JSON object per line, on standard error.
    Jsonl,
}

/// The consumer that fits the standard error stream.
pub fn listener(events: Events) -> Box<dyn Listener> {
    match events {
        Events::Jsonl => Box::new(JsonLines),
        Events::Human if io::stderr().is_terminal() => Box::new(Bars::new()),
        Events::Human => Box::new(Lines::default()),
    }
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

/// One line per stage.
#[derive(Default)]
struct Lines {
    running: Option<Running>,
}

/// A stage in progress.
struct Running {
    stage: Stage,
    since: Instant,
    trials: usize,
    stored: usize,
    tokens: usize,
}

impl Running {
    fn start(stage: Stage) -> Self {
        Self {
            stage,
            since: Instant::now(),
            trials: 0,
            stored: 0,
            tokens: 0,
        }
    }

    fn summary(&self) -> String {
        let seconds = self.since.elapsed().as_secs_f64();
        let mut line = format!("{:9} {seconds:6.1} s", self.stage.name());
        if self.trials > 0 || self.stored > 0 {
            line += &format!("  {} trials", HumanCount(self.trials as u64));
        }
        if self.stored > 0 {
            line += &format!(" (and {} from before)", HumanCount(self.stored as u64));
        }
        if self.tokens > 0 {
            line += &format!(
                ", {} tokens/s",
                HumanCount((self.tokens as f64 / seconds.max(1e-3)) as u64)
            );
        }
        line
    }
}

impl Lines {
    fn finish(&mut self) {
        if let Some(running) = self.running.take() {
            eprintln!("{}", running.summary());
        }
    }
}

impl Listener for Lines {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Stage { stage } => {
                self.finish();
                self.running = Some(Running::start(*stage));
            }
            Event::Trials { stored, .. } => {
                if let Some(running) = &mut self.running {
                    running.stored += stored;
                }
            }
            Event::TrialDone { tokens } => {
                if let Some(running) = &mut self.running {
                    running.trials += 1;
                    running.tokens += tokens;
                }
            }
            Event::Note { text } => eprintln!("note: {text}"),
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.finish();
    }
}

/// Progress bars.
struct Bars {
    bar: ProgressBar,
    running: Option<Running>,
}

impl Bars {
    fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(120));
        Self { bar, running: None }
    }

    fn finish(&mut self) {
        if let Some(running) = self.running.take() {
            self.bar.println(running.summary());
        }
    }
}

impl Listener for Bars {
    fn on(&mut self, event: &Event) {
        match event {
            Event::Stage { stage } => {
                self.finish();
                self.running = Some(Running::start(*stage));
                self.bar.set_style(style("{spinner} {prefix:9} {elapsed}"));
                self.bar.set_prefix(stage.name());
                self.bar.reset();
            }
            Event::Trials { planned, stored } => {
                if let Some(running) = &mut self.running {
                    running.stored = *stored;
                }
                self.bar.set_style(style(
                    "{spinner} {prefix:9} {wide_bar} {human_pos}/{human_len} trials  {msg}",
                ));
                self.bar.set_length((planned - stored) as u64);
                self.bar.reset_elapsed();
            }
            Event::TrialDone { tokens } => {
                if let Some(running) = &mut self.running {
                    running.trials += 1;
                    running.tokens += tokens;
                    let speed =
                        running.tokens as f64 / running.since.elapsed().as_secs_f64().max(1e-3);
                    let left = HumanDuration(self.bar.eta());
                    self.bar.set_message(format!(
                        "{} tokens/s, {left} left",
                        HumanCount(speed as u64)
                    ));
                }
                self.bar.inc(1);
            }
            Event::Note { text } => self.bar.println(format!("note: {text}")),
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.finish();
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are valid")
}
