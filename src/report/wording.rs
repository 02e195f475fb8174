//! The words for verdicts, the same in tables, figures and sentences.

use crate::spec::neurons::Role;
use crate::stages::verdict::{NeuronVerdict, Reason, Window};

/// A window in a word or two.
pub fn window_label(window: &Window) -> &'static str {
    match window {
        Window::Open => "open",
        Window::Undecided { .. } => "undecided",
        Window::Closed { reason, .. } => match reason {
            Reason::CollapseBeforeTrigger => "collapses first",
            Reason::TooLate => "too late",
            Reason::NormalisationCap => "capped by norm",
        },
        Window::Censored { .. } => "censored",
    }
}

/// What is known of a window, apart from why it is closed.
pub fn window_kind(window: &Window) -> &'static str {
    match window {
        Window::Open => "open",
        Window::Undecided { .. } => "undecided",
        Window::Closed { .. } => "closed",
        Window::Censored { .. } => "censored",
    }
}

/// The verdict on a neuron in a word. One without an open branch stays undecided while a branch is, and else censored while one is.
pub fn neuron_label(verdict: &NeuronVerdict) -> &'static str {
    let undecided = |window: &Window| matches!(window, Window::Undecided { .. });
    match verdict.open {
        Some(true) => "open",
        Some(false) => "closed",
        None if verdict.branches.iter().any(|b| undecided(&b.window)) => "undecided",
        None => "censored",
    }
}

/// A reason after a count: "12 closed …".
pub fn reason_phrase(reason: Reason) -> &'static str {
    match reason {
        Reason::CollapseBeforeTrigger => "because the output collapses before the behaviour flips",
        Reason::TooLate => "because the write is too late to propagate",
        Reason::NormalisationCap => {
            "because a normalisation keeps every dose below both thresholds"
        }
    }
}

/// A role in words.
pub fn role(role: Role) -> &'static str {
    match role {
        Role::Calibration => "calibration",
        Role::HeldOut => "held-out",
        Role::Control => "control",
    }
}
