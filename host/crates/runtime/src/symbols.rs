//! From a stored stack's offsets to source lines, away from the guest's thread.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use glasshouse_model::{Digest, Frame};

use crate::compile::{Compiler, Refusal, sentence};
use crate::lines;
use crate::loader::{open, read};

/// Offsets whose places are kept; each is a few hundred bytes.
const KEPT: usize = 4096;

/// A place in the guest's source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// The function, demangled if it is Rust's; empty if unknown.
    pub function: String,
    /// The source file as the compiler named it, and the line, if known.
    pub location: Option<(String, u32)>,
    /// Whether the compiler put it into the function below it.
    pub inlined: bool,
}

/// Looks up source lines, and keeps what it has found. Components are read one at a time; what is known waits for none.
pub(crate) struct Symbols {
    compiler: Arc<Compiler>,
    known: Mutex<Known>,
    /// Held while a component is read: one worker at a time, however many ask.
    reading: Mutex<()>,
}

/// The places of offsets in components.
type Known = HashMap<(Digest, u64), Vec<SourceFrame>>;

impl Symbols {
    pub(crate) fn new(compiler: Arc<Compiler>) -> Self {
        Self { compiler, known: Mutex::default(), reading: Mutex::default() }
    }

    /// The source places of a stack, innermost first, inlined functions included. Blocks: megabytes may be read.
    ///
    /// Frames keep only their function's name if the component has no line tables, or its file is not the one that
    /// failed any more.
    pub(crate) fn resolve(&self, component: &Path, digest: &Digest, frames: &[Frame]) -> Vec<SourceFrame> {
        if !self.unknown(digest, frames).is_empty() {
            let _reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
            // Another one may have read them meanwhile.
            let offsets = self.unknown(digest, frames);
            if !offsets.is_empty()
                && let Some(found) = self.look_up(component, digest, &offsets)
            {
                let mut known = self.known();
                if known.len() + offsets.len() > KEPT {
                    known.clear();
                }
                known.extend(offsets.iter().map(|offset| (*digest, *offset)).zip(found));
            }
        }
        let known = self.known();
        frames
            .iter()
            .flat_map(|frame| placed(frame, frame.offset.and_then(|offset| known.get(&(*digest, offset)))))
            .collect()
    }

    /// The offsets of a stack whose places are not known.
    fn unknown(&self, digest: &Digest, frames: &[Frame]) -> Vec<u64> {
        let known = self.known();
        let offsets = frames.iter().filter_map(|frame| frame.offset);
        let unknown: BTreeSet<_> = offsets.filter(|at| !known.contains_key(&(*digest, *at))).collect();
        unknown.into_iter().collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of each offset; none of any that could not be found, which is tried once only. `None` if the host could not
    /// have them looked up, which may be tried again.
    fn look_up(&self, path: &Path, digest: &Digest, offsets: &[u64]) -> Option<Vec<Vec<SourceFrame>>> {
        let nothing = || Some(vec![Vec::new(); offsets.len()]);
        let Ok(bytes) = open(path).map_err(drop).and_then(|(file, metadata)| read(&file, &metadata).map_err(drop))
        else {
            return nothing();
        };
        if blake3::hash(&bytes).as_bytes() != &digest.0 {
            tracing::debug!(component = %path.display(), "the component has changed; stacks of the old one have no lines");
            return nothing();
        }
        if !self.compiler.is_contained() {
            return Some(lines::find(&bytes, offsets));
        }
        let answer = match self.compiler.lines(&lines::question(&bytes, offsets)) {
            Ok(answer) => answer,
            Err(refusal) => {
                let is_the_hosts = matches!(refusal, Refusal::Host(_) | Refusal::Overdue { .. });
                let cause = sentence(refusal);
                tracing::warn!(component = %path.display(), "its stacks have no source lines: {cause}");
                return if is_the_hosts { None } else { nothing() };
            }
        };
        lines::understood(&answer, offsets.len()).map_or_else(|_| nothing(), Some)
    }
}

/// A frame with its places; by its name alone where there are none.
fn placed(frame: &Frame, places: Option<&Vec<SourceFrame>>) -> Vec<SourceFrame> {
    let mut places = places.cloned().unwrap_or_default();
    match places.last_mut() {
        // The outermost one is the function that the name section knows, often better.
        Some(outermost) if !frame.function.is_empty() => outermost.function.clone_from(&frame.function),
        Some(_) => {}
        None => places.push(SourceFrame { function: frame.function.clone(), location: None, inlined: false }),
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile::CompileSettings;

    #[test]
    fn frames_of_a_component_that_is_gone_keep_their_names() {
        let symbols = Symbols::new(Arc::new(Compiler::new(CompileSettings::default())));
        let frame = Frame { function: "f".to_owned(), offset: Some(1) };
        let found = symbols.resolve(Path::new("/no/such/file"), &Digest([2; 32]), &[frame]);
        assert_eq!(found, [SourceFrame { function: "f".to_owned(), location: None, inlined: false }]);
    }
}
