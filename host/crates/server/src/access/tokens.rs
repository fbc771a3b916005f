//! Tokens: what the API's clients prove by that they may ask. A folder keeps digests of them, and the first token itself, which
//! the command finds there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use glasshouse_client::api::{MadeToken, MakeToken, Problem, Scope, Token, code};
use glasshouse_client::proof::{self, CHALLENGE_BYTES, PREFIX};
use glasshouse_model::UnixNanos;
use serde::{Deserialize, Serialize};

/// What its format is called.
const FORMAT: u32 = 1;
/// How many there may be: far more than people and programs that a host serves, and few enough to be read at once.
const TOKENS: usize = 1000;
/// The digest of no token, as digits.
const NOBODYS: &str = "0000000000000000000000000000000000000000000000000000000000000000";
/// Bytes of the file at most: what that many take.
const FILE_BYTES: u64 = 1 << 20;
/// Characters of a name.
const NAME_CHARACTERS: usize = 80;
/// Random bytes of a token: nobody guesses them.
const SECRET_BYTES: usize = 32;

/// The tokens in a folder. Several hosts may share it: what one changes holds for all.
#[derive(Debug)]
pub struct Tokens {
    folder: PathBuf,
    known: Mutex<Known>,
}

/// What was read last.
#[derive(Debug)]
struct Known {
    tokens: Vec<Kept>,
    /// By which it is seen that the file is another one.
    stamp: Stamp,
}

type Stamp = (u64, u64, Option<SystemTime>);

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    id: String,
    name: String,
    scope: Scope,
    /// The BLAKE3 digest of the secret, in hexadecimal digits.
    digest: String,
    /// In Unix nanoseconds.
    made: i64,
    by: String,
    /// In Unix nanoseconds.
    expires: Option<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u32,
    tokens: Vec<Kept>,
}

/// A token that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scope: Scope,
}

/// Why tokens cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The system said so.
    #[error("cannot use {}: {cause}", .path.display())]
    Io {
        /// What was to be read or written.
        path: PathBuf,
        /// Why not.
        cause: io::Error,
    },
    /// The file is none of tokens.
    #[error("{} holds no tokens: {why}; move it away, and a first token is made anew", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
}

impl Tokens {
    /// The file in such a folder that holds the first token, for the command.
    pub const FIRST: &'static str = "admin.token";
    /// The file of the tokens' digests.
    pub const DIGESTS: &'static str = "tokens.json";

    /// The tokens in a folder, which only this user can read. Where there are none, a first one is made that allows all.
    pub fn open(folder: &Path) -> Result<Self, TokensError> {
        let failed = |cause| TokensError::Io { path: folder.to_owned(), cause };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        let tokens = Self {
            folder: folder.to_owned(),
            known: Mutex::new(Known { tokens: Vec::new(), stamp: Stamp::default() }),
        };
        let lock = tokens.lock()?;
        if fs::exists(tokens.path()).map_err(failed)? {
            drop(tokens.known()?);
        } else {
            let (kept, secret) = mint("first", Scope::Admin, None, "the host, at its first start").map_err(failed)?;
            tokens.write(Self::FIRST, format!("{secret}\n").as_bytes())?;
            tokens.keep(&[kept])?;
        }
        drop(lock);
        Ok(tokens)
    }

    /// Who a token is of, and what it allows.
    pub(crate) fn find(&self, presented: &str) -> Option<Found> {
        let (id, secret) = proof::parts(presented)?;
        let digest = proof::kept(secret);
        let known = self.known().inspect_err(|error| tracing::error!("no token is known: {error}")).ok()?;
        let kept = known.tokens.iter().find(|kept| kept.id == id);
        // Digests of this type compare in constant time, and one of nobody's is compared as those that are kept, so that the time of an answer tells of no id.
        let expected = kept.map_or(NOBODYS, |kept| &kept.digest);
        let is_it = blake3::Hash::from_hex(expected).is_ok_and(|expected| expected == digest);
        let kept = kept.filter(|kept| is_it && !kept.is_over())?;
        Some(Found { id: kept.id.clone(), name: kept.name.clone(), scope: kept.scope })
    }

    /// The answer to a challenge that shows that this host knows the token of this id, on a connection that it took at this address.
    pub(crate) fn prove(&self, id: &str, challenge: &[u8; CHALLENGE_BYTES], at: SocketAddr) -> Option<blake3::Hash> {
        let known = self.known().inspect_err(|error| tracing::error!("no token is known: {error}")).ok()?;
        let kept = known.tokens.iter().find(|kept| kept.id == id && !kept.is_over())?;
        blake3::Hash::from_hex(&kept.digest).ok().map(|digest| proof::answer(&digest, challenge, at))
    }

    /// Whether the token of this id still allows anything.
    pub(crate) fn allows(&self, id: &str) -> bool {
        self.known().is_ok_and(|known| known.tokens.iter().any(|kept| kept.id == id && !kept.is_over()))
    }

    /// All tokens, the oldest first; those that are over too.
    pub fn list(&self) -> Result<Vec<Token>, Problem> {
        Ok(self.known().map_err(|error| unavailable(&error))?.tokens.iter().map(Kept::told).collect())
    }

    /// Makes one.
    pub fn make(&self, wanted: &MakeToken, by: &str) -> Result<MadeToken, Problem> {
        let unusable = |why: String| Problem::new(422, code::INVALID_BODY, "The token cannot be made", why);
        let MakeToken { name, scope, for_ms } = wanted;
        if name.is_empty() || name.chars().count() > NAME_CHARACTERS || name.chars().any(char::is_control) {
            return Err(unusable(format!("a token's name is one line of 1 to {NAME_CHARACTERS} characters")));
        }
        let lock = self.lock().map_err(|error| unavailable(&error))?;
        let mut tokens = self.known().map_err(|error| unavailable(&error))?.tokens.clone();
        if tokens.len() >= TOKENS {
            return Err(unusable(format!("there are {TOKENS} tokens, as many as there may be; revoke some first")));
        }
        let mint = || {
            mint(name, *scope, for_ms.map(Duration::from_millis), by)
                .map_err(|cause| unavailable(&TokensError::Io { path: self.path(), cause }))
        };
        let (mut kept, mut secret) = mint()?;
        while tokens.iter().any(|known| known.id == kept.id) {
            (kept, secret) = mint()?;
        }
        let token = kept.told();
        tokens.push(kept);
        self.keep(&tokens).map_err(|error| unavailable(&error))?;
        drop(lock);
        Ok(MadeToken { token, secret })
    }

    /// Ends one at once.
    pub fn revoke(&self, id: &str) -> Result<Token, Problem> {
        let lock = self.lock().map_err(|error| unavailable(&error))?;
        let mut tokens = self.known().map_err(|error| unavailable(&error))?.tokens.clone();
        let Some(index) = tokens.iter().position(|kept| kept.id == id) else {
            let id = glasshouse_model::text::visible(id, 40);
            let detail = format!("there is no token \"{id}\"; `glasshouse tokens list` lists them");
            return Err(Problem::new(404, code::UNKNOWN_TOKEN, "No such token", detail));
        };
        let revoked = tokens.remove(index);
        self.keep(&tokens).map_err(|error| unavailable(&error))?;
        let first = self.folder.join(Self::FIRST);
        if fs::read_to_string(&first).is_ok_and(|first| first.starts_with(&format!("{PREFIX}{id}_")))
            && let Err(error) = fs::remove_file(&first)
        {
            tracing::warn!(file = %first.display(), "a token that was revoked cannot be removed: {error}");
        }
        drop(lock);
        Ok(revoked.told())
    }

    fn path(&self) -> PathBuf {
        self.folder.join(Self::DIGESTS)
    }

    /// What is in the file now.
    fn known(&self) -> Result<MutexGuard<'_, Known>, TokensError> {
        use std::os::unix::fs::MetadataExt as _;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path();
        let failed = |cause| TokensError::Io { path: path.clone(), cause };
        let metadata = fs::metadata(&path).map_err(failed)?;
        let stamp = (metadata.ino(), metadata.len(), metadata.modified().ok());
        if stamp == known.stamp {
            return Ok(known);
        }
        let invalid = |why: String| TokensError::Invalid { path: path.clone(), why };
        let mut text = String::new();
        File::open(&path).and_then(|file| file.take(FILE_BYTES).read_to_string(&mut text)).map_err(failed)?;
        let contents: Contents = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if contents.format != FORMAT {
            return Err(invalid(format!("its format is {}, and this host knows {FORMAT}", contents.format)));
        }
        *known = Known { tokens: contents.tokens, stamp };
        Ok(known)
    }

    fn keep(&self, tokens: &[Kept]) -> Result<(), TokensError> {
        let contents = Contents { format: FORMAT, tokens: tokens.to_vec() };
        let text = serde_json::to_vec_pretty(&contents).map_err(io::Error::from);
        let text = text.map_err(|cause| TokensError::Io { path: self.path(), cause })?;
        self.write(Self::DIGESTS, &text)
    }

    /// Writes a file that nobody else can read, as a whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), TokensError> {
        let begun = self.folder.join(format!("{name}.new"));
        let write = || {
            match fs::remove_file(&begun) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // A file of its own, whatever somebody else puts there.
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&begun)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&begun, self.folder.join(name))?;
            // What was revoked does not come back with the power.
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|cause| TokensError::Io { path: begun.clone(), cause })
    }

    /// Keeps other hosts from changing the folder until it is dropped.
    fn lock(&self) -> Result<File, TokensError> {
        let path = self.folder.join("tokens.lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let locked = lock.and_then(|lock| {
            rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive)?;
            Ok(lock)
        });
        locked.map_err(|cause| TokensError::Io { path, cause })
    }
}

impl Kept {
    fn is_over(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= now())
    }

    fn told(&self) -> Token {
        Token {
            id: self.id.clone(),
            name: self.name.clone(),
            scope: self.scope,
            made: UnixNanos(self.made).to_string(),
            by: self.by.clone(),
            expires: self.expires.map(|expires| UnixNanos(expires).to_string()),
        }
    }
}

/// A new token, and what its user is to say.
fn mint(name: &str, scope: Scope, lasting: Option<Duration>, by: &str) -> io::Result<(Kept, String)> {
    let mut random = [0; 4 + SECRET_BYTES];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let (id, secret) = random.split_at(4);
    let id = format!("{:08x}", id.iter().fold(0_u32, |id, byte| id << 8 | u32::from(*byte)));
    let secret = URL_SAFE_NO_PAD.encode(secret);
    let made = now();
    let expires = lasting.map(|lasting| made.saturating_add(i64::try_from(lasting.as_nanos()).unwrap_or(i64::MAX)));
    let presented = format!("{PREFIX}{id}_{secret}");
    let digest = proof::kept(&secret).to_hex().to_string();
    Ok((Kept { id, name: name.to_owned(), scope, digest, made, by: by.to_owned(), expires }, presented))
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn unavailable(error: &TokensError) -> Problem {
    Problem::new(503, code::UNAVAILABLE, "The tokens cannot be used", error.to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn made(tokens: &Tokens, name: &str, scope: Scope, for_ms: Option<u64>) -> MadeToken {
        tokens.make(&MakeToken { name: name.into(), scope, for_ms }, "a test").expect("it is made")
    }

    #[test]
    fn the_first_token_is_made_once_and_nobody_else_can_read_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("state");
        for _ in 0..2 {
            let tokens = Tokens::open(&folder).expect("it opens");
            let first = fs::read_to_string(folder.join(Tokens::FIRST)).expect("it is there");
            let found = tokens.find(first.trim_end()).expect("it is known");
            assert!(found.name == "first" && found.scope == Scope::Admin, "{found:?}");
            assert_eq!(tokens.list().expect("they are listed").len(), 1);
        }
        for name in [Tokens::DIGESTS, Tokens::FIRST] {
            let mode = fs::metadata(folder.join(name)).expect("it is there").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        let kept = fs::read_to_string(folder.join(Tokens::DIGESTS)).expect("it is text");
        let first = fs::read_to_string(folder.join(Tokens::FIRST)).expect("it is there");
        let secret = first.trim_end().rsplit('_').next().expect("it has one");
        assert!(!kept.contains(secret), "only a digest is kept");
    }

    #[test]
    fn what_one_host_makes_and_revokes_holds_for_another_on_the_same_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, other) =
            (Tokens::open(folder.path()).expect("it opens"), Tokens::open(folder.path()).expect("it opens"));
        let token = made(&one, "a reader", Scope::Read, None);
        assert_eq!(other.find(&token.secret).map(|found| found.scope), Some(Scope::Read));
        other.revoke(&token.token.id).expect("it is there");
        assert_eq!(one.find(&token.secret), None);
        assert!(!one.allows(&token.token.id));
        let first = fs::read_to_string(folder.path().join(Tokens::FIRST)).expect("it is there");
        let first = one.find(first.trim_end()).expect("it is known");
        one.revoke(&first.id).expect("it is there");
        assert!(!folder.path().join(Tokens::FIRST).exists(), "nobody is told of one that allows nothing");
        let refused = one.revoke(&token.token.id).expect_err("it is gone");
        assert_eq!((refused.status, refused.code.as_str()), (404, code::UNKNOWN_TOKEN));
    }

    #[test]
    fn nothing_but_the_very_token_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = Tokens::open(folder.path()).expect("it opens");
        let token = made(&tokens, "t", Scope::Operate, None).secret;
        let other = made(&tokens, "u", Scope::Read, None);
        let secret = token.rsplit('_').next().expect("it has one").to_owned();
        for wrong in [
            "",
            "glasshouse_",
            &token[..token.len() - 1],
            &format!("{token}x"),
            &token.to_uppercase(),
            &secret,
            &format!("{PREFIX}{}_{secret}", other.token.id),
        ] {
            assert_eq!(tokens.find(wrong), None, "{wrong}");
        }
        assert!(tokens.find(&token).is_some());
        assert_eq!(tokens.find(&made(&tokens, "over", Scope::Admin, Some(0)).secret), None, "its time is over");
    }

    #[test]
    fn a_file_that_holds_no_tokens_is_told_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        for text in ["", "{}", "{\"format\": 2, \"tokens\": []}"] {
            fs::write(folder.path().join(Tokens::DIGESTS), text).expect("writing it");
            let error = Tokens::open(folder.path()).expect_err("it is none").to_string();
            assert!(error.contains("tokens.json holds no tokens") && error.contains("move it away"), "{error}");
            assert_eq!(fs::read_to_string(folder.path().join(Tokens::DIGESTS)).expect("it is there"), text);
        }
    }

    #[test]
    fn a_name_is_one_short_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let tokens = Tokens::open(folder.path()).expect("it opens");
        for name in ["", "a\nb", &"x".repeat(NAME_CHARACTERS + 1)] {
            let wanted = MakeToken { name: name.into(), ..MakeToken::default() };
            assert_eq!(tokens.make(&wanted, "a test").expect_err("it is none").status, 422);
        }
    }
}
