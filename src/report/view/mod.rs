//! The view that templates see: everything formatted, in its final order, nothing that varies between reruns.
//!
//! Templates get the fields of [`ReportView`] by name, and `figures`, a map from the names that the view mentions to
//! [`FigureView`]s. Strings may come from models or strangers: templates escape them on output by themselves.

pub mod answer;
pub mod asked;
pub mod attribution;
pub mod classes;
pub mod controls;
pub mod detectors;
pub mod excerpt;
pub mod forecasts;
pub mod layers;
pub mod left_out;
pub mod methods;
pub mod paper;
pub mod plots;
pub mod samples;
pub mod scoreboard;
pub mod screens;
pub mod triggers;
pub mod windows;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::figures::Figure;
use super::input::Input;
use crate::spec::report::Section;

/// A report.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ReportView {
    /// Title.
    pub title: String,
    /// Name of the study.
    pub study: String,
    /// What the study asks; may be empty.
    pub description: String,
    /// Whether prompts and rollouts are hidden.
    pub redacted: bool,
    /// The horizon of the verdicts, in tokens.
    pub horizon: String,
    /// Level of the confidence intervals, such as `95%`.
    pub confidence: String,
    /// The answer, in sentences.
    pub answer: answer::Answer,
    /// What was asked.
    pub asked: asked::Asked,
    /// On what: model, hashes, seal.
    pub provenance: asked::Provenance,
    /// The window chart and the verdicts, per behaviour.
    pub windows: Vec<windows::BehaviorWindows>,
    /// Windows by layer, and why the closed ones are closed; one per behaviour with held-out neurons.
    pub closed: Vec<layers::BehaviorLayers>,
    /// How the sealed predictions fared.
    pub scoreboard: scoreboard::Scoreboard,
    /// Scores against measured control, per behaviour; empty when nothing was scored.
    pub attribution: Vec<attribution::AttributionView>,
    /// Groups of neurons beside each other, per behaviour.
    pub controls: Vec<controls::BehaviorControls>,
    /// The paper's claims beside what was found, in sentences.
    pub paper: Vec<String>,
    /// Predicted against measured ceilings; absent when hidden or without held-out predictions.
    pub ceilings: Option<Vec<String>>,
    /// Dose–response curves, per behaviour; absent when hidden or empty.
    pub dose_response: Option<Vec<plots::Plots>>,
    /// Measured cosθ against the law; absent when hidden or empty.
    pub saturation: Option<plots::Saturation>,
    /// Outcome classes of typed behaviours over all branches; absent when hidden or empty.
    pub classes: Option<classes::Classes>,
    /// Outcome classes over horizons of the most telling neurons; absent when hidden or empty.
    pub outcomes: Option<Vec<plots::Plots>>,
    /// What the unsteered model does, per behaviour.
    pub baselines: Vec<detectors::Baseline>,
    /// Collapse detectors side by side; absent when hidden or empty.
    pub detectors: Option<Vec<detectors::Comparison>>,
    /// Screens; absent when hidden or when no group was screened.
    pub screens: Option<Vec<screens::Screen>>,
    /// Sample rollouts, per behaviour; absent when hidden or empty.
    pub samples: Option<Vec<samples::BehaviorSamples>>,
    /// What was censored, failed or could not be fitted, in sentences.
    pub left_out: Vec<String>,
    /// Every choice with its value.
    pub methods: Vec<methods::Choice>,
    /// How to rerun, command by command.
    pub rerun: Vec<methods::Command>,
    /// The residual stream by layer.
    pub layers: Vec<asked::Layer>,
    /// Hashes in full.
    pub hashes: Vec<asked::Hash>,
}

/// A figure as templates see it.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct FigureView {
    /// What it shows, in a few words.
    pub title: String,
    /// What can be seen in it.
    pub description: String,
    /// Its file, relative to the report.
    pub file: String,
    /// The drawing itself, for the inside of an HTML page; escaped already.
    pub svg: String,
}

/// The figures of a report, by name.
#[derive(Debug, Default)]
pub struct Figures(pub BTreeMap<String, Figure>);

impl Figures {
    /// Keeps a figure and returns its name.
    pub fn add(&mut self, figure: Figure) -> String {
        let name = figure.name.clone();
        self.0.insert(name.clone(), figure);
        name
    }

    /// As templates see them.
    pub fn views(&self) -> BTreeMap<&str, FigureView> {
        let view = |figure: &Figure| FigureView {
            title: figure.title.clone(),
            description: figure.description.clone(),
            file: format!("figures/{}.svg", figure.name),
            svg: figure.inline(),
        };
        self.0
            .iter()
            .map(|(name, figure)| (name.as_str(), view(figure)))
            .collect()
    }
}

/// Builds the view, and draws its figures.
pub fn build(input: &Input) -> (ReportView, Figures) {
    let mut figures = Figures::default();
    let study = input.study;
    let shown = |section: Section| !study.report.hide.contains(&section);
    let view = ReportView {
        title: study.title.clone(),
        study: study.name.clone(),
        description: study.description.clone(),
        redacted: study.report.redact,
        horizon: input.verdict_horizon().to_string(),
        confidence: input.confidence(),
        answer: answer::build(input),
        asked: asked::asked(input),
        provenance: asked::provenance(input),
        windows: windows::build(input, &mut figures),
        closed: layers::build(input, &mut figures),
        scoreboard: scoreboard::build(input),
        attribution: match shown(Section::Attribution) {
            true => attribution::build(input, &mut figures),
            false => Vec::new(),
        },
        controls: match shown(Section::Controls) {
            true => controls::build(input, &mut figures),
            false => Vec::new(),
        },
        paper: paper::build(input),
        ceilings: shown(Section::Ceilings)
            .then(|| plots::ceilings(input, &mut figures))
            .flatten(),
        dose_response: (shown(Section::DoseResponse))
            .then(|| plots::dose_response(input, &mut figures))
            .flatten(),
        saturation: (shown(Section::Saturation))
            .then(|| plots::saturation(input, &mut figures))
            .flatten(),
        classes: shown(Section::Outcomes)
            .then(|| classes::build(input))
            .flatten(),
        outcomes: shown(Section::Outcomes)
            .then(|| plots::outcomes(input, &mut figures))
            .flatten(),
        baselines: detectors::baselines(input),
        detectors: shown(Section::Detectors)
            .then(|| detectors::comparisons(input))
            .flatten(),
        screens: shown(Section::Screens)
            .then(|| screens::build(input))
            .flatten(),
        samples: shown(Section::Samples)
            .then(|| samples::build(input))
            .flatten(),
        left_out: left_out::build(input),
        methods: methods::choices(input),
        rerun: methods::rerun(input),
        layers: asked::layers(input),
        hashes: asked::hashes(input),
    };
    (view, figures)
}
