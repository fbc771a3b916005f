//! Reads arbitrary bytes as the files of a ring; what is found is in order, and is found again.
#![no_main]

use glasshouse_telemetry::fuzzing::{SAMPLE_BYTES, open_file, sample_open, sample_sealed, sealed_file};
use libfuzzer_sys::fuzz_target;

// The first byte says what the rest is: a whole file, or damage to an undamaged one at an offset.
fuzz_target!(|bytes: &[u8]| {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let damaged = |mut file: Vec<u8>| {
        let (at, damage) = rest.split_at(rest.len().min(3));
        let at = at.iter().fold(0, |at, byte| at << 8 | usize::from(*byte)) % file.len();
        for (place, byte) in file[at..].iter_mut().zip(damage) {
            *place ^= byte;
        }
        file
    };
    let read: fn(&[u8]) -> Vec<u64> = if kind & 1 == 0 { open_file } else { sealed_file };
    let file = match kind & 3 {
        0 | 1 => rest.to_vec(),
        2 => damaged(sample_open()),
        _ => damaged(sample_sealed()),
    };
    assert!(file.len() <= SAMPLE_BYTES.max(rest.len()));
    let found = read(&file);
    assert!(found.windows(2).all(|pair| pair[0] < pair[1]), "in order, and once");
    assert_eq!(read(&file), found);
    if kind & 2 != 0 {
        assert!(found.iter().all(|sequence| (1..=100).contains(sequence)), "nothing is found that was not written");
    }
});
