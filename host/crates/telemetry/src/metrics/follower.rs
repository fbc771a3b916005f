//! Makes the rollups of one extension from its samples, as they come.

use std::ops::ControlFlow;
use std::sync::{Arc, Weak};

use glasshouse_model::record::KIND_ROLLUP;
use glasshouse_model::{Origin, Signal, UnixNanos};

use super::rollup::{Key, Run, StoredRun, Tier, sample};
use crate::frame::FrameParts;
use crate::query::{Needs, Order};
use crate::reader::{Entry, Reader};
use crate::store::Store;

/// Bytes of a run as it is stored, about, at which it ends before its time: some two thousand series. It bounds what a record of a
/// run may be, and by that what is held for an extension: three runs, each of which takes some four times that in memory where
/// series have a value or two, and some ten times where they have many (a bucket that is stored in three bytes has up to 32 there).
const RUN_BYTES: usize = 256 * 1024;

/// Follows the samples of an extension. The samples are numbered, and each run says which it is of, so that after a restart,
/// also of a host that was killed, it goes on where the stored runs end: no sample is left out, and none counts twice.
pub struct Follower {
    store: Weak<Store>,
    /// The sequence number of the next sample.
    next: u64,
    /// Samples that were gone before they were seen, and are told with the next run.
    missed: u64,
    tiers: [OpenTier; Tier::COUNT],
    /// The time of the last sample: all runs that are open are of its second, its ten seconds, its minute.
    time: i64,
    /// The start of that second.
    second: i64,
    key: Key,
    buffer: Vec<u8>,
}

struct OpenTier {
    tier: Tier,
    run: Option<Run>,
    /// Samples below this sequence number are in stored runs.
    stored_to: u64,
}

impl Follower {
    /// Goes on where the rollups of a store end.
    pub fn new(store: &Arc<Store>) -> Self {
        let tiers = Tier::ALL.iter().map(|tier| OpenTier {
            tier: *tier,
            run: None,
            stored_to: rolled_up_to(&store.rollups(*tier)),
        });
        let tiers: Vec<_> = tiers.collect();
        let Ok(mut tiers) = <[OpenTier; Tier::COUNT]>::try_from(tiers) else { unreachable!("one for each tier") };
        // Shorter rollups that are over their age are not made again.
        let mut longer = 1;
        for open in tiers.iter_mut().rev() {
            open.stored_to = open.stored_to.max(longer);
            longer = open.stored_to;
        }
        // Samples that went before anybody followed them are nobody's loss.
        let oldest = store.ring(Signal::Metric).oldest_sequence();
        let next = tiers.iter().map(|tier| tier.stored_to).min().unwrap_or(1).max(oldest);
        let missed = if tiers[0].stored_to > 1 { oldest.saturating_sub(tiers[0].stored_to) } else { 0 };
        Self {
            store: Arc::downgrade(store),
            next,
            missed,
            tiers,
            time: 0,
            second: 0,
            key: Key::new(),
            buffer: Vec::new(),
        }
    }

    /// Takes what has come, and stores what is over by now. `false` if the store is gone.
    pub fn follow(&mut self, now: UnixNanos) -> bool {
        let Some(store) = self.store.upgrade() else { return false };
        if store.ring(Signal::Metric).next_sequence() > self.next {
            let reader = store.reader(Signal::Metric);
            let view = reader.view();
            let end = view.next_sequence;
            reader.visit(view, self.next..u64::MAX, Order::OldestFirst, &Needs::nothing(), &mut |entry| {
                self.take(&store, &entry);
                ControlFlow::Continue(())
            });
            self.miss_up_to(&store, end);
        }
        let is_over = |open: &OpenTier| now.0 >= open.tier.start(self.time).saturating_add(open.tier.nanos());
        if let Some(last) = self.tiers.iter().rposition(is_over) {
            self.close(&store, last);
        }
        true
    }

    /// Samples up to a sequence number are gone.
    fn miss_up_to(&mut self, store: &Store, sequence: u64) {
        let gone = sequence.saturating_sub(self.next);
        if gone > 0 {
            // A run is of samples in a row.
            self.close(store, Tier::COUNT - 1);
            // Those that are in stored runs already are not lost.
            self.missed += sequence.saturating_sub(self.next.max(self.tiers[0].stored_to));
            self.next = sequence;
        }
    }

    fn take(&mut self, store: &Store, entry: &Entry) {
        let sequence = entry.sequence();
        self.miss_up_to(store, sequence);
        self.next = sequence + 1;
        let body = entry.frame.body(entry.chunk.bytes());
        let time = entry.time();
        let before = std::mem::replace(&mut self.time, time.0);
        // Mostly it is the same second.
        let is_same = (self.second..self.second.saturating_add(Tier::Second.nanos())).contains(&time.0);
        if !is_same || self.tiers.iter().any(|open| open.stored_to == sequence) {
            self.second = Tier::Second.start(time.0);
            let is_over =
                |open: &OpenTier| open.tier.start(before) != open.tier.start(time.0) || open.stored_to == sequence;
            if let Some(last) = self.tiers.iter().rposition(is_over) {
                self.close(store, last);
            }
        }
        let missed = &mut self.missed;
        let open = &mut self.tiers[0];
        let run = open.run.get_or_insert_with(|| Run::new(open.tier.start(time.0), sequence, std::mem::take(missed)));
        run.to = sequence + 1;
        // What is no sample takes its place in the run all the same.
        if let Some((instrument, value)) = sample(entry.frame.kind, body) {
            run.add(self.key.set(entry.origin(), body), instrument, value, time);
        }
        if run.bytes > RUN_BYTES {
            self.close(store, 0);
        }
    }

    /// Stores the runs of the tiers up to this one, each of which becomes part of the next one's.
    fn close(&mut self, store: &Store, mut last: usize) {
        let mut at = 0;
        while at <= last {
            let Some(run) = self.tiers[at].run.take() else {
                at += 1;
                continue;
            };
            if run.to > self.tiers[at].stored_to {
                self.store_run(store, at, &run);
            }
            if let Some(longer) = self.tiers.get_mut(at + 1) {
                let start = longer.tier.start(run.start);
                let whole = longer.run.get_or_insert_with(|| Run::new(start, run.from, run.missed));
                whole.merge(run);
                if whole.bytes > RUN_BYTES {
                    last = last.max(at + 1);
                }
            }
            at += 1;
        }
    }

    fn store_run(&mut self, store: &Store, at: usize, run: &Run) {
        let open = &mut self.tiers[at];
        run.encode(&mut self.buffer);
        let parts = FrameParts {
            sequence: 0,
            time: run.start,
            kind: KIND_ROLLUP,
            flags: Origin::Host as u8,
            context: b"",
            body: &self.buffer,
        };
        // Without memory for it, the finer rollups and the samples are what there is of it.
        store.rollup_ring(open.tier).append(parts);
        open.stored_to = run.to;
    }
}

/// The sequence number after the last sample of a ring of rollups; 1 if there are none.
pub(crate) fn rolled_up_to(rollups: &Reader) -> u64 {
    /// The last one may be damaged.
    const LOOKED_AT: usize = 8;
    let end = |entry: &Entry| {
        let run = StoredRun::decode(entry.frame.body(entry.chunk.bytes()), entry.frame.time);
        run.ok().map(|run| run.to)
    };
    rollups.latest(LOOKED_AT).iter().filter_map(end).max().unwrap_or(1)
}
