//! The one integration-test binary: a module per topic.

mod model_folder;
mod parity;
mod shared;
mod text_parity;
mod tiny;
