//! A download that can be seen, and that is given up when nothing comes any more.
//!
//! hf-hub waits without end. It therefore works on a thread of its own that tells of every sign of life.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use hf_hub::api::Progress;
use indicatif::{ProgressBar, ProgressStyle};

/// Signs of life are sent no more often.
const BETWEEN_BEATS: Duration = Duration::from_millis(50);

/// Why there is no result.
#[derive(Debug, PartialEq)]
pub enum NoResult {
    /// No sign of life for too long.
    Silent,
    /// The work panicked.
    Stopped,
}

/// Does `work` on another thread and waits for it as long as its `beat` is called at least every `patience`. Work that falls silent is
/// left behind: it ends with the process.
pub fn watched<T: Send + 'static>(
    patience: Duration,
    work: impl FnOnce(Box<dyn Fn() + Send>) -> T + Send + 'static,
) -> Result<T, NoResult> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let beat: Sender<Option<T>> = sender.clone();
        let result = work(Box::new(move || drop(beat.send(None))));
        // Nobody waits any more when this fails.
        drop(sender.send(Some(result)));
    });
    loop {
        match receiver.recv_timeout(patience) {
            Ok(Some(result)) => return Ok(result),
            Ok(None) => {}
            Err(RecvTimeoutError::Timeout) => return Err(NoResult::Silent),
            Err(RecvTimeoutError::Disconnected) => return Err(NoResult::Stopped),
        }
    }
}

/// A bar on standard error, where that is a terminal, and the beats of a download.
pub struct Shown {
    bar: ProgressBar,
    beat: Box<dyn Fn() + Send>,
    last: Instant,
}

impl Shown {
    pub fn new(beat: Box<dyn Fn() + Send>) -> Self {
        let style = ProgressStyle::with_template(
            "  {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}",
        );
        let bar = ProgressBar::new(0);
        Self {
            bar: match style {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            },
            beat,
            last: Instant::now(),
        }
    }
}

impl Progress for Shown {
    fn init(&mut self, size: usize, _: &str) {
        self.bar.set_length(size as u64);
        self.bar.set_position(0);
    }

    fn update(&mut self, size: usize) {
        self.bar.inc(size as u64);
        if self.last.elapsed() >= BETWEEN_BEATS {
            self.last = Instant::now();
            (self.beat)();
        }
    }

    fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_work_is_waited_for_and_silent_work_is_not() {
        let step = Duration::from_millis(100);
        let slow = watched(3 * step, move |beat| {
            for _ in 0..8 {
                std::thread::sleep(step);
                beat();
            }
            7
        });
        assert_eq!(slow, Ok(7));
        let silent = watched(step, move |_| std::thread::sleep(20 * step));
        assert_eq!(silent, Err(NoResult::Silent));
    }
}
