//! A private key that comes line by line, so that no line by itself shows what it is.

use super::Redactor;

/// How the label of a private key ends: in PEM (RFC 7468, 4), and in OpenPGP's armor (RFC 9580, 6.2.1).
const LABELS: [&str; 2] = ["PRIVATE KEY-----", "PRIVATE KEY BLOCK-----"];
/// What a line of a key says beside its characters (RFC 1421, 4.6; RFC 9580, 6.2.2).
const HEADERS: [&str; 5] = ["Proc-Type:", "DEK-Info:", "Version:", "Comment:", "Charset:"];

/// Follows the lines of one stream.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeyLines {
    in_key: bool,
}

impl KeyLines {
    /// Whether a line, given without its end, is one of a private key after the first: such a line is not to be stored. The
    /// first one is, and tells that there was a key. A key is over with the first line that no key has; of one that was cut
    /// off, lines that look like a key's are hidden until then: empty ones, and single words.
    pub fn hides(&mut self, redactor: &Redactor, line: &str) -> bool {
        if !redactor.enabled {
            return false;
        }
        if LABELS.iter().any(|label| line.contains(label)) {
            let hidden = self.in_key && line.trim_start().starts_with("-----END ");
            self.in_key = line.contains("-----BEGIN ") && !line.contains("-----END ");
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
        const MENTION: &str = "keys of an agent end in PRIVATE KEY-----";
        let on = Redactor::default();
        let encrypted = [BEGIN, "Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,00", "", "MIIEow", "Ab+/=", END, "on"];
        check(&on, &encrypted, &[BEGIN, "on"]);
        check(
            &on,
            &["before", BEGIN, "MIIEow", "and on: it goes", "MIIEow"],
            &["before", BEGIN, "and on: it goes", "MIIEow"],
        );
        check(&on, &[END, "Abc"], &[END, "Abc"]);
        check(&on, &[MENTION, "MIIEow", ""], &[MENTION, "MIIEow", ""]);
        check(&on, &[BEGIN, "MIIEow", MENTION, "MIIEow"], &[BEGIN, MENTION, "MIIEow"]);
        check(&on, &["-----BEGIN CERTIFICATE-----", "MIIEow"], &["-----BEGIN CERTIFICATE-----", "MIIEow"]);
        let off = Redactor::new(&glasshouse_model::settings::Redaction { enabled: false, ..Default::default() });
        check(&off.expect("no patterns"), &[BEGIN, "MIIEow", END], &[BEGIN, "MIIEow", END]);
    }

    #[test]
    fn the_lines_of_a_pgp_key_are_hidden() {
        const BEGIN: &str = "-----BEGIN PGP PRIVATE KEY BLOCK-----";
        const END: &str = "-----END PGP PRIVATE KEY BLOCK-----";
        let headers = ["Version: GnuPG v2", "Comment: of the shop", "Charset: UTF-8"];
        let lines = [BEGIN, headers[0], headers[1], headers[2], "", "lQOYBGV+/", "=njUN", END, "=njUN on"];
        check(&Redactor::default(), &lines, &[BEGIN, "=njUN on"]);
        check(&Redactor::default(), &headers, &headers);
        let public = ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "mQENBGV"];
        check(&Redactor::default(), &public, &public);
    }
}
