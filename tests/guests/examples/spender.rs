//! Spends known amounts: bytes of files and sockets, memory, waits, and calls of the host, in spans.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use glasshouse_sdk::{extension, info, span};
use serde::Deserialize;

/// Bytes of a page of memory.
const PAGE: usize = 64 * 1024;

/// What goes through files.
#[derive(Deserialize)]
pub struct Files {
    folder: String,
    write: usize,
    append: usize,
    read: usize,
}

/// What goes through a socket.
#[derive(Deserialize)]
pub struct Exchange {
    address: String,
    send: usize,
    receive: usize,
}

/// The extension.
#[derive(Default)]
pub struct Spender {
    kept: Vec<Vec<u8>>,
}

#[extension]
impl Spender {
    /// Does nothing.
    #[event]
    fn nothing(&mut self) {}

    /// Writes to a new file, appends to it, and reads from its start.
    #[event]
    fn files(&mut self, files: Files) -> usize {
        let path = format!("{}/spent", files.folder);
        File::create(&path).and_then(|mut file| file.write_all(&vec![1; files.write])).expect("it can be written");
        let mut file = OpenOptions::new().append(true).open(&path).expect("it can be opened");
        file.write_all(&vec![2; files.append]).expect("it can be appended to");
        let mut file = File::open(&path).expect("it can be opened");
        file.seek(SeekFrom::Start(0)).expect("it can be gone back in");
        let mut bytes = vec![0; files.read];
        file.read_exact(&mut bytes).expect("it can be read");
        fs::remove_file(&path).expect("it can be removed");
        bytes.len()
    }

    /// Sends bytes by TCP, and receives some.
    #[event]
    fn tcp(&mut self, exchange: Exchange) -> usize {
        let mut stream = TcpStream::connect(exchange.address).expect("it is granted");
        stream.write_all(&vec![1; exchange.send]).expect("it can be sent");
        let mut bytes = vec![0; exchange.receive];
        stream.read_exact(&mut bytes).expect("it can be received");
        bytes.len()
    }

    /// Sends a datagram, and receives one.
    #[event]
    fn udp(&mut self, exchange: Exchange) -> usize {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("it is granted");
        socket.send_to(&vec![1; exchange.send], exchange.address).expect("it can be sent");
        socket.recv_from(&mut vec![0; exchange.receive]).expect("it can be received").0
    }

    /// Nested spans: an outer one that holds two inner ones, of which one naps, keeps memory and writes to a file, and the
    /// other works.
    #[event]
    fn nest(&mut self, folder: String) {
        let _outer = span!("outer");
        work(1_000);
        {
            let _first = span!("first");
            std::thread::sleep(Duration::from_millis(5));
            self.kept.push(vec![1; 16 * PAGE]);
            fs::write(format!("{folder}/note"), [7; 100]).expect("it can be written");
            let _within = span!("within");
            info!("within");
        }
        {
            let _second = span!("second");
            work(10_000);
        }
        work(1_000);
    }

    /// Ends an outer span before its inner one.
    #[event]
    fn cross(&mut self) {
        let outer = span!("outer");
        work(1_000);
        let inner = span!("inner");
        work(1_000);
        drop(outer);
        work(5_000);
        drop(inner);
    }

    /// Fails a span that has an inner one.
    #[event]
    fn fail(&mut self) {
        let outer = span!("outer");
        drop(span!("inner"));
        outer.fail("on purpose");
    }

    /// Asks for the time so often.
    #[event]
    fn clock(&mut self, times: u32) -> u32 {
        (0..times).map(|_| Instant::now()).fold(0, |count, _| count + 1)
    }

    /// Logs so often.
    #[event]
    fn log(&mut self, times: u32) {
        for number in 0..times {
            info!("spent", number = number);
        }
    }

    /// Naps.
    #[event]
    fn nap(&mut self, milliseconds: u64) {
        std::thread::sleep(Duration::from_millis(milliseconds));
    }

    /// Works for a while.
    #[event]
    fn work(&mut self, rounds: u32) -> u32 {
        work(rounds)
    }
}

/// Work that burns fuel.
fn work(rounds: u32) -> u32 {
    (0..rounds).fold(1, |sum, round| std::hint::black_box(sum ^ round.wrapping_mul(sum | 1)))
}
