//! Hands the host strings of many megabytes, by the typed calls.

use glasshouse_sdk::extension;

/// The extension.
#[derive(Default)]
pub struct LongLog;

#[extension]
impl LongLog {
    /// Logs a message of so many bytes, then a short one.
    #[event]
    fn message(&mut self, bytes: usize) -> usize {
        log(&"x".repeat(bytes), 0, "");
        log("that was long", 0, "");
        bytes
    }

    /// Logs with so many fields, each of 1000 bytes.
    #[event]
    fn fields(&mut self, fields: usize) -> usize {
        log("many fields", fields, &"y".repeat(1000));
        fields
    }

    /// Logs so many of the largest records that there are, each some bytes over the limits.
    #[event]
    fn largest(&mut self, logs: usize) -> usize {
        let (message, value) = ("x".repeat(17 << 10), "y".repeat(1000));
        for _ in 0..logs {
            log(&message, 20, &value);
        }
        logs
    }
}

#[cfg(target_family = "wasm")]
fn log(message: &str, fields: usize, value: &str) {
    use glasshouse_sdk::bindings::glasshouse::extension::debugging::{Field, Level, Value, log};
    let names: Vec<_> = (0..fields).map(|number| format!("field{number}")).collect();
    let fields: Vec<_> = names.iter().map(|name| Field { name, value: Value::Text(value) }).collect();
    log(Level::Info, message, &fields);
}

#[cfg(not(target_family = "wasm"))]
fn log(_message: &str, _fields: usize, _value: &str) {}
