//! Function names as their author wrote them, of components whose author may be hostile: bounded in size and in time.

use std::fmt::{self, Write};

use glasshouse_model::limits::NAME_BYTES;
use glasshouse_model::text::cut;

/// Bytes of the longest name that is demangled; real ones of generic code have a few hundred.
const MANGLED_BYTES: usize = 2 * 1024;

/// A Rust function's name as its author wrote it, cut to [`NAME_BYTES`]; other names as they are.
///
/// C++ names stay mangled: a few hundred bytes of one can stand for gigabytes of text, which its demanglers build before
/// they show any of it. Rust's writes as it goes, and every step that branches writes, so that it ends with the room.
pub(crate) fn demangled(name: &str) -> String {
    if name.len() <= MANGLED_BYTES
        && let Ok(readable) = rustc_demangle::try_demangle(name)
    {
        let mut shown = Bounded(String::new());
        // It fails once there is no room; what was written until then is the name cut.
        let _ = write!(shown, "{readable:#}");
        return shown.0;
    }
    cut(name, NAME_BYTES).to_owned()
}

/// Text that refuses what is beyond [`NAME_BYTES`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let kept = cut(text, NAME_BYTES - self.0.len());
        self.0.push_str(kept);
        if kept.len() == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, expect: &str) {
        assert_eq!(demangled(name), expect);
    }

    #[test]
    fn rust_names_are_readable_and_others_stay() {
        check("_ZN4spin5whirl17h0123456789abcdefE", "spin::whirl");
        check("_RNvC6_123foo3bar", "123foo::bar");
        check("_Z3fooi", "_Z3fooi");
        check("plain", "plain");
        check("", "");
    }

    #[test]
    fn a_name_that_expands_without_end_is_cut_at_once() {
        // A tuple of two tuples of two tuples, by back references: 2^64 units of text.
        let mut name = "_RIC1aTuuE".to_owned();
        let mut earlier = "3_".to_owned();
        for _ in 0..64 {
            let at = name.len() - "_R".len();
            write!(name, "TB{earlier}B{earlier}E").expect("writing to a string");
            earlier = base_62(at);
        }
        name.push('E');
        assert!(name.len() < MANGLED_BYTES, "{}", name.len());
        let shown = demangled(&name);
        assert!(shown.starts_with("a::<((), ()), (((), ()), ((), ()))"), "{shown}");
        assert_eq!(shown.len(), NAME_BYTES);
    }

    /// A back reference's number as Rust's mangling writes it.
    fn base_62(number: usize) -> String {
        const DIGITS: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
        let mut left = number - 1;
        let mut shown = vec![b'_'];
        loop {
            shown.push(DIGITS[left % 62]);
            left /= 62;
            if left == 0 {
                break;
            }
        }
        shown.reverse();
        String::from_utf8(shown).expect("digits are text")
    }

    #[test]
    fn a_name_of_megabytes_is_cut_and_not_read() {
        let name = format!("_ZN{}", "1a".repeat(1 << 20));
        assert_eq!(demangled(&name), name[..NAME_BYTES]);
        assert_eq!(demangled(&"é".repeat(NAME_BYTES)).len(), NAME_BYTES);
    }
}
