//! Opens, changes and ends spans by bytes and numbers that the SDK would not send.
#![allow(unsafe_code, reason = "the host must bear a list that no safe code would pass")]

use std::cell::Cell;

use glasshouse_sdk::batch::{self, LogTime};
use glasshouse_sdk::{Payload, extension, info, span};

/// What opens a span `made`, which stands for a client's request, with a field `one` of 1 and a field `two` of `zwei`.
const START: &[u8] = b"\x01\x02\x04made\x02\x03one\x01\x01\0\0\0\0\0\0\0\x03two\x00\x04zwei";

/// The extension, with the number of a span.
#[derive(Default)]
pub struct ForgedSpans(Cell<u32>);

#[extension]
impl ForgedSpans {
    /// Opens a span as its payload says, and leaves it open; answers with its number.
    #[event]
    fn open(&mut self, start: Payload) -> u32 {
        open(&start.bytes)
    }

    /// Opens a good span, changes it as its payload says, and ends it.
    #[event]
    fn change(&mut self, change: Payload) {
        let number = open(START);
        info!("in it");
        alter(number, &change.bytes);
        close(number);
    }

    /// Says something of all numbers up to so many that are not its span's.
    #[event]
    fn guess(&mut self, numbers: u32) -> u32 {
        let number = open(START);
        for guessed in (0..numbers).filter(|guessed| *guessed != number) {
            alter(guessed, b"\x01\x03\x05wrong");
            close(guessed);
        }
        close(number);
        number
    }

    /// Ends a span twice.
    #[event]
    fn twice(&mut self) {
        let number = open(START);
        close(number);
        close(number);
    }

    /// Opens a span, and keeps its number for later calls.
    #[event]
    fn keep(&mut self) {
        self.0.set(open(START));
    }

    /// Ends the one that was kept, by which it is over.
    #[event("end-kept")]
    fn end_kept(&mut self) {
        close(self.0.get());
    }

    /// Opens so many, and ends none.
    #[event]
    fn deep(&mut self, spans: u32) -> u32 {
        (0..spans).map(|_| u32::from(open(START) == 0)).sum()
    }

    /// Opens and ends so many, the outer one of each two first.
    #[event]
    fn cross(&mut self, spans: u32) {
        for _ in 0..spans {
            let (outer, inner) = (open(START), open(START));
            close(outer);
            info!("in the inner one");
            close(inner);
        }
    }

    /// Opens a typed span in one by number in a typed one, and ends the outermost first.
    #[event]
    fn mix(&mut self) {
        let outermost = typed("outermost");
        let middle = open(START);
        let innermost = typed("innermost");
        drop(outermost);
        close(middle);
        drop(innermost);
    }

    /// Gathers logs around a span, which ends with others of them waiting, and a trap.
    #[event]
    fn gather(&mut self) {
        batch::start(LogTime::OfReceipt);
        info!("before");
        let _span = span!("work", number = 1);
        info!("within");
        info!("to be found");
        trap();
    }

    /// Begins a trace by the typed resource, and in a span in it another one by bytes.
    #[event("root-typed")]
    fn root_typed(&mut self) {
        let root = typed_root("root");
        let inner = open(START);
        let bytes = open(b"\x01\x41\x05bytes\x00");
        close(bytes);
        close(inner);
        drop(root);
    }

    /// Opens a typed span, and links it as its payload says: trace, span and state of each link.
    #[event("link-typed")]
    fn link_typed(&mut self, links: Vec<(String, String, String)>) {
        let span = typed("typed");
        for (trace, id, state) in &links {
            link(&span, trace, id, state);
        }
    }

    /// Opens a span with so many links, and adds as many.
    #[event]
    fn links(&mut self, links: u32) {
        // Two ids, no state, and no fields.
        const LINK: &[u8] = b"sixteen bytes...andeight\x00\x00";
        let mut start = b"\x01\x80".to_vec();
        // The number in five bytes.
        start.extend((0..5).map(|at| (links >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 }));
        (0..links).for_each(|_| start.extend(LINK));
        start.extend(b"\x04made\x00");
        let number = open(&start);
        let added = [b"\x01\x04", LINK].concat();
        (0..links).for_each(|_| alter(number, &added));
        close(number);
    }

    /// Sets so many fields of so many names.
    #[event]
    fn fields(&mut self, fields: usize) {
        let number = open(b"\x01\x00\x04made\x02\x01a\x03\x01a\x04");
        for field in 0..fields {
            let name = [b'a' + (field % 26) as u8];
            alter(
                number,
                &[&b"\x01\x01\x01"[..], &name, b"\x00\x02", format!("{:02}", field % 100).as_bytes()].concat(),
            );
        }
        close(number);
    }

    /// Opens a span with a text of so many bytes.
    #[event]
    fn long(&mut self, bytes: usize) {
        drop(span!("long", text = "x".repeat(bytes)));
    }

    /// Opens and ends spans with so many empty fields of the same name, for ever.
    #[event]
    fn crowd(&mut self, fields: u32) {
        let mut start = b"\x01\x00\x00".to_vec();
        // The number in five bytes.
        start.extend((0..5).map(|at| (fields >> (7 * at)) as u8 & 0x7f | if at < 4 { 0x80 } else { 0 }));
        start.extend((0..fields).flat_map(|_| [0, 3]));
        loop {
            close(open(&start));
        }
    }

    /// Opens a span by a list that ends outside of its memory.
    #[event("past-the-end")]
    fn past_the_end(&mut self) {
        // SAFETY: none; it is the sandbox that must stop it.
        open(unsafe { std::slice::from_raw_parts(std::ptr::dangling::<u8>(), 0x7fff_ffff) });
    }
}

#[cfg(target_family = "wasm")]
use glasshouse_sdk::bindings::glasshouse::extension::debugging::{
    Link, Span, SpanKind, change_span, close_span, open_span,
};

#[cfg(target_family = "wasm")]
fn open(start: &[u8]) -> u32 {
    open_span(start)
}

#[cfg(target_family = "wasm")]
fn alter(number: u32, change: &[u8]) {
    change_span(number, change);
}

#[cfg(target_family = "wasm")]
fn close(number: u32) {
    close_span(number);
}

#[cfg(target_family = "wasm")]
fn typed(name: &str) -> Span {
    Span::start(name, SpanKind::Internal, &[])
}

#[cfg(target_family = "wasm")]
fn typed_root(name: &str) -> Span {
    Span::start_root(name, SpanKind::Internal, &[])
}

#[cfg(target_family = "wasm")]
fn link(span: &Span, trace_id: &str, span_id: &str, tracestate: &str) {
    span.add_link(Link { trace_id, span_id, tracestate, fields: &[] });
}

#[cfg(target_family = "wasm")]
fn trap() {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn open(_start: &[u8]) -> u32 {
    0
}

#[cfg(not(target_family = "wasm"))]
fn alter(_number: u32, _change: &[u8]) {}

#[cfg(not(target_family = "wasm"))]
fn close(_number: u32) {}

#[cfg(not(target_family = "wasm"))]
fn typed(name: &str) -> String {
    name.to_owned()
}

#[cfg(not(target_family = "wasm"))]
fn typed_root(name: &str) -> String {
    name.to_owned()
}

#[cfg(not(target_family = "wasm"))]
fn link(_span: &str, _trace_id: &str, _span_id: &str, _tracestate: &str) {}

#[cfg(not(target_family = "wasm"))]
fn trap() {}
