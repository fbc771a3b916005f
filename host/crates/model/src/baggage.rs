//! What programs pass along with a request for each other, as names and values: <https://www.w3.org/TR/baggage/>.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Members of a baggage, by the standard.
const MEMBERS: usize = 64;
/// Bytes of one, by the standard.
const BYTES: usize = 8192;

/// The header `baggage` of a request. It is passed on and never stored. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Baggage(Option<Arc<str>>);

/// Text that is no `baggage`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} (W3C Baggage: up to {MEMBERS} of name=value with commas between them, values percent-encoded, {BYTES} bytes in all)"
)]
pub struct InvalidBaggage(&'static str);

impl Baggage {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The header; empty if there is none.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or_default()
    }
}

impl fmt::Display for Baggage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Baggage {
    type Err = InvalidBaggage;

    fn from_str(text: &str) -> Result<Self, InvalidBaggage> {
        if text.len() > BYTES {
            return Err(InvalidBaggage("it is too long"));
        }
        if trimmed(text).is_empty() {
            return Ok(Self::default());
        }
        let mut members = Vec::new();
        for member in text.split(',') {
            if members.len() == MEMBERS {
                return Err(InvalidBaggage("it has too many members"));
            }
            members.push(member_of(member)?);
        }
        Ok(Self(Some(members.join(",").into())))
    }
}

/// A member without the blanks that mean nothing.
fn member_of(text: &str) -> Result<String, InvalidBaggage> {
    let mut parts = text.split(';');
    let (name, value) =
        parts.next().and_then(|pair| pair.split_once('=')).ok_or(InvalidBaggage("a member has no ="))?;
    let mut member = pair_of(name, value)?;
    for property in parts {
        member.push(';');
        match property.split_once('=') {
            Some((name, value)) => member.push_str(&pair_of(name, value)?),
            None if is_token(trimmed(property)) => member.push_str(trimmed(property)),
            None => return Err(InvalidBaggage("a member's property has no name")),
        }
    }
    Ok(member)
}

fn pair_of(name: &str, value: &str) -> Result<String, InvalidBaggage> {
    let (name, value) = (trimmed(name), trimmed(value));
    if !is_token(name) {
        return Err(InvalidBaggage("a member's name is none"));
    }
    if !value.bytes().all(is_value) {
        return Err(InvalidBaggage("a value has characters that are to be percent-encoded"));
    }
    Ok(format!("{name}={value}"))
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A token of HTTP.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Visible ASCII characters without quotation marks, commas, semicolons and backslashes.
fn is_value(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"\",;\\".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_programs_send_is_read_and_passed_on_without_blanks() {
        for (text, expect) in [
            ("", ""),
            (" \t", ""),
            (
                "userId=alice,serverNode=DF%2028,isProduction=false",
                "userId=alice,serverNode=DF%2028,isProduction=false",
            ),
            (
                "key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue",
                "key1=value1;property1;property2,key2=value2,key3=value3;propertyKey=propertyValue",
            ),
            ("a=,b=c==d", "a=,b=c==d"),
            ("a=1,a=2", "a=1,a=2"),
        ] {
            let baggage: Baggage = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((baggage.as_str(), baggage.is_empty()), (expect, expect.is_empty()));
        }
    }

    #[test]
    fn what_the_standard_forbids_is_refused() {
        let too_many = vec!["a=1"; MEMBERS + 1].join(",");
        let too_long = format!("a={}", "v".repeat(BYTES - 1));
        for text in [
            "a", "=1", "a b=1", "a=1,", ",a=1", "a=b c", "a=\"b\"", "a=b\\", "a=ä", "a=1;", "a=1;=2", "a=\n",
            &too_many, &too_long,
        ] {
            assert!(text.parse::<Baggage>().is_err(), "{text}");
        }
        let full = vec!["a=1"; MEMBERS].join(",");
        assert_eq!(full.parse::<Baggage>().expect("as many as may be").as_str(), full);
        assert!(format!("a={}", "v".repeat(BYTES - 2)).parse::<Baggage>().is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_comes_back(text in "([a-z=,;% \t]|\\PC){0,40}") {
            if let Ok(baggage) = text.parse::<Baggage>() {
                prop_assert_eq!(baggage.as_str().parse(), Ok(baggage.clone()));
            }
        }
    }
}
