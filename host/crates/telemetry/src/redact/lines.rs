//! A private key that comes line by line, so that no line by itself shows what it is.

use super::Redactor;

/// What a line of a key says beside its characters (RFC 1421, 4.6).
const HEADERS: [&str; 2] = ["Proc-Type:", "DEK-Info:"];

/// Follows the lines of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyLines {
    in_key: bool,
}

impl KeyLines {
    /// Whether a line, given without its end, is one of a private key after the first: such a line is not to be stored. The
    /// first one is, and tells that there was a key. A key that goes on otherwise than keys do is over, so that nothing
    /// else is ever hidden.
    pub fn hides(&mut self, redactor: &Redactor, line: &str) -> bool {
        if !redactor.enabled {
            return false;
        }
        if line.contains("PRIVATE KEY-----") {
            let ends = line.trim_start().starts_with("-----END ");
            let hidden = self.in_key && ends;
            self.in_key = !line.contains("-----END ");
            return hidden;
        }
        self.in_key &= is_part(line.trim());
        self.in_key
    }
}

fn is_part(line: &str) -> bool {
    let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    line.bytes().all(is_base64) || HEADERS.iter().any(|header| line.starts_with(header))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(redactor: &Redactor, lines: &[&str], expect: &[&str]) {
        let mut state = KeyLines::default();
        let shown: Vec<_> = lines.iter().copied().filter(|line| !state.hides(redactor, line)).collect();
        assert_eq!(shown, expect);
    }

    #[test]
    fn the_lines_of_a_key_are_hidden_and_no_others() {
        const BEGIN: &str = "-----BEGIN RSA PRIVATE KEY-----";
        const END: &str = "-----END RSA PRIVATE KEY-----";
        let on = Redactor::default();
        let encrypted = [BEGIN, "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,00", "", "MIIEow", "Ab+/=", END, "on"];
        check(&on, &encrypted, &[BEGIN, "on"]);
        check(
            &on,
            &["before", BEGIN, "MIIEow", "and on: it goes", "MIIEow"],
            &["before", BEGIN, "and on: it goes", "MIIEow"],
        );
        check(&on, &[END, "Abc"], &[END, "Abc"]);
        check(&on, &["-----BEGIN CERTIFICATE-----", "MIIEow"], &["-----BEGIN CERTIFICATE-----", "MIIEow"]);
        let off = Redactor::new(&glasshouse_model::settings::Redaction { enabled: false, ..Default::default() });
        check(&off.expect("no patterns"), &[BEGIN, "MIIEow", END], &[BEGIN, "MIIEow", END]);
    }
}
