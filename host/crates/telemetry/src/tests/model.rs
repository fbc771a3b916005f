//! A ring against a plain model: whatever is appended, sealed, retired and restarted, it holds what the model holds.

use std::sync::atomic::Ordering;
use std::time::Duration;

use glasshouse_model::Signal;
use proptest::prelude::*;

use super::support::*;
use crate::GapCause;

#[derive(Clone, Debug)]
enum Step {
    /// Appends so many records of so many bytes.
    Append(u16, u16),
    /// Seals what is full, and removes what is old.
    Settle,
    /// Lets time go by.
    Wait(u16),
    Restart,
    /// Reads a page.
    Page(u16, u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_u16..300, 0_u16..2_000).prop_map(|(count, bytes)| Step::Append(count, bytes)),
        1 => Just(Step::Settle),
        1 => (0_u16..2_000).prop_map(Step::Wait),
        1 => Just(Step::Restart),
        2 => (any::<u16>(), 1_u16..500).prop_map(|(from, limit)| Step::Page(from, limit)),
    ];
    prop::collection::vec(step, 1..25)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_ring_holds_what_a_list_would(steps in steps()) {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = hand();
        let open = || {
            let depot = depot(folder.path(), clock.clone());
            let store = store(&depot, |settings| {
                settings.bounds[0].disk_bytes = 512 << 10;
                settings.bounds[0].age = Duration::from_secs(3);
            });
            (depot, store)
        };
        let (mut host, mut ring) = open();
        // All that was ever recorded, and when.
        let mut all: Vec<(String, i64)> = Vec::new();
        for step in steps {
            match step {
                Step::Append(count, bytes) => {
                    for _ in 0..count {
                        let now = clock.0.load(Ordering::Relaxed);
                        let text = format!("{} {}", all.len() + 1, "x".repeat(usize::from(bytes)));
                        all.push((text.clone(), now));
                        prop_assert_eq!(log(&ring, now, &text), all.len() as u64);
                    }
                }
                Step::Settle => host.settle(),
                Step::Wait(millis) => {
                    clock.0.fetch_add(i64::from(millis) * 1_000_000, Ordering::Relaxed);
                }
                Step::Restart => {
                    drop(ring);
                    drop(host);
                    (host, ring) = open();
                }
                Step::Page(from, limit) => {
                    let reader = ring.reader(Signal::Log);
                    let from = u64::from(from) % (all.len() as u64 + 2);
                    let page = reader.page(from, usize::from(limit));
                    let start = from.max(1) + page.missed;
                    let end = (start + u64::from(limit)).min(all.len() as u64 + 1).max(start);
                    prop_assert_eq!(sequences(&page.entries), (start..end).collect::<Vec<_>>());
                    prop_assert!(page.missed == 0 || start <= reader.evicted() + 1);
                }
            }
            let reader = ring.reader(Signal::Log);
            prop_assert_eq!(reader.stored() as usize, all.len());
            for reader in [reader, stored(folder.path())] {
                // The keeper may retire records at any time, so all is told by one page.
                let page = reader.page(1, usize::MAX);
                let found = sequences(&page.entries);
                let expect: Vec<_> = found.iter().map(|sequence| all[*sequence as usize - 1].0.clone()).collect();
                prop_assert_eq!(difference(&page.entries.iter().map(message_of).collect::<Vec<_>>(), &expect), None);
                prop_assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert_eq!(page.missed as usize + found.len(), all.len());
                prop_assert!(page.gaps.iter().all(|gap| gap.cause == GapCause::Evicted), "{:?}", page.gaps);
                let latest: Vec<_> = reader.latest(50).iter().map(message_of).collect();
                prop_assert!(expect.ends_with(&latest));
                let evicted = page.missed as usize;
                // What is young and within the bounds on bytes stays.
                let now = clock.0.load(Ordering::Relaxed);
                let recorded: usize = all.iter().map(|(text, _)| text.len() + 50).sum();
                if let Some((_, time)) = evicted.checked_sub(1).map(|last| &all[last]) {
                    prop_assert!(now - time > 3_000_000_000 || recorded > 256 << 10, "{evicted} of {} evicted", all.len());
                }
            }
        }
    }
}
