//! Ctrl-C and SIGTERM ask a run to stop; a second one ends the program at once, which the trial store survives.
//!
//! SIGHUP is left alone: a run that was begun with `nohup` goes on when its terminal is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use crate::stop::Stop;

/// Which signal asked a run to stop.
#[derive(Clone, Debug, Default)]
pub struct Received(Arc<AtomicI32>);

impl Received {
    /// The exit code: 128 and the number of the signal, so 130 for Ctrl-C and 143 for SIGTERM.
    pub fn exit_code(&self) -> u8 {
        match self.0.load(Ordering::Relaxed) {
            0 => 130,
            signal => u8::try_from(128 + signal).unwrap_or(130),
        }
    }
}

/// From now on, a file that may not grow further (`ulimit -f`) is an error of the write, like a full disk. Where nothing is done about its
/// signal, it ends the program before anything can be said.
#[cfg(unix)]
pub fn take_file_limits_as_errors() {
    // What is not allowed here is not needed either: then the signal ends the program, as it would have.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// Elsewhere there is no such signal.
#[cfg(not(unix))]
pub fn take_file_limits_as_errors() {}

/// From now on, the first signal requests `stop` and calls `told`, and the second one ends the program.
///
/// # Errors
/// What the operating system refuses.
#[cfg(unix)]
pub fn watch(stop: Stop, told: impl FnOnce() + Send + 'static) -> std::io::Result<Received> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let received = Received::default();
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    let first = received.0.clone();
    std::thread::spawn(move || {
        let mut told = Some(told);
        for signal in &mut signals {
            let Some(told) = told.take() else {
                signal_hook::low_level::exit(128 + signal);
            };
            first.store(signal, Ordering::Relaxed);
            stop.request();
            told();
        }
    });
    Ok(received)
}

/// Elsewhere Ctrl-C ends the program at once, which the trial store survives.
#[cfg(not(unix))]
pub fn watch(_: Stop, _: impl FnOnce() + Send + 'static) -> std::io::Result<Received> {
    Ok(Received::default())
}
