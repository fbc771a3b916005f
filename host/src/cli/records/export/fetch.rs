//! An export that a host at an address writes: it is passed on as it comes.

use std::io::Write as _;
use std::path::Path;

use anyhow::{Result, bail};
use glasshouse::export::Exported;
use glasshouse::text::bytes;
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
    let ended = loop {
        let next = tokio::select! {
            next = download.next() => next,
            () = stop.requested() => break Err("stopped".to_owned()),
        };
        match next {
            Ok(Some(chunk)) => {
                exported.bytes += chunk.len() as u64;
                if let Err(error) = target.write_all(&chunk) {
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
