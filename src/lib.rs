//! reachspec: specify, run and report studies of single-neuron steering in language models.
//!
//! This page is the map. A study flows through the modules in this order:
//!
//! ```text
//! YAML text ── spec ──→ StudySpec ── spec::resolve ──→ Study            what was written → what was decided
//! stages::screen(&Study, &model)                     → Screening       which neurons
//! stages::calibrate(…)                               → Calibration     budgets, alignments, spectra
//! stages::predict(…), sealed by record               → SealedPredictions
//! stages::sweep(…)                                   → trials in record::store
//! stages::judge(…), stages::verdict(…)               → Judgements, Verdicts
//! report                                             → report.md, report.html
//! ```
//!
//! | module | what it holds |
//! |---|---|
//! | [`units`] | doses, horizons, neurons: units live in types |
//! | [`spec`] | what was written, key by key; parsing, diagnostics, resolution |
//! | [`study`] | what was decided |
//! | [`hub`] | models of the Hugging Face hub: the cache, downloads |
//! | [`model`] | the only door to a language model: weights, tokenizer, forward pass, steered rollouts; `benches/README.md` says how they are computed fast |
//! | [`law`], [`stats`] | pure functions, cited |
//! | [`oracles`], [`coherence`] | deterministic judges of a rollout's text and of its collapse |
//! | [`stages`] | the stages |
//! | [`pipeline`] | the stages in order |
//! | [`record`] | the run folder: manifest, seal, trial store |
//! | [`frozen`] | results that are committed beside their spec, and whether a rerun still gives them |
//! | [`events`] | what happens while a study runs; [`monitor`]: between the stages and whoever listens; [`throughput`]: the time that is left |
//! | [`stop`] | a request to stop |
//! | [`report`] | a pure view of a record, rendered through templates |
//! | [`generated`] | the files of this repository that are made by the program, listed once |
//! | [`cli`] | the command line, one file per subcommand |

#![forbid(unsafe_code)]

mod caught;
pub mod cli;
pub mod coherence;
pub mod events;
mod fault;
mod files;
pub mod frozen;
pub mod generated;
mod guard;
pub mod hub;
pub mod law;
pub mod model;
pub mod monitor;
pub mod oracles;
pub mod pipeline;
pub mod record;
pub mod report;
pub mod spec;
pub mod stages;
pub mod stats;
pub mod stop;
pub mod study;
pub mod throughput;
pub mod units;
