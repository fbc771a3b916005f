//! Function names of guests without what changes from build to build, and whose code they are.

use std::fmt::Write as _;

/// Crates and libraries that a guest is linked with: what they do is not what an extension's author wrote.
const LIBRARIES: [&str; 17] = [
    "__rustc",
    "alloc",
    "compiler_builtins",
    "core",
    "dlmalloc",
    "glasshouse_sdk",
    "glasshouse_wire",
    "hashbrown",
    "panic_abort",
    "panic_unwind",
    "std",
    "wasi",
    "wasip2",
    "wit_bindgen",
    "wit_bindgen_rt",
    "rustc_demangle",
    "wasi_snapshot_preview1",
];
/// Functions of C libraries and compilers.
const LIBRARY_FUNCTIONS: [&str; 15] = [
    "_start",
    "abort",
    "calloc",
    "exit",
    "free",
    "malloc",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "realloc",
    "rust_begin_unwind",
    "rust_panic",
    "strlen",
    "undefined_weak",
];
/// What compilers put behind a function's name when they split or copy it.
const COPIES: [&str; 5] = ["cold", "constprop", "isra", "llvm", "part"];
/// Hexadecimal digits of the hash that ends an old Rust name.
const HASH_DIGITS: usize = 16;

/// Appends a function's name without instances of generics, numbers of closures, hashes of crates and marks of copies.
pub(super) fn normalise(name: &str, out: &mut String) {
    let name = without_copies(name);
    let mut rest = name.strip_suffix(hash_of(name)).unwrap_or(name);
    let mut before = '\0';
    while let Some(next) = rest.chars().next() {
        let skipped = match next {
            '<' if (before == ':' || before.is_alphanumeric() || before == '_') && !rest.starts_with("<impl ") => {
                // The turbofish of `f::<T>` goes with what it holds.
                out.truncate(out.trim_end_matches("::").len());
                brackets(rest)
            }
            '[' if before.is_alphanumeric() => hash_in_brackets(rest),
            '{' => {
                let (inner, length) = braces(rest);
                let _ = write!(out, "{{{inner}}}");
                length
            }
            _ => 0,
        };
        let length = if skipped > 0 {
            skipped
        } else {
            out.push(next);
            next.len_utf8()
        };
        before = rest[..length].chars().next_back().unwrap_or(before);
        rest = &rest[length..];
    }
}

/// Whether a name, as [`normalise`] makes them, is of the extension's own code and not of a library or of glue.
pub(super) fn is_own(name: &str) -> bool {
    if name.contains('#') || name.starts_with("__") || name.starts_with("cabi_") || name.contains("_export_") {
        return false;
    }
    // A method of a trait of its own on a type that is nobody's, such as `<u32 as app::Cost>::cost`, is its own.
    let of_trait = name.split_once(" as ").filter(|(of_type, _)| !of_type.contains("::"));
    let root = root(of_trait.map_or(name, |(_, of_trait)| of_trait));
    !LIBRARIES.contains(&root) && !LIBRARY_FUNCTIONS.contains(&name) && !name.is_empty()
}

/// The first word of a path, behind the marks of references, slices and the like.
fn root(path: &str) -> &str {
    let mut path = path;
    loop {
        let bare = path.trim_start_matches(['<', '&', '*', '(', '[', ' ']);
        let bare = ["mut ", "const ", "dyn ", "impl "].iter().fold(bare, |bare, word| bare.trim_start_matches(word));
        if bare.len() == path.len() {
            break;
        }
        path = bare;
    }
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    &path[..end]
}

/// A name without the endings that compilers put there, such as `.llvm.123` and `.part.0`.
fn without_copies(name: &str) -> &str {
    let mut name = name;
    while let Some((start, ending)) = name.rsplit_once('.') {
        let is_number = !ending.is_empty() && ending.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number && !COPIES.contains(&ending) {
            break;
        }
        name = start;
    }
    name
}

/// The hash that ends a name, with the `::h` before it; empty if there is none.
fn hash_of(name: &str) -> &str {
    name.rfind("::h")
        .map(|at| &name[at..])
        .filter(|ending| ending.len() == "::h".len() + HASH_DIGITS && is_hex(&ending["::h".len()..]))
        .unwrap_or_default()
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The length of what is between brackets, with these; to the end if they are not closed.
fn brackets(text: &str) -> usize {
    let (mut depth, mut before) = (0_usize, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'<' => depth += 1,
            b'>' if before != b'-' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
        before = byte;
    }
    text.len()
}

/// The length of a number or hash in square brackets behind a name; 0 if it is something else.
fn hash_in_brackets(text: &str) -> usize {
    let Some(end) = text.find(']') else { return 0 };
    let inner = &text[1..end];
    let is_hash = is_hex(inner) && inner.bytes().any(|byte| byte.is_ascii_digit());
    if is_hash { end + 1 } else { 0 }
}

/// What stands in braces without its number, and the length of all that: `closure` of `{closure#3}` and of `{{closure}}`.
fn braces(text: &str) -> (&str, usize) {
    let start = text.find(|c| c != '{').unwrap_or(text.len());
    let end = text[start..].find('}').map_or(text.len(), |end| start + end);
    let after = text[end..].find(|c| c != '}').map_or(text.len(), |after| end + after);
    let inner = &text[start..end];
    (inner.split('#').next().unwrap_or_default(), after)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(name: &str) -> String {
        let mut out = String::new();
        normalise(name, &mut out);
        out
    }

    #[test]
    fn what_changes_from_build_to_build_is_left_out() {
        for (name, expect) in [
            ("app::parse", "app::parse"),
            ("app::parse::h0123456789abcdef", "app::parse"),
            ("app::parse::hash", "app::parse::hash"),
            ("app[846817f741e54dfd]::parse", "app::parse"),
            ("app::parse::<alloc::vec::Vec<u8>>", "app::parse"),
            ("app::run::{closure#0}", "app::run::{closure}"),
            ("app::run::{{closure}}", "app::run::{closure}"),
            ("app::run::{closure#2}::{closure#0}", "app::run::{closure}::{closure}"),
            (
                "<alloc::vec::Vec<T, A> as core::ops::drop::Drop>::drop",
                "<alloc::vec::Vec as core::ops::drop::Drop>::drop",
            ),
            ("<app::Cart as app::Priced>::price::<fn(u8) -> u8>", "<app::Cart as app::Priced>::price"),
            ("app::<impl app::Shown for Vec<u8>>::show", "app::<impl app::Shown for Vec>::show"),
            ("parse.llvm.1234567", "parse"),
            ("parse.part.0", "parse"),
            ("parse.cold", "parse"),
            ("lambda[12]", "lambda"),
            ("sha256::digest64", "sha256::digest64"),
            ("app::cut<off", "app::cut"),
            ("größe::maß", "größe::maß"),
            ("", ""),
        ] {
            assert_eq!(normalised(name), expect, "{name}");
        }
    }

    #[test]
    fn an_extensions_own_code_is_told_from_libraries_and_glue() {
        for (name, expect) in [
            ("app::parse", true),
            ("parse", true),
            ("core::option::unwrap_failed", false),
            ("<alloc::vec::Vec as core::ops::drop::Drop>::drop", false),
            ("<app::Cart as core::fmt::Display>::fmt", true),
            ("<&app::Cart as core::fmt::Display>::fmt", true),
            ("<u32 as app::Cost>::cost", true),
            ("<&str as core::fmt::Display>::fmt", false),
            ("__rustc::rust_panic", false),
            ("rust_begin_unwind", false),
            ("glasshouse:extension/handler@0.1.0#handle", false),
            ("app::exports::handler::_export_handle_cabi", false),
            ("cabi_realloc", false),
            ("memcpy", false),
            ("", false),
        ] {
            assert_eq!(is_own(name), expect, "{name}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_has_a_normal_form_that_is_no_longer(name in "[a-z0-9:<>{}#\\[\\] \\-.é]{0,80}") {
            let once = normalised(&name);
            proptest::prop_assert!(once.len() <= name.len() + 2);
            is_own(&once);
        }
    }
}
