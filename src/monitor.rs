//! What a run tells while it goes on. The stages say what they do; listeners hear of it at a bearable rate, with the time that is left; and
//! whoever asks the run to stop is heard between two steps.

use std::time::Instant;

use crate::events::{Event, Listener, Progress, Stage, Unit};
use crate::spec::summary;
use crate::stop::{Stop, Stopped};
use crate::study::Study;
use crate::throughput::Throughput;

/// Least time between two [`Event::Progress`] of a stage, in seconds.
const INTERVAL: f64 = 1.0;

/// What a study is expected to need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Rollouts, at most.
    pub rollouts: usize,
    /// Horizons at which each is judged.
    pub horizons: usize,
    /// Whether doses are searched: then the number of rollouts is not known beforehand.
    pub searched: bool,
}

impl Expected {
    /// That of a study.
    pub fn of(study: &Study) -> Self {
        Self {
            rollouts: summary::size(study).trials,
            horizons: study.rollout.horizons.len(),
            searched: study.doses.tolerance.is_some(),
        }
    }
}

/// What was done in all.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Seconds since the run began.
    pub seconds: f64,
    /// Rollouts that were made.
    pub made: usize,
    /// Rollouts that the store held already.
    pub reused: usize,
    /// Tokens that were generated.
    pub tokens: usize,
}

/// How far a run was when it stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reached {
    /// The stage.
    pub stage: Option<Stage>,
    /// Seconds since the run began.
    pub seconds: f64,
    /// Rollouts of the stage that were made or found.
    pub kept: usize,
    /// Rollouts that the stage needs, as far as that is known.
    pub planned: usize,
}

/// Between the stages of one run and its listener.
pub struct Monitor<'a> {
    listener: &'a mut dyn Listener,
    stop: Stop,
    expected: Expected,
    /// Rollouts in the store when the run began.
    stored: usize,
    began: Instant,
    running: Option<Running>,
    rollouts: Throughput,
    judgements: Throughput,
    work: Work,
}

/// The stage in progress.
struct Running {
    stage: Stage,
    since: f64,
    round: Option<usize>,
    /// Of the round, or of the stage where there is none.
    unit: Unit,
    planned: usize,
    done: usize,
    /// Of the stage.
    all_planned: usize,
    made: usize,
    stored: usize,
    tokens: usize,
    told: Option<f64>,
}

impl<'a> Monitor<'a> {
    /// The monitor of a run that begins now, with so many rollouts in its store.
    pub fn new(
        listener: &'a mut dyn Listener,
        stop: Stop,
        expected: Expected,
        stored: usize,
    ) -> Self {
        Self {
            listener,
            stop,
            expected,
            stored,
            began: Instant::now(),
            running: None,
            rollouts: Throughput::default(),
            judgements: Throughput::default(),
            work: Work::default(),
        }
    }

    /// Tells the listener.
    pub fn tell(&mut self, event: &Event) {
        self.listener.on(event);
    }

    /// A stage begins, and the one before it ends.
    ///
    /// # Errors
    /// When the run is to stop.
    pub fn begin(&mut self, stage: Stage) -> Result<(), Stopped> {
        self.end();
        self.check()?;
        self.begin_last(stage);
        Ok(())
    }

    /// A stage begins that goes on to its end, whether the run is to stop or not.
    pub fn begin_last(&mut self, stage: Stage) {
        let since = self.now();
        self.running = Some(Running {
            stage,
            since,
            round: None,
            unit: Unit::Rollouts,
            planned: 0,
            done: 0,
            all_planned: 0,
            made: 0,
            stored: 0,
            tokens: 0,
            told: None,
        });
        self.tell(&Event::StageBegun {
            stage,
            seconds: rounded(since),
        });
    }

    /// The stage in progress has ended.
    pub fn end(&mut self) {
        self.pause();
        let now = self.now();
        if let Some(running) = self.running.take() {
            self.tell(&Event::StageFinished {
                stage: running.stage,
                seconds: rounded(now),
                stage_seconds: rounded(now - running.since),
                made: running.made,
                stored: running.stored,
                tokens: running.tokens,
            });
        }
    }

    /// The stage needs so many rollouts, of which so many are in the store; in a round where doses are searched. They are made now.
    pub fn rollouts(&mut self, planned: usize, stored: usize) {
        self.pause();
        let now = self.now();
        self.rollouts.resume(now);
        let searched = self.expected.searched;
        self.work.reused += stored;
        let Some(running) = &mut self.running else {
            return;
        };
        running.round = searched.then(|| running.round.map_or(1, |round| round + 1));
        running.unit = Unit::Rollouts;
        (running.planned, running.done) = (planned, stored);
        running.all_planned += planned;
        running.stored += stored;
        let event = Event::Trials {
            stage: running.stage,
            planned,
            stored,
            round: running.round,
        };
        self.tell(&event);
    }

    /// A rollout was made, of so many tokens.
    pub fn rollout_made(&mut self, tokens: usize) {
        let now = self.now();
        self.rollouts.done(now);
        self.work.made += 1;
        self.work.tokens += tokens;
        if let Some(running) = &mut self.running {
            running.done += 1;
            running.made += 1;
            running.tokens += tokens;
            self.tell_progress(now);
        }
    }

    /// Rollouts are judged now: so many judgements, where that is what the stage is for.
    pub fn judging(&mut self, planned: Option<usize>) {
        self.pause();
        let now = self.now();
        self.judgements.resume(now);
        if let (Some(running), Some(planned)) = (&mut self.running, planned) {
            running.unit = Unit::Judgements;
            (running.planned, running.done) = (planned, 0);
        }
    }

    /// A rollout was judged at one horizon.
    ///
    /// # Errors
    /// When the run is to stop.
    pub fn judged(&mut self) -> Result<(), Stopped> {
        let now = self.now();
        self.judgements.done(now);
        if let Some(running) = &mut self.running
            && running.unit == Unit::Judgements
        {
            running.done += 1;
            running.planned = running.planned.max(running.done);
            self.tell_progress(now);
        }
        self.check()
    }

    /// Goes on unless the run is to stop.
    ///
    /// # Errors
    /// When it is.
    pub fn check(&self) -> Result<(), Stopped> {
        self.stop.check()
    }

    /// What was done in all, up to now.
    pub fn work(&self) -> Work {
        Work {
            seconds: rounded(self.now()),
            ..self.work
        }
    }

    /// How far the run is.
    pub fn reached(&self) -> Reached {
        let of_stage = |read: fn(&Running) -> usize| self.running.as_ref().map_or(0, read);
        Reached {
            stage: self.running.as_ref().map(|running| running.stage),
            seconds: rounded(self.now()),
            kept: of_stage(|running| running.made + running.stored),
            planned: of_stage(|running| running.all_planned),
        }
    }

    fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    fn pause(&mut self) {
        let now = self.now();
        self.rollouts.pause(now);
        self.judgements.pause(now);
    }

    fn tell_progress(&mut self, now: f64) {
        let Some(running) = &mut self.running else {
            return;
        };
        if running.told.is_some_and(|told| now - told < INTERVAL) {
            return;
        }
        running.told = Some(now);
        if let Some(progress) = self.progress(now) {
            self.tell(&Event::Progress(progress));
        }
    }

    fn progress(&self, now: f64) -> Option<Progress> {
        let running = self.running.as_ref()?;
        let left = running.planned.saturating_sub(running.done);
        let of_run = |count: usize| (!self.expected.searched).then_some(count);
        let done = self.work.made + self.work.reused;
        Some(Progress {
            stage: running.stage,
            seconds: rounded(now),
            unit: running.unit,
            done: running.done,
            planned: running.planned,
            tokens: running.tokens,
            round: running.round,
            stage_seconds_left: self.seconds_for(running.unit, left, now).map(rounded),
            run_done: of_run(done),
            run_planned: of_run(self.expected.rollouts.max(done)),
            run_seconds_left: self.run_seconds_left(running, left, now).map(rounded),
        })
    }

    fn seconds_for(&self, unit: Unit, pieces: usize, now: f64) -> Option<f64> {
        let throughput = match unit {
            Unit::Rollouts => &self.rollouts,
            Unit::Judgements => &self.judgements,
        };
        throughput.seconds_for(pieces, now)
    }

    /// With the stages to come, as far as they take longer than moments: rollouts, and judgements once their speed is known.
    fn run_seconds_left(&self, running: &Running, left: usize, now: f64) -> Option<f64> {
        if self.expected.searched {
            return None;
        }
        if running.unit == Unit::Judgements {
            return self.judgements.seconds_for(left, now);
        }
        let Later { rollouts, judged } = later(running, self.expected, self.stored);
        let rollouts = self.rollouts.seconds_for(left + rollouts, now)?;
        let judgements = judged * self.expected.horizons;
        Some(rollouts + (self.judgements.seconds_for(judgements, now)).unwrap_or(0.0))
    }
}

/// Work behind the rollouts of the stage in progress.
struct Later {
    /// Rollouts to make.
    rollouts: usize,
    /// Rollouts to judge.
    judged: usize,
}

fn later(running: &Running, expected: Expected, stored: usize) -> Later {
    match running.stage {
        Stage::Calibrate => {
            let of_sweep = expected.rollouts.saturating_sub(running.planned);
            let of_sweep_stored = stored.saturating_sub(running.stored);
            Later {
                rollouts: of_sweep.saturating_sub(of_sweep_stored),
                judged: running.planned + of_sweep,
            }
        }
        _ => Later {
            rollouts: 0,
            judged: running.planned,
        },
    }
}

/// Seconds to the millisecond.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests;
