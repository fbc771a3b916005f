//! What log files, and pushing to a collector, cost the guests whose records they take: extensions that log in each call, called without a pause,
//! with neither, with each and with both, in turns. The collector is a process of its own that takes everything at once.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{self, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use glasshouse::{Extension, Host, Trigger};
use glasshouse_runtime::tokio_builder;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::harness::{Plan, Row, Samples, Side, cpu_of_all};
use crate::house::{House, times};

/// Extensions that are called at once.
const EXTENSIONS: usize = 4;
/// Threads that run the guests and push.
const WORKERS: usize = 2;
/// Logs of a call, each of 64 bytes with four fields.
const LOGS: u32 = 8;
/// How long calls are counted at a time.
const WINDOW: Duration = Duration::from_millis(300);
/// Calls of each extension where all that is spent on them is counted: some tenths of a second, and fewer logs than memory keeps.
const CALLS: u32 = 400;
/// After so long the writer of files, which looks each 0.2 s, has looked at all there is.
const LOOKED: Duration = Duration::from_millis(500);
/// How long it may take until all is written and pushed.
const PATIENCE: Duration = Duration::from_secs(30);
/// What is compared with a host that does neither.
const SIDES: [(&str, bool, bool); 4] = [
    ("neither", false, false),
    ("log files", true, false),
    ("pushing", false, true),
    ("log files and pushing", true, true),
];

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let tokio = tokio_builder().worker_threads(WORKERS).build()?;
    let sink = Sink::start(house)?;
    // Compiled once.
    house.instance("bench-sdk")?;
    let plugins = house.folder().join("push-plugins");
    std::fs::create_dir_all(&plugins)?;
    for number in 0..EXTENSIONS {
        std::os::unix::fs::symlink(house.guest("bench-sdk"), plugins.join(format!("told-{number}.wasm")))?;
    }
    let mut hosts = Vec::new();
    for (number, (_, has_files, is_pushed)) in SIDES.into_iter().enumerate() {
        let mut builder = Host::builder().plugin_dir(&plugins).cache_folder(house.folder().join("cache"));
        for setting in [
            "defaults.debugging.max_log_entries=100000",
            "defaults.debugging.profiling_overhead_limit=100",
            "defaults.budget.records_per_second=100000000",
            "defaults.budget.record_bytes_per_second=16GiB",
        ] {
            builder = builder.set(setting);
        }
        if has_files {
            let folder = house.folder().join(format!("push-logs-{number}"));
            builder = builder.set(format!("files.folder={}", folder.display()));
        }
        if is_pushed {
            builder = builder.set(format!("otlp.endpoint=http://{}", sink.address)).set("otlp.interval=100ms");
        }
        hosts.push(tokio.block_on(async {
            let host = builder.start().await?;
            host.loaded().await;
            Ok::<_, anyhow::Error>(host)
        })?);
    }

    let mut rows = Vec::new();
    let slowest = RefCell::new(vec![Vec::new(); SIDES.len()]);
    let sides = hosts.iter().enumerate().map(|(number, host)| -> Side<'_> {
        let (tokio, slowest) = (&tokio, &slowest);
        Box::new(move || {
            let (nanos, percentile) = called(tokio, host)?;
            slowest.borrow_mut()[number].push(percentile);
            Ok(nanos)
        })
    });
    let samples = plan.run_all(sides.collect())?;
    // The first turn does not count.
    let slowest: Vec<_> = slowest.into_inner().into_iter().map(|all| Samples::new(all[1..].to_vec())).collect();
    let sides = hosts.iter().map(|host| -> Side<'_> { Box::new(|| spent(&tokio, host)) });
    let spent = plan.run_all(sides.collect())?;
    for (index, (with, ..)) in SIDES.into_iter().enumerate().skip(1) {
        let second = |samples: &Samples| 1e9 / samples.spread().median;
        let (ours, alone) = (second(&samples[index]), second(&samples[0]));
        let what = format!("a call with {LOGS} logs, with {with}: {ours:.0} calls a second, {alone:.0} with neither");
        rows.push(samples[index].against(&samples[0], "push", &what, "neither", None));
        let what = format!("the slowest of a hundred such calls, with {with}");
        rows.push(slowest[index].against(&slowest[0], "push", &what, "neither", None));
        let what = format!("CPU of all threads for such a call until its records are taken, with {with}");
        rows.push(spent[index].against(&spent[0], "push", &what, "neither", None));
    }
    for (host, (with, has_files, is_pushed)) in hosts.iter().zip(SIDES) {
        let taken = host.pushed().map(|report| report.counts);
        ensure!(taken.is_some_and(|counts| counts.sent > 0) == is_pushed, "{with}: {taken:?} were pushed");
        ensure!(host.log_files().is_some() == has_files, "{with}: there are no log files");
    }
    tokio.block_on(async {
        for host in hosts {
            host.shutdown(Duration::from_secs(10)).await;
        }
    });
    Ok(rows)
}

/// Calls all extensions without a pause for a while. Returns the nanoseconds for each call, by how many there were, and the 99th
/// percentile of what each took.
fn called(tokio: &Runtime, host: &Host) -> Result<(f64, f64)> {
    let (calls, ends) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let mut callers = JoinSet::new();
    for extension in host.extensions() {
        let (extension, calls, ends) = (extension.clone(), Arc::clone(&calls), Arc::clone(&ends));
        callers.spawn_on(
            async move {
                let mut taken = Vec::new();
                while !ends.load(Ordering::Relaxed) {
                    let start = Instant::now();
                    call(&extension).await?;
                    taken.push(start.elapsed().as_nanos() as f64);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                Ok::<_, anyhow::Error>(taken)
            },
            tokio.handle(),
        );
    }
    let start = Instant::now();
    std::thread::sleep(WINDOW);
    let nanos = start.elapsed().as_nanos() as f64 / calls.load(Ordering::Relaxed).max(1) as f64;
    ends.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    tokio.block_on(async {
        while let Some(caller) = callers.join_next().await {
            all.extend(caller??);
        }
        Ok::<_, anyhow::Error>(())
    })?;
    // What is left of them is not to be felt by the next side.
    settle(host)?;
    Ok((nanos, Samples::new(all).percentile(99.0)))
}

/// The CPU time of all threads for a call, until all that it recorded is written and pushed.
fn spent(tokio: &Runtime, host: &Host) -> Result<f64> {
    cpu_of_all(CALLS * EXTENSIONS as u32, || {
        let mut callers = JoinSet::new();
        for extension in host.extensions() {
            let extension = extension.clone();
            callers.spawn_on(
                async move {
                    for _ in 0..CALLS {
                        call(&extension).await?;
                    }
                    Ok::<_, anyhow::Error>(())
                },
                tokio.handle(),
            );
        }
        tokio.block_on(async {
            while let Some(caller) = callers.join_next().await {
                caller??;
            }
            Ok::<_, anyhow::Error>(())
        })?;
        settle(host)
    })
}

async fn call(extension: &Extension) -> Result<()> {
    extension.call(times("log", LOGS), Trigger::default()).await.map_err(|error| anyhow!("a call: {error}"))?;
    Ok(())
}

/// Waits until all is written and pushed. All sides wait alike.
fn settle(host: &Host) -> Result<()> {
    std::thread::sleep(LOOKED);
    let start = Instant::now();
    loop {
        let behind = host.log_files().map_or(0, |files| files.behind);
        let waiting = host.pushed().map_or(0, |report| report.waiting);
        if behind == 0 && waiting == 0 {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "{behind} records are still to be written, and {waiting} to be pushed");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A collector that takes everything, in a process of its own, which ends with its input.
struct Sink {
    address: String,
    process: process::Child,
    input: Option<ChildStdin>,
}

impl Sink {
    fn start(house: &House) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--child", "sink", "--folder"]).arg(house.folder());
        let mut process =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("starting a collector")?;
        let mut address = String::new();
        BufReader::new(process.stdout.take().context("it has an output")?).read_line(&mut address)?;
        let input = process.stdin.take();
        Ok(Self { address: address.trim_end().to_owned(), process, input })
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.input = None;
        let _ = self.process.wait();
    }
}

/// What the collector's process does: says where it is, and takes requests until its input ends.
pub(crate) fn sink() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || take(stream));
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Reads requests of a connection, and says of each that it was taken.
fn take(mut stream: TcpStream) -> Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut line, mut length) = (String::new(), 0);
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
        }
        std::io::copy(&mut (&mut reader).take(length), &mut std::io::sink())?;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}
