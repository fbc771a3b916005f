//! Leaves the line tables out of a component: with them, even a small extension is over 1 MB.

use anyhow::{Context as _, Result, ensure};

/// Bytes of the magic number, the version and the layer.
const HEADER_BYTES: usize = 8;
/// In both layers.
const CUSTOM: u8 = 0;
/// In a component.
const MODULE: u8 = 1;
/// In a component.
const COMPONENT: u8 = 4;

/// The component, or module, without its DWARF sections; all else stays as it is.
pub(crate) fn strip(binary: &[u8]) -> Result<Vec<u8>> {
    let header = binary.get(..HEADER_BYTES).context("a WebAssembly binary has a header")?;
    let is_component = header[6] == 1;
    let mut stripped = header.to_vec();
    let mut rest = &binary[HEADER_BYTES..];
    while let Some((&id, after)) = rest.split_first() {
        let (length, after) = leb128(after)?;
        ensure!(length <= after.len(), "a section ends beyond the file");
        let (content, after) = after.split_at(length);
        rest = after;
        if id == CUSTOM && is_debug_information(content)? {
            continue;
        }
        let nested = is_component && (id == MODULE || id == COMPONENT);
        let content = if nested { strip(content)? } else { content.to_vec() };
        stripped.push(id);
        put_leb128(&mut stripped, content.len());
        stripped.extend(content);
    }
    Ok(stripped)
}

fn is_debug_information(custom: &[u8]) -> Result<bool> {
    let (length, name) = leb128(custom)?;
    Ok(name.get(..length).is_some_and(|name| name.starts_with(b".debug_")))
}

fn leb128(bytes: &[u8]) -> Result<(usize, &[u8])> {
    let mut number = 0;
    for (index, byte) in bytes.iter().enumerate().take(5) {
        number |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((number, &bytes[index + 1..]));
        }
    }
    anyhow::bail!("a length has no end")
}

fn put_leb128(bytes: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
