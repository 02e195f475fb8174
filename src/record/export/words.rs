//! The words of columns that have few, each the name that it has in the spec or in the record.

use crate::spec::ceiling::Predictor;
use crate::spec::neurons::Role;
use crate::stages::verdict::{Reason, Window};
use crate::units::Sign;

pub const ROLES: &[&str] = &["calibration", "held_out", "control"];
pub const SIGNS: &[&str] = &["positive", "negative"];
pub const PREDICTORS: &[&str] = &[
    "constant",
    "participation_ratio",
    "calibrated",
    "regression",
    "one_step",
];
pub const WINDOWS: &[&str] = &["open", "undecided", "closed", "censored"];
pub const REASONS: &[&str] = &["collapse_before_trigger", "too_late", "normalisation_cap"];

pub fn role(role: Role) -> &'static str {
    match role {
        Role::Calibration => "calibration",
        Role::HeldOut => "held_out",
        Role::Control => "control",
    }
}

pub fn sign(sign: Sign) -> &'static str {
    match sign {
        Sign::Positive => "positive",
        Sign::Negative => "negative",
    }
}

pub fn predictor(predictor: Predictor) -> &'static str {
    predictor.name()
}

pub fn window(window: &Window) -> &'static str {
    match window {
        Window::Open => "open",
        Window::Undecided { .. } => "undecided",
        Window::Closed { .. } => "closed",
        Window::Censored { .. } => "censored",
    }
}

pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::CollapseBeforeTrigger => "collapse_before_trigger",
        Reason::TooLate => "too_late",
        Reason::NormalisationCap => "normalisation_cap",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::{JsonSchema, schema_for};
    use serde_json::{Value, json};

    /// The names that a type has in the spec.
    fn names<T: JsonSchema>() -> Vec<String> {
        let schema = schema_for!(T).to_value();
        let options = schema["oneOf"].as_array().unwrap();
        let name = |option: &Value| option["const"].as_str().unwrap().to_owned();
        options.iter().map(name).collect()
    }

    #[test]
    fn the_words_are_those_of_the_spec() {
        assert_eq!(names::<Role>(), ROLES);
        assert_eq!(names::<Sign>(), SIGNS);
        assert_eq!(names::<Predictor>(), PREDICTORS);
    }

    #[test]
    fn every_variant_has_the_word_of_the_record() {
        for value in [Role::Calibration, Role::HeldOut, Role::Control] {
            assert_eq!(json!(value), role(value));
        }
        for value in [Sign::Positive, Sign::Negative] {
            assert_eq!(json!(value), sign(value));
        }
        let reasons = [
            Reason::CollapseBeforeTrigger,
            Reason::TooLate,
            Reason::NormalisationCap,
        ];
        assert_eq!(reasons.map(reason), REASONS);
        for value in reasons {
            assert_eq!(json!(value), reason(value));
        }
        let evidence = String::new;
        let windows = [
            Window::Open,
            Window::Undecided {
                evidence: evidence(),
            },
            Window::Closed {
                reason: Reason::TooLate,
                evidence: evidence(),
            },
            Window::Censored {
                evidence: evidence(),
            },
        ];
        assert_eq!(windows.each_ref().map(window), WINDOWS);
    }
}
