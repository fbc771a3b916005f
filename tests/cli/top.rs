//! `glasshouse top`: what extensions do, by the second, for programs and on a terminal.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;

use crate::harness::{Place, Running};

#[test]
fn what_is_done_within_an_interval_is_told_by_the_second() {
    let place = Place::with_plugins(&["neighbour", "spin"]).lenient();
    let (mut host, replies) = place.host(&[]);
    let is_over = AtomicBool::new(false);
    let frame = thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let once = ["top", "--once", "--interval", "2s", "--sort", "calls", "--format", "json"];
            let ended = place.on_data(&once);
            is_over.store(true, Ordering::Relaxed);
            ended.expect_code(0).json()
        });
        while !is_over.load(Ordering::Relaxed) {
            host.call(&replies, &json!({"extension": "neighbour", "event": "echo", "payload": "still here"}));
        }
        looking.join().expect("it is told")
    });
    // From answer to answer, of which one may have taken longer than the other.
    assert!(frame["interval_ms"].as_u64() >= Some(1500) && frame["time"].is_string(), "{frame}");
    let [busy, idle] = &frame["extensions"].as_array().expect("extensions")[..] else { panic!("two: {frame}") };
    assert_eq!((&busy["extension"], &idle["extension"]), (&json!("neighbour"), &json!("spin")), "most calls first");
    for figure in ["calls_per_second", "cpu_percent", "fuel_per_second", "memory_bytes"] {
        assert!(busy[figure].as_f64() > Some(0.0), "{figure}: {busy}");
    }
    assert_eq!((&idle["calls_per_second"], &idle["status"]), (&json!(0.0), &json!("ready")));

    // For people the same is a table.
    let once = ["top", "--once", "--interval", "200ms", "--extension-id", "spin"];
    let shown = place.on_data(&once).expect_code(0).stdout;
    assert!(shown.starts_with("1 extension, 1 ready; 0 calls/s") && shown.contains("calls/s  errors/s"), "{shown}");
    assert!(!shown.contains("neighbour") && !shown.contains('\u{1b}'), "{shown}");
}

#[test]
fn on_a_terminal_it_is_drawn_again_and_again_until_q_is_pressed() {
    let place = Place::with_plugins(&["neighbour"]);
    let (mut host, replies) = place.host(&[]);
    host.call(&replies, &json!({"extension": "neighbour", "event": "echo", "payload": "still here"}));
    let mut command = place.on_terminal(&["top", "--interval", "200ms", "--data-dir", "data"]);
    let mut top = Running::start(&mut command);
    // What is drawn has no line ends.
    let mut drawn = top.0.stdout.take().expect("a pipe");
    let (until, read) = std::sync::mpsc::channel();
    let reader = thread::spawn(move || {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(bytes @ 1..) = std::io::Read::read(&mut drawn, &mut part) {
            all.extend_from_slice(&part[..bytes]);
            if String::from_utf8_lossy(&all).contains("1 extension, 1 ready") {
                let _ = until.send(());
            }
        }
        String::from_utf8_lossy(&all).into_owned()
    });
    read.recv_timeout(std::time::Duration::from_mins(1)).expect("it is drawn");
    top.0.stdin.as_mut().expect("a pipe").write_all(b"mq").expect("pressing keys");
    let ended = top.0.wait().expect("it ends");
    let all = reader.join().expect("it is read to its end");
    assert_eq!(ended.code(), Some(0), "{all}");
    assert!(all.contains("neighbour") && all.contains("calls/s"), "{all}");
    let [begins, ends] = ["\u{1b}[?1049h", "\u{1b}[?1049l"].map(|sequence| all.find(sequence));
    assert!(begins.is_some() && begins < ends, "what was on the screen before is there again: {all}");
}

#[test]
fn what_cannot_be_shown_is_said_plainly() {
    let place = Place::with_plugins(&[]);
    let refused = place.on_data(&["top", "--once"]).expect_code(3);
    assert!(refused.stderr.contains("there is no data directory data"), "{refused:?}");
    for interval in ["10ms", "2h"] {
        let refused = place.on_data(&["top", "--interval", interval]).expect_code(2);
        assert!(refused.stderr.contains("from 200ms to 1h"), "{refused:?}");
    }
}
