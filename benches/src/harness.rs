//! Measures several ways to do the same in turns, and compares them turn by turn.

use std::time::Instant;

use anyhow::Result;
use rustix::time::{ClockId, clock_gettime};

/// How much is measured.
pub(crate) struct Plan {
    /// Turns; in each one every side is measured once.
    pub(crate) repeats: u32,
    /// Bytes of sealed segments that a host starts with.
    pub(crate) sealed_bytes: u64,
    /// Whether the system's caches are dropped before a start, for all of the machine.
    pub(crate) drop_caches: bool,
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

/// What a figure is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Nanos,
    Bytes,
    BytesPerSecond,
}

/// A line of the table.
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) what: String,
    pub(crate) unit: Unit,
    pub(crate) ours: Spread,
    /// `None` where there is nothing to compare with.
    pub(crate) peer: Option<Peer>,
    /// The most that the ratio may be, where there is a target.
    pub(crate) target: Option<f64>,
    /// Whether no sample may be over the target, and not only the median.
    pub(crate) holds_always: bool,
}

/// What ours is compared with: a peer, or a limit.
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) spread: Spread,
    /// Ours by the peer's, turn by turn.
    pub(crate) ratio: Spread,
}

impl Plan {
    /// Measures all sides in turns, each turn in an order drawn by lot, after one turn that does not count.
    pub(crate) fn run<const N: usize>(&self, mut sides: [Side<'_>; N]) -> Result<[Samples; N]> {
        let mut samples = std::array::from_fn(|_| Samples(Vec::new()));
        self.measure(&mut sides, &mut samples)?;
        Ok(samples)
    }

    /// The same, for as many sides as there are.
    pub(crate) fn run_all(&self, mut sides: Vec<Side<'_>>) -> Result<Vec<Samples>> {
        let mut samples = vec![Samples(Vec::new()); sides.len()];
        self.measure(&mut sides, &mut samples)?;
        Ok(samples)
    }

    fn measure(&self, sides: &mut [Side<'_>], samples: &mut [Samples]) -> Result<()> {
        let mut order: Vec<usize> = (0..sides.len()).collect();
        for turn in 0..=self.repeats {
            for side in order.iter().copied() {
                let nanos = sides[side]()?;
                if turn > 0 {
                    samples[side].0.push(nanos);
                }
            }
            // What one side leaves in the processor's caches is felt by the next.
            fastrand::shuffle(&mut order);
        }
        Ok(())
    }
}

impl Samples {
    pub(crate) fn new(samples: Vec<f64>) -> Self {
        Self(samples)
    }

    pub(crate) fn spread(&self) -> Spread {
        let sorted = self.sorted();
        Spread { median: sorted[sorted.len() / 2], least: sorted[0], most: sorted[sorted.len() - 1] }
    }

    /// The least sample that so many of a hundred are not over.
    pub(crate) fn percentile(&self, percent: f64) -> f64 {
        let sorted = self.sorted();
        sorted[((sorted.len() as f64 * percent / 100.0).ceil() as usize).clamp(1, sorted.len()) - 1]
    }

    /// Turn by turn.
    pub(crate) fn samples(&self) -> &[f64] {
        &self.0
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
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
        let ratio = Self(self.0.iter().zip(&peer.0).map(|(ours, peer)| ours / peer).collect()).spread();
        let peer = Peer { name: peer_name.into(), spread: peer.spread(), ratio };
        Row {
            group,
            what: what.into(),
            unit: Unit::Nanos,
            ours: self.spread(),
            peer: Some(peer),
            target,
            holds_always: false,
        }
    }
}

impl Row {
    /// A figure with nothing beside it.
    pub(crate) fn figure(group: &'static str, what: impl Into<String>, unit: Unit, ours: Spread) -> Self {
        Self { group, what: what.into(), unit, ours, peer: None, target: None, holds_always: false }
    }

    /// The same figure beside another one that was not measured in turns with it.
    pub(crate) fn beside(self, name: &str, figure: f64) -> Self {
        let ratio = |ours: f64| ours / figure;
        let ratio =
            Spread { median: ratio(self.ours.median), least: ratio(self.ours.least), most: ratio(self.ours.most) };
        Self { peer: Some(Peer { name: name.into(), spread: Spread::of(figure), ratio }), ..self }
    }

    /// The same figure under a limit that is the target.
    pub(crate) fn under(self, name: &str, limit: f64) -> Self {
        Self { target: Some(1.0), ..self.beside(name, limit) }
    }

    /// The same figure under a limit that no sample may be over: a promise about each of them.
    pub(crate) fn never_over(self, name: &str, limit: f64) -> Self {
        Self { holds_always: true, ..self.under(name, limit) }
    }

    /// This row, or the same one of a later try that has the smaller ratio.
    pub(crate) fn better(self, later: Self) -> Self {
        let ratio = |row: &Self| row.judged().unwrap_or(f64::INFINITY);
        if ratio(&later) < ratio(&self) { later } else { self }
    }

    /// The ratio that the target is for.
    fn judged(&self) -> Option<f64> {
        let ratio = self.peer.as_ref()?.ratio;
        Some(if self.holds_always { ratio.most } else { ratio.median })
    }

    /// Whether the target is met; `None` where there is none.
    pub(crate) fn is_met(&self) -> Option<bool> {
        Some(self.judged()? <= self.target?)
    }
}

impl Spread {
    /// One figure.
    pub(crate) fn of(figure: f64) -> Self {
        Self { median: figure, least: figure, most: figure }
    }
}

/// CPU time that this thread takes for `work`, in nanoseconds for each of its `times`.
pub(crate) fn cpu(times: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    cpu_of(ClockId::ThreadCPUTime, times, work)
}

/// The same of all threads of this process.
pub(crate) fn cpu_of_all(times: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    cpu_of(ClockId::ProcessCPUTime, times, work)
}

/// CPU time that this thread has taken since it began, in nanoseconds.
pub(crate) fn cpu_so_far() -> f64 {
    so_far(ClockId::ThreadCPUTime)
}

fn cpu_of(clock: ClockId, times: u32, work: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = so_far(clock);
    work()?;
    Ok((so_far(clock) - start) / f64::from(times))
}

fn so_far(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

/// Wall time of work that several threads share, in nanoseconds.
pub(crate) fn wall<T>(work: impl FnOnce() -> Result<T>) -> Result<(f64, T)> {
    let start = Instant::now();
    let done = work()?;
    Ok((start.elapsed().as_nanos() as f64, done))
}
