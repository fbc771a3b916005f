//! A connection whose bytes are counted, as they are handed to the system and come from it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use glasshouse_model::invocation::Transfer;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::imports::{Pulse, Way};

/// What went over the connection of one request.
#[derive(Debug, Default)]
pub(super) struct Carried {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Carried {
    /// By now.
    pub(super) fn read(&self) -> Transfer {
        let [sent_bytes, received_bytes] = [&self.sent, &self.received].map(|count| count.load(Ordering::Relaxed));
        Transfer { sent_bytes, received_bytes, ..Transfer::default() }
    }
}

/// A connection that counts for its request and for its instance.
pub(super) struct Wire {
    stream: TcpStream,
    carried: Arc<Carried>,
    pulse: Arc<Pulse>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, carried: Arc<Carried>, pulse: Arc<Pulse>) -> Self {
        Self { stream, carried, pulse }
    }

    fn count_sent(&self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &sent {
            self.carried.sent.fetch_add(*bytes as u64, Ordering::Relaxed);
            self.pulse.note_on_wire(Way::Sent, *bytes);
        }
        sent
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        self.carried.received.fetch_add(bytes as u64, Ordering::Relaxed);
        self.pulse.note_on_wire(Way::Received, bytes);
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.count_sent(sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.count_sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
