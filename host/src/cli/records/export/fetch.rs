//! An export that a host at an address writes: it is passed on as it comes.

use std::io::{IsTerminal as _, Write as _};
use std::path::Path;

use anyhow::{Result, bail};
use glasshouse::export::Exported;
use glasshouse::text::{bytes, is_hidden};
use glasshouse_client::Download;

use super::Progress;
use super::target::Target;
use crate::cli::signals::Stop;
use crate::output;

/// Writes it to a file, or to standard output if there is none.
pub(super) async fn write(mut download: Download, path: Option<&Path>, stop: &Stop) -> Result<()> {
    let mut target = Target::open(path)?;
    let mut progress = Progress::new(path.is_some());
    let mut exported = Exported::default();
    let mut tame = (path.is_none() && std::io::stdout().is_terminal()).then(Tame::default);
    let ended = loop {
        let next = tokio::select! {
            next = download.next() => next,
            () = stop.requested() => break Err("stopped".to_owned()),
        };
        match next {
            Ok(Some(chunk)) => {
                exported.bytes += chunk.len() as u64;
                let written = match &mut tame {
                    Some(tame) => target.write_all(tame.text(&chunk).as_bytes()),
                    None => target.write_all(&chunk),
                };
                if let Err(error) = written {
                    break Err(format!("the output ended after {}: {error}", bytes(exported.bytes)));
                }
                progress.show(&exported);
            }
            Ok(None) => break target.flush().map_err(|error| format!("the output ended: {error}")),
            Err(error) => break Err(error.to_string()),
        }
    };
    progress.clear();
    if let Err(why) = ended {
        match path {
            Some(path) => bail!("exporting to {}: {why}; {}", path.display(), target.given_up()),
            None => bail!("exporting: {why}; {}", target.given_up()),
        }
    }
    target.finish()?;
    if let Some(path) = path {
        output::note(format_args!("wrote {} to {}", bytes(exported.bytes), path.display()));
    }
    if exported.bytes == 0 {
        output::note("nothing is stored that fits");
    }
    Ok(())
}

/// Text for a terminal, which obeys nothing of what a host at an address has written.
#[derive(Default)]
struct Tame {
    /// The beginning of a character whose rest has not come.
    begun: Vec<u8>,
}

impl Tame {
    fn text(&mut self, chunk: &[u8]) -> String {
        self.begun.extend_from_slice(chunk);
        let whole = match std::str::from_utf8(&self.begun) {
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.begun.len(),
        };
        let mut shown = String::with_capacity(whole);
        for character in String::from_utf8_lossy(&self.begun[..whole]).chars() {
            if is_hidden(character) && !matches!(character, '\n' | '\t') {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        self.begun.drain(..whole);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_for_a_terminal_has_nothing_that_it_obeys_wherever_it_is_cut() {
        let sent = "{\"a\":\t\"\u{1b}]0;owned\u{7}ä\u{9b}2J\"}\n".as_bytes();
        for cut in 0..sent.len() {
            let mut tame = Tame::default();
            let shown = tame.text(&sent[..cut]) + &tame.text(&sent[cut..]);
            assert_eq!(shown, "{\"a\":\t\"\\u{1b}]0;owned\\u{7}ä\\u{9b}2J\"}\n");
        }
    }
}
