//! Integration tests: one binary, one module per topic.

mod spec_errors;
mod spec_fuzz;
