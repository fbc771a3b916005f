//! Decodes arbitrary bytes as a batch; what decodes must say the same when it is encoded again.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    glasshouse_wire::fuzzing::check_batch(bytes);
});
