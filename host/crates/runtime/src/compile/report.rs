//! What the process that compiles writes for the host: a head of fixed size, and what it made or why it made nothing.

use std::io::{self, Read, Write};

use super::confine::Lacks;

/// Tells a worker's report from what another program may have written.
const MAGIC: [u8; 8] = *b"ghwork01";
/// Magic, compatibility, what is lacking, kind.
const HEAD_BYTES: usize = 18;
/// Bytes of the longest text that is taken from the worker.
const TEXT_BYTES: u64 = 4 * 1024;

/// How the worker's task ended, by the worker's own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The body is what was asked for.
    Made = 0,
    /// The component is refused; the body says why.
    Invalid = 1,
    /// There was not enough memory.
    OverMemory = 2,
}

/// What stands before the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The engine's, as [`crate::engine::compatibility`] has it.
    pub(crate) compatibility: u64,
    pub(crate) lacks: Lacks,
    pub(crate) kind: Kind,
}

/// Writes a report.
pub(crate) fn write(output: &mut impl Write, head: Head, body: &[u8]) -> io::Result<()> {
    let mut bytes = [0; HEAD_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..16].copy_from_slice(&head.compatibility.to_le_bytes());
    bytes[16] = head.lacks.byte();
    bytes[17] = head.kind as u8;
    output.write_all(&bytes)?;
    output.write_all(body)?;
    output.flush()
}

/// Reads a report; `None` if it is none, or not whole. A text is cut; a body of more than `most` bytes is an error.
pub(crate) fn read(input: &mut impl Read, most: u64) -> io::Result<Option<(Head, Vec<u8>)>> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES);
    input.take(HEAD_BYTES as u64).read_to_end(&mut bytes)?;
    let Some((magic, rest)) = bytes.split_first_chunk::<8>() else { return Ok(None) };
    let Some((compatibility, &[lacks, kind])) = rest.split_first_chunk::<8>() else { return Ok(None) };
    let Some(kind) = [Kind::Made, Kind::Invalid, Kind::OverMemory].into_iter().find(|known| *known as u8 == kind)
    else {
        return Ok(None);
    };
    if *magic != MAGIC {
        return Ok(None);
    }
    let mut body = Vec::new();
    if kind == Kind::Made {
        input.take(most.saturating_add(1)).read_to_end(&mut body)?;
        if body.len() as u64 > most {
            let error = format!("it wrote more than the {most} bytes that are taken from it");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, error));
        }
    } else {
        input.take(TEXT_BYTES).read_to_end(&mut body)?;
    }
    let head = Head { compatibility: u64::from_le_bytes(*compatibility), lacks: Lacks::from_byte(lacks), kind };
    Ok(Some((head, body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_anything_else_is_not() {
        let head = Head { compatibility: 7, lacks: Lacks::from_byte(2), kind: Kind::Made };
        let mut bytes = Vec::new();
        write(&mut bytes, head, b"code").expect("memory takes all");
        assert_eq!(read(&mut bytes.as_slice(), 4).expect("memory"), Some((head, b"code".to_vec())));
        let error = read(&mut bytes.as_slice(), 3).expect_err("it is longer");
        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
        for length in 0..HEAD_BYTES {
            assert_eq!(read(&mut &bytes[..length], 4).expect("memory"), None, "{length} bytes");
        }
        for (at, value) in [(0, 0), (17, 9)] {
            let mut other = bytes.clone();
            other[at] = value;
            assert_eq!(read(&mut other.as_slice(), 4).expect("memory"), None, "byte {at}");
        }
    }

    #[test]
    fn a_text_without_an_end_is_cut() {
        let head = Head { compatibility: 7, lacks: Lacks::default(), kind: Kind::Invalid };
        let mut bytes = Vec::new();
        write(&mut bytes, head, &vec![b'x'; 1 << 20]).expect("memory takes all");
        let (_, body) = read(&mut bytes.as_slice(), 0).expect("memory").expect("a report");
        assert_eq!(body.len() as u64, TEXT_BYTES);
    }
}
