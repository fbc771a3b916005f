//! The address of a host whose API a verb asks, and the token that it is shown.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result};
use clap::Args;
use glasshouse::first_token_files;
use glasshouse_client::{Access, Client, FoundToken, is_loopback};

use super::UsageError;

/// The variable that stands for `--host`.
const HOST: &str = "GLASSHOUSE_HOST_URL";
/// The variable that stands for `--token`.
const TOKEN: &str = "GLASSHOUSE_TOKEN";
/// Bytes of a file with a token, some dozens of which are the token.
const TOKEN_FILE_BYTES: u64 = 4096;
/// What the help calls these options.
const HEADING: &str = "A host at an address";

/// Where a host serves its API, and who asks.
#[derive(Args, Debug)]
pub(crate) struct Address {
    /// Ask the host that serves its API there, instead of a data directory: http://HOST:PORT, or https:// with TLS
    #[arg(long, help_heading = HEADING, value_name = "URL")]
    host: Option<String>,
    /// The file with the token [default: GLASSHOUSE_TOKEN, or of a host on this machine its admin.token]
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token itself; others on this machine can see it in the list of processes
    #[arg(long, help_heading = HEADING, value_name = "TOKEN", conflicts_with = "token_file")]
    token: Option<Secret>,
    /// The file, in PEM, with the certificate of who vouches for the host, instead of those that the system trusts
    #[arg(long, help_heading = HEADING, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Let the token go to another machine over http://, where everybody on the way can read it
    #[arg(long, help_heading = HEADING)]
    allow_http: bool,
}

/// What is never shown.
#[derive(Clone)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(not shown)")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

impl Address {
    /// The host that is meant, if one at an address is. What the environment names counts only where the command line names no place at
    /// all. `data_dir` is where the host may keep its records, and so its first token.
    pub(crate) fn client(
        &self,
        names_another_place: bool,
        data_dir: impl FnOnce() -> Result<Option<PathBuf>>,
    ) -> Result<Option<Client>> {
        let from_environment = || variable(HOST).filter(|_| !names_another_place);
        let Some(url) = self.host.clone().or_else(from_environment) else {
            if self.token_file.is_some() || self.token.is_some() || self.ca.is_some() || self.allow_http {
                let why = format!(
                    "--token-file, --token, --ca and --allow-http are for a host at an address: name it with --host URL, or {HOST}"
                );
                return Err(UsageError(why).into());
            }
            return Ok(None);
        };
        let token = self.named_token()?;
        // What nobody named is shown to nobody but the host that it is of.
        let found = if token.is_none() && is_loopback(&url) { first_tokens(data_dir()?) } else { Vec::new() };
        let access = Access { token, found, ca: self.ca.clone(), allows_clear_text: self.allow_http };
        Ok(Some(Client::at(&url, access).map_err(|error| UsageError(error.to_string()))?))
    }

    /// The token that was named.
    fn named_token(&self) -> Result<Option<String>> {
        if let Some(path) = &self.token_file {
            let token = read_token(path).with_context(|| format!("reading the token in {}", path.display()))?;
            return Ok(Some(token));
        }
        Ok(self.token.as_ref().map(|token| token.0.clone()).or_else(|| variable(TOKEN)))
    }
}

/// What the environment says, if anything.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The tokens that hosts on this machine have made first and this user may read.
fn first_tokens(data_dir: Option<PathBuf>) -> Vec<FoundToken> {
    let read = |path: PathBuf| read_token(&path).ok().map(|token| FoundToken { path, token });
    let fits = |found: &FoundToken| found.token.bytes().all(|byte| byte.is_ascii_graphic());
    first_token_files(data_dir).into_iter().filter_map(read).filter(fits).collect()
}

fn read_token(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(TOKEN_FILE_BYTES).read_to_string(&mut text)?;
    Ok(text.trim().to_owned())
}
