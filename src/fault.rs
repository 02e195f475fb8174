//! Points at which a test can end the process as `kill -9` would: around everything that is committed to a run folder. Builds for release
//! have none.

/// Ends the process at once, without unwinding, if `REACHSPEC_FAULT` is the number of this point among those that were passed, from 1 on.
#[cfg(debug_assertions)]
pub fn point() {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicUsize, Ordering};

    static AT: LazyLock<Option<usize>> =
        LazyLock::new(|| std::env::var("REACHSPEC_FAULT").ok()?.parse().ok());
    static PASSED: AtomicUsize = AtomicUsize::new(0);
    if let Some(at) = *AT
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == at
    {
        std::process::abort();
    }
}

/// Nothing: this is no build for development.
#[cfg(not(debug_assertions))]
pub fn point() {}
