//! The one integration-test binary: a module per topic.

mod adaptive;
mod attribution;
mod candle_parity;
mod codec;
mod diff;
mod docs;
mod export;
mod hub;
mod hub_server;
mod inspect;
mod interruption;
mod invariance;
mod model_folder;
mod parity;
mod post_norm;
mod random_directions;
mod shared;
mod shipped_models;
mod spec_cli;
mod spec_errors;
mod spec_fuzz;
mod stored_record;
mod studies;
mod text_parity;
mod tiny;
mod verify;
