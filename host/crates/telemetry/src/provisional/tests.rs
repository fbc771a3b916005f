//! What of undecided records is stored, whoever decides on them and in whatever order.

mod killed;

use std::collections::BTreeMap;

use glasshouse_model::wire::{Log, Record};
use glasshouse_model::{Context, Envelope, SpanId, TraceId};
use proptest::prelude::*;

use super::*;
use crate::tests::support::{Hand, hand, store};
use crate::{Body, Depot, StoreSettings};

/// An extension, and the clock of its host.
struct House {
    store: Arc<Store>,
    clock: Arc<Hand>,
    _depot: Depot,
}

/// The context of a call in a trace of that number.
fn context(trace: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    Context { trace_id: TraceId([trace; 16]), span_id: SpanId([trace; 8]), ..Context::default() }.encode(&mut bytes);
    bytes
}

impl House {
    fn new() -> Self {
        Self::with(Depot::in_memory(hand()))
    }

    fn with(depot: Depot) -> Self {
        let change = |settings: &mut StoreSettings| {
            // What is stored at one moment is not what these tests are about.
            settings.budget.records_per_second = 1_000_000;
            settings.budget.bytes_per_second = 1 << 40;
            settings.bounds[Signal::Log as usize].records = 1_000_000;
        };
        Self { store: store(&depot, change), clock: hand(), _depot: depot }
    }

    /// Keeps a log in a trace, with its number as its time and so much text.
    fn wait(&self, trace: u8, number: u64, text: usize) {
        let log = Log { level: Level::Debug, target: "", message: "", source: None, time: None };
        let mut body = Vec::new();
        wire::write_log(&mut body, &log, format_args!("{}", "-".repeat(text)), &[]);
        let time = UnixNanos(number as i64);
        let head = Head { time, origin: Origin::Guest, cut: false, batched: true, context: &context(trace) };
        self.store.recorder().wait_log(head, &body);
    }

    fn decide(&self, is_kept: bool) {
        self.store.recorder().decide_call(is_kept, b"", &*self.clock);
    }

    fn leave(&self, fate: &Arc<Fate>, trace: u8) {
        self.store.recorder().leave_call(fate, &context(trace), 0, &*self.clock);
    }

    fn fate(&self) -> Arc<Fate> {
        Fate::new(self.clock.monotonic_nanos(), false)
    }

    /// The logs that are stored: the number of each, and its trace.
    fn stored(&self) -> Vec<(u64, u8)> {
        let of = |envelope: Envelope| {
            assert!(envelope.batched && envelope.origin == Origin::Guest, "it is stored as it came");
            (envelope.time.0 as u64, envelope.context.expect("it has one").trace_id.0[0])
        };
        self.store.reader(Signal::Log).all().iter().map(|entry| of(entry.envelope())).collect()
    }

    fn dropped(&self, cause: Drop) -> u64 {
        self.store.drops().into_iter().find(|(known, _)| *known == cause).map_or(0, |(_, count)| count)
    }
}

/// So many logs of one call wait, each with so much text: which are stored then, and how many are left out.
fn check(logs: u64, text: usize, is_kept: bool, expect: Range<u64>) {
    let house = House::new();
    (0..logs).for_each(|number| house.wait(1, number, text));
    house.decide(is_kept);
    let stored: Vec<_> = house.stored().into_iter().map(|(number, _)| number).collect();
    assert_eq!(house.dropped(Drop::Sampled), logs - (expect.end - expect.start));
    assert_eq!(stored, expect.collect::<Vec<_>>());
}

#[test]
fn the_newest_logs_are_there_when_a_call_fails_and_none_when_it_does_not() {
    check(100, 10, true, 0..100);
    check(100, 10, false, 0..0);
    check(3, limits::RECORD_BYTES - 1000, true, 0..3);
    // Two of the longest fill a half.
    check(11, limits::RECORD_BYTES - 1000, true, 8..11);
}

#[test]
fn a_record_that_is_longer_than_its_room_is_counted_and_takes_no_other_with_it_but_the_older_half() {
    let house = House::new();
    house.wait(1, 0, 10);
    house.wait(1, 1, 2 * HALF_OF_LOGS);
    house.wait(1, 2, 10);
    house.decide(true);
    assert_eq!(house.stored(), [(0, 1), (2, 1)]);
    assert_eq!(house.dropped(Drop::Sampled), 1);
}

#[test]
fn what_calls_have_left_is_stored_or_left_out_with_their_traces() {
    let house = House::new();
    let fates = [house.fate(), house.fate()];
    // Calls of two traces in turn, while a third one, which is alone, is decided at once.
    for number in 0..6 {
        let trace = (number % 3) as u8;
        house.wait(trace, number, 10);
        match fates.get(usize::from(trace)) {
            Some(fate) => house.leave(fate, trace),
            None => house.decide(number == 5),
        }
    }
    assert_eq!(house.stored(), [(5, 2)], "the others wait");
    assert_eq!(fates[0].ended(false, true, &*house.clock).verdict, Verdict::Keep);
    assert_eq!(house.stored(), [(5, 2), (0, 0), (3, 0)], "one of its calls failed");
    assert_eq!(fates[1].ended(true, false, &*house.clock).verdict, Verdict::LeaveOut);
    assert_eq!((house.stored().len(), house.dropped(Drop::Sampled)), (3, 3));
    house.wait(0, 7, 10);
    house.leave(&fates[0], 0);
    house.wait(1, 8, 10);
    house.leave(&fates[1], 1);
    assert_eq!(house.stored()[3..], [(7, 0)], "what comes later goes by what is decided");
    assert_eq!(house.dropped(Drop::Sampled), 4);
}

#[test]
fn a_trace_that_nobody_decides_on_is_decided_after_thirty_seconds_by_whether_it_is_slow() {
    for is_slow in [true, false] {
        let house = House::new();
        let fate = Fate::new(house.clock.monotonic_nanos(), is_slow);
        house.wait(1, 0, 10);
        house.leave(&fate, 1);
        for (after, is_decided) in [(0, false), (DECIDED_AFTER.as_nanos() as i64 - 1, false), (1, true)] {
            house.clock.0.fetch_add(after, std::sync::atomic::Ordering::Relaxed);
            house.store.decide_overdue(&*house.clock);
            let is_stored = is_decided && is_slow;
            assert_eq!(
                (house.stored().len(), house.dropped(Drop::Sampled)),
                (usize::from(is_stored), u64::from(is_decided && !is_slow))
            );
        }
    }
}

#[test]
fn spans_that_had_to_go_are_told_of_in_each_trace_that_is_kept() {
    let house = House::new();
    let fates = [house.fate(), house.fate(), house.fate()];
    let recorder = house.store.recorder();
    let body = [7; 1000];
    let mut last = 0;
    for round in 0..201_u64 {
        let trace = (round % 3) as usize;
        let context = context(trace as u8);
        let head = Head { time: UnixNanos(0), origin: Origin::Host, cut: false, batched: false, context: &context };
        recorder.wait_span(head, &body, true);
        recorder.wait_span(head, &body, true);
        recorder.leave_call(&fates[trace], &context, 0, &*house.clock);
        last = lock(&house.store.provisional().spans).parts.len();
    }
    assert!(last <= 2 * HALF_OF_SPANS / 2000 + 3, "{last} parts, and nothing of many is there");
    fates[1].ended(true, false, &*house.clock);
    assert!(house.store.reader(Signal::Span).all().is_empty());
    let mut told = Vec::new();
    for fate in [&fates[0], &fates[2]] {
        let before = house.store.reader(Signal::Span).stored();
        fate.ended(false, true, &*house.clock);
        let stored = house.store.reader(Signal::Span).stored() - before;
        assert!((30..134).contains(&stored), "{stored} of 134 had room");
        told.push(134 - stored);
    }
    assert_eq!(house.dropped(Drop::Crowded), told.iter().sum::<u64>());
    let logs = house.store.reader(Signal::Log).all();
    let mut found = BTreeMap::new();
    for entry in &logs {
        let Ok(Body::Record(Record::Log(_, fields))) = entry.body() else { panic!("a log") };
        let spans = fields.iter().find(|field| field.name == "spans").map(|field| field.value);
        let Some(Value::Integer(spans)) = spans else { panic!("it says how many") };
        *found.entry(entry.envelope().context.expect("it has one").trace_id.0[0]).or_insert(0) += spans as u64;
    }
    assert_eq!(found, BTreeMap::from([(0, told[0]), (2, told[1])]));
    assert!(lock(&house.store.provisional().spans).parts.is_empty());
}

#[test]
fn one_extensions_flood_takes_no_room_of_anothers() {
    let (flooding, quiet) = (House::new(), House::new());
    let fate = quiet.fate();
    quiet.wait(1, 1, 10);
    quiet.leave(&fate, 1);
    for number in 0..10_000 {
        flooding.wait(1, number, 100);
        flooding.leave(&fate, 1);
    }
    fate.ended(false, true, &*quiet.clock);
    assert_eq!(quiet.stored(), [(1, 1)]);
    let of_the_flood = flooding.stored().len();
    assert!((100..2 * HALF_OF_LOGS / 128).contains(&of_the_flood), "{of_the_flood} are there");
}

/// What is done with the extension.
#[derive(Clone, Debug)]
enum Step {
    /// The call under way makes a log of so much text.
    Wait(usize),
    /// It is all of its trace, and ends.
    Alone(bool),
    /// It is part of a trace, and ends.
    Leave(usize),
    /// A trace is decided, and another begins in its place.
    Decide(usize, bool),
}

const TRACES: usize = 4;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..6000_usize).prop_map(Step::Wait),
        1 => any::<bool>().prop_map(Step::Alone),
        2 => (0..TRACES).prop_map(Step::Leave),
        1 => (0..TRACES, any::<bool>()).prop_map(|(trace, is_kept)| Step::Decide(trace, is_kept)),
    ];
    prop::collection::vec(step, 1..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Each log is stored once if it is to be and had room, and counted if not; the newest have room.
    #[test]
    fn nothing_is_stored_twice_or_in_vain_or_lost_without_being_counted(steps in steps()) {
        let house = House::new();
        let mut fates: Vec<_> = (0..TRACES).map(|_| house.fate()).collect();
        let (mut call, mut parts) = (Vec::new(), vec![Vec::new(); TRACES]);
        let (mut made, mut decided, mut bytes_since) = (0_u64, 0_u64, BTreeMap::new());
        let mut check = |house: &House, records: Vec<u64>, is_kept: bool, bytes_since: &BTreeMap<u64, usize>| {
            decided += records.len() as u64;
            let stored: Vec<_> = house.stored().into_iter().map(|(number, _)| number).collect();
            prop_assert_eq!(stored.len() as u64 + house.dropped(Drop::Sampled), decided);
            let new: Vec<_> = stored.iter().rev().take_while(|number| records.contains(number)).copied().collect();
            prop_assert!(new.iter().rev().is_sorted() && (is_kept || new.is_empty()));
            for number in records.into_iter().filter(|_| is_kept) {
                // Half of the room is always there; what is over can be one record short of the other half.
                let has_room = bytes_since[&number] <= HALF_OF_LOGS;
                prop_assert!(new.contains(&number) || !has_room, "{}", number);
            }
            Ok(())
        };
        for step in steps {
            match step {
                Step::Wait(text) => {
                    let trace = 9;
                    house.wait(trace, made, text);
                    for bytes in bytes_since.values_mut() {
                        *bytes += text + 128;
                    }
                    bytes_since.insert(made, text + 128);
                    call.push(made);
                    made += 1;
                }
                Step::Alone(is_kept) => {
                    house.decide(is_kept);
                    check(&house, std::mem::take(&mut call), is_kept, &bytes_since)?;
                }
                Step::Leave(trace) => {
                    house.leave(&fates[trace], 9);
                    parts[trace].append(&mut call);
                }
                Step::Decide(trace, is_kept) => {
                    fates[trace].ended(true, is_kept, &*house.clock);
                    check(&house, std::mem::take(&mut parts[trace]), is_kept, &bytes_since)?;
                    fates[trace] = house.fate();
                }
            }
            let waiting = lock(&house.store.provisional().logs);
            prop_assert!(waiting.parts.len() <= made as usize + TRACES);
            prop_assert!(!waiting.parts.is_empty() || !call.is_empty() || waiting.room.each(std::slice::from_ref(&(0..u64::MAX))).next().is_none());
        }
    }
}
