//! Who may ask for what.

pub(crate) mod guard;
pub(crate) mod orders;
pub(crate) mod pace;
pub(crate) mod prove;
pub(crate) mod tally;
mod tokens;

pub use tokens::{Tokens, TokensError};
