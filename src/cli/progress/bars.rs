//! Progress on a terminal: a bar of the stage, and one of the whole run. No colours are used.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{finished, speed, stage_left};
use crate::events::{Event, Listener, Progress, Stage};
use crate::report::text::visible;
use crate::throughput::about;

const COUNTED: &str = "{spinner} {prefix:9} {wide_bar} {human_pos}/{human_len} {msg}";
const UNCOUNTED: &str = "{spinner} {prefix:9} {elapsed} {msg}";

/// Two bars at the bottom of a terminal, above which lines scroll.
pub struct Bars {
    both: MultiProgress,
    stage: ProgressBar,
    run: ProgressBar,
    stage_began: f64,
}

impl Bars {
    /// Bars on standard error.
    pub fn new() -> Self {
        let both = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let bar = |template| {
            let bar = both.add(ProgressBar::new_spinner().with_style(style(template)));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        };
        let (stage, run) = (bar(UNCOUNTED), bar(UNCOUNTED));
        run.set_prefix("whole run");
        Self {
            both,
            stage,
            run,
            stage_began: 0.0,
        }
    }

    /// Where they are drawn.
    pub fn terminal(&self) -> MultiProgress {
        self.both.clone()
    }

    fn print(&self, line: &str) {
        // A terminal that is gone is no reason to stop a run.
        let _ = self.both.println(line);
    }

    fn begin(&mut self, stage: Stage, seconds: f64) {
        self.stage_began = seconds;
        self.stage.set_style(style(UNCOUNTED));
        self.stage.set_prefix(stage.name());
        self.stage.set_message("");
        self.stage.reset();
        let of = format!("stage {} of {}", stage.number(), Stage::COUNT);
        self.run.set_message(of);
    }

    fn progress(&self, progress: &Progress) {
        self.stage.set_style(style(COUNTED));
        self.stage.set_length(progress.planned as u64);
        self.stage.set_position(progress.done as u64);
        let seconds = progress.seconds - self.stage_began;
        let mut message = progress.unit.name().to_owned();
        if progress.tokens > 0 {
            message += &format!(", {} tokens/s", speed(progress.tokens, seconds));
        }
        let left = stage_left(progress);
        if !left.is_empty() {
            message += &format!(", {left}");
        }
        self.stage.set_message(message);
        self.whole_run(progress);
    }

    fn whole_run(&self, progress: &Progress) {
        let of = format!("stage {} of {}", progress.stage.number(), Stage::COUNT);
        let left = progress
            .run_seconds_left
            .map(|seconds| format!(", {} left", about(seconds)));
        let left = left.unwrap_or_default();
        match (progress.run_done, progress.run_planned) {
            (Some(done), Some(planned)) => {
                self.run.set_style(style(COUNTED));
                self.run.set_length(planned as u64);
                self.run.set_position(done as u64);
                self.run.set_message(format!("rollouts, {of}{left}"));
            }
            _ => self.run.set_message(of + &left),
        }
    }
}

impl Listener for Bars {
    fn on(&mut self, event: &Event) {
        match event {
            Event::StageBegun { stage, seconds } => self.begin(*stage, *seconds),
            Event::Progress(progress) => self.progress(progress),
            Event::StageFinished { .. } => {
                if let Some(line) = finished(event) {
                    self.print(&line);
                }
            }
            Event::Note { text } => self.print(&format!("note: {}", visible(text))),
            // Said in other ways.
            Event::RunBegun { .. }
            | Event::Trials { .. }
            | Event::Sealed { .. }
            | Event::RunFinished(_)
            | Event::Interrupted { .. }
            | Event::Failed { .. } => {}
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        self.stage.finish_and_clear();
        self.run.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are valid")
}
