//! The last requests, and whether too many of them failed.

use std::collections::VecDeque;

use glasshouse_sdk::Error;
use serde::{Deserialize, Serialize};

use crate::Config;

/// A longer window than this is a mistake: its state is kept in memory and handed over as a whole.
const MAX_WINDOW: usize = 1_000_000;

/// What a successor takes over.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct State {
    failed: Vec<bool>,
    burst: bool,
}

/// The last requests.
#[derive(Clone, Debug)]
pub struct Window {
    config: Config,
    failed: VecDeque<bool>,
    failures: usize,
    burst: bool,
}

impl Window {
    /// An empty window; an error if the configuration is out of range.
    pub fn new(config: Config) -> Result<Self, Error> {
        if config.window == 0 || config.window > MAX_WINDOW {
            let message = format!("window is 1 to {MAX_WINDOW} requests, not {}", config.window);
            return Err(Error::failed("configuration", message));
        }
        if !(config.error_ratio > 0.0 && config.error_ratio <= 1.0) {
            let message = format!("error_ratio is over 0 and at most 1, not {}", config.error_ratio);
            return Err(Error::failed("configuration", message));
        }
        Ok(Self { config, failed: VecDeque::new(), failures: 0, burst: false })
    }

    /// Adds a request. Tells whether an error burst begins with it.
    pub fn add(&mut self, failed: bool) -> bool {
        if self.failed.len() == self.config.window {
            self.failures -= usize::from(self.failed.pop_front() == Some(true));
        }
        self.failed.push_back(failed);
        self.failures += usize::from(failed);
        let before = self.burst;
        self.burst = self.failed.len() >= self.config.min_requests && self.error_ratio() > self.config.error_ratio;
        self.burst && !before
    }

    /// How many requests it holds.
    pub fn len(&self) -> usize {
        self.failed.len()
    }

    /// Whether it holds no request.
    pub fn is_empty(&self) -> bool {
        self.failed.is_empty()
    }

    /// The share of the requests that failed, from 0 to 1.
    pub fn error_ratio(&self) -> f64 {
        if self.failed.is_empty() { 0.0 } else { self.failures as f64 / self.failed.len() as f64 }
    }

    /// The share that is the limit.
    pub fn threshold(&self) -> f64 {
        self.config.error_ratio
    }

    /// Whether an error burst is on.
    pub fn is_burst(&self) -> bool {
        self.burst
    }

    /// What a successor takes over.
    pub fn state(&self) -> State {
        State { failed: self.failed.iter().copied().collect(), burst: self.burst }
    }

    /// Takes over from a predecessor, the latest requests where its window was longer.
    pub fn restore(&mut self, state: State) {
        let skipped = state.failed.len().saturating_sub(self.config.window);
        self.failed = state.failed.into_iter().skip(skipped).collect();
        self.failures = self.failed.iter().filter(|failed| **failed).count();
        self.burst = state.burst;
    }
}
