//! Extensions that compute much are served by threads of their own, and come back from there.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::ThreadId;
use std::time::Duration;

use glasshouse_model::{FailureKind, Signal};
use glasshouse_runtime::{CallError, EmbedderCall, Extension, RuntimeSettings, Status, SystemClock};
use tokio::runtime::Handle;

use crate::harness::{House, LONG, ask, call, fail, guest};

/// Rounds of a loop that take more than a fraction of a second on any machine, and far less than [`LONG`].
const MANY: &str = "20000000";
const FEW: &str = "10";

/// A host whose clock goes.
fn house(change: impl FnOnce(&mut RuntimeSettings)) -> House {
    House::with(|settings| {
        settings.clock = Arc::new(SystemClock::new());
        settings.cache_folder = Some(std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
        change(settings);
    })
}

/// A guest that can compute for long, however slow the machine is.
async fn spin(house: &House) -> Extension {
    house.ready_with("spin", |spec| spec.settings.budget.fuel_per_call = u64::MAX / 2).await
}

/// The thread that serves an extension, and the runtime that its imports find there.
async fn served_by(extension: &Extension) -> (String, ThreadId, tokio::runtime::Id) {
    let (tell, told) = channel();
    let work: EmbedderCall = Box::new(move |_, _| {
        let thread = std::thread::current();
        let _ = tell.send((thread.name().unwrap_or_default().to_owned(), thread.id(), Handle::current().id()));
        Box::pin(async { Ok(()) })
    });
    extension.call_exports("where", work).await.expect("it is called");
    told.recv().expect("it tells")
}

async fn is_in_background(extension: &Extension) -> bool {
    served_by(extension).await.0 == "background"
}

#[tokio::test]
async fn who_computes_much_is_served_in_the_background_and_comes_back_once_it_has_rested() {
    let house = house(|_| {});
    let (spin, neighbour) = (spin(&house).await, house.ready("neighbour").await);
    let home = served_by(&neighbour).await;
    assert_eq!(served_by(&spin).await, home);
    ask(&spin, "work", MANY).await;
    let (thread, _, runtime) = served_by(&spin).await;
    assert_eq!((thread.as_str(), runtime), ("background", home.2), "what it spawns is at home all the same");
    assert_eq!(served_by(&neighbour).await, home, "the others stay where they are");
    // Calls that are done at once do not hold it there.
    let came_back = async {
        while is_in_background(&spin).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, came_back).await.expect("it has rested");
    assert_eq!(served_by(&spin).await, home);
    assert_eq!(ask(&spin, "count", "").await, "1", "its instance is the same one all the while");
}

#[tokio::test]
async fn without_threads_for_the_background_all_are_served_where_they_were_started() {
    let house = house(|settings| settings.background_threads = 0);
    let spin = spin(&house).await;
    let home = served_by(&spin).await;
    ask(&spin, "work", MANY).await;
    assert_eq!(served_by(&spin).await, home);
}

#[tokio::test]
async fn what_keeps_the_background_busy_ends_at_its_deadline_and_holds_up_nobody_at_home() {
    let house = house(|settings| settings.background_threads = 1);
    let neighbour = house.ready("neighbour").await;
    let deadline = Duration::from_millis(300);
    let mut spinners = Vec::new();
    for number in 0..4 {
        let spinner = house.start(&format!("spin-{number}"), &guest("spin"), |spec| {
            spec.settings.budget.fuel_per_call = u64::MAX / 2;
            spec.settings.budget.failures_in_a_row = u32::MAX;
            spec.settings.budget.deadline = deadline;
        });
        assert_eq!(spinner.loaded().await, Status::Ready);
        spinners.push(spinner);
    }
    for round in 0..3 {
        let raging: Vec<_> = spinners
            .iter()
            .map(|spinner| {
                tokio::spawn({
                    let spinner = spinner.clone();
                    async move { fail(&spinner, "spin", "", FailureKind::DeadlineBreach).await }
                })
            })
            .collect();
        while raging.iter().any(|raging| !raging.is_finished()) {
            call(&neighbour, "echo", "hello").await.expect("it replies");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for raging in raging {
            let failure = raging.await.expect("it does not panic");
            assert!(failure.message.contains("300 ms"), "round {round}: {}", failure.message);
        }
    }
    for spinner in &spinners {
        assert!(is_in_background(spinner).await);
        assert_eq!(ask(spinner, "work", FEW).await, "45", "a new instance serves it");
    }
    assert!(!is_in_background(&neighbour).await);
}

#[tokio::test]
async fn hosts_of_one_process_have_backgrounds_of_their_own() {
    let (first, second) = (house(|_| {}), house(|_| {}));
    let spinners = [spin(&first).await, spin(&second).await];
    for spinner in &spinners {
        ask(spinner, "work", MANY).await;
        assert!(is_in_background(spinner).await);
    }
    first.runtime.shutdown(LONG).await;
    assert_eq!(spinners[0].status(), Status::Stopped);
    drop(first);
    assert!(is_in_background(&spinners[1]).await, "the other host's threads go on");
    assert_eq!(ask(&spinners[1], "work", FEW).await, "45");
}

#[tokio::test]
async fn a_host_that_ends_gives_up_what_is_computed_in_the_background() {
    let house = house(|_| {});
    let spin = spin(&house).await;
    ask(&spin, "work", MANY).await;
    let spinning = tokio::spawn({
        let spin = spin.clone();
        async move { call(&spin, "spin", "").await }
    });
    while spin.reader(Signal::Log).all().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    house.runtime.shutdown(Duration::from_millis(1)).await;
    let ended = spinning.await.expect("it does not panic");
    assert!(matches!(ended, Err(CallError::Cancelled)), "{ended:?}");
    assert_eq!(spin.status(), Status::Stopped);
}

/// Tells when an instance that has it is dropped.
struct Told(std::sync::mpsc::Sender<()>);

impl Drop for Told {
    fn drop(&mut self) {
        // Whoever waited may have gone.
        let _ = self.0.send(());
    }
}

/// A host whose instances tell when they are dropped.
fn telling() -> (House, Receiver<()>) {
    let (tell, told) = channel();
    let house = house(|settings| {
        settings.embedder_data = Arc::new(move |_| Box::new(Told(tell.clone())));
    });
    (house, told)
}

#[test]
fn nothing_is_left_in_the_background_once_the_runtime_that_it_is_at_home_in_has_ended() {
    let (house, told) = telling();
    let home = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let spin = home.block_on(async {
        let spin = spin(&house).await;
        ask(&spin, "work", MANY).await;
        let spinning = spin.clone();
        tokio::spawn(async move { call(&spinning, "spin", "").await });
        while spin.reader(Signal::Log).all().len() < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        spin
    });
    drop(home);
    assert_eq!(told.try_recv(), Ok(()), "the instance ended with its home, and not at some later time");
    drop((spin, house));
}

#[tokio::test]
async fn an_import_that_panics_in_the_background_fails_its_extension_and_no_other() {
    let house = house(|_| {});
    let [first, second] = ["first", "second"]
        .map(|id| house.start(id, &guest("spin"), |spec| spec.settings.budget.fuel_per_call = u64::MAX / 2));
    for spinner in [&first, &second] {
        ask(spinner, "work", MANY).await;
        assert!(is_in_background(spinner).await);
    }
    let panics: EmbedderCall = Box::new(|_, _| panic!("on purpose"));
    let ended = first.call_exports("panic", panics).await;
    assert!(ended.is_err(), "{ended:?}");
    let failed = async {
        while !matches!(first.status(), Status::Failed { .. }) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LONG, failed).await.expect("its failure is seen");
    assert_eq!(ask(&second, "work", FEW).await, "45");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_always_has_another_short_call_gives_the_others_of_the_background_their_turns() {
    let house = house(|settings| settings.background_threads = 1);
    let busy = spin(&house).await;
    let other = house.start("other", &guest("spin"), |spec| spec.settings.budget.fuel_per_call = u64::MAX / 2);
    other.loaded().await;
    ask(&busy, "work", MANY).await;
    assert!(is_in_background(&busy).await);
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let busy = busy.clone();
            tokio::spawn(async move {
                loop {
                    ask(&busy, "work", FEW).await;
                }
            })
        })
        .collect();
    tokio::time::timeout(LONG, ask(&other, "work", MANY)).await.expect("it has its turns");
    for caller in callers {
        caller.abort();
    }
}
