//! What the host's own process uses, measured from time to time: stored as metric samples under the host's own name, and a
//! line of the performance log.

mod sampler;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use glasshouse_files::HostLog;
use glasshouse_model::wire::{self, Metric};
use glasshouse_model::{HOST, Instrument, Origin, Signal, UnixNanos};
use glasshouse_telemetry::Head;
use serde::Serialize;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::journal::Journal;
use crate::records::{FieldValue, MetricRecord, Records};
use sampler::Sampler;

/// What the host's process uses. What the system does not tell is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Resources {
    /// When it was measured.
    #[serde(serialize_with = "crate::records::shown")]
    pub time: UnixNanos,
    /// Memory of the process that is resident: extensions' memory, their telemetry's files as far as they are mapped, and code
    /// are part of it.
    pub memory_bytes: Option<u64>,
    /// The part of the machine's memory that this is.
    pub memory_percent: Option<f64>,
    /// The processors' time that the process has used since it was started, in nanoseconds.
    pub cpu_nanos: Option<u64>,
    /// The share of one processor's time since the measurement before; more than 100 if several were used. The first one has
    /// nothing to compare with.
    pub cpu_percent: Option<f64>,
    /// Open descriptors: files, sockets and others.
    pub open_files: Option<u64>,
    /// The most descriptors that the process may have.
    pub open_files_limit: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// TCP sockets that are connected, or about to be or no longer; not those that wait for connections.
    pub connections: Option<u64>,
}

impl Resources {
    /// The metric samples that it is stored as; docs/metrics.md lists them. `cpu_before` is what the samples before have told
    /// of the processors' time.
    fn samples(&self, cpu_before: u64) -> Vec<Metric<'static>> {
        let gauge = |name, unit, value: Option<f64>| value.map(|value| (Instrument::Gauge, name, unit, value));
        let number = |value: Option<u64>| value.map(|value| value as f64);
        let cpu = self.cpu_nanos.map(|nanos| nanos.saturating_sub(cpu_before) as f64 / 1e9);
        let samples = [
            gauge("process_resident_memory_bytes", "By", number(self.memory_bytes)),
            gauge("memory_mb", "MBy", self.memory_bytes.map(|bytes| bytes as f64 / 1e6)),
            gauge("memory_percent", "%", self.memory_percent),
            cpu.map(|seconds| (Instrument::Counter, "process_cpu_seconds_total", "s", seconds)),
            gauge("cpu_percent", "%", self.cpu_percent),
            gauge("process_open_fds", "{file}", number(self.open_files)),
            gauge("process_max_fds", "{file}", number(self.open_files_limit)),
            gauge("process_threads", "{thread}", number(self.threads)),
            gauge("process_tcp_connections", "{connection}", number(self.connections)),
        ];
        let metric = |(instrument, name, unit, value)| Metric { instrument, name, unit, value };
        samples.into_iter().flatten().map(metric).collect()
    }
}

impl Resources {
    /// What it is told as in the performance log: what the system tells, by name.
    fn figures(&self) -> Vec<(&'static str, FieldValue)> {
        let whole = |number: Option<u64>| number.map(|it| FieldValue::Integer(i64::try_from(it).unwrap_or(i64::MAX)));
        let figures = [
            ("memory_bytes", whole(self.memory_bytes)),
            ("memory_percent", self.memory_percent.map(FieldValue::Float)),
            ("cpu_percent", self.cpu_percent.map(FieldValue::Float)),
            ("cpu_ns", whole(self.cpu_nanos)),
            ("open_files", whole(self.open_files)),
            ("threads", whole(self.threads)),
            ("connections", whole(self.connections)),
        ];
        figures.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }
}

/// Measures what the host's process uses, until it is told to stop.
pub(crate) struct Monitor {
    watch: Arc<Watch>,
    stop: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

struct Watch {
    journal: Arc<Journal>,
    host_log: HostLog,
    state: Mutex<Watched>,
}

struct Watched {
    sampler: Sampler,
    latest: Option<Resources>,
}

impl Monitor {
    /// Measures at once and then every `interval`, on threads for what may block.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn start(journal: Arc<Journal>, host_log: HostLog, interval: Duration) -> Self {
        let state = Mutex::new(Watched { sampler: Sampler::new(), latest: None });
        let watch = Arc::new(Watch { journal, host_log, state });
        let (stop, mut stopped) = watch::channel(false);
        let watched = Arc::clone(&watch);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    biased;
                    // It also ends with its host.
                    _ = stopped.wait_for(|stop| *stop) => return,
                    _ = ticks.tick() => {}
                }
                let watched = Arc::clone(&watched);
                // It fails only when the runtime ends, and this task with it.
                let _ = tokio::task::spawn_blocking(move || watched.measure()).await;
            }
        });
        Self { watch, stop, task: Mutex::new(Some(task)) }
    }

    pub(crate) fn latest(&self) -> Option<Resources> {
        self.watch.state.lock().unwrap_or_else(PoisonError::into_inner).latest
    }

    pub(crate) async fn measure(&self) -> Option<Resources> {
        let watch = Arc::clone(&self.watch);
        tokio::task::spawn_blocking(move || watch.measure()).await.ok()
    }

    pub(crate) fn metrics(&self) -> Records<MetricRecord> {
        Records::new(|signal| self.watch.journal.store().reader(signal), HOST)
    }

    /// Ends the measuring, and waits for its end: a data directory is free afterwards.
    pub(crate) async fn finish(&self) {
        self.stop.send_replace(true);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            // A sample that panicked was its last.
            let _ = task.await;
        }
    }
}

impl Watch {
    /// Measures, stores and tells.
    fn measure(&self) -> Resources {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = state.sampler.sample(&**self.journal.clock());
        let cpu_before = state.latest.and_then(|before| before.cpu_nanos).unwrap_or_default();
        let recorder = self.journal.store().recorder();
        let mut body = Vec::with_capacity(64);
        for sample in now.samples(cpu_before) {
            body.clear();
            wire::write_metric(&mut body, &sample, &[]);
            let head = Head { time: now.time, origin: Origin::Host, cut: false, batched: false, context: &[] };
            recorder.append(Signal::Metric, head, wire::KIND_METRIC, &body);
        }
        tracing::info!(
            target: "glasshouse::performance",
            memory_bytes = now.memory_bytes,
            memory_percent = now.memory_percent,
            cpu_percent = now.cpu_percent,
            cpu_ns = now.cpu_nanos,
            open_files = now.open_files,
            threads = now.threads,
            connections = now.connections,
            "process"
        );
        self.host_log.performance("process", now.figures());
        state.latest = Some(now);
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Resources = Resources {
        time: UnixNanos(0),
        memory_bytes: None,
        memory_percent: None,
        cpu_nanos: None,
        cpu_percent: None,
        open_files: None,
        open_files_limit: None,
        threads: None,
        connections: None,
    };

    #[test]
    fn what_the_system_does_not_tell_is_no_sample_and_not_nought() {
        assert!(NOTHING.samples(0).is_empty());
        let some = Resources { connections: Some(0), cpu_nanos: Some(3_500_000_000), ..NOTHING };
        let samples = some.samples(1_000_000_000);
        let shown: Vec<_> = samples.iter().map(|sample| (sample.name, sample.value)).collect();
        assert_eq!(shown, [("process_cpu_seconds_total", 2.5), ("process_tcp_connections", 0.0)]);
    }

    #[tokio::test]
    async fn a_host_measures_from_its_start_on_and_leaves_its_data_directory_free() {
        let folder = tempfile::tempdir().expect("a folder");
        for hosts in 1..=2 {
            let builder = crate::Host::builder().without_cache().data_dir(folder.path());
            let host = builder.start().await.expect("it starts");
            let now = host.measure_resources().await.expect("it is measured");
            assert!(now.memory_bytes > Some(0), "{now:?}");
            assert_eq!(host.resources().map(|latest| latest.memory_bytes.is_some()), Some(true));
            let of_memory = |sample: &MetricRecord| sample.name == "process_resident_memory_bytes";
            assert!(host.metrics().latest(1000).iter().filter(|sample| of_memory(sample)).count() >= hosts);
            host.shutdown(Duration::from_secs(5)).await;
        }
    }
}
