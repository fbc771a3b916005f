//! What followers share: who follows the same records, by the same query, is told the same bytes, which are read and written down once. How often, and how much, each is told
//! depends on how many there are, so that all of them together cost no more than a few do.

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;

use crate::{Follower, News};

/// How long a record waits to be looked for, at most, where followers are few.
const LOOK: Duration = Duration::from_millis(20);
/// So many are few: each further one lets all look more seldom, so that there are some 1,600 looks a second, however many they are.
const FEW: u32 = 32;
/// How long it waits where they are as many as can be.
const LOOK_MOST: Duration = Duration::from_secs(1);
/// Bytes a second that all followers together are told: a few hundredths of a processor, most of it in the system. One alone is told some fifty thousand logs a second.
const RATE: u32 = 16 << 20;
/// Bytes of events that are kept for those who are yet to be told them, of what is followed by several in the same way.
const KEPT_BYTES: usize = 256 << 10;
/// Records that wait for who is behind: as many as are read at a time, about.
const BEHIND: u64 = 500;
/// Feeds among which it is looked for those that nobody follows any more.
const SWEEP: usize = 128;

/// All that is followed.
#[derive(Default)]
pub(crate) struct Feeds {
    known: Mutex<HashMap<String, Weak<Feed>>>,
    followers: AtomicU32,
}

/// What several followers are told.
#[derive(Default)]
pub(crate) struct Feed {
    /// The latest events, each with the sequence numbers of its records.
    told: Mutex<VecDeque<Told>>,
    /// Held by who reads what is newest, so that the others have it from there.
    reading: Mutex<()>,
}

struct Told {
    from: u64,
    next: u64,
    events: Bytes,
}

/// A place among the followers.
pub(crate) struct Place {
    feeds: Arc<Feeds>,
    pub(crate) feed: Arc<Feed>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.feeds.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// Takes one, for what a follower follows.
    pub(crate) fn take(feeds: &Arc<Feeds>, follower: &dyn Follower) -> Self {
        let mut known = lock(&feeds.known);
        let name = follower.feed();
        let feed = known.get(&name).and_then(Weak::upgrade).unwrap_or_default();
        if known.len() >= SWEEP {
            known.retain(|_, feed| feed.strong_count() > 0);
        }
        known.insert(name, Arc::downgrade(&feed));
        feeds.followers.fetch_add(1, Ordering::Relaxed);
        Self { feeds: Arc::clone(feeds), feed }
    }

    /// How long to wait before it is looked again.
    pub(crate) fn look(&self) -> Duration {
        look(self.feeds.followers.load(Ordering::Relaxed))
    }

    /// How long to wait after so many bytes were told, where so many records wait: who is behind by few waits until there are more of them.
    pub(crate) fn rest(&self, bytes: usize, waiting: u64) -> Duration {
        let followers = self.feeds.followers.load(Ordering::Relaxed);
        let rest = rest(followers, bytes);
        if waiting < BEHIND { rest.max(look(followers)) } else { rest }
    }
}

fn look(followers: u32) -> Duration {
    (LOOK * followers.div_ceil(FEW).max(1)).min(LOOK_MOST)
}

fn rest(followers: u32, bytes: usize) -> Duration {
    let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
    Duration::from_secs_f64(f64::from(bytes) * f64::from(followers.max(1)) / f64::from(RATE))
}

impl Feed {
    /// What others were told from where a follower is, which goes on behind it.
    pub(crate) fn shared(&self, follower: &mut dyn Follower) -> Option<Bytes> {
        let from = follower.next()?;
        let (next, events) = {
            let told = lock(&self.told);
            let found = told.iter().find(|told| told.from == from)?;
            (found.next, found.events.clone())
        };
        follower.skip_to(next);
        Some(events)
    }

    /// What is new for a follower, as events. May read files.
    pub(crate) fn read(self: &Arc<Self>, follower: &mut dyn Follower) -> Bytes {
        let from = follower.next();
        let is_first = from.is_some_and(|from| lock(&self.told).back().is_none_or(|last| from >= last.next));
        // Who is behind holds up nobody.
        let reading = is_first.then(|| lock(&self.reading));
        if let Some(events) = self.shared(follower) {
            return events;
        }
        let events = written(&follower.read());
        let is_for_others = is_first && Arc::strong_count(self) > 1;
        if let (Some(from), Some(next), true) = (from, follower.next(), is_for_others)
            && next > from
        {
            let mut told = lock(&self.told);
            told.push_back(Told { from, next, events: events.clone() });
            while told.len() > 1 && told.iter().map(|told| told.events.len()).sum::<usize>() > KEPT_BYTES {
                told.pop_front();
            }
        }
        drop(reading);
        events
    }
}

/// Events as they go over the wire (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
pub(crate) fn written(news: &[News]) -> Bytes {
    let mut text = Vec::new();
    for one in news {
        // Nothing fails that is written to memory; neither cursors nor JSON in one line have ends of lines.
        let _ = match one {
            News::Record { cursor, json } => write!(text, "id: {cursor}\nevent: record\ndata: {json}\n\n"),
            News::Gap { cursor, gap } => {
                let gap = serde_json::to_string(gap).unwrap_or_default();
                write!(text, "id: {cursor}\nevent: gap\ndata: {gap}\n\n")
            }
            News::Place { cursor } => write!(text, "id: {cursor}\n\n"),
        };
    }
    text.into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows numbers, some at a time.
    struct Numbers {
        next: u64,
        reads: Arc<AtomicU32>,
    }

    impl Follower for Numbers {
        fn waiting(&self) -> u64 {
            1
        }

        fn read(&mut self) -> Vec<News> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let from = self.next;
            self.next += 10;
            let record = |number: u64| News::Record { cursor: number.to_string(), json: "x".repeat(1000) };
            (from..self.next).map(record).collect()
        }

        fn place(&self) -> String {
            self.next.to_string()
        }

        fn feed(&self) -> String {
            "numbers".to_owned()
        }

        fn next(&self) -> Option<u64> {
            Some(self.next)
        }

        fn skip_to(&mut self, next: u64) {
            self.next = next;
        }
    }

    #[test]
    fn who_follows_the_same_from_the_same_place_is_told_what_was_read_once() {
        let (feeds, reads) = (Arc::<Feeds>::default(), Arc::<AtomicU32>::default());
        let follower = |next| Numbers { next, reads: Arc::clone(&reads) };
        let mut followers: Vec<_> = (0..5).map(|_| follower(1)).collect();
        let places: Vec<_> = followers.iter().map(|one| Place::take(&feeds, one)).collect();
        let mut told = Vec::new();
        for _ in 0..3 {
            for (follower, place) in followers.iter_mut().zip(&places) {
                let shared = place.feed.shared(follower);
                told.push(shared.unwrap_or_else(|| place.feed.read(follower)));
            }
        }
        assert_eq!(reads.load(Ordering::Relaxed), 3);
        assert!(told[..5].iter().all(|events| *events == told[0]) && told[0] != told[5]);
        // Who is elsewhere reads for itself, and moves the others' place by nothing.
        let mut late = follower(3);
        let events = Place::take(&feeds, &late).feed.read(&mut late);
        assert!(events.starts_with(b"id: 3\n") && late.next == 13);
        assert_eq!(followers[0].next, 31);
        for _ in 0..100 {
            places[0].feed.read(&mut followers[0]);
        }
        let kept: usize = lock(&places[0].feed.told).iter().map(|told| told.events.len()).sum();
        assert!(kept <= KEPT_BYTES, "{kept}");
        drop(places);
        assert_eq!(feeds.followers.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn however_many_follow_they_look_and_are_told_so_often_in_all() {
        for (followers, millis) in [(0, 20), (1, 20), (32, 20), (33, 40), (500, 320), (1024, 640), (10_000, 1000)] {
            assert_eq!(look(followers), Duration::from_millis(millis), "{followers}");
        }
        assert_eq!(rest(1, RATE as usize), Duration::from_secs(1));
        assert_eq!(rest(512, RATE as usize / 512), Duration::from_secs(1));
        assert_eq!(rest(0, 0), Duration::ZERO);
    }
}
