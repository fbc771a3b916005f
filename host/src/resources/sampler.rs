//! Reads what this process uses: from the system by `sysinfo`, and from `/proc` what that does not tell.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

use glasshouse_model::Clock;
use sysinfo::{MemoryRefreshKind, Pid, ProcessRefreshKind, ProcessesToUpdate, System};

use super::Resources;

/// Bytes of the system's table of TCP sockets, which has those of all processes: some 50,000 of them. Of a longer one it would
/// take too long to find ours.
const TABLE_BYTES: u64 = 8 * 1024 * 1024;
/// Of the processor's time the share is told over so much time at least: the system counts it in steps.
const SHORTEST_NANOS: u64 = 100_000_000;
/// The state of a TCP socket that waits for connections, as the kernel's tables have it.
const LISTENING: &str = "0A";

/// Takes samples of this process.
pub(super) struct Sampler {
    system: Option<System>,
    pid: Option<Pid>,
    /// When the last share of the processor's time was taken, and how much had been used then.
    before: Option<(u64, u64)>,
    cpu_percent: Option<f64>,
}

impl Sampler {
    pub(super) fn new() -> Self {
        Self { system: System::new().ok(), pid: sysinfo::get_current_pid().ok(), before: None, cpu_percent: None }
    }

    /// Takes a sample; blocks while it reads files that the system makes up, for some tenths of a millisecond, and for tens of
    /// them where there are TCP sockets. What cannot be read is `None`.
    pub(super) fn sample(&mut self, clock: &dyn Clock) -> Resources {
        if let (Some(system), Some(pid)) = (&mut self.system, self.pid) {
            system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
            let memory = ProcessRefreshKind::nothing().with_memory();
            system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), true, memory);
        }
        let system = self.system.as_ref();
        let process = system.zip(self.pid).and_then(|(system, pid)| system.process(pid));
        // No process is without memory.
        let memory_bytes = process.map(sysinfo::Process::memory).filter(|bytes| *bytes > 0);
        let all_bytes = system.map(System::total_memory).filter(|bytes| *bytes > 0);
        let files = open_files().ok();
        let open_files = files.as_ref().map(|files| files.count).or_else(|| process?.open_files().map(|n| n as u64));
        let open_files_limit = process.and_then(sysinfo::Process::open_files_limit).map(|limit| limit as u64);
        let cpu_nanos = cpu_nanos();
        Resources {
            time: clock.now(),
            memory_bytes,
            memory_percent: memory_bytes.zip(all_bytes).map(|(used, all)| used as f64 / all as f64 * 100.0),
            cpu_nanos,
            cpu_percent: self.cpu_percent(clock.monotonic_nanos(), cpu_nanos),
            open_files,
            open_files_limit,
            threads: threads(),
            connections: files.and_then(|files| connections(&files.sockets)),
        }
    }

    /// The share of one processor's time since the sample before; the one before that again if it was taken just now.
    fn cpu_percent(&mut self, now: u64, cpu: Option<u64>) -> Option<f64> {
        let cpu = cpu?;
        let Some((then, used)) = self.before else {
            self.before = Some((now, cpu));
            return None;
        };
        let elapsed = now.saturating_sub(then);
        if elapsed >= SHORTEST_NANOS {
            self.before = Some((now, cpu));
            self.cpu_percent = Some(cpu.saturating_sub(used) as f64 / elapsed as f64 * 100.0);
        }
        self.cpu_percent
    }
}

/// The processor's time that this process has used.
fn cpu_nanos() -> Option<u64> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    u64::try_from(time.tv_sec).ok()?.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec).ok()?)
}

fn threads() -> Option<u64> {
    Some(fs::read_dir("/proc/self/task").ok()?.count() as u64)
}

/// The open descriptors of this process.
struct OpenFiles {
    count: u64,
    /// The inodes of those that may be TCP sockets.
    sockets: HashSet<u64>,
}

fn open_files() -> io::Result<OpenFiles> {
    let mut found = OpenFiles { count: 0, sockets: HashSet::new() };
    for entry in fs::read_dir("/proc/self/fd")? {
        found.count += 1;
        // One that was closed meanwhile is no socket any more.
        let path = entry?.path();
        let Ok(target) = fs::read_link(&path) else { continue };
        let target = target.to_string_lossy();
        let inode = target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        found.sockets.extend(inode.filter(|_| may_be_tcp(&path)).and_then(|inode| inode.parse::<u64>().ok()));
    }
    // One is the folder's that was read.
    found.count = found.count.saturating_sub(1);
    Ok(found)
}

/// Whether a socket's protocol may be TCP, by the path of its descriptor. The kernel's tables would tell as well, but reading those takes
/// it tens of milliseconds however few sockets there are.
fn may_be_tcp(path: &Path) -> bool {
    // The longest name that the kernel has is one of 32 bytes.
    let mut name = [0; 32];
    rustix::fs::getxattr(path, "system.sockprotoname", &mut name).is_err() || name.starts_with(b"TCP")
}

/// How many of these sockets are ends of TCP connections.
fn connections(sockets: &HashSet<u64>) -> Option<u64> {
    if sockets.is_empty() {
        return Some(0);
    }
    let mut count = 0;
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        let file = match File::open(table) {
            // The system has no such protocol.
            Err(error) if error.kind() == io::ErrorKind::NotFound && table.ends_with('6') => continue,
            opened => opened.ok()?,
        };
        let mut text = String::new();
        file.take(TABLE_BYTES).read_to_string(&mut text).ok()?;
        if text.len() as u64 == TABLE_BYTES {
            return None;
        }
        count += connections_in(&text, sockets);
    }
    Some(count)
}

/// The same in one of the kernel's tables (<https://www.kernel.org/doc/Documentation/networking/proc_net_tcp.txt>): the fourth
/// word of a line is the state, the tenth the inode.
fn connections_in(table: &str, sockets: &HashSet<u64>) -> u64 {
    let is_connection = |line: &&str| {
        let mut words = line.split_ascii_whitespace();
        let state = words.nth(3);
        let inode = words.nth(5).and_then(|inode| inode.parse::<u64>().ok());
        state.is_some_and(|state| state != LISTENING) && inode.is_some_and(|inode| sockets.contains(&inode))
    };
    table.lines().skip(1).filter(is_connection).count() as u64
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::sync::atomic::{AtomicU64, Ordering};

    use glasshouse_model::UnixNanos;

    use super::*;

    /// A clock that shows what it is set to.
    #[derive(Default)]
    struct SetClock(AtomicU64);

    impl Clock for SetClock {
        fn now(&self) -> UnixNanos {
            UnixNanos(self.0.load(Ordering::Relaxed) as i64)
        }

        fn monotonic_nanos(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn what_this_process_does_is_seen_in_the_next_sample() {
        let (clock, mut sampler) = (SetClock::default(), Sampler::new());
        let before = sampler.sample(&clock);
        assert_eq!(before.cpu_percent, None, "there is nothing to compare with");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
        let client = TcpStream::connect(listener.local_addr().expect("an address")).expect("it connects");
        let server = listener.accept().expect("it is accepted");
        let memory: Vec<u8> = (0..32_u32 << 20).map(|index| index as u8).collect();
        let (done, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || wait.recv());
        clock.0.store(SHORTEST_NANOS, Ordering::Relaxed);
        let after = sampler.sample(&clock);
        drop(std::hint::black_box(memory));
        let more = |of: fn(&Resources) -> Option<u64>| {
            let (before, after) = (of(&before).expect("it is read"), of(&after).expect("it is read"));
            after as i64 - before as i64
        };
        // Other tests may run in this process as well.
        assert!(more(|all| all.memory_bytes) > 16 << 20);
        assert!(more(|all| all.connections) >= 2, "both ends, and not the one that listens");
        assert!(more(|all| all.open_files) >= 3 && more(|all| all.threads) >= 1);
        assert!(more(|all| all.cpu_nanos) > 0 && after.cpu_percent > Some(0.0));
        assert!(after.memory_percent.is_some_and(|percent| percent > 0.0 && percent <= 100.0));
        assert!(after.open_files_limit >= after.open_files);
        drop((client, server, done));
        drop(thread.join());
    }

    #[test]
    fn only_ends_of_own_connections_are_counted() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0  0 11 1 0 100 0 0 10 0\n\
            1: 0100007F:1F90 0100007F:A2C4 01 00000000:00000000 00:00000000 00000000  0  0 12 1 0 20 4 30 10 -1\n\
            2: 0100007F:A2C4 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  0  0 99 1 0 20 4 30 10 -1\n\
            nonsense\n";
        assert_eq!(connections_in(table, &HashSet::from([11, 12, 13])), 1);
        assert_eq!(connections_in("", &HashSet::from([11])), 0);
    }

    #[test]
    fn a_sample_right_after_another_tells_the_same_share() {
        let mut sampler = Sampler::new();
        assert_eq!(sampler.cpu_percent(0, Some(0)), None);
        assert_eq!(sampler.cpu_percent(1_000_000_000, Some(500_000_000)), Some(50.0));
        assert_eq!(sampler.cpu_percent(1_000_000_001, Some(500_000_001)), Some(50.0));
        assert_eq!(sampler.cpu_percent(2_000_000_000, None), None);
        assert_eq!(sampler.cpu_percent(2_000_000_000, Some(2_500_000_000)), Some(200.0));
    }
}
