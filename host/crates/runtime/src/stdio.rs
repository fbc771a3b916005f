//! A guest's standard output and error: each line becomes a log.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use glasshouse_model::wire::Field;
use glasshouse_model::{Clock, Level, limits};
use glasshouse_telemetry::{KeyLines, Recorder};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamResult};

use crate::imports::Pulse;
use crate::intake::{Intake, lossy};
use crate::told::tell;

/// Bytes that a guest may write at once: WASI splits what is longer.
const WRITE_BYTES: usize = 64 * 1024;

/// What storing a line costs beyond its bytes, as so many bytes.
const LINE_COST: usize = 64;
/// Bytes after which a guest that writes yields to its neighbours: some tenths of a millisecond of the host's work, for
/// which no fuel is used.
const WRITTEN_BEFORE_YIELD: usize = 256 * 1024;

/// Both streams of an instance. Cheap to clone: they share their state.
#[derive(Clone)]
pub(crate) struct Stdio(Arc<Streams>);

struct Streams {
    /// Whether anything was written since the last flush: most calls write nothing.
    is_written: AtomicBool,
    /// The context, if it is as short as most are.
    short: ShortContext,
    shared: Mutex<Shared>,
}

/// A context that is set once a call and hardly ever read, so that setting it takes no lock. Only the call's own thread sets
/// it, between what the guest writes.
#[derive(Default)]
struct ShortContext {
    words: [AtomicU64; Self::WORDS],
    /// Its bytes; [`Self::LONG`] if it is elsewhere.
    length: AtomicUsize,
}

impl ShortContext {
    const WORDS: usize = 4;
    const LONG: usize = usize::MAX;
    const WORD: usize = size_of::<u64>();
    /// Bytes of one with ids and nothing else, as nearly all are.
    const USUAL: usize = 3 * Self::WORD + 1;

    /// Takes a context, unless it is long.
    #[inline]
    fn set(&self, context: &[u8]) -> bool {
        match <&[u8; Self::USUAL]>::try_from(context) {
            Ok(usual) => self.put(usual),
            Err(_) => self.put(context),
        }
    }

    #[expect(clippy::inline_always, reason = "where the length is known, there are no loops")]
    #[inline(always)]
    fn put(&self, context: &[u8]) -> bool {
        let is_short = context.len() <= Self::WORDS * Self::WORD;
        if is_short {
            let (words, rest) = context.as_chunks::<{ Self::WORD }>();
            for (place, word) in self.words.iter().zip(words) {
                place.store(u64::from_le_bytes(*word), Ordering::Relaxed);
            }
            if let Some(place) = self.words.get(words.len()) {
                let rest = rest.iter().rev().fold(0, |word, byte| word << u8::BITS | u64::from(*byte));
                place.store(rest, Ordering::Relaxed);
            }
        }
        self.length.store(if is_short { context.len() } else { Self::LONG }, Ordering::Relaxed);
        is_short
    }

    /// Puts it in the place of an earlier one, unless it is long and thus there.
    fn read(&self, context: &mut Vec<u8>) {
        let length = self.length.load(Ordering::Relaxed);
        if length != Self::LONG {
            context.clear();
            context.extend(self.words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()));
            context.truncate(length);
        }
    }
}

struct Shared {
    recorder: Recorder,
    clock: Arc<dyn Clock>,
    pulse: Arc<Pulse>,
    /// See [`Stdio::lock_with_context`].
    context: Vec<u8>,
    pending: [Vec<u8>; 2],
    lines: [KeyLines; 2],
    /// Bytes written since the guest last yielded, with an allowance for each line.
    written: usize,
}

/// Which of the two streams.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Out = 0,
    Error = 1,
}

impl Stream {
    const ALL: [Self; 2] = [Self::Out, Self::Error];

    fn name(self) -> &'static str {
        match self {
            Self::Out => "stdout",
            Self::Error => "stderr",
        }
    }
}

impl Stdio {
    pub(crate) fn new(recorder: Recorder, clock: Arc<dyn Clock>, pulse: Arc<Pulse>) -> Self {
        let shared = Shared {
            recorder,
            clock,
            pulse,
            context: Vec::new(),
            pending: Default::default(),
            lines: Default::default(),
            written: 0,
        };
        Self(Arc::new(Streams {
            is_written: AtomicBool::new(false),
            short: ShortContext::default(),
            shared: Mutex::new(shared),
        }))
    }

    pub(crate) fn stream(&self, stream: Stream) -> LineStream {
        LineStream { stdio: self.clone(), stream }
    }

    #[inline]
    pub(crate) fn set_context(&self, context: &[u8]) {
        if !self.0.short.set(context) {
            let mut shared = self.lock();
            shared.context.clear();
            shared.context.extend_from_slice(context);
        }
    }

    /// Stores a log that the host makes of what the guest did, with the context of its invocation.
    pub(crate) fn host_log(&self, level: Level, message: &str, fields: &[Field<'_>]) {
        let shared = self.lock_with_context();
        tell(&shared.recorder, &*shared.clock, &shared.context, level, message, fields);
    }

    /// Stores what was written without an end of line.
    #[inline]
    pub(crate) fn flush(&self) {
        if self.0.is_written.load(Ordering::Relaxed) {
            self.store_pending();
        }
    }

    fn store_pending(&self) {
        let mut shared = self.lock_with_context();
        self.0.is_written.store(false, Ordering::Relaxed);
        for stream in Stream::ALL {
            if !shared.pending[stream as usize].is_empty() {
                shared.store_pending(stream, false);
            }
        }
    }

    fn write(&self, stream: Stream, bytes: &[u8]) {
        let mut shared = self.lock_with_context();
        self.0.is_written.store(true, Ordering::Relaxed);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            shared.written = shared.written.saturating_add(piece.len() + LINE_COST);
            let room = limits::MESSAGE_BYTES.saturating_sub(shared.pending[stream as usize].len());
            let (line, ended) = piece.strip_suffix(b"\n").map_or((piece, false), |line| (line, true));
            shared.pending[stream as usize].extend_from_slice(&line[..line.len().min(room)]);
            if ended || line.len() > room {
                shared.store_pending(stream, line.len() > room);
            }
        }
    }

    /// Whether the guest has written so much that it is to wait until its neighbours ran.
    fn is_yield_due(&self) -> bool {
        self.lock().written >= WRITTEN_BEFORE_YIELD
    }

    fn note_yield(&self) {
        self.lock().pulse.note_yield();
    }

    fn start_slice(&self) {
        self.lock().written = 0;
    }

    /// What the streams share, with the present context in its place.
    fn lock_with_context(&self) -> MutexGuard<'_, Shared> {
        let mut shared = self.lock();
        self.0.short.read(&mut shared.context);
        shared
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.0.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn store_pending(&mut self, stream: Stream, cut: bool) {
        let line = std::mem::take(&mut self.pending[stream as usize]);
        let text = lossy(line.strip_suffix(b"\r").unwrap_or(&line));
        let hidden = self.lines[stream as usize].hides(self.recorder.redactor(), &text);
        if !hidden && !text.is_empty() {
            Intake::stdio_line(&self.recorder, &*self.clock, &self.context, stream.name(), &text, cut);
        }
    }
}

/// One of the streams, as WASI wants it.
pub(crate) struct LineStream {
    stdio: Stdio,
    stream: Stream,
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.stdio.stream(self.stream))
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.stdio.stream(self.stream))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {
        if self.stdio.is_yield_due() {
            self.stdio.note_yield();
            tokio::task::yield_now().await;
            self.stdio.start_slice();
        }
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: bytes::Bytes) -> StreamResult<()> {
        self.stdio.write(self.stream, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        // Nothing more is taken until `ready` was waited for.
        Ok(if self.stdio.is_yield_due() { 0 } else { WRITE_BYTES })
    }
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, _task: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.stdio.write(self.stream, bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _task: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_read_as_it_was_set_whether_it_is_short_or_long() {
        let (short, mut kept) = (ShortContext::default(), Vec::new());
        for length in [25, 0, 8, 33, 31, 32, 200, 25, 7] {
            let context: Vec<u8> = (1..=length).collect();
            if !short.set(&context) {
                kept.clone_from(&context);
            }
            short.read(&mut kept);
            assert_eq!(kept, context);
        }
    }
}
