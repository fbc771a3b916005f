//! Names of things: extensions, traces, spans, components.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// An extension's id: 1 to 64 characters of `[a-z0-9-]`, and not [`HOST`]. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExtensionId(Arc<str>);

/// Text that is no extension id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", refusal(.0))]
pub struct InvalidExtensionId(pub String);

/// The name under which the host keeps telemetry of its own, among those of extensions: no extension's id.
pub const HOST: &str = "host";

fn refusal(text: &str) -> String {
    if text == HOST {
        return format!("\"{HOST}\" is the host's own name: use another id");
    }
    let shown = crate::text::visible(text, 80);
    format!("\"{shown}\" is not an extension id: use 1 to 64 characters of a-z, 0-9 and -")
}

impl ExtensionId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ExtensionId {
    type Err = InvalidExtensionId;

    fn from_str(text: &str) -> Result<Self, InvalidExtensionId> {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if (1..=64).contains(&text.len()) && text.bytes().all(legal) && text != HOST {
            Ok(Self(text.into()))
        } else {
            Err(InvalidExtensionId(text.into()))
        }
    }
}

impl fmt::Display for ExtensionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for ExtensionId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

macro_rules! hex_id {
    ($(#[$meta:meta])* $name:ident, $bytes:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; $bytes]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                for byte in self.0 {
                    write!(f, "{byte:02x}")?;
                }
                Ok(())
            }
        }

        impl FromStr for $name {
            type Err = InvalidHexId;

            fn from_str(text: &str) -> Result<Self, InvalidHexId> {
                let invalid = InvalidHexId { digits: 2 * $bytes };
                if text.len() != 2 * $bytes || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
                    return Err(invalid);
                }
                let mut bytes = [0; $bytes];
                for (index, byte) in bytes.iter_mut().enumerate() {
                    *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| invalid)?;
                }
                Ok(Self(bytes))
            }
        }
    };
}

/// Text that is no id of hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {digits} lower-case hexadecimal digits")]
pub struct InvalidHexId {
    digits: usize,
}

hex_id! {
    /// A trace: 32 lower-case hexadecimal digits, as in W3C Trace Context.
    TraceId, 16
}

hex_id! {
    /// A span: 16 lower-case hexadecimal digits, as in W3C Trace Context.
    SpanId, 8
}

hex_id! {
    /// The BLAKE3 digest of a component file.
    Digest, 32
}

hex_id! {
    /// What tells whether calls had the same input: 32 lower-case hexadecimal digits, from the input and a secret of the data
    /// directory.
    InputDigest, 16
}

hex_id! {
    /// A group of errors that are the same bug: 12 lower-case hexadecimal digits, from their fingerprint.
    GroupId, 6
}

hex_id! {
    /// A debug session: 12 lower-case hexadecimal digits, drawn by lot.
    SessionId, 6
}

hex_id! {
    /// An alert of an extension: 12 lower-case hexadecimal digits, from what makes it the same alert each time.
    AlertId, 6
}

impl Digest {
    /// The first twelve digits: enough to tell versions apart on a screen.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl InputDigest {
    /// The first twelve digits: enough to tell inputs apart on a screen.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}
