//! The one integration-test binary: a module per topic.

mod codec;
mod inspect;
mod model_folder;
mod shared;
mod text_parity;
mod tiny;
