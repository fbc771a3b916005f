//! Measures several ways to do the same in turns, and compares them turn by turn.

use std::time::Instant;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// How much is measured.
pub(crate) struct Plan {
    /// Turns; in each one every side is measured once.
    pub(crate) repeats: u32,
}

/// One way to do it: does it many times and tells the nanoseconds that one took.
pub(crate) type Side<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// What one side took, turn by turn, in nanoseconds.
#[derive(Clone)]
pub(crate) struct Samples(Vec<f64>);

/// The middle and the ends of what was measured.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) what: String,
    pub(crate) peer_name: String,
    pub(crate) ours: Spread,
    pub(crate) peer: Spread,
    /// Ours by the peer's, turn by turn.
    pub(crate) ratio: Spread,
    /// The most that the ratio may be, where there is a target.
    pub(crate) target: Option<f64>,
}

impl Plan {
    /// Measures all sides in turns, after one turn that does not count.
    pub(crate) fn run<const N: usize>(&self, mut sides: [Side<'_>; N]) -> Result<[Samples; N]> {
        let mut samples = std::array::from_fn(|_| Samples(Vec::new()));
        for turn in 0..=self.repeats {
            for (side, samples) in sides.iter_mut().zip(&mut samples) {
                let nanos = side()?;
                if turn > 0 {
                    samples.0.push(nanos);
                }
            }
        }
        Ok(samples)
    }
}

impl Samples {
    pub(crate) fn spread(&self) -> Spread {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        Spread { median: sorted[sorted.len() / 2], least: sorted[0], most: sorted[sorted.len() - 1] }
    }

    /// A row that compares these samples, ours, with a peer's.
    pub(crate) fn against(
        &self,
        peer: &Self,
        group: &'static str,
        what: &str,
        peer_name: &str,
        target: Option<f64>,
    ) -> Row {
        let ratios = Self(self.0.iter().zip(&peer.0).map(|(ours, peer)| ours / peer).collect());
        Row {
            group,
            what: what.into(),
            peer_name: peer_name.into(),
            ours: self.spread(),
            peer: peer.spread(),
            ratio: ratios.spread(),
            target,
        }
    }
}

impl Row {
    /// Whether the target is met; `None` where there is none.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.target.map(|target| self.ratio.median <= target)
    }
}

/// CPU time that this thread takes for `work`, in nanoseconds for each of its `times`.
pub(crate) fn cpu(times: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    work()?;
    Ok((now() - start) / f64::from(times))
}

/// Wall time of work that several threads share, in nanoseconds.
pub(crate) fn wall<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed().as_nanos() as f64, done))
}
