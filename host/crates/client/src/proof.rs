//! How a host shows that it knows a token before anybody shows it that token: whoever else holds the port that a host usually has, learns nothing.
//!
//! The client draws a challenge by lot, and the host answers with a digest of it that is keyed with what it keeps of the token. The digest is of the address at which
//! the host took the connection as well, so that nobody at another one can pass the challenge on to the host, and its answer back.

use std::net::SocketAddr;

/// The path where a host shows it, which needs no token.
pub const PATH: &str = "/api/proof";
/// Bytes of a challenge: nobody has seen the answer to one before.
pub const CHALLENGE_BYTES: usize = 32;
/// What each token begins with, so that one that is found anywhere is known for what it is.
pub const PREFIX: &str = "glasshouse_";
/// What keeps these digests apart from any others with the same key.
const PURPOSE: &[u8] = b"glasshouse knows a token 1";

/// The id and the secret of a token; `None` if it is none.
pub fn parts(token: &str) -> Option<(&str, &str)> {
    token.strip_prefix(PREFIX)?.split_once('_')
}

/// What the host keeps of a token: the digest of its secret.
pub fn kept(secret: &str) -> blake3::Hash {
    blake3::hash(secret.as_bytes())
}

/// The answer to a challenge, of a host that keeps this of a token and took the connection at this address. Answers compare in constant time.
pub fn answer(kept: &blake3::Hash, challenge: &[u8; CHALLENGE_BYTES], at: SocketAddr) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new_keyed(kept.as_bytes());
    let at = SocketAddr::new(at.ip().to_canonical(), at.port()).to_string();
    hasher.update(PURPOSE).update(challenge).update(at.as_bytes()).finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_to_this_challenge_with_this_token_at_this_address_only() {
        let at = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let here = at("127.0.0.1:7077");
        let right = answer(&kept("a"), &[1; 32], here);
        assert_eq!(right, answer(&kept("a"), &[1; 32], at("[::ffff:127.0.0.1]:7077")));
        for wrong in [
            answer(&kept("b"), &[1; 32], here),
            answer(&kept("a"), &[2; 32], here),
            answer(&kept("a"), &[1; 32], at("127.0.0.1:7078")),
            answer(&kept("a"), &[1; 32], at("127.0.0.2:7077")),
            kept("a"),
        ] {
            assert_ne!(right, wrong);
        }
    }
}
