//! What readers of the API wait for while guests run at full load, and what the guests notice of them: a hundred extensions that are called
//! without a pause on two threads, which serve the readers as well.

use std::cell::RefCell;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use glasshouse::{Event, Extension, Host, Trigger};
use glasshouse_runtime::tokio_builder;
use tokio::io::AsyncReadExt as _;
use tokio::task::JoinSet;

use crate::harness::{Plan, Row, Samples, Side, Unit, cpu_of_all, cpu_so_far};
use crate::house::House;

const EXTENSIONS: usize = 100;
/// Threads that run the guests and serve the API.
const WORKERS: usize = 2;
/// How long the guests are watched at a time: some ten thousand calls.
const WINDOW: Duration = Duration::from_millis(500);
/// Overviews that are asked for while the guests run, for a 99th percentile.
const OVERVIEWS: usize = 2000;
/// How often somebody who watches all extensions asks for them.
const LOOK: Duration = Duration::from_secs(1);
/// Readers of streams at once.
const READERS: usize = 500;
/// What an overview may take.
const LIMIT: Duration = Duration::from_millis(10);
/// What the guests may notice: three in a hundred.
const NOTICED: f64 = 1.03;
const ROOT: &str = "/api/extensions/debugging";

pub(crate) fn measure(house: &House, plan: &Plan) -> Result<Vec<Row>> {
    let tokio = tokio_builder().worker_threads(WORKERS).build()?;
    // Compiled once: a hundred that start at once would each compile it.
    house.instance("neighbour")?;
    let plugins = house.folder().join("api-plugins");
    std::fs::create_dir_all(&plugins)?;
    for number in 0..EXTENSIONS {
        std::os::unix::fs::symlink(house.guest("neighbour"), plugins.join(format!("neighbour-{number}.wasm")))?;
    }
    let start = async {
        let host = Host::builder().plugin_dir(&plugins).cache_folder(house.folder().join("cache"));
        let host = host.set("host.listen=127.0.0.1:0").set("host.open_on_loopback=true").start().await?;
        host.loaded().await;
        let api = host.serve().await?.context("it is told to listen")?;
        Ok::<_, anyhow::Error>((host, api))
    };
    let (host, api) = tokio.block_on(start)?;
    let address = api.url().trim_start_matches("http://").to_owned();
    let load = Load::start(&tokio, &host);

    let mut rows = Vec::new();
    let each: Vec<_> = (0..EXTENSIONS).map(|number| format!("{ROOT}/dashboard/neighbour-{number}/overview")).collect();
    let [managers, all] = ["managers", "dashboard"].map(|path| vec![format!("{ROOT}/{path}")]);
    for (what, paths) in [
        ("an overview of one of 100 extensions", each.clone()),
        ("an overview of all 100 extensions", all),
        ("a list of 100 extensions", managers),
    ] {
        let taken = overviews(&address, &paths)?;
        let what = format!("{what} over HTTP while all are called without a pause");
        let figure = |percent| Samples::new(vec![taken.percentile(percent)]).spread();
        rows.push(Row::figure("api", format!("{what}, p50"), Unit::Nanos, figure(50.0)));
        let limit = LIMIT.as_nanos() as f64;
        rows.push(Row::figure("api", format!("{what}, p99"), Unit::Nanos, figure(99.0)).under("the limit", limit));
    }

    let told = RefCell::<Vec<f64>>::default();
    let spent: [RefCell<Vec<f64>>; 4] = Default::default();
    let cost = |side: usize, clients: Option<&AtomicU64>| -> Result<f64> {
        let (nanos, cpu) = load.cost(clients)?;
        spent[side].borrow_mut().push(cpu);
        Ok(nanos)
    };
    let sides: [Side<'_>; 4] = [
        Box::new(|| cost(0, None)),
        Box::new(|| {
            let watcher = Watcher::start(&address, &each)?;
            let nanos = cost(1, Some(&watcher.spent))?;
            watcher.stop()?;
            Ok(nanos)
        }),
        Box::new(|| {
            let readers = streams(&address, "alerts")?;
            let nanos = cost(2, None)?;
            for reader in readers {
                reader.shutdown(Shutdown::Both)?;
            }
            // Their tasks end by themselves, and are not to be felt by the next side.
            std::thread::sleep(WINDOW / 5);
            Ok(nanos)
        }),
        Box::new(|| {
            let listeners = Listeners::start(&address)?;
            // What they are told when all begin at once is not what they are told while they listen.
            std::thread::sleep(2 * WINDOW);
            let before = listeners.bytes();
            let nanos = cost(3, Some(&listeners.spent))?;
            told.borrow_mut().push((listeners.bytes() - before) as f64 / WINDOW.as_secs_f64());
            listeners.stop()?;
            std::thread::sleep(WINDOW / 5);
            Ok(nanos)
        }),
    ];
    let [alone, watched, followed, listened] = plan.run(sides)?;
    let what = "a call while all 100 extensions are looked at once a second";
    rows.push(watched.against(&alone, "api", what, "without readers", Some(NOTICED)));
    let what = "a call while 500 readers follow alerts";
    rows.push(followed.against(&alone, "api", what, "without readers", Some(NOTICED)));
    let what = "a call that logs while 500 readers follow the logs, and take all that they are told";
    rows.push(listened.against(&alone, "api", what, "without readers", Some(NOTICED)));
    // The first turn does not count.
    let told = Samples::new(told.into_inner().split_off(1)).spread();
    ensure!(told.least > 0.0, "the readers of logs were told nothing");
    let [alone, watched, followed, listened] = spent.map(|all| Samples::new(all.into_inner().split_off(1)));
    for (spent, when) in [
        (watched, "all 100 extensions are looked at once a second"),
        (followed, "500 readers follow alerts"),
        (listened, "500 readers follow the logs, and take what they are told"),
    ] {
        let what = format!("CPU of the host without its clients for a call while {when}");
        rows.push(spent.against(&alone, "api", &what, "without readers", Some(NOTICED)));
    }
    rows.push(Row::figure("api", "what 500 readers of the logs are told then", Unit::BytesPerSecond, told));

    load.stop(&tokio)?;
    tokio.block_on(async {
        drop(api);
        host.shutdown(Duration::from_secs(10)).await;
    });
    Ok(rows)
}

/// Calls of all extensions, one after the other of each.
struct Load {
    calls: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    callers: JoinSet<Result<()>>,
}

impl Load {
    fn start(tokio: &tokio::runtime::Runtime, host: &Host) -> Self {
        let (calls, ends, mut callers) = (Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default(), JoinSet::new());
        for extension in host.extensions() {
            let (extension, calls, ends) = (extension.clone(), Arc::clone(&calls), Arc::clone(&ends));
            callers.spawn_on(caller(extension, calls, ends), tokio.handle());
        }
        Self { calls, ends, callers }
    }

    /// The nanoseconds that a call takes, by how many there are in a while, and those of CPU time that the host spends for it: all that this process does, but what its clients have
    /// spent by their own count.
    fn cost(&self, clients: Option<&AtomicU64>) -> Result<(f64, f64)> {
        let by_clients = || clients.map_or(0, |spent| spent.load(Ordering::Relaxed)) as f64;
        let (start, before, clients_before) = (Instant::now(), self.calls.load(Ordering::Relaxed), by_clients());
        let cpu = cpu_of_all(1, || {
            std::thread::sleep(WINDOW);
            Ok(())
        })?;
        let calls = (self.calls.load(Ordering::Relaxed) - before).max(1) as f64;
        Ok((start.elapsed().as_nanos() as f64 / calls, (cpu - (by_clients() - clients_before)) / calls))
    }

    fn stop(mut self, tokio: &tokio::runtime::Runtime) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        tokio.block_on(async {
            while let Some(caller) = self.callers.join_next().await {
                caller??;
            }
            Ok(())
        })
    }
}

async fn caller(extension: Extension, calls: Arc<AtomicU64>, ends: Arc<AtomicBool>) -> Result<()> {
    let event = Event { name: "echo".into(), payload: b"\"hello\"".to_vec(), ..Event::default() };
    while !ends.load(Ordering::Relaxed) {
        extension.call(event.clone(), Trigger::default()).await.map_err(|error| anyhow!("a call: {error}"))?;
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// A client that keeps its connection.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: vec![0; 1 << 20] })
    }

    /// Asks for something and reads the answer to its end.
    fn get(&mut self, path: &str) -> Result<()> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let (mut filled, mut whole) = (0, usize::MAX);
        while filled < whole {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(read > 0, "{path}: the connection ended");
            filled += read;
            if whole == usize::MAX
                && let Some(end) = self.buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n")
            {
                let head = std::str::from_utf8(&self.buffer[..end])?;
                ensure!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                whole = end + 4 + length.context("an answer has a length")?.parse::<usize>()?;
            }
        }
        Ok(())
    }
}

/// What some paths take, asked for in turns.
fn overviews(address: &str, paths: &[String]) -> Result<Samples> {
    let mut client = Client::connect(address)?;
    let mut taken = Vec::with_capacity(OVERVIEWS);
    for path in paths.iter().cycle().take(OVERVIEWS) {
        let start = Instant::now();
        client.get(path)?;
        taken.push(start.elapsed().as_nanos() as f64);
        // A client may ask 500 times a second.
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(Samples::new(taken))
}

/// Somebody who looks at all extensions each while.
struct Watcher {
    ends: Arc<AtomicBool>,
    /// CPU time that it has taken by now, in nanoseconds.
    spent: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Watcher {
    fn start(address: &str, paths: &[String]) -> Result<Self> {
        let mut client = Client::connect(address)?;
        let (ends, paths) = (Arc::<AtomicBool>::default(), paths.to_vec());
        let spent = Arc::<AtomicU64>::default();
        let (until, so_far) = (Arc::clone(&ends), Arc::clone(&spent));
        let thread = std::thread::spawn(move || {
            for path in paths.iter().cycle() {
                if until.load(Ordering::Relaxed) {
                    break;
                }
                client.get(path)?;
                so_far.store(cpu_so_far() as u64, Ordering::Relaxed);
                std::thread::sleep(LOOK / EXTENSIONS as u32);
            }
            Ok(())
        });
        Ok(Self { ends, spent, thread })
    }

    fn stop(self) -> Result<()> {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watcher panicked"))?
    }
}

/// Readers of the logs of all extensions, who take what comes on a thread of their own.
struct Listeners {
    readers: Vec<TcpStream>,
    bytes: Arc<AtomicU64>,
    /// CPU time that they have taken by now, in nanoseconds.
    spent: Arc<AtomicU64>,
    thread: JoinHandle<Result<()>>,
}

impl Listeners {
    fn start(address: &str) -> Result<Self> {
        let readers = streams(address, "logs")?;
        let (bytes, spent) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (taken, so_far, mut tasks) = (Arc::clone(&bytes), Arc::clone(&spent), Vec::with_capacity(READERS));
        for reader in &readers {
            let reader = reader.try_clone()?;
            reader.set_nonblocking(true)?;
            tasks.push(reader);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::spawn(move || {
            runtime.block_on(async move {
                let mut all = JoinSet::new();
                for reader in tasks {
                    let mut reader = tokio::net::TcpStream::from_std(reader)?;
                    let (taken, so_far) = (Arc::clone(&taken), Arc::clone(&so_far));
                    all.spawn(async move {
                        let mut buffer = vec![0; 64 << 10];
                        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                            taken.fetch_add(read as u64, Ordering::Relaxed);
                            so_far.store(cpu_so_far() as u64, Ordering::Relaxed);
                        }
                    });
                }
                while all.join_next().await.is_some() {}
                Ok(())
            })
        });
        Ok(Self { readers, bytes, spent, thread })
    }

    /// What they have taken by now.
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn stop(self) -> Result<()> {
        for reader in self.readers {
            reader.shutdown(Shutdown::Both)?;
        }
        self.thread.join().map_err(|_| anyhow!("the readers panicked"))?
    }
}

/// Readers of a signal of all extensions, which have begun to listen.
fn streams(address: &str, signal: &str) -> Result<Vec<TcpStream>> {
    let mut readers = Vec::with_capacity(READERS);
    for number in 0..READERS {
        let mut stream = TcpStream::connect(address)?;
        let path = format!("{ROOT}/dashboard/neighbour-{}/{signal}/stream", number % EXTENSIONS);
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        ensure!(&head == b"HTTP/1.1 200", "a stream: {}", String::from_utf8_lossy(&head));
        readers.push(stream);
    }
    Ok(readers)
}
