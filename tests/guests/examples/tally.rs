//! Numbers its records, and notes in a file how far it came: what the host must have, whatever becomes of it.

use std::fs::File;
use std::io::{Seek as _, Write as _};

use glasshouse_sdk::batch::{self, LogTime};
use glasshouse_sdk::{Severity, alert, extension, gauge, info, record_error, span, warning};
use serde::Deserialize;

/// Each record of a number that this divides is a warning, which sends what was gathered, with one of each other signal.
const STEP: u64 = 50;

/// The extension.
pub struct Tally {
    batched: bool,
}

/// The configuration.
#[derive(Deserialize)]
pub struct Config {
    /// Whether logs are gathered.
    #[serde(default)]
    batched: bool,
}

/// What to count.
#[derive(Deserialize)]
pub struct Count {
    /// A number that all records have.
    run: u64,
    /// The last number.
    to: u64,
    /// The file that has the number of the last record, once its macro has returned and it was sent.
    file: String,
}

#[extension]
impl Tally {
    fn init(config: Config) -> Self {
        if config.batched {
            batch::start(LogTime::OfReceipt);
        }
        Self { batched: config.batched }
    }

    /// Writes numbered records as fast as it can.
    #[event]
    fn count(&mut self, count: Count) -> u64 {
        let (run, run_text) = (count.run, count.run.to_string());
        let mut file = File::create(count.file).expect("the folder is granted");
        for number in 1..=count.to {
            let is_step = number.is_multiple_of(STEP);
            if is_step {
                gauge("tally").label("run", &run_text).record(number);
                let place = format!("{run} {number}");
                record_error("tally", &place);
                alert("tally", Severity::Low, &place).raise();
                drop(span!("tally", run = run, number = number));
                warning!("counted", run = run, number = number);
            } else {
                info!("counted", run = run, number = number);
            }
            if is_step || !self.batched {
                file.rewind().and_then(|()| file.write_all(&number.to_le_bytes())).expect("the file is there");
            }
        }
        count.to
    }
}
