//! How long the work that is left will take, from how long the work of the same kind took so far. Pure functions of a clock that the caller
//! reads.

use std::collections::VecDeque;

/// Work that took less than this says nothing about the rest, in seconds.
const LEAST_SECONDS: f64 = 3.0;

/// Fewer pieces of work than this say nothing about the rest.
const LEAST_PIECES: usize = 10;

/// Speed is that of the latest half of the work, and of no less than this, in seconds: it follows a change without jumping, as rollouts
/// that began together end together.
const SHORTEST_WINDOW: f64 = 20.0;

/// Seconds between two readings that are kept.
const SPACING: f64 = 0.5;

/// The measured speed of one kind of work, which may pause.
#[derive(Clone, Debug, Default)]
pub struct Throughput {
    /// Seconds of work before the last resumption.
    worked: f64,
    /// Time of the last resumption, while it works.
    since: Option<f64>,
    done: usize,
    /// Seconds of work, and pieces done by then; increasing.
    readings: VecDeque<(f64, usize)>,
}

impl Throughput {
    /// Work goes on at this time, in seconds.
    pub fn resume(&mut self, now: f64) {
        self.since.get_or_insert(now);
    }

    /// Work pauses at this time.
    pub fn pause(&mut self, now: f64) {
        self.worked = self.worked_until(now);
        self.since = None;
    }

    /// A piece is done at this time.
    pub fn done(&mut self, now: f64) {
        self.done += 1;
        let worked = self.worked_until(now);
        if (self.readings.back()).is_none_or(|(last, _)| worked - last >= SPACING) {
            self.readings.push_back((worked, self.done));
        }
        let from = worked - (worked / 2.0).max(SHORTEST_WINDOW);
        while (self.readings.get(1)).is_some_and(|(second, _)| *second <= from) {
            self.readings.pop_front();
        }
    }

    /// Seconds that so many further pieces will take; none until there is enough to judge by.
    pub fn seconds_for(&self, pieces: usize, now: f64) -> Option<f64> {
        let worked = self.worked_until(now);
        if worked < LEAST_SECONDS || self.done < LEAST_PIECES {
            return None;
        }
        let from = worked - (worked / 2.0).max(SHORTEST_WINDOW);
        let start = (self.readings.front()).filter(|_| from > 0.0);
        let (began, before) = start.copied().unwrap_or((0.0, 0));
        let in_window = self.done.saturating_sub(before);
        (in_window > 0).then(|| pieces as f64 * (worked - began) / in_window as f64)
    }

    fn worked_until(&self, now: f64) -> f64 {
        self.worked + self.since.map_or(0.0, |since| (now - since).max(0.0))
    }
}

/// A time for people who wait: no more exact than it can be known.
pub fn about(seconds: f64) -> String {
    let to = |step: f64| ((seconds / step).round() * step) as u64;
    match seconds {
        s if s < 7.5 => "a few seconds".into(),
        s if s < 57.5 => format!("about {} s", to(5.0)),
        s if s < 90.0 => "about 1 min".into(),
        s if s < 57.5 * 60.0 => format!("about {} min", to(60.0) / 60),
        s if s < 24.0 * 3600.0 => {
            let minutes = to(600.0) / 60;
            match minutes % 60 {
                0 => format!("about {} h", minutes / 60),
                rest => format!("about {} h {rest} min", minutes / 60),
            }
        }
        s => format!("about {:.1} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A piece every `every` seconds, from one time to another.
    fn work(throughput: &mut Throughput, from: f64, to: f64, every: f64) {
        throughput.resume(from);
        let mut now = from + every;
        while now <= to {
            throughput.done(now);
            now += every;
        }
    }

    fn close(found: Option<f64>, expected: f64, tolerance: f64) {
        let found = found.expect("there is enough to judge by");
        assert!(
            (found / expected - 1.0).abs() < tolerance,
            "{found} s instead of {expected} s"
        );
    }

    #[test]
    fn nothing_is_said_until_there_is_enough() {
        let mut quick = Throughput::default();
        work(&mut quick, 0.0, 2.9, 0.01);
        assert_eq!(quick.seconds_for(100, 2.9), None, "too short");
        let mut slow = Throughput::default();
        work(&mut slow, 0.0, 90.0, 10.0);
        assert_eq!(slow.seconds_for(100, 90.0), None, "too few");
        assert_eq!(Throughput::default().seconds_for(0, 1e6), None);
    }

    #[test]
    fn steady_work_is_foretold() {
        let mut steady = Throughput::default();
        work(&mut steady, 5.0, 65.0, 0.1);
        close(steady.seconds_for(1000, 65.0), 100.0, 0.01);
    }

    #[test]
    fn pauses_are_no_work() {
        let mut paused = Throughput::default();
        work(&mut paused, 0.0, 30.0, 0.1);
        paused.pause(30.0);
        close(paused.seconds_for(1000, 5000.0), 100.0, 0.02);
        work(&mut paused, 5000.0, 5060.0, 0.1);
        close(paused.seconds_for(1000, 5060.0), 100.0, 0.02);
    }

    #[test]
    fn a_change_of_speed_is_followed() {
        let mut changing = Throughput::default();
        work(&mut changing, 0.0, 100.0, 0.1);
        work(&mut changing, 100.0, 210.0, 0.5);
        close(changing.seconds_for(100, 210.0), 50.0, 0.05);
    }

    #[test]
    fn bursts_do_not_make_it_jump() {
        // 64 rollouts that begin together end together, every 4 seconds.
        let mut bursts = Throughput::default();
        bursts.resume(0.0);
        for second in 1..=60 {
            if second % 4 == 0 {
                (0..64).for_each(|_| bursts.done(f64::from(second)));
            }
            if second >= 24 {
                close(bursts.seconds_for(1600, f64::from(second)), 100.0, 0.35);
            }
        }
    }

    #[test]
    fn a_standstill_lengthens_the_time_left() {
        let mut stuck = Throughput::default();
        work(&mut stuck, 0.0, 60.0, 0.1);
        let before = stuck.seconds_for(1000, 60.0).unwrap();
        let after = stuck.seconds_for(1000, 120.0).unwrap();
        assert!(after > 1.5 * before, "{before} s, then {after} s");
    }

    #[test]
    fn times_are_rounded_for_people() {
        for (seconds, text) in [
            (0.0, "a few seconds"),
            (7.4, "a few seconds"),
            (8.0, "about 10 s"),
            (57.0, "about 55 s"),
            (59.0, "about 1 min"),
            (89.0, "about 1 min"),
            (91.0, "about 2 min"),
            (3400.0, "about 57 min"),
            (3500.0, "about 1 h"),
            (5000.0, "about 1 h 20 min"),
            (86_300.0, "about 24 h"),
            (200_000.0, "about 2.3 days"),
        ] {
            assert_eq!(about(seconds), text, "{seconds} s");
        }
    }
}
