//! Finds or prepares the Rust toolchain that builds extensions, and builds them with it.
//!
//! Extensions are built for [`TARGET`]. There are three ways to have that target, and the first that works is taken:
//!
//! 1. it is installed in the active toolchain already;
//! 2. `rustup target add wasm32-wasip2` installs it;
//! 3. on Debian, the packages `rustc-web`, `rust-web-src` and `wasi-libc` bring a compiler, the sources of `std` and a C
//!    library, from which cargo builds `std` for the target. This suffices for extensions that use neither sockets
//!    nor threads.
//!
//! [`Toolchain::find`] takes what is there and changes nothing; [`Toolchain::prepare`] may install. [`Machine`] is what is asked and
//! changed, which tests make up.
//!
//! ```no_run
//! use glasshouse_toolchain::{BuildRequest, Profile, Toolchain};
//!
//! let toolchain = Toolchain::find()?;
//! println!("building with {}", toolchain.describe());
//! for artifact in toolchain.build(&BuildRequest::new("my-extension", Profile::Release, "my-extension/target/guests"))? {
//!     println!("{}: {}", artifact.name, artifact.path.display());
//! }
//! # Ok::<(), glasshouse_toolchain::Error>(())
//! ```

mod apt;
mod build;
mod error;
mod machine;
mod messages;
mod ways;

pub use apt::{Apt, NoApt};
pub use build::{BuildRequest, Profile, Targets};
pub use error::{Attempt, Error};
pub use machine::{Machine, ThisMachine};
pub use messages::Artifact;
pub use ways::Toolchain;

/// The target that extensions are built for: components of WASI 0.2.
pub const TARGET: &str = "wasm32-wasip2";

/// The variable that restricts the search to one way: `installed`, `rustup` or `debian`.
pub const WAY_VARIABLE: &str = "GLASSHOUSE_GUEST_TOOLCHAIN";
