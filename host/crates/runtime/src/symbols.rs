//! From a stored stack's offsets to source lines, away from the guest's thread.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use glasshouse_model::{Digest, Frame};

use crate::compile::Compiler;
use crate::lines;

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

/// Looks up source lines, and keeps what it has found. While one component is read, the others are not waited for.
pub(crate) struct Symbols {
    compiler: Arc<Compiler>,
    known: Mutex<Known>,
}

/// The places of offsets in components.
type Known = HashMap<(Digest, u64), Vec<SourceFrame>>;

impl Symbols {
    pub(crate) fn new(compiler: Arc<Compiler>) -> Self {
        Self { compiler, known: Mutex::default() }
    }

    /// The source places of a stack, innermost first, inlined functions included. Blocks: megabytes may be read.
    ///
    /// Frames keep only their function's name if the component has no line tables, or its file is not the one that
    /// failed any more.
    pub(crate) fn resolve(&self, component: &Path, digest: &Digest, frames: &[Frame]) -> Vec<SourceFrame> {
        let offsets: BTreeSet<_> = {
            let known = self.known();
            frames.iter().filter_map(|frame| frame.offset).filter(|at| !known.contains_key(&(*digest, *at))).collect()
        };
        let offsets: Vec<_> = offsets.into_iter().collect();
        if !offsets.is_empty() {
            let found = self.look_up(component, digest, &offsets);
            let mut known = self.known();
            if known.len() + offsets.len() > KEPT {
                known.clear();
            }
            known.extend(offsets.iter().map(|offset| (*digest, *offset)).zip(found));
        }
        let known = self.known();
        frames
            .iter()
            .flat_map(|frame| placed(frame, frame.offset.and_then(|offset| known.get(&(*digest, offset)))))
            .collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The places of each offset; none of any that could not be found, which is tried once only.
    fn look_up(&self, path: &Path, digest: &Digest, offsets: &[u64]) -> Vec<Vec<SourceFrame>> {
        let nothing = || vec![Vec::new(); offsets.len()];
        let Ok(bytes) = std::fs::read(path) else { return nothing() };
        if blake3::hash(&bytes).as_bytes() != &digest.0 {
            tracing::debug!(component = %path.display(), "the component has changed; stacks of the old one have no lines");
            return nothing();
        }
        if !self.compiler.is_contained() {
            return lines::find(&bytes, offsets);
        }
        let answer = match self.compiler.lines(&lines::question(&bytes, offsets)) {
            Ok(answer) => answer,
            Err(cause) => {
                tracing::warn!(component = %path.display(), "its stacks have no source lines: {cause}");
                return nothing();
            }
        };
        lines::understood(&answer, offsets.len()).unwrap_or_else(|_| nothing())
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
