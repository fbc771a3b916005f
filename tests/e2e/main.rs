//! End-to-end tests: real extensions, built from `tests/guests` and `example-extensions`, in the real host.

mod harness;
mod hostile;

mod alerts;
mod answers;
mod aspects;
mod background;
mod batches;
mod budgets;
mod compatibility;
mod compiling;
mod examples;
mod failures;
mod gates;
mod governor;
mod http;
mod ledger;
mod life_cycle;
mod live;
mod live_budgets;
mod loading;
mod metering;
mod metrics;
mod neighbours;
mod permissions;
mod refused;
mod sampling;
mod spans;
mod standing;
mod telemetry;
mod tracing_code;
