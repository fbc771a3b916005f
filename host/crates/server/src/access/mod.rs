//! Who may ask for what.

pub(crate) mod guard;
mod pace;
mod tokens;

pub use tokens::{Tokens, TokensError};
