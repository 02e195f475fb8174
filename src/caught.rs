//! Panics of other crates as errors: damaged tokenizers and overflowing templates cause some.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is to be an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does what another crate may panic in: its result, or none when it panicked, of which nothing is printed. What `work` shares with its
/// caller must not be used any more then.
pub fn caught<T>(work: impl FnOnce() -> T) -> Option<T> {
    silence();
    CAUGHT.set(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(false);
    done.ok()
}

/// From now on a panic within [`caught`] prints nothing.
fn silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            if !CAUGHT.get() {
                usual(panic);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_are_caught() {
        assert_eq!(caught(|| 1), Some(1));
        assert_eq!(caught(|| panic!("as a test")), None::<()>);
        assert!(!CAUGHT.get());
    }
}
