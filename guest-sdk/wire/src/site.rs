//! What a log's place in the source fixes, encoded when the guest is compiled.

use crate::{FLAG_SOURCE, KIND_LOG, Level, RECORD_HEADER_BYTES, VERSION};

/// Bytes before the log's own: the version, and the record's header, whose length is filled in later.
const HEAD_BYTES: usize = 1 + RECORD_HEADER_BYTES;

/// A place in the source that logs. Its [`prefix`](Self::prefix) is the start of a batch of one log, up to the message,
/// or up to the fields if the message is a literal.
///
/// ```
/// use glasshouse_wire::{Level, LogSite};
///
/// const SITE: LogSite =
///     LogSite { level: Level::Info, target: "demo", file: "src/lib.rs", line: 7, message: "started" };
/// static PREFIX: [u8; SITE.prefix_bytes()] = SITE.prefix();
///
/// let mut batch = Vec::new();
/// glasshouse_wire::write_log_at(&mut batch, &PREFIX, None, &[]);
/// assert_eq!(glasshouse_wire::records(&batch)?.count(), 1);
/// # Ok::<(), glasshouse_wire::Malformed>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LogSite {
    /// How serious its logs are.
    pub level: Level,
    /// The logger's name.
    pub target: &'static str,
    /// The source file as the compiler names it.
    pub file: &'static str,
    /// Counted from 1.
    pub line: u32,
    /// The message's format string.
    pub message: &'static str,
}

impl LogSite {
    /// Whether the message says the same each time: its format string has neither arguments nor escapes.
    pub const fn is_literal(&self) -> bool {
        let bytes = self.message.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            if matches!(bytes[at], b'{' | b'}') {
                return false;
            }
            at += 1;
        }
        true
    }

    /// Bytes of the prefix.
    pub const fn prefix_bytes(&self) -> usize {
        let fixed = HEAD_BYTES + 2 + str_bytes(self.target) + str_bytes(self.file) + varint_bytes(self.line);
        if self.is_literal() { fixed + str_bytes(self.message) } else { fixed }
    }

    /// The prefix, as [`write_log_at`](crate::write_log_at) wants it.
    ///
    /// # Panics
    ///
    /// If `N` is not what [`LogSite::prefix_bytes`] gives.
    pub const fn prefix<const N: usize>(&self) -> [u8; N] {
        let mut prefix = [0; N];
        prefix[0] = VERSION;
        prefix[1] = KIND_LOG;
        prefix[HEAD_BYTES] = self.level as u8;
        prefix[HEAD_BYTES + 1] = FLAG_SOURCE;
        let at = put_str(&mut prefix, HEAD_BYTES + 2, self.target);
        let at = put_str(&mut prefix, at, self.file);
        let at = put_varint(&mut prefix, at, self.line);
        let end = if self.is_literal() { put_str(&mut prefix, at, self.message) } else { at };
        assert!(end == N, "the prefix has another length");
        prefix
    }
}

const fn varint_bytes(number: u32) -> usize {
    let mut bytes = 1;
    let mut rest = number >> 7;
    while rest > 0 {
        bytes += 1;
        rest >>= 7;
    }
    bytes
}

const fn str_bytes(text: &str) -> usize {
    varint_bytes(text.len() as u32) + text.len()
}

const fn put_varint(into: &mut [u8], mut at: usize, mut number: u32) -> usize {
    while number >= 0x80 {
        into[at] = number as u8 | 0x80;
        at += 1;
        number >>= 7;
    }
    into[at] = number as u8;
    at + 1
}

const fn put_str(into: &mut [u8], at: usize, text: &str) -> usize {
    let start = put_varint(into, at, text.len() as u32);
    let mut index = 0;
    while index < text.len() {
        into[start + index] = text.as_bytes()[index];
        index += 1;
    }
    start + text.len()
}
