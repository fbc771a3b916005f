//! What is stored, pushed to a collector of OpenTelemetry's protocol while the host runs.
//!
//! A [`Pusher`] is a task that reads what extensions have stored by the readers that people use, so that it holds up nobody who writes,
//! and sends each service a request at a time (`lane.rs`): a bounded part of one signal of one extension. How far it came is kept in the data
//! directory (`cursors.rs`), and goes on only when a request was taken or refused for good (`answer.rs`).

mod answer;
mod backoff;
mod client;
mod connect;
mod cursors;
mod grpc;
mod http;
mod keeper;
mod lane;
mod pusher;
mod report;
mod resumed;
mod room;
mod shared;
mod teller;
mod tls;
mod turns;

pub use pusher::{Pusher, Pushing};
pub use report::{Counts, Effect, Failing, Refused, Report, ServiceReport, Witness};
pub use tls::check_tls;
