//! End-to-end tests of the command line: the real command, on real extensions.

mod harness;
mod http;
mod jaeger;

mod alerts;
mod api;
mod author;
mod canaries;
mod check;
mod control;
mod damage;
mod data_dir;
mod demo;
mod doctor;
mod errors;
mod export;
mod files;
mod follow;
mod kill;
mod metrics;
mod operator;
mod otlp;
mod peers;
mod readme;
mod records;
mod redaction;
mod reference;
mod released;
mod resources;
mod run;
mod sessions;
mod stop;
mod top;
mod traces;
