//! Reaches for what it was not granted: variables, files, addresses.

use std::fs;
use std::io::Write;

use glasshouse_sdk::extension;
use serde::Deserialize;

/// A file to write.
#[derive(Deserialize)]
struct Request {
    path: String,
    text: String,
}

/// The extension.
#[derive(Default)]
pub struct Trespasser;

#[extension]
impl Trespasser {
    /// The value of a variable.
    #[event]
    fn env(&mut self, name: String) -> Option<String> {
        std::env::var(name).ok()
    }

    /// The names of all variables.
    #[event]
    fn variables(&mut self) -> Vec<String> {
        std::env::vars().map(|(name, _)| name).collect()
    }

    /// The text of a file, or why there is none.
    #[event]
    fn read(&mut self, path: String) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| format!("refused: {error}"))
    }

    /// Reads a file so many times; tells how often it was refused.
    #[event("read-often")]
    fn read_often(&mut self, what: (String, u32)) -> usize {
        let (path, times) = what;
        (0..times).filter(|_| fs::read_to_string(&path).is_err()).count()
    }

    /// Renames a file, or tells why it cannot.
    #[event]
    fn rename(&mut self, paths: (String, String)) -> String {
        let renamed = fs::rename(paths.0, paths.1);
        renamed.map_or_else(|error| format!("refused: {error}"), |()| "renamed".to_owned())
    }

    /// Moves what is at a path away and puts a link in its place: a path, and where the link leads.
    #[event]
    fn plant(&mut self, link: (String, String)) -> String {
        let (path, target) = link;
        // The only way to make a link that the standard library has on every kind of WASI.
        #[allow(deprecated, reason = "its replacement differs from system to system")]
        let planted = fs::rename(&path, format!("{path}-old")).and_then(|()| fs::soft_link(target, &path));
        planted.map_or_else(|error| format!("refused: {error}"), |()| "planted".to_owned())
    }

    /// Connects to an address, or tells why it cannot.
    #[event]
    fn connect(&mut self, address: String) -> String {
        let connected = std::net::TcpStream::connect(address);
        connected.map_or_else(|error| format!("refused: {error}"), |_| "connected".to_owned())
    }

    /// Sends a datagram to an address, or tells why it cannot.
    #[event]
    fn send(&mut self, address: String) -> String {
        let sent = std::net::UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"ping", address));
        sent.map_or_else(|error| format!("refused: {error}"), |_| "sent".to_owned())
    }

    /// Fails, so that the instance is made anew.
    #[event("give-up")]
    fn give_up(&mut self) {
        panic!("nothing to be had here");
    }

    /// Writes a file, or tells why it cannot.
    #[event]
    fn write(&mut self, what: Request) -> String {
        let written = fs::File::create(&what.path).and_then(|mut file| file.write_all(what.text.as_bytes()));
        written.map_or_else(|error| format!("refused: {error}"), |()| "written".to_owned())
    }
}
