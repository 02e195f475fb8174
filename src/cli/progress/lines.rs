//! Progress in plain lines, where standard error is no terminal: the beginning and end of every stage, and now and then how far a long one is.

use super::{finished, stage_left};
use crate::cli::complain;
use crate::events::{Event, Listener, Progress};
use crate::report::format::{counted, thousands};
use crate::report::text::visible;
use crate::throughput::about;

/// After so many seconds there is a line in any case.
const LONGEST_SILENCE: f64 = 30.0;

/// Before so many seconds there is none.
const SHORTEST_SILENCE: f64 = 5.0;

/// Plain lines on standard error.
#[derive(Default)]
pub struct Lines {
    /// When the last line was written, in seconds since the run began, and the tenths of the stage that were done by then.
    last: (f64, usize),
}

impl Listener for Lines {
    fn on(&mut self, event: &Event) {
        if let Some(line) = self.line(event) {
            complain(line);
        }
    }
}

impl Lines {
    fn line(&mut self, event: &Event) -> Option<String> {
        match event {
            Event::RunBegun {
                resumed, stored, ..
            } => (*resumed && *stored > 0).then(|| {
                let stored = counted(*stored, "rollout");
                format!("an earlier run goes on: {stored} are there already")
            }),
            Event::StageBegun { stage, seconds } => {
                self.last = (*seconds, 0);
                Some(format!("{:9} …", stage.name()))
            }
            Event::Progress(progress) => self.progress(progress),
            Event::StageFinished { .. } => finished(event),
            Event::Note { text } => Some(format!("note: {}", visible(text))),
            // Said in other ways.
            Event::Trials { .. }
            | Event::Sealed { .. }
            | Event::RunFinished(_)
            | Event::Interrupted { .. }
            | Event::Failed { .. } => None,
        }
    }

    /// A line for every tenth of a stage, and twice a minute.
    fn progress(&mut self, progress: &Progress) -> Option<String> {
        let tenths = 10 * progress.done / progress.planned.max(1);
        let (at, before) = self.last;
        let silence = progress.seconds - at;
        let due = match tenths != before {
            true => silence >= SHORTEST_SILENCE,
            false => silence >= LONGEST_SILENCE,
        };
        due.then(|| {
            self.last = (progress.seconds, tenths);
            text(progress)
        })
    }
}

/// `sweep     2,048 of 5,120 rollouts (40%), about 2 min left; the whole run about 3 min`.
fn text(progress: &Progress) -> String {
    let (done, planned) = (progress.done, progress.planned);
    let mut line = format!(
        "{:9} {} of {} {} ({}%)",
        progress.stage.name(),
        thousands(done),
        thousands(planned),
        progress.unit.name(),
        100 * done / planned.max(1)
    );
    let left = stage_left(progress);
    if !left.is_empty() {
        line += &format!(", {left}");
    }
    if let Some(seconds) = progress.run_seconds_left {
        line += &format!("; the whole run {}", about(seconds));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::super::tests::progress;
    use super::*;
    use crate::events::Stage;

    #[test]
    fn long_stages_say_now_and_then_how_far_they_are() {
        let mut lines = Lines::default();
        let begun = Event::StageBegun {
            stage: Stage::Sweep,
            seconds: 100.0,
        };
        assert_eq!(lines.line(&begun).unwrap(), "sweep     …");
        let mut told = Vec::new();
        // Three rollouts per second, an event per second.
        for second in 1..=330 {
            let event = progress(3 * second, 100.0 + second as f64);
            told.extend(lines.line(&Event::Progress(event)).map(|_| second));
        }
        assert_eq!(told.first(), Some(&30));
        assert!((10..=20).contains(&told.len()), "{told:?}");
        assert!(
            told.windows(2)
                .all(|pair| (5..=30).contains(&(pair[1] - pair[0])))
        );
    }

    #[test]
    fn short_stages_say_nothing() {
        let mut lines = Lines::default();
        for done in [1, 300, 999] {
            assert_eq!(lines.line(&Event::Progress(progress(done, 4.0))), None);
        }
    }

    #[test]
    fn a_line_has_both_times() {
        let line =
            "sweep     400 of 1,000 rollouts (40%), about 2 min left; the whole run about 3 min";
        assert_eq!(text(&progress(400, 50.0)), line);
    }
}
