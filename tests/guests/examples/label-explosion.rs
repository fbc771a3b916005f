//! Gives each sample a label of its own, so that each is a series of its own.

use glasshouse_sdk::{counter, extension};

/// The extension.
#[derive(Default)]
pub struct LabelExplosion;

#[extension]
impl LabelExplosion {
    /// Counts one in each of so many series.
    #[event]
    fn explode(&mut self, series: u64) -> u64 {
        for number in 0..series {
            counter("visits").label("visitor", &number.to_string()).record(1);
        }
        series
    }
}
