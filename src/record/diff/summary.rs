//! One sentence about a difference.

use super::Difference;
use super::inputs::InputKind;
use super::verdicts::{ThresholdChange, ThresholdKind};
use crate::report::format::{counted, fixed, listed};
use crate::stages::verdict::Threshold;

impl Difference {
    /// What differs and what is the same, in one sentence. It holds no text of the runs: there is nothing to escape.
    pub(super) fn concluded(&self) -> String {
        let same = self.same_parts();
        if self.same {
            let within = match self.tolerance {
                0.0 => String::new(),
                tolerance => format!(" within {tolerance} in cosθ"),
            };
            return format!("The runs are the same{within}: {}.", listed(&same));
        }
        let mut sentence = format!("Different: {}", self.differing_parts().join(", "));
        if !same.is_empty() {
            let same: Vec<String> = same.iter().map(|part| format!("same {part}")).collect();
            sentence += &format!("; {}", same.join(", "));
        }
        sentence + "."
    }

    /// What differs, with counts: results first.
    fn differing_parts(&self) -> Vec<String> {
        let counts = [
            (self.verdicts.neurons.len(), "verdict"),
            (self.verdicts.windows.len(), "window"),
            (self.thresholds.len(), "threshold"),
            (self.verdicts.classes.len(), "class change"),
            (self.scoreboard.len(), "score"),
            (self.predictions.predicted(), "prediction"),
            (self.predictions.fitted.len(), "fitted number"),
        ];
        let mut parts: Vec<String> = (counts.iter().filter(|(count, _)| *count > 0))
            .map(|&(count, noun)| match noun {
                "threshold" => counted(count, noun) + &self.largest(),
                _ => counted(count, noun),
            })
            .collect();
        let measured = self.compared > 0;
        let foundations = !self.predictions.foundations.is_empty();
        let others = [
            (foundations, "what predictions rest on"),
            (self.rollouts.is_some(), "rollouts"),
            (
                measured && !self.only_in_one.is_empty(),
                "what was measured",
            ),
            (
                !measured,
                "everything that was measured, as no branch was measured in both",
            ),
        ];
        let others = others.iter().filter(|(differs, _)| *differs);
        parts.extend(others.map(|(_, what)| (*what).to_owned()));
        if !self.spec.is_empty() {
            parts.push(format!("{} of the spec", counted(self.spec.len(), "key")));
        }
        let inputs = [
            (self.has_other(InputKind::Model), "model"),
            (self.has_other(InputKind::Tokenizer), "tokenizer"),
            (self.has_other_prompts(), "prompts"),
            (self.has_other(InputKind::SpecText), "text of the spec"),
        ];
        let inputs = inputs.iter().filter(|(differs, _)| *differs);
        parts.extend(inputs.map(|(_, what)| (*what).to_owned()));
        parts
    }

    /// The threshold that has moved furthest.
    fn largest(&self) -> String {
        let Some(largest) = self.thresholds.first().filter(|change| change.size > 0.0) else {
            return String::new();
        };
        let (first, second) = threshold_pair(largest);
        let (neuron, sign, kind) = (largest.neuron, largest.sign, threshold_name(largest));
        format!(" (largest: {neuron} {sign} {kind} {first} → {second})")
    }

    /// What is the same, as far as it is worth saying.
    fn same_parts(&self) -> Vec<String> {
        let verdicts = &self.verdicts;
        let predictions = &self.predictions;
        let measured = self.compared > 0;
        let parts = [
            (self.spec.is_empty(), "spec"),
            (!self.has_other(InputKind::Model), "model"),
            (!self.has_other_prompts(), "prompts"),
            (predictions.is_empty(), "predictions"),
            (self.rollouts.is_none(), "rollouts"),
            (measured && self.thresholds.is_empty(), "thresholds"),
            (measured && verdicts.is_empty(), "verdicts"),
            (measured && self.scoreboard.is_empty(), "scoreboard"),
        ];
        let same = parts.iter().filter(|(same, _)| *same);
        same.map(|(_, what)| (*what).to_owned()).collect()
    }

    fn has_other(&self, kind: InputKind) -> bool {
        self.inputs.iter().any(|input| input.kind == kind)
    }

    fn has_other_prompts(&self) -> bool {
        self.has_other(InputKind::Prompts) || self.has_other(InputKind::Contrast)
    }
}

/// `ceiling`, or `trigger at 16`.
pub fn threshold_name(change: &ThresholdChange) -> String {
    match (change.kind, change.horizon) {
        (ThresholdKind::Trigger, Some(horizon)) => format!("trigger at {horizon}"),
        (ThresholdKind::Trigger, None) => "trigger".into(),
        (ThresholdKind::Ceiling, _) => "ceiling".into(),
    }
}

/// Both thresholds in cosθ; a bound as `> 0.949`.
pub fn threshold_pair(change: &ThresholdChange) -> (String, String) {
    let (first, second) = pair(change.first.coordinate(), change.second.coordinate());
    let bound = |threshold: &Threshold, text: String| match threshold.reached() {
        true => text,
        false => format!("> {text}"),
    };
    (bound(&change.first, first), bound(&change.second, second))
}

/// Two coordinates with three decimals, or as many as it takes to tell them apart.
pub fn pair(first: f64, second: f64) -> (String, String) {
    const MOST: usize = 17;
    let at = |decimals| (fixed(first, decimals), fixed(second, decimals));
    let enough =
        |decimals: &usize| first == second || fixed(first, *decimals) != fixed(second, *decimals);
    at((3..MOST).find(enough).unwrap_or(MOST))
}
