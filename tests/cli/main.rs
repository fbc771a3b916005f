//! End-to-end tests of the command line: the real command, on real extensions.

mod harness;

mod author;
mod canaries;
mod operator;
mod redaction;
mod run;
mod stop;
