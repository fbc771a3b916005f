//! Where a host goes on with what earlier ones pushed.

use std::collections::BTreeMap;
use std::io;

use glasshouse_model::UnixNanos;

use crate::cursors::{Cursors, Place};
use crate::shared::{Line, Shared};

/// How far earlier hosts came.
pub(crate) struct Resumed {
    /// Where the lines go on, by their indexes.
    pub(crate) places: BTreeMap<usize, (u64, Option<UnixNanos>)>,
    /// What there is of signals that are not pushed.
    pub(crate) aside: BTreeMap<String, Vec<Place>>,
    /// What is not known, or cannot be kept.
    pub(crate) trouble: Vec<String>,
}

/// How far earlier hosts came with each line of which that is not known yet, and what is not known of that. What is new is noted as it is, so that what retention removes of it
/// from now on is known to be missing. Blocks.
pub(crate) fn resumed(cursors: &Cursors, shared: &Shared) -> Resumed {
    let (mut places, mut aside, mut trouble) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let mut end = 0;
    for lines in shared.lines.chunk_by(|one, other| one.source.extension() == other.source.extension()) {
        let (extension, first) = (lines[0].source.extension(), end);
        end += lines.len();
        if lines.iter().all(Line::is_known) {
            continue;
        }
        let mut known = match cursors.read(extension) {
            Ok(known) => known.unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                trouble.push(format!(
                    "how far the telemetry of {extension} was pushed is not known, so all that is stored is pushed again: {error}"
                ));
                BTreeMap::new()
            }
            Err(error) => {
                // What is there may be right, and is not written over.
                trouble.push(format!(
                    "how far the telemetry of {extension} was pushed cannot be read, so it waits until that can be: {error}"
                ));
                continue;
            }
        };
        let mut all = Vec::new();
        for (index, line) in (first..).zip(lines) {
            let reader = line.source.reader(line.signal);
            let place = match known.remove(&line.signal) {
                Some(place) => {
                    let (next, is_lost) = reader.resume(&place.cursor);
                    if is_lost {
                        trouble.push(format!(
                            "of the {} of {extension}, those that an earlier host had in its memory only were lost before they were pushed",
                            line.signal
                        ));
                    }
                    // Behind its end there is nothing yet.
                    (next.min(reader.next_sequence()), place.until)
                }
                None => (reader.evicted() + 1, None),
            };
            places.insert(index, place);
            all.push(Place { cursor: reader.cursor(extension, place.0 - 1), until: place.1 });
        }
        all.extend(known.values().cloned());
        aside.insert(extension.to_owned(), known.into_values().collect());
        if let Err(error) = cursors.write(extension, &all) {
            trouble.push(format!("how far the telemetry of {extension} was pushed cannot be kept: {error}"));
        }
    }
    Resumed { places, aside, trouble }
}
