//! Panics of the tokenizers crate, which some damaged tokenizers cause, as errors.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    /// Whether a panic of this thread is to be an error.
    static CAUGHT: Cell<bool> = const { Cell::new(false) };
}

/// Does what the tokenizers crate may panic in. Nothing is said about a panic but what is returned.
///
/// # Errors
/// Those of `work`, in words; or that it panicked.
pub fn caught<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    silence();
    CAUGHT.set(true);
    // What is shared with `work` is a tokenizer, which is not used any more after an error.
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    CAUGHT.set(false);
    match done {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("its parts do not fit together".into()),
    }
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
    fn panics_are_errors() {
        assert_eq!(caught(|| Ok(1)), Ok(1));
        assert_eq!(caught::<()>(|| Err("no".into())), Err("no".into()));
        let error = caught::<()>(|| panic!("as a test")).unwrap_err();
        assert!(error.contains("do not fit"), "{error}");
        assert!(!CAUGHT.get());
    }
}
