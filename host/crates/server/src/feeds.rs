//! What followers share: who follows the same records, by the same query, is told the same bytes, which are read and written down once. How often, and how much, each is told
//! depends on how many there are, so that all of them together cost no more than a few do.

use std::collections::{HashMap, VecDeque};
use std::io::Write as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use glasshouse_client::api::Gap;
use rustix::time::{ClockId, clock_gettime};

use crate::{Follower, News, What, lanes};

/// How long a record waits to be looked for, at most, where followers are few.
const LOOK: Duration = Duration::from_millis(20);
/// So many are few: each further one lets all look more seldom, so that there are some 1,600 looks a second, however many they are. Where 1,024 follow, as many as there are
/// connections, each looks every 640 ms.
const FEW: u32 = 32;
/// Bytes a second that all followers together are told, most of whose cost is the system's: `cargo xtask bench api` tells what of it guests notice.
const RATE: u32 = 16 << 20;
/// What a follower reads for itself and others costs twenty times its CPU time: reading for all of them takes a twentieth of a processor at most. One follower alone is told some twenty
/// thousand logs a second so.
const READING: u32 = 20;
/// A follower is told at a time what its part of the rate is in so long, so that many who begin at once are not told much more than the rate at first.
const TURN: Duration = Duration::from_secs(1);
/// How long a follower rests at most so that all together cost no more than that: with the look that comes then, half of what there is between two signs of life.
const REST_MOST: Duration = Duration::from_secs(4);
/// Bytes that a follower is told at a time, at most, and half of those that are kept for others who follow the same.
const PIECE: usize = 256 << 10;
/// Records that wait for who is behind: as many as are read at a time, about.
const BEHIND: u64 = 500;
/// Feeds among which it is looked for those that nobody follows any more.
const SWEEP: usize = 128;
/// Why records are missing where all that were before them are, too.
const EVICTED: &str = "evicted";

/// All that is followed.
#[derive(Default)]
pub(crate) struct Feeds {
    known: Mutex<HashMap<String, Weak<Feed>>>,
    followers: AtomicU32,
    owed: Mutex<Owed>,
}

/// When what all followers have cost by now is worth its time.
#[derive(Default)]
struct Owed(Option<Instant>);

/// The time that it is worth to tell so many bytes, after so much CPU time that was spent to read them.
fn worth(bytes: usize, spent: Duration) -> Duration {
    Duration::from_secs_f64(bytes as f64 / f64::from(RATE)) + spent * READING
}

impl Owed {
    /// Notes that one of so many followers was told what is worth so long. Returns how long it is to wait before it is told more: until all that was told is worth its time, but no longer
    /// than it would if all were told as much, so that who takes little waits little, whatever the others take.
    fn add(&mut self, worth: Duration, followers: u32, now: Instant) -> Duration {
        let until = (self.0.unwrap_or(now).max(now) + worth).min(now + REST_MOST);
        self.0 = Some(until);
        until.duration_since(now).min(worth * followers)
    }
}

/// What several followers are told.
pub(crate) struct Feed {
    /// Its followers look in step, counted from here: what one of them reads is what the others are to be told.
    begun: Instant,
    /// The latest events.
    told: Mutex<VecDeque<Told>>,
    /// Held by who reads what is newest, so that the others have it from there.
    reading: Arc<tokio::sync::Mutex<()>>,
    followers: AtomicU32,
}

/// What a follower is told next.
pub(crate) struct Heard {
    pub(crate) events: Bytes,
    pub(crate) follower: Box<dyn Follower>,
    /// CPU time that it has taken to read them; none where others have read them.
    spent: Duration,
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

    /// What is new for a follower, which has its place here, see [`Feed::news`].
    pub(crate) fn news(&self, follower: Box<dyn Follower>) -> impl Future<Output = Option<Heard>> + Send + use<> {
        let most = piece(self.feeds.followers.load(Ordering::Relaxed));
        Arc::clone(&self.feed).news(follower, most)
    }

    /// When it is looked again.
    pub(crate) fn next_look(&self) -> Instant {
        self.look_after(Instant::now())
    }

    /// When it is looked again after this was heard. Who is behind by many records and follows alone is told more as soon as it may be.
    pub(crate) fn rest(&self, heard: &Heard) -> Instant {
        let (worth, now) = (worth(heard.events.len(), heard.spent), Instant::now());
        let rested = now + lock(&self.feeds.owed).add(worth, self.feeds.followers.load(Ordering::Relaxed), now);
        let is_alone = self.feed.followers.load(Ordering::Relaxed) == 1;
        if is_alone && heard.follower.waiting() >= BEHIND { rested } else { self.look_after(rested) }
    }

    fn look_after(&self, time: Instant) -> Instant {
        let look = look(self.feeds.followers.load(Ordering::Relaxed)).as_nanos();
        let over = time.saturating_duration_since(self.feed.begun).as_nanos() % look;
        // A look at most.
        time + Duration::from_nanos((look - over) as u64)
    }
}

fn look(followers: u32) -> Duration {
    LOOK * followers.div_ceil(FEW).max(1)
}

/// Bytes that each of so many is told at a time, at most.
fn piece(followers: u32) -> usize {
    ((f64::from(RATE) * TURN.as_secs_f64()) as usize / followers.max(1) as usize).min(PIECE)
}

impl Default for Feed {
    fn default() -> Self {
        Self { begun: Instant::now(), told: Mutex::default(), reading: Arc::default(), followers: AtomicU32::default() }
    }
}

impl Feed {
    /// What others were told from where a follower is, which goes on behind it.
    fn shared(&self, follower: &mut dyn Follower) -> Option<Bytes> {
        let from = follower.next()?;
        let (next, events) = {
            let told = lock(&self.told);
            told.iter().find_map(|told| Some((told.next, told.rest_from(from)?)))?
        };
        follower.skip_to(next);
        Some(events)
    }

    /// Whether nobody was told yet what a follower is to be told next. Who is behind holds up nobody, and is held up by nobody.
    fn is_newest(&self, follower: &dyn Follower) -> bool {
        follower.next().is_some_and(|from| lock(&self.told).back().is_none_or(|last| from >= last.next))
    }

    /// What is new for a follower, as events of so many bytes, about: as others were told it, or else read on a thread where that holds nobody up. While another reads it, and until there is
    /// a lane, this waits without a thread, and without a lane. `None` if the runtime ends. May be cancelled: then what is being read is told to the others only.
    async fn news(self: Arc<Self>, mut follower: Box<dyn Follower>, most: usize) -> Option<Heard> {
        loop {
            if self.is_newest(&*follower) {
                drop(self.reading.lock().await);
            }
            if let Some(events) = self.shared(&mut *follower) {
                return Some(Heard { events, follower, spent: Duration::ZERO });
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
                let start = thread_cpu();
                let events = self.read(&mut *follower, turn.is_some(), most);
                drop((turn, lane));
                Heard { events, follower, spent: thread_cpu().saturating_sub(start) }
            });
            return reading.await.ok();
        }
    }

    /// What is new for a follower, as events, which are kept for the others if it is the first that is told them. May read files.
    fn read(&self, follower: &mut dyn Follower, is_first: bool, most: usize) -> Bytes {
        if let Some(events) = self.shared(follower) {
            return events;
        }
        let from = follower.next();
        let news = follower.read(most);
        let is_for_others = is_first && self.followers.load(Ordering::Relaxed) > 1;
        let (Some(from), Some(next), true) = (from, follower.next(), is_for_others) else {
            return written(&news);
        };
        let told = Told::new(from, next, news);
        let events = told.events.clone();
        if next > from {
            let mut all = lock(&self.told);
            all.push_back(told);
            while all.len() > 1 && all.iter().map(|told| told.events.len()).sum::<usize>() > 2 * most {
                all.pop_front();
            }
        }
        events
    }
}

/// What followers were told, who were at a sequence number, and are at another one since.
struct Told {
    from: u64,
    next: u64,
    events: Bytes,
    /// The sequence number of the last record that each event tells of, and where the event begins.
    begins: Vec<(u64, usize)>,
    /// Those events that are gaps.
    gaps: Vec<News>,
}

impl Told {
    fn new(from: u64, next: u64, news: Vec<News>) -> Self {
        let (mut text, mut begins) = (room(&news), Vec::with_capacity(news.len()));
        for one in &news {
            begins.push((one.last, text.len()));
            write_event(&mut text, one);
        }
        let gaps = news.into_iter().filter(|one| matches!(one.what, What::Gap(_))).collect();
        Self { from, next, events: text.into(), begins, gaps }
    }

    /// What is to be told to who is at a sequence number, and is at [`Self::next`] then; `None` if it is not among these events.
    fn rest_from(&self, from: u64) -> Option<Bytes> {
        if from == self.from {
            return Some(self.events.clone());
        }
        let index = self.begins.partition_point(|(last, _)| *last < from);
        let (last, begin) = *self.begins.get(index).filter(|_| from < self.next)?;
        let gap = self.gaps.iter().find_map(|news| match &news.what {
            What::Gap(gap) if news.last == last => Some((news, gap)),
            _ => None,
        });
        let Some((news, gap)) = gap else { return (from > self.from).then(|| self.events.slice(begin..)) };
        let first = last + 1 - gap.missed;
        if from > self.from && from <= first {
            return Some(self.events.slice(begin..));
        }
        // It misses other records than they do: less, or those before as well, if all have gone that were before.
        if from < self.from && !(index == 0 && first == self.from && gap.cause == EVICTED) {
            return None;
        }
        let gap = Gap { missed: last + 1 - from, cause: gap.cause.clone() };
        let mut text = Vec::new();
        write_event(&mut text, &News { what: What::Gap(gap), ..news.clone() });
        text.extend_from_slice(
            &self.events[self.begins.get(index + 1).map_or(self.events.len(), |(_, begin)| *begin)..],
        );
        Some(text.into())
    }
}

/// Events as they go over the wire (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
pub(crate) fn written(news: &[News]) -> Bytes {
    let mut text = room(news);
    for one in news {
        write_event(&mut text, one);
    }
    text.into()
}

/// As much room as these take, about.
fn room(news: &[News]) -> Vec<u8> {
    let bytes = |one: &News| match &one.what {
        What::Record(json) => one.cursor.len() + json.len() + 32,
        What::Gap(_) | What::Place => one.cursor.len() + 128,
    };
    Vec::with_capacity(news.iter().map(bytes).sum())
}

fn write_event(text: &mut Vec<u8>, news: &News) {
    let cursor = &news.cursor;
    // Nothing fails that is written to memory; neither cursors nor JSON in one line have ends of lines.
    let _ = match &news.what {
        What::Record(json) => write!(text, "id: {cursor}\nevent: record\ndata: {json}\n\n"),
        What::Gap(gap) => {
            let gap = serde_json::to_string(gap).unwrap_or_default();
            write!(text, "id: {cursor}\nevent: gap\ndata: {gap}\n\n")
        }
        What::Place => write!(text, "id: {cursor}\n\n"),
    };
}

/// CPU time that this thread has taken since it began.
fn thread_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap_or_default()
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
            BEHIND
        }

        fn read(&mut self, _: usize) -> Vec<News> {
            self.reads.fetch_add(1, Ordering::Relaxed);
            let from = self.next;
            self.next += 10;
            (from..self.next).map(number).collect()
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

    fn number(last: u64) -> News {
        News { last, cursor: last.to_string(), what: What::Record("x".repeat(1000)) }
    }

    /// What a follower heard who is behind by much.
    fn heard() -> Heard {
        let follower = Box::new(Numbers { next: 1, reads: Arc::default() });
        Heard { events: Bytes::from_static(&[b'x'; 1000]), follower, spent: Duration::from_micros(10) }
    }

    fn gap(first: u64, last: u64, cause: &str) -> News {
        let gap = Gap { missed: last + 1 - first, cause: cause.to_owned() };
        News { last, cursor: last.to_string(), what: What::Gap(gap) }
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
                told.push(place.feed.read(follower, is_first, PIECE));
            }
        }
        assert_eq!(reads.load(Ordering::Relaxed), 3);
        assert!(told[..5].iter().all(|events| *events == told[0]) && told[0] != told[5]);
        // Who is among them is told the rest of them, and is with the others then; who is further behind reads for itself, and moves the others' place by nothing.
        let mut late = follower(13);
        let feed = Arc::clone(&Place::take(&feeds, &late).feed);
        assert!(!feed.is_newest(&late));
        let events = feed.read(&mut late, false, PIECE);
        assert!(told[5].ends_with(&events) && events.starts_with(b"id: 13\n") && late.next == 21);
        assert_eq!(reads.load(Ordering::Relaxed), 3);
        let mut late = follower(0);
        let events = feed.read(&mut late, false, PIECE);
        assert!(events.starts_with(b"id: 0\n") && late.next == 10);
        assert_eq!((followers[0].next, reads.load(Ordering::Relaxed)), (31, 4));
        for _ in 0..100 {
            places[0].feed.read(&mut followers[0], true, PIECE);
        }
        let kept: usize = lock(&places[0].feed.told).iter().map(|told| told.events.len()).sum();
        assert!(kept <= 2 * PIECE, "{kept}");
        drop(places);
        assert_eq!(feeds.followers.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn who_follows_the_same_looks_at_the_same_times_and_who_is_behind_alone_as_soon_as_it_may() {
        let feeds = Arc::<Feeds>::default();
        let follower = |next| Numbers { next, reads: Arc::default() };
        let places = [1, 2].map(|next| Place::take(&feeds, &follower(next)));
        let begun = places[0].feed.begun;
        for (millis, look) in [(0, 20), (1, 20), (19, 20), (20, 40), (1003, 1020)] {
            let looks = places.each_ref().map(|place| place.look_after(begun + Duration::from_millis(millis)));
            assert_eq!(looks, [begun + Duration::from_millis(look); 2]);
        }
        let is_in_step = |place: &Place| (place.rest(&heard()) - begun).as_nanos().is_multiple_of(LOOK.as_nanos());
        assert!(places.iter().all(is_in_step));
        let [left, gone] = places;
        drop(gone);
        assert!(!is_in_step(&left), "nobody is waited for any more");
    }

    #[test]
    fn however_many_follow_they_look_and_are_told_so_often_in_all() {
        for (followers, millis) in [(0, 20), (1, 20), (32, 20), (33, 40), (500, 320), (1024, 640)] {
            assert_eq!(look(followers), Duration::from_millis(millis), "{followers}");
        }
        let (mut owed, start) = (Owed::default(), Instant::now());
        let second = worth(RATE as usize / 2, Duration::from_millis(500) / READING);
        assert_eq!(second, Duration::from_secs(1));
        assert_eq!(owed.add(second, 2, start), second, "one may be told what the other is not");
        assert_eq!(owed.add(second, 2, start), 2 * second, "all have one rate together");
        assert_eq!(owed.add(second, 2, start + Duration::from_mins(1)), second);
    }

    #[test]
    fn among_a_thousand_followers_of_a_flood_none_rests_for_longer_than_four_seconds() {
        let (mut owed, start) = (Owed::default(), Instant::now());
        let told = worth(piece(1000), Duration::ZERO);
        let rests: Vec<_> = (0..1000).map(|_| owed.add(told, 1000, start)).collect();
        assert!(rests.is_sorted() && rests[999] == told * 1000, "{rests:?}");
        assert!(
            rests[999].abs_diff(TURN) < Duration::from_millis(1),
            "what each is told at once is worth a turn: {rests:?}"
        );
        // Records that are larger than that are owed no longer.
        let rests: Vec<_> = (0..1000).map(|_| owed.add(told * 10, 1000, start)).collect();
        assert_eq!(rests.iter().max(), Some(&REST_MOST));
    }

    #[test]
    fn who_takes_little_waits_little_whatever_the_others_take() {
        let (mut owed, start) = (Owed::default(), Instant::now());
        let (much, little) = (worth(PIECE, Duration::from_millis(1)), worth(1000, Duration::from_micros(10)));
        for _ in 0..100 {
            owed.add(much, 3, start);
        }
        assert_eq!(owed.add(much, 3, start), much * 3, "its part of what all may cost is its own");
        assert_eq!(owed.add(little, 3, start), little * 3);
    }

    #[test]
    fn who_is_among_what_others_were_told_is_told_the_rest_and_what_it_misses_itself() {
        let news = vec![gap(1, 9, EVICTED), number(10), gap(11, 14, "damaged"), number(17), number(18)];
        let told = Told::new(1, 21, news.clone());
        let check = |from: u64, expected: Option<Vec<News>>| {
            assert_eq!(told.rest_from(from), expected.map(|news| written(&news)), "from {from}");
        };
        check(1, Some(news.clone()));
        check(4, Some([&[gap(4, 9, EVICTED)], &news[1..]].concat()));
        check(10, Some(news[1..].to_vec()));
        check(11, Some(news[2..].to_vec()));
        check(13, Some([&[gap(13, 14, "damaged")], &news[3..]].concat()));
        for among in [15, 16, 17] {
            check(among, Some(news[3..].to_vec()));
        }
        check(18, Some(news[4..].to_vec()));
        check(21, None);
        // All have gone that were before what was evicted; before anything else there may be more.
        let told = Told::new(5, 12, vec![gap(5, 9, EVICTED), number(11)]);
        assert_eq!(told.rest_from(2), Some(written(&[gap(2, 9, EVICTED), number(11)])));
        for news in
            [vec![number(5)], vec![gap(5, 9, "damaged"), number(11)], vec![number(5), gap(6, 9, EVICTED), number(11)]]
        {
            assert_eq!(Told::new(5, 12, news).rest_from(2), None);
        }
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

        fn read(&mut self, most: usize) -> Vec<News> {
            let _ = self.begun.send(());
            let _ = lock(&self.go_on).recv();
            self.numbers.read(most)
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
            told.spawn(place.news(follower));
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
            all.insert(one.expect("it ends").expect("it is told").events);
        }
        assert_eq!((all.len(), reads.load(Ordering::Relaxed)), (1, 1), "all are told what one has read");
    }
}
