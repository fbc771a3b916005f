//! What followers share: who follows the same records, by the same query, is told the same bytes, which are read and written down once. How often, and how much, each is told
//! depends on how many there are, so that all of them together cost no more than a few do.

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{Follower, News, lanes};

/// How long a record waits to be looked for, at most, where followers are few.
const LOOK: Duration = Duration::from_millis(20);
/// So many are few: each further one lets all look more seldom, so that there are some 1,600 looks a second, however many they are. Where as many follow as an
/// address has connections, each looks every 640 ms.
const FEW: u32 = 32;
/// Bytes a second that all followers together are told, most of whose cost is the system's: `cargo xtask bench api` tells what of it guests notice. One alone is told some fifty thousand logs a second.
const RATE: u32 = 16 << 20;
/// How long a follower rests at most so that all together are told no more than that: half of what there is between two signs of life. Where each of 320 and more has as much to be told
/// as is told at a time, they are told more than the rate.
const REST_MOST: Duration = Duration::from_secs(5);
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
    owed: Mutex<Owed>,
}

/// When what all followers were told by now is worth its time at the rate.
#[derive(Default)]
struct Owed(Option<Instant>);

impl Owed {
    /// Notes that so many bytes were told. Returns how long it is to be waited before more are.
    fn add(&mut self, bytes: usize, now: Instant) -> Duration {
        let worth = Duration::from_secs_f64(bytes as f64 / f64::from(RATE));
        let until = (self.0.unwrap_or(now).max(now) + worth).min(now + REST_MOST);
        self.0 = Some(until);
        until.duration_since(now)
    }
}

/// What several followers are told.
#[derive(Default)]
pub(crate) struct Feed {
    /// The latest events, each with the sequence numbers of its records.
    told: Mutex<VecDeque<Told>>,
    /// Held by who reads what is newest, so that the others have it from there.
    reading: Arc<tokio::sync::Mutex<()>>,
    followers: AtomicU32,
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
        self.feed.followers.fetch_sub(1, Ordering::Relaxed);
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
        feed.followers.fetch_add(1, Ordering::Relaxed);
        Self { feeds: Arc::clone(feeds), feed }
    }

    /// How long to wait before it is looked again.
    pub(crate) fn look(&self) -> Duration {
        look(self.feeds.followers.load(Ordering::Relaxed))
    }

    /// How long to wait after so many bytes were told, where so many records wait: who is behind by few waits until there are more of them.
    pub(crate) fn rest(&self, bytes: usize, waiting: u64) -> Duration {
        let rest = lock(&self.feeds.owed).add(bytes, Instant::now());
        if waiting < BEHIND { rest.max(self.look()) } else { rest }
    }
}

fn look(followers: u32) -> Duration {
    LOOK * followers.div_ceil(FEW).max(1)
}

impl Feed {
    /// What others were told from where a follower is, which goes on behind it.
    fn shared(&self, follower: &mut dyn Follower) -> Option<Bytes> {
        let from = follower.next()?;
        let (next, events) = {
            let told = lock(&self.told);
            let found = told.iter().find(|told| told.from == from)?;
            (found.next, found.events.clone())
        };
        follower.skip_to(next);
        Some(events)
    }

    /// Whether nobody was told yet what a follower is to be told next. Who is behind holds up nobody, and is held up by nobody.
    fn is_newest(&self, follower: &dyn Follower) -> bool {
        follower.next().is_some_and(|from| lock(&self.told).back().is_none_or(|last| from >= last.next))
    }

    /// What is new for a follower, as events: as others were told it, or else read on a thread where that holds nobody up. While another reads it, and until there is
    /// a lane, this waits without a thread, and without a lane. `None` if the runtime ends. May be cancelled: then what is being read is told to the others only.
    pub(crate) async fn news(self: Arc<Self>, mut follower: Box<dyn Follower>) -> Option<(Bytes, Box<dyn Follower>)> {
        loop {
            if self.is_newest(&*follower) {
                drop(self.reading.lock().await);
            }
            if let Some(events) = self.shared(&mut *follower) {
                return Some((events, follower));
            }
            let lane = lanes::to_read().await;
            let turn = if self.is_newest(&*follower) {
                // Nobody waits in a lane: another has begun meanwhile, from whom it may have it.
                let Ok(turn) = Arc::clone(&self.reading).try_lock_owned() else { continue };
                Some(turn)
            } else {
                None
            };
            let reading = tokio::task::spawn_blocking(move || {
                let events = self.read(&mut *follower, turn.is_some());
                drop((turn, lane));
                (events, follower)
            });
            return reading.await.ok();
        }
    }

    /// What is new for a follower, as events, which are kept for the others if it is the first that is told them. May read files.
    fn read(&self, follower: &mut dyn Follower, is_first: bool) -> Bytes {
        if let Some(events) = self.shared(follower) {
            return events;
        }
        let from = follower.next();
        let events = written(&follower.read());
        let is_for_others = is_first && self.followers.load(Ordering::Relaxed) > 1;
        if let (Some(from), Some(next), true) = (from, follower.next(), is_for_others)
            && next > from
        {
            let mut told = lock(&self.told);
            told.push_back(Told { from, next, events: events.clone() });
            while told.len() > 1 && told.iter().map(|told| told.events.len()).sum::<usize>() > KEPT_BYTES {
                told.pop_front();
            }
        }
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
                let is_first = place.feed.is_newest(follower);
                told.push(place.feed.read(follower, is_first));
            }
        }
        assert_eq!(reads.load(Ordering::Relaxed), 3);
        assert!(told[..5].iter().all(|events| *events == told[0]) && told[0] != told[5]);
        // Who is elsewhere reads for itself, and moves the others' place by nothing.
        let mut late = follower(3);
        let feed = Arc::clone(&Place::take(&feeds, &late).feed);
        assert!(!feed.is_newest(&late));
        let events = feed.read(&mut late, false);
        assert!(events.starts_with(b"id: 3\n") && late.next == 13);
        assert_eq!(followers[0].next, 31);
        for _ in 0..100 {
            places[0].feed.read(&mut followers[0], true);
        }
        let kept: usize = lock(&places[0].feed.told).iter().map(|told| told.events.len()).sum();
        assert!(kept <= KEPT_BYTES, "{kept}");
        drop(places);
        assert_eq!(feeds.followers.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn however_many_follow_they_look_and_are_told_so_often_in_all() {
        for (followers, millis) in [(0, 20), (1, 20), (32, 20), (33, 40), (500, 320), (1024, 640)] {
            assert_eq!(look(followers), Duration::from_millis(millis), "{followers}");
        }
        let (mut owed, start) = (Owed::default(), Instant::now());
        assert_eq!(owed.add(RATE as usize, start), Duration::from_secs(1));
        assert_eq!(owed.add(RATE as usize / 2, start), Duration::from_millis(1500), "all have one rate together");
        assert_eq!(owed.add(0, start + Duration::from_secs(1)), Duration::from_millis(500));
        assert_eq!(owed.add(0, start + Duration::from_mins(1)), Duration::ZERO);
    }

    #[test]
    fn among_a_thousand_followers_of_a_flood_none_rests_for_longer_than_five_seconds() {
        let (mut owed, start) = (Owed::default(), Instant::now());
        let rests: Vec<_> = (0..1000).map(|_| owed.add(KEPT_BYTES, start)).collect();
        assert_eq!(rests.iter().max(), Some(&REST_MOST));
        assert_eq!(owed.add(0, start + REST_MOST), Duration::ZERO, "and what was told then is not owed for ever");
    }

    /// Reads when it is told to.
    struct Slow {
        numbers: Numbers,
        begun: std::sync::mpsc::Sender<()>,
        go_on: Arc<Mutex<std::sync::mpsc::Receiver<()>>>,
    }

    impl Follower for Slow {
        fn waiting(&self) -> u64 {
            self.numbers.waiting()
        }

        fn read(&mut self) -> Vec<News> {
            let _ = self.begun.send(());
            let _ = lock(&self.go_on).recv();
            self.numbers.read()
        }

        fn place(&self) -> String {
            self.numbers.place()
        }

        fn feed(&self) -> String {
            "slow".to_owned()
        }

        fn next(&self) -> Option<u64> {
            self.numbers.next()
        }

        fn skip_to(&mut self, next: u64) {
            self.numbers.skip_to(next);
        }
    }

    #[tokio::test]
    async fn who_waits_for_what_another_reads_takes_no_lane_and_no_thread() {
        let (feeds, reads) = (Arc::<Feeds>::default(), Arc::<AtomicU32>::default());
        let ((begun, began), (tell, go_on)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        let go_on = Arc::new(Mutex::new(go_on));
        let (mut places, mut told) = (Vec::new(), tokio::task::JoinSet::new());
        for _ in 0..100 {
            let numbers = Numbers { next: 1, reads: Arc::clone(&reads) };
            let follower = Box::new(Slow { numbers, begun: begun.clone(), go_on: Arc::clone(&go_on) });
            let place = Place::take(&feeds, &*follower);
            told.spawn(Arc::clone(&place.feed).news(follower));
            places.push(place);
        }
        let began = tokio::task::spawn_blocking(move || began.recv().map(|()| began)).await.expect("it ends");
        let began = began.expect("one of them reads");
        // All lanes but one are free again as soon as the others have looked, or this never ends.
        let lanes: Vec<_> = futures_util::future::join_all((0..15).map(|_| lanes::to_read())).await;
        assert!(lanes.iter().all(Option::is_some) && began.try_recv().is_err(), "one alone reads");
        drop(lanes);
        tell.send(()).expect("it waits");
        let mut all = std::collections::BTreeSet::new();
        while let Some(one) = told.join_next().await {
            all.insert(one.expect("it ends").expect("it is told").0);
        }
        assert_eq!((all.len(), reads.load(Ordering::Relaxed)), (1, 1), "all are told what one has read");
    }
}
