//! Who may ask for what.

pub(crate) mod guard;
pub(crate) mod pace;
pub(crate) mod tally;
mod tokens;

pub use tokens::{Tokens, TokensError};
