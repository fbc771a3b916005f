//! `wasi:io`: wasmtime's own, timed; and streams of files and sockets that count what goes through them.

use std::sync::Arc;

use bytes::Bytes;
use glasshouse_model::HostFunction;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::pipe::{ClosedInputStream, ClosedOutputStream};
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, DynPollable, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};
use wasmtime_wasi_io::bindings::wasi::io::{poll, streams};

use crate::imports::{Pulse, Timing, Way};
use crate::state::State;

/// wasmtime's streams for one call of the guest.
pub(crate) struct Streams<'a> {
    pub(crate) table: &'a mut ResourceTable,
    pub(crate) timing: Timing<'a>,
}

struct TimedStreams;

impl HasData for TimedStreams {
    type Data<'a> = Streams<'a>;
}

/// Puts these interfaces in the place of wasmtime's.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    poll::add_to_linker::<State, TimedStreams>(linker, |state| state.streams(HostFunction::Poll))?;
    streams::add_to_linker::<State, TimedStreams>(linker, |state| state.streams(HostFunction::Stream))?;
    linker.allow_shadowing(false);
    Ok(())
}

impl poll::Host for Streams<'_> {
    async fn poll(&mut self, pollables: Vec<Resource<DynPollable>>) -> wasmtime::Result<Vec<u32>> {
        poll::Host::poll(self.table, pollables).await
    }
}

impl poll::HostPollable for Streams<'_> {
    async fn block(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::block(self.table, pollable).await
    }

    async fn ready(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<bool> {
        poll::HostPollable::ready(self.table, pollable).await
    }

    fn drop(&mut self, pollable: Resource<DynPollable>) -> wasmtime::Result<()> {
        poll::HostPollable::drop(self.table, pollable)
    }
}

impl streams::Host for Streams<'_> {
    fn convert_stream_error(&mut self, error: StreamError) -> wasmtime::Result<streams::StreamError> {
        streams::Host::convert_stream_error(self.table, error)
    }
}

impl streams::HostInputStream for Streams<'_> {
    fn read(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        self.timing.of(HostFunction::StreamRead);
        streams::HostInputStream::read(self.table, stream, length)
    }

    async fn blocking_read(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<Vec<u8>> {
        self.timing.of(HostFunction::StreamRead);
        streams::HostInputStream::blocking_read(self.table, stream, length).await
    }

    fn skip(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        self.timing.of(HostFunction::StreamRead);
        streams::HostInputStream::skip(self.table, stream, length)
    }

    async fn blocking_skip(&mut self, stream: Resource<DynInputStream>, length: u64) -> StreamResult<u64> {
        self.timing.of(HostFunction::StreamRead);
        streams::HostInputStream::blocking_skip(self.table, stream, length).await
    }

    fn subscribe(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostInputStream::subscribe(self.table, stream)
    }

    async fn drop(&mut self, stream: Resource<DynInputStream>) -> wasmtime::Result<()> {
        streams::HostInputStream::drop(self.table, stream).await
    }
}

impl streams::HostOutputStream for Streams<'_> {
    fn check_write(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<u64> {
        streams::HostOutputStream::check_write(self.table, stream)
    }

    fn write(&mut self, stream: Resource<DynOutputStream>, bytes: Vec<u8>) -> StreamResult<()> {
        self.timing.of(HostFunction::StreamWrite);
        streams::HostOutputStream::write(self.table, stream, bytes)
    }

    async fn blocking_write_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        bytes: Vec<u8>,
    ) -> StreamResult<()> {
        self.timing.of(HostFunction::StreamWrite);
        streams::HostOutputStream::blocking_write_and_flush(self.table, stream, bytes).await
    }

    fn flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::flush(self.table, stream)
    }

    async fn blocking_flush(&mut self, stream: Resource<DynOutputStream>) -> StreamResult<()> {
        streams::HostOutputStream::blocking_flush(self.table, stream).await
    }

    fn subscribe(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<Resource<DynPollable>> {
        streams::HostOutputStream::subscribe(self.table, stream)
    }

    fn write_zeroes(&mut self, stream: Resource<DynOutputStream>, length: u64) -> StreamResult<()> {
        self.timing.of(HostFunction::StreamWrite);
        streams::HostOutputStream::write_zeroes(self.table, stream, length)
    }

    async fn blocking_write_zeroes_and_flush(
        &mut self,
        stream: Resource<DynOutputStream>,
        length: u64,
    ) -> StreamResult<()> {
        self.timing.of(HostFunction::StreamWrite);
        streams::HostOutputStream::blocking_write_zeroes_and_flush(self.table, stream, length).await
    }

    fn splice(
        &mut self,
        output: Resource<DynOutputStream>,
        input: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.timing.of(HostFunction::StreamWrite);
        streams::HostOutputStream::splice(self.table, output, input, length)
    }

    async fn blocking_splice(
        &mut self,
        output: Resource<DynOutputStream>,
        input: Resource<DynInputStream>,
        length: u64,
    ) -> StreamResult<u64> {
        self.timing.of(HostFunction::StreamWrite);
        streams::HostOutputStream::blocking_splice(self.table, output, input, length).await
    }

    async fn drop(&mut self, stream: Resource<DynOutputStream>) -> wasmtime::Result<()> {
        streams::HostOutputStream::drop(self.table, stream).await
    }
}

/// Counts what is read from a stream from now on.
pub(crate) fn count_input(
    table: &mut ResourceTable,
    stream: &Resource<DynInputStream>,
    pulse: &Arc<Pulse>,
    way: Way,
) -> wasmtime::Result<()> {
    let place = table.get_mut(stream)?;
    let inner = std::mem::replace(place, Box::new(ClosedInputStream));
    *place = Box::new(CountedInput { inner, pulse: Arc::clone(pulse), way });
    Ok(())
}

/// Counts what is written to a stream from now on.
pub(crate) fn count_output(
    table: &mut ResourceTable,
    stream: &Resource<DynOutputStream>,
    pulse: &Arc<Pulse>,
    way: Way,
) -> wasmtime::Result<()> {
    let place = table.get_mut(stream)?;
    let inner = std::mem::replace(place, Box::new(ClosedOutputStream));
    *place = Box::new(CountedOutput { inner, pulse: Arc::clone(pulse), way });
    Ok(())
}

struct CountedInput {
    inner: DynInputStream,
    pulse: Arc<Pulse>,
    way: Way,
}

impl CountedInput {
    fn counted(&self, read: StreamResult<Bytes>) -> StreamResult<Bytes> {
        read.inspect(|bytes| self.pulse.note_transfer(self.way, bytes.len()))
    }

    fn skipped(&self, skipped: StreamResult<usize>) -> StreamResult<usize> {
        skipped.inspect(|bytes| self.pulse.note_transfer(self.way, *bytes))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for CountedInput {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl InputStream for CountedInput {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let read = self.inner.read(size);
        self.counted(read)
    }

    async fn blocking_read(&mut self, size: usize) -> StreamResult<Bytes> {
        let read = self.inner.blocking_read(size).await;
        self.counted(read)
    }

    fn skip(&mut self, size: usize) -> StreamResult<usize> {
        let skipped = self.inner.skip(size);
        self.skipped(skipped)
    }

    async fn blocking_skip(&mut self, size: usize) -> StreamResult<usize> {
        let skipped = self.inner.blocking_skip(size).await;
        self.skipped(skipped)
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}

struct CountedOutput {
    inner: DynOutputStream,
    pulse: Arc<Pulse>,
    way: Way,
}

impl CountedOutput {
    fn counted(&self, bytes: usize, written: StreamResult<()>) -> StreamResult<()> {
        written.inspect(|()| self.pulse.note_transfer(self.way, bytes))
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for CountedOutput {
    async fn ready(&mut self) {
        self.inner.ready().await;
    }
}

#[wasmtime_wasi::async_trait]
impl OutputStream for CountedOutput {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let length = bytes.len();
        let written = self.inner.write(bytes);
        self.counted(length, written)
    }

    fn flush(&mut self) -> StreamResult<()> {
        self.inner.flush()
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.inner.check_write()
    }

    async fn blocking_write_and_flush(&mut self, bytes: Bytes) -> StreamResult<()> {
        let length = bytes.len();
        let written = self.inner.blocking_write_and_flush(bytes).await;
        self.counted(length, written)
    }

    fn write_zeroes(&mut self, count: usize) -> StreamResult<()> {
        let written = self.inner.write_zeroes(count);
        self.counted(count, written)
    }

    async fn write_ready(&mut self) -> StreamResult<usize> {
        self.inner.write_ready().await
    }

    async fn cancel(&mut self) {
        self.inner.cancel().await;
    }
}
