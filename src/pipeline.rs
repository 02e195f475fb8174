//! A run from beginning to end: the stages in order, each result put where the record keeps it.

use std::path::Path;

use crate::events::{Event, Listener, Stage};
use crate::model::LanguageModel;
use crate::record::folder::RunFolder;
use crate::record::run_record::RunRecord;
use crate::record::seal;
use crate::record::store::TrialStore;
use crate::report;
use crate::stages::predict::{Predictions, SealedPredictions};
use crate::stages::{calibrate, judge, predict, residual_stream, screen, sweep, verdict};
use crate::study::Study;
