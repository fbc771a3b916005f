//! What a component imports and exports, without running it.

use std::path::Path;

use glasshouse_model::Digest;
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;

use crate::bounds;
use crate::cache::just_compiled;
use crate::compile::{CompileSettings, Compiler};
use crate::flavour::Flavour;
use crate::loader::{LoadError, not_a_component, open, read};

/// What a component says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspection {
    /// The digest of its file.
    pub digest: Digest,
    /// The file's size.
    pub file_bytes: u64,
    /// The size of its compiled code, as it is cached.
    pub code_bytes: u64,
    /// What it imports, by name.
    pub imports: Vec<String>,
    /// What it exports, by name; interfaces with their functions.
    pub exports: Vec<String>,
}

/// Reads and compiles a component to see what it imports and exports. Blocks while it compiles.
pub fn inspect(path: &Path, settings: &CompileSettings) -> Result<Inspection, LoadError> {
    let (file, metadata) = open(path)?;
    let bytes = read(&file, &metadata).map_err(|cause| LoadError::Unreadable { path: path.to_owned(), cause })?;
    if let Some(what) = not_a_component(&bytes) {
        return Err(LoadError::NotAComponent { path: path.to_owned(), what });
    }
    bounds::check(&bytes).map_err(|cause| LoadError::TooMuch { path: path.to_owned(), cause })?;
    let host = |error: wasmtime::Error| LoadError::Host { path: path.to_owned(), cause: format!("{error:#}") };
    let flavour = Flavour::Fuel;
    let engine = crate::engine::engine(flavour).map_err(host)?;
    let compiler = Compiler::new(settings.clone());
    let code = compiler
        .compile((flavour, &engine), &bytes, compiler.whole())
        .map_err(|refusal| LoadError::new(path, refusal))?;
    let component = just_compiled(&engine, &code).map_err(host)?;
    let code_bytes = code.len() as u64;
    let kind = component.component_type();
    let imports = kind.imports(&engine).map(|(name, item)| described(&engine, name, &item.ty)).collect();
    let exports = kind.exports(&engine).map(|(name, item)| described(&engine, name, &item.ty)).collect();
    let digest = Digest(*blake3::hash(&bytes).as_bytes());
    Ok(Inspection { digest, file_bytes: bytes.len() as u64, code_bytes, imports, exports })
}

fn described(engine: &Engine, name: &str, item: &ComponentItem) -> String {
    match item {
        ComponentItem::ComponentInstance(instance) => {
            let functions: Vec<_> = instance
                .exports(engine)
                .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
                .map(|(function, _)| function.to_owned())
                .collect();
            if functions.is_empty() { name.to_owned() } else { format!("{name} ({})", functions.join(", ")) }
        }
        _ => name.to_owned(),
    }
}

/// Why a component does not fit the host, and what to do.
pub(crate) fn link_error(error: &wasmtime::Error) -> String {
    format!(
        "it does not fit this host: {error:#}. The host offers WASI 0.2 (wasi:cli, clocks, filesystem, http, io, \
         random, sockets) and glasshouse:extension@0.1.0 (debugging, context, events); `glasshouse inspect` lists what the \
         component imports"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_not_even_read() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        file.as_file().set_len(1 << 40).expect("making it large");
        let refused = inspect(file.path(), &CompileSettings::default()).expect_err("it is too large");
        assert!(matches!(refused, LoadError::TooLarge { bytes, .. } if bytes == 1 << 40), "{refused}");
    }
}
