//! Collapse detectors.
