//! From offsets in a component to source lines, by its own DWARF: hostile, so that it is read in a process that can do nothing
//! else where there is one.

use std::collections::HashMap;

use glasshouse_model::wire::{Malformed, Reader, put_str, put_varint};
use glasshouse_model::{limits, text};
use wasmparser::{Parser, Payload};

use crate::demangle::demangled;
use crate::symbols::SourceFrame;

/// Inlined functions that are shown for one frame.
const INLINED: usize = 16;
/// Bytes of one module's debug sections that are read: those of the largest honest extensions are some 30 MiB.
const DEBUG_BYTES: usize = 128 << 20;

type Bytes = gimli::EndianArcSlice<gimli::LittleEndian>;

/// The core modules of a component that carry line tables.
struct Lines(Vec<ModuleLines>);

struct ModuleLines {
    /// Where the module lies in the component file, and its code section in turn.
    range: std::ops::Range<u64>,
    code_start: u64,
    context: addr2line::Context<Bytes>,
}

/// The places of each offset, innermost first; none where they are not known.
pub(crate) fn find(component: &[u8], offsets: &[u64]) -> Vec<Vec<SourceFrame>> {
    let lines = Lines::read(component);
    offsets.iter().map(|offset| lines.as_ref().and_then(|lines| lines.find(*offset)).unwrap_or_default()).collect()
}

/// What a worker is asked: offsets, and the component that they lie in.
pub(crate) fn question(component: &[u8], offsets: &[u64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(component.len() + 8 * offsets.len() + 4);
    bytes.extend_from_slice(&(offsets.len() as u32).to_le_bytes());
    for offset in offsets {
        bytes.extend_from_slice(&offset.to_le_bytes());
    }
    bytes.extend_from_slice(component);
    bytes
}

/// What a worker answers to a [`question`]; `None` if it is none.
pub(crate) fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let (count, rest) = question.split_first_chunk::<4>()?;
    let (offsets, component) = rest.split_at_checked(8 * u32::from_le_bytes(*count) as usize)?;
    let (offsets, _) = offsets.as_chunks::<8>();
    let offsets: Vec<_> = offsets.iter().map(|offset| u64::from_le_bytes(*offset)).collect();
    let mut bytes = Vec::new();
    for places in find(component, &offsets) {
        put_varint(&mut bytes, places.len() as u32);
        for place in places {
            bytes.push(u8::from(place.inlined));
            put_str(&mut bytes, &place.function);
            let (file, line) = place.location.as_ref().map_or(("", 0), |(file, line)| (file.as_str(), *line));
            put_str(&mut bytes, file);
            put_varint(&mut bytes, line);
        }
    }
    Some(bytes)
}

/// Reads an answer to a question about so many offsets. A worker may have been taken over by what it read: it is believed
/// nothing but text within bounds.
pub(crate) fn understood(answer: &[u8], offsets: usize) -> Result<Vec<Vec<SourceFrame>>, Malformed> {
    let mut reader = Reader::new(answer);
    let cut = |text: &str| text::cut(text, limits::NAME_BYTES).to_owned();
    let mut all = Vec::with_capacity(offsets);
    for _ in 0..offsets {
        let count = reader.varint()? as usize;
        if count > INLINED {
            return Err(Malformed("more places than one frame has"));
        }
        let mut places = Vec::with_capacity(count);
        for _ in 0..count {
            let inlined = reader.byte()? != 0;
            let (function, file, line) = (cut(reader.str()?), cut(reader.str()?), reader.varint()?);
            places.push(SourceFrame { function, location: (!file.is_empty()).then_some((file, line)), inlined });
        }
        all.push(places);
    }
    Ok(all)
}

impl Lines {
    fn read(component: &[u8]) -> Option<Self> {
        let mut modules = Vec::new();
        // One entry for each nested module or component: its range, code section and debug sections.
        let mut open: Vec<Nested> = Vec::new();
        for payload in Parser::new(0).parse_all(component) {
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
                        nested.debug_bytes += section.data().len();
                        if nested.debug_bytes > DEBUG_BYTES {
                            return None;
                        }
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
    debug_bytes: usize,
    sections: HashMap<String, std::sync::Arc<[u8]>>,
}

impl Nested {
    fn new(range: std::ops::Range<usize>, is_module: bool) -> Self {
        Self { range, is_module, code_start: None, debug_bytes: 0, sections: HashMap::new() }
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

    fn place(function: &str, location: Option<(&str, u32)>, inlined: bool) -> SourceFrame {
        let location = location.map(|(file, line)| (file.to_owned(), line));
        SourceFrame { function: function.to_owned(), location, inlined }
    }

    #[test]
    fn a_file_name_of_megabytes_is_cut() {
        let name = "x".repeat(1 << 20);
        let place = addr2line::Location { file: Some(&name), line: Some(7), column: None };
        assert_eq!(source_place(&place), Some(("x".repeat(limits::NAME_BYTES), 7)));
    }

    #[test]
    fn what_a_worker_answers_is_believed_within_bounds_only() {
        let component = b"\0asm\x0d\0\x01\0";
        let said = answer(&question(component, &[1, 2])).expect("it is a question");
        assert_eq!(understood(&said, 2), Ok(vec![Vec::new(), Vec::new()]));
        assert!(understood(&said, 3).is_err(), "an answer is missing");
        assert_eq!(answer(b"\xff\xff\xff\xff12345678"), None);
        let mut hostile = Vec::new();
        put_varint(&mut hostile, 1);
        hostile.push(1);
        put_str(&mut hostile, &"f".repeat(1 << 20));
        put_str(&mut hostile, "lib.rs");
        put_varint(&mut hostile, 7);
        let cut = place(&"f".repeat(limits::NAME_BYTES), Some(("lib.rs", 7)), true);
        assert_eq!(understood(&hostile, 1), Ok(vec![vec![cut]]));
        let mut many = Vec::new();
        put_varint(&mut many, u32::MAX);
        assert!(understood(&many, 1).is_err());
    }
}
