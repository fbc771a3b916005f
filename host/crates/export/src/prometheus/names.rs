//! Names, units and texts as Prometheus has them, from whatever an extension chose.

use std::borrow::Cow;

use glasshouse_model::Instrument;

/// Bytes of a metric's or a label's name: those of an extension are cut to it.
const NAME_BYTES: usize = 128;

/// What a value is multiplied by to be in another unit, and then divided by: dividing by a power of ten gives the number that people would write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Factor {
    times: f64,
    over: f64,
}

impl Factor {
    const ONE: Self = times(1.0);

    /// The value in the other unit.
    pub(super) fn of(self, value: f64) -> f64 {
        value * self.times / self.over
    }
}

const fn times(times: f64) -> Factor {
    Factor { times, over: 1.0 }
}

const fn over(over: f64) -> Factor {
    Factor { times: 1.0, over }
}

/// A unit that Prometheus has: the end of names, what a value is multiplied by, and the ends that names have had for the unit before.
struct BaseUnit {
    ucum: &'static str,
    name: &'static str,
    factor: Factor,
    ends: &'static [&'static str],
}

const fn unit(ucum: &'static str, name: &'static str, factor: Factor, ends: &'static [&'static str]) -> BaseUnit {
    BaseUnit { ucum, name, factor, ends }
}

/// Units of UCUM, and what Prometheus recommends for each ("Base units").
const UNITS: &[BaseUnit] = &[
    unit("s", "seconds", times(1.0), &["s", "sec", "second"]),
    unit("ms", "seconds", over(1e3), &["ms", "msec", "millis", "milliseconds", "millisecond"]),
    unit("us", "seconds", over(1e6), &["us", "usec", "micros", "microseconds", "microsecond"]),
    unit("ns", "seconds", over(1e9), &["ns", "nsec", "nanos", "nanoseconds", "nanosecond"]),
    unit("min", "seconds", times(60.0), &["m", "min", "minutes"]),
    unit("h", "seconds", times(3600.0), &["h", "hours"]),
    unit("d", "seconds", times(86_400.0), &["d", "days"]),
    unit("By", "bytes", times(1.0), &["b", "byte"]),
    unit("kBy", "bytes", times(1e3), &["kb", "kilobytes"]),
    unit("MBy", "bytes", times(1e6), &["mb", "megabytes"]),
    unit("GBy", "bytes", times(1e9), &["gb", "gigabytes"]),
    unit("KiBy", "bytes", times(1024.0), &["kb", "kib", "kibibytes"]),
    unit("MiBy", "bytes", times(1_048_576.0), &["mb", "mib", "mebibytes"]),
    unit("GiBy", "bytes", times(1_073_741_824.0), &["gb", "gib", "gibibytes"]),
    unit("%", "ratio", over(100.0), &["percent", "pct", "percentage"]),
    unit("Cel", "celsius", times(1.0), &["c"]),
    unit("m", "meters", times(1.0), &["m"]),
    unit("g", "grams", times(1.0), &["g"]),
    unit("V", "volts", times(1.0), &["v"]),
    unit("A", "amperes", times(1.0), &["a"]),
    unit("J", "joules", times(1.0), &["j"]),
];

/// What a metric becomes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named {
    /// The family's name, without `_total`.
    pub(super) family: String,
    /// The end of the name that is a unit, or empty.
    pub(super) unit: &'static str,
    /// What brings values into that unit.
    pub(super) factor: Factor,
}

/// The name of a metric, after a prefix: letters, digits and `_`, in lower case, the unit last.
pub(super) fn metric(prefix: &str, name: &str, ucum: &str, instrument: Instrument) -> Named {
    let mut words: Vec<String> = words(name);
    let known = UNITS.iter().find(|unit| unit.ucum == ucum);
    // What the format itself appends to names, and so nobody else may.
    let strip = |words: &mut Vec<String>| {
        while matches!(
            words.last().map(String::as_str),
            Some("total" | "created" | "bucket" | "count" | "sum" | "info")
        ) {
            let word = words.pop();
            if words.is_empty() && instrument != Instrument::Counter {
                words.extend(word.map(|word| format!("{word}s")));
            }
        }
    };
    strip(&mut words);
    if let Some(unit) = known {
        if words.last().is_some_and(|word| unit.ends.contains(&word.as_str())) && words.len() > 1 {
            words.pop();
            strip(&mut words);
        }
        if words.last().is_none_or(|word| word != unit.name) {
            words.push(unit.name.to_owned());
        }
    }
    let end = words.pop().unwrap_or_else(|| "unnamed".to_owned());
    let mut family = prefix.to_owned();
    for word in words {
        if family.len() + word.len() + end.len() + 2 <= NAME_BYTES {
            family.push_str(&word);
            family.push('_');
        }
    }
    family.push_str(&end);
    Named { family, unit: known.map_or("", |unit| unit.name), factor: known.map_or(Factor::ONE, |unit| unit.factor) }
}

/// The words of a name, in lower case: parted by whatever is neither a letter nor a digit of ASCII, and where a capital follows a small letter.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut before = ' ';
    for character in name.chars().take(NAME_BYTES) {
        let starts =
            !character.is_ascii_alphanumeric() || character.is_ascii_uppercase() && before.is_ascii_lowercase();
        if starts && words.last().is_some_and(|word| !word.is_empty()) {
            words.push(String::new());
        }
        if let (true, Some(word)) = (character.is_ascii_alphanumeric(), words.last_mut()) {
            word.push(character.to_ascii_lowercase());
        }
        before = character;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The name of a label: letters, digits and `_`; one that the host or the format gives itself has `guest_` before it.
pub(super) fn label(name: &str) -> String {
    let legal = |character: char| if character.is_ascii_alphanumeric() { character } else { '_' };
    let clean: String = name.chars().take(NAME_BYTES).map(legal).collect();
    let clean = clean.trim_start_matches('_');
    let is_taken = matches!(clean, "extension" | "le" | "quantile" | "job" | "instance");
    if clean.is_empty() || is_taken || clean.starts_with(|first: char| first.is_ascii_digit()) {
        format!("guest_{clean}")
    } else {
        clean.to_owned()
    }
}

/// A label's value, with what is control characters made visible, and at most so many characters; escaped as both formats want it.
pub(super) fn value(text: &str, characters: usize) -> String {
    escaped(&glasshouse_model::text::visible(text, characters)).replace('"', "\\\"")
}

/// Text of a line of help, with control characters made visible. OpenMetrics escapes quotation marks as well, the older format must not.
pub(super) fn help(text: &str, is_open_metrics: bool) -> String {
    let text = escaped(text);
    if is_open_metrics { text.replace('"', "\\\"") } else { text }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n")
}

/// Foreign text in a line of help.
pub(super) fn shown(text: &str) -> Cow<'_, str> {
    glasshouse_model::text::visible(text, 120)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_with_the_base_unit_last() {
        for (name, ucum, family, factor) in [
            ("response_time", "ms", "x_response_time_seconds", 1e-3),
            ("memory_mb", "MBy", "x_memory_bytes", 1e6),
            ("cpu_percent", "%", "x_cpu_ratio", 1e-2),
            ("process_cpu_seconds_total", "s", "x_process_cpu_seconds", 1.0),
            ("disk_read_bytes", "By", "x_disk_read_bytes", 1.0),
            ("queue.length", "", "x_queue_length", 1.0),
            ("requestsPerTick", "{request}", "x_requests_per_tick", 1.0),
            ("a\n# TYPE b counter\nb 1", "", "x_a_type_b_counter_b_1", 1.0),
            ("éé", "", "x_unnamed", 1.0),
            ("", "s", "x_seconds", 1.0),
            ("x_bucket", "", "x_x", 1.0),
            ("count", "", "x_counts", 1.0),
        ] {
            let named = metric("x_", name, ucum, Instrument::Gauge);
            assert_eq!((named.family.as_str(), named.factor.of(1.0)), (family, factor), "{name:?}");
        }
        assert!(metric("x_", &"long name ".repeat(100), "s", Instrument::Gauge).family.len() <= NAME_BYTES);
    }

    #[test]
    fn labels_never_take_the_place_of_the_hosts_own() {
        for (name, expect) in [
            ("extension", "guest_extension"),
            ("le", "guest_le"),
            ("__name__", "name__"),
            ("a.b", "a_b"),
            ("", "guest_"),
            ("9", "guest_9"),
        ] {
            assert_eq!(label(name), expect);
        }
        assert_eq!(value("a\"b\\c\nd", 100), "a\\\"b\\\\c\\\\nd");
    }
}
