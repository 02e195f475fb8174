//! `report`: what the reports show.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the reports show.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSpec {
    /// Title of the report; the study's name when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Sections to leave out.
    pub hide: Vec<Section>,
    /// How many neurons per behaviour get sample rollouts.
    pub samples: usize,
    /// How many neurons per behaviour get dose–response curves.
    pub curves: usize,
    /// Hide prompts and rollouts in reports and in `export`; the record keeps them.
    pub redact: bool,
}

impl Default for ReportSpec {
    fn default() -> Self {
        Self {
            title: None,
            hide: Vec::new(),
            samples: 3,
            curves: 6,
            redact: false,
        }
    }
}

/// A section of the report.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// Groups of neurons and random directions at the same budgets.
    Controls,
    /// Scores against measured control.
    Attribution,
    /// Predicted against measured ceilings.
    Ceilings,
    /// Flip, collapse and outcome shares against dose.
    DoseResponse,
    /// Measured cosθ against the universal saturation curve.
    Saturation,
    /// Shares of outcome classes over horizons.
    Outcomes,
    /// Scores of the screens.
    Screens,
    /// Collapse detectors side by side.
    Detectors,
    /// Sample rollouts.
    Samples,
}
