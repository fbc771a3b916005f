//! Progress for a person: numbered steps with their time, and a running clock on a terminal.

use std::io::{IsTerminal, Write};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

/// The steps of a command.
pub(crate) struct Steps {
    total: usize,
    done: usize,
}

/// How often the running clock is redrawn.
const TICK: Duration = Duration::from_millis(200);

impl Steps {
    pub(crate) fn new(total: usize) -> Self {
        Self { total, done: 0 }
    }

    /// Does a step that writes to the terminal itself, such as a build by cargo.
    pub(crate) fn loud<T>(&mut self, title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.heading(title);
        let start = Instant::now();
        let outcome = work()?;
        eprintln!("      done in {}", seconds(start.elapsed()));
        Ok(outcome)
    }

    /// Does a step that is silent but for notes; on a terminal a clock runs beside the last note.
    pub(crate) fn quiet<T>(&mut self, title: &str, work: impl FnOnce(&mut dyn FnMut(&str)) -> Result<T>) -> Result<T> {
        self.heading(title);
        let start = Instant::now();
        let (notes, read) = mpsc::channel::<String>();
        let clock = thread::spawn(move || run_clock(&read, start));
        let outcome = work(&mut |note| {
            // The clock lives as long as the sender; should it have died, the note is all that is lost.
            let _ = notes.send(note.to_owned());
        });
        drop(notes);
        let _ = clock.join();
        let outcome = outcome?;
        eprintln!("      done in {}", seconds(start.elapsed()));
        Ok(outcome)
    }

    fn heading(&mut self, title: &str) {
        self.done += 1;
        eprintln!("[{}/{}] {title}", self.done, self.total);
    }
}

/// Prints the notes as they come, until the sender is gone.
fn run_clock(notes: &mpsc::Receiver<String>, start: Instant) {
    let terminal = std::io::stderr().is_terminal();
    let mut note = String::new();
    loop {
        match notes.recv_timeout(TICK) {
            Ok(next) => {
                if terminal {
                    clear();
                }
                eprintln!("      {next}");
                note = next;
            }
            Err(mpsc::RecvTimeoutError::Timeout) if terminal => {
                eprint!("\r      {} {note}", seconds(start.elapsed()));
                let _ = std::io::stderr().flush();
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
        }
    }
    if terminal {
        clear();
    }
}

/// Erases the terminal's current line (ECMA-48, erase in line).
fn clear() {
    eprint!("\r\x1b[2K");
}

/// A duration for a person.
fn seconds(elapsed: Duration) -> String {
    if elapsed.as_secs() >= 60 {
        format!("{} min {:02} s", elapsed.as_secs() / 60, elapsed.as_secs() % 60)
    } else {
        format!("{:.1} s", elapsed.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_a_person() {
        assert_eq!(seconds(Duration::from_millis(340)), "0.3 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
