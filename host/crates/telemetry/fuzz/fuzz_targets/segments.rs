//! Reads arbitrary bytes as the files of a ring; what is found is in order, and is found again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| glasshouse_telemetry::fuzzing::check(bytes));
