//! From a stored stack's offsets to source lines: reads a component's own DWARF, away from the guest's thread.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use glasshouse_model::{Digest, Frame, limits, text};
use wasmparser::{Parser, Payload};

use crate::demangle::demangled;

/// Components whose line tables are kept in memory at once; each is about twice the size of its debug sections.
const COMPONENTS: usize = 8;
/// Inlined functions that are shown for one frame.
const INLINED: usize = 16;

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

type Bytes = gimli::EndianArcSlice<gimli::LittleEndian>;

/// Looks up source lines; keeps what it has parsed. While one component is parsed, the others are not waited for.
#[derive(Default)]
pub(crate) struct Symbols(Mutex<HashMap<Digest, Component>>);

/// A component's lines once they are parsed; `None` if it has none.
type Component = Arc<Mutex<OnceCell<Option<Lines>>>>;

/// The core modules of a component that carry line tables.
struct Lines(Vec<ModuleLines>);

struct ModuleLines {
    /// Where the module lies in the component file, and its code section in turn.
    range: std::ops::Range<u64>,
    code_start: u64,
    context: addr2line::Context<Bytes>,
}

impl Symbols {
    /// The source places of a stack, innermost first, inlined functions included. Blocks: it may parse megabytes.
    ///
    /// Frames keep only their function's name if the component has no line tables, or its file is not the one that
    /// failed any more.
    pub(crate) fn resolve(&self, component: &Path, digest: &Digest, frames: &[Frame]) -> Vec<SourceFrame> {
        let entry = self.entry(digest);
        let entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = entry.get_or_init(|| Lines::read(component, digest));
        frames.iter().flat_map(|frame| resolve_frame(lines.as_ref(), frame)).collect()
    }

    fn entry(&self, digest: &Digest) -> Component {
        let mut components = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if components.len() >= COMPONENTS && !components.contains_key(digest) {
            components.clear();
        }
        Arc::clone(components.entry(*digest).or_default())
    }
}

fn resolve_frame(lines: Option<&Lines>, frame: &Frame) -> Vec<SourceFrame> {
    let plain = || vec![SourceFrame { function: frame.function.clone(), location: None, inlined: false }];
    let Some((lines, offset)) = lines.zip(frame.offset) else { return plain() };
    let mut found = lines.find(offset).unwrap_or_default();
    match found.last_mut() {
        // The outermost one is the function that the name section knows, often better.
        Some(outermost) if !frame.function.is_empty() => outermost.function.clone_from(&frame.function),
        Some(_) => {}
        None => return plain(),
    }
    found
}

impl Lines {
    fn read(path: &Path, digest: &Digest) -> Option<Self> {
        let bytes = std::fs::read(PathBuf::from(path)).ok()?;
        if blake3::hash(&bytes).as_bytes() != &digest.0 {
            tracing::debug!(component = %path.display(), "the component has changed; stacks of the old one have no lines");
            return None;
        }
        let mut modules = Vec::new();
        // One entry for each nested module or component: its range, code section and debug sections.
        let mut open: Vec<Nested> = Vec::new();
        for payload in Parser::new(0).parse_all(&bytes) {
            match payload.ok()? {
                Payload::ModuleSection { unchecked_range, .. } => open.push(Nested::new(unchecked_range, true)),
                Payload::ComponentSection { unchecked_range, .. } => open.push(Nested::new(unchecked_range, false)),
                Payload::CodeSectionStart { range, .. } => {
                    if let Some(nested) = open.last_mut() {
                        nested.code_start = Some(range.start as u64);
                    }
                }
                Payload::CustomSection(section) if section.name().starts_with(".debug_") => {
                    if let Some(nested) = open.last_mut() {
                        nested.sections.insert(section.name().to_owned(), section.data().into());
                    }
                }
                Payload::End(_) => modules.extend(open.pop().and_then(Nested::finish)),
                _ => {}
            }
        }
        Some(Self(modules))
    }

    fn find(&self, offset: u64) -> Option<Vec<SourceFrame>> {
        let module = self.0.iter().find(|module| module.range.contains(&offset))?;
        let address = offset.checked_sub(module.code_start)?;
        let mut frames = module.context.find_frames(address).skip_all_loads().ok()?;
        let mut found = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let function = frame.function.and_then(|function| Some(demangled(&function.raw_name().ok()?)));
            let location = frame.location.as_ref().and_then(source_place);
            found.push(SourceFrame { function: function.unwrap_or_default(), location, inlined: true });
            if found.len() == INLINED {
                break;
            }
        }
        if let Some(outermost) = found.last_mut() {
            outermost.inlined = false;
        }
        Some(found)
    }
}

/// A file and a line, if both are known.
fn source_place(place: &addr2line::Location<'_>) -> Option<(String, u32)> {
    Some((text::cut(place.file?, limits::NAME_BYTES).to_owned(), place.line?))
}

/// A module or component within a component, while it is parsed.
struct Nested {
    range: std::ops::Range<usize>,
    is_module: bool,
    code_start: Option<u64>,
    sections: HashMap<String, std::sync::Arc<[u8]>>,
}

impl Nested {
    fn new(range: std::ops::Range<usize>, is_module: bool) -> Self {
        Self { range, is_module, code_start: None, sections: HashMap::new() }
    }

    fn finish(self) -> Option<ModuleLines> {
        if !self.is_module || !self.sections.contains_key(".debug_info") {
            return None;
        }
        let dwarf = gimli::Dwarf::load(|id| {
            let bytes = self.sections.get(id.name()).cloned().unwrap_or_else(|| std::sync::Arc::from([]));
            Ok::<_, gimli::Error>(Bytes::new(bytes, gimli::LittleEndian))
        });
        let context = addr2line::Context::from_dwarf(dwarf.ok()?).ok()?;
        Some(ModuleLines {
            range: self.range.start as u64..self.range.end as u64,
            code_start: self.code_start?,
            context,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_that_is_being_parsed_holds_up_no_other() {
        let symbols = Symbols::default();
        let slow = symbols.entry(&Digest([1; 32]));
        let _parsing = slow.lock().expect("nobody else has it");
        let frame = Frame { function: "f".to_owned(), offset: Some(1) };
        let found = symbols.resolve(Path::new("/no/such/file"), &Digest([2; 32]), &[frame]);
        assert_eq!(found, [SourceFrame { function: "f".to_owned(), location: None, inlined: false }]);
    }

    #[test]
    fn a_file_name_of_megabytes_is_cut() {
        let name = "x".repeat(1 << 20);
        let place = addr2line::Location { file: Some(&name), line: Some(7), column: None };
        assert_eq!(source_place(&place), Some(("x".repeat(limits::NAME_BYTES), 7)));
    }
}
