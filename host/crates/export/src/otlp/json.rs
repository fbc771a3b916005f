//! How protobuf's values are written in OpenTelemetry's JSON.

use std::fmt::Display;

use serde::{Serialize, Serializer};

/// Bytes of an id, as hexadecimal digits.
#[expect(clippy::ptr_arg, reason = "serde passes fields in this form")]
pub(super) fn hex<S: Serializer>(bytes: &Vec<u8>, serializer: S) -> Result<S::Ok, S::Error> {
    struct Hex<'b>(&'b [u8]);
    impl Display for Hex<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
        }
    }
    serializer.collect_str(&Hex(bytes))
}

/// A 64-bit integer, as text.
pub(super) fn number<T: Display, S: Serializer>(number: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// 64-bit integers.
pub(super) fn numbers<S: Serializer>(numbers: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers.iter().map(u64::to_string))
}

/// A number, which need not be finite.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields in this form")]
pub(super) fn double<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    match *number {
        number if number.is_finite() => number.serialize(serializer),
        number if number.is_nan() => "NaN".serialize(serializer),
        number if number > 0.0 => "Infinity".serialize(serializer),
        _ => "-Infinity".serialize(serializer),
    }
}

/// The same for what need not be there.
#[expect(clippy::ref_option, reason = "serde passes fields in this form")]
pub(super) fn some_double<S: Serializer>(number: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match number {
        Some(number) => double(number, serializer),
        None => serializer.serialize_none(),
    }
}

/// Whether a value is what it is where nothing is written.
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
