//! Why a host could not be asked, and what to do about it.

use std::io;
use std::path::PathBuf;

use crate::PATIENCE;
use crate::api::Problem;

/// Why a host could not be asked, or did not do it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no host runs on the data directory {data_dir}: start one with `glasshouse run PLUGINS --data-dir {data_dir}`", data_dir = .0.display())]
    NoHost(PathBuf),
    /// The socket cannot be used.
    #[error("cannot use {path}: {cause}{advice}", path = .path.display(), advice = advice(.cause))]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// It is no address of a host.
    #[error(
        "the host's address {url} cannot be used: {why}; write http://HOST:PORT, or https://HOST:PORT for one with TLS"
    )]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is no token.
    #[error(
        "the token cannot be used: it is empty, or has other than visible ASCII characters; give it as `glasshouse tokens create` has shown it"
    )]
    Token,
    /// The certificates that were named cannot be used.
    #[error("the certificates in {} cannot be used: {why}", .path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers there.
    #[error(
        "{url} cannot be reached: {why}; look whether the host runs and listens there (`glasshouse run PLUGINS --listen ADDRESS`), and whether the network lets you through"
    )]
    Unreachable {
        /// Where.
        url: String,
        /// What was found.
        why: String,
    },
    /// It is not known to be the host that is meant.
    #[error("{url} is not trusted: {why}; name the certificate of who vouches for it with --ca FILE")]
    Untrusted {
        /// Where.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// The token would go over the network for everybody to read.
    #[error(
        "{0} is on another machine, and the token would go there in clear text: use https:// (host.tls_certificate and host.tls_key of the host), or say --allow-http where everybody on the way may have it"
    )]
    ClearText(String),
    /// Something else answers there.
    #[error("what answers at {url} is no Glasshouse host: {why}; look at the address and the port")]
    NotAHost {
        /// Where.
        url: String,
        /// What it did.
        why: String,
    },
    /// The token is none of the host's, or there is none.
    #[error(
        "{url} does not let you in: {detail}; name a token's file with --token-file FILE, or set GLASSHOUSE_TOKEN; `glasshouse tokens create NAME \
         --scope read` makes one"
    )]
    Unauthorized {
        /// Where.
        url: String,
        /// What was wrong.
        detail: String,
    },
    /// The token does not allow it.
    #[error("{}; `glasshouse tokens create NAME --scope {scope}` makes one that does, by somebody who may", .problem.detail)]
    Forbidden {
        /// What the host said.
        problem: Problem,
        /// The least scope that allows it, as far as that is known.
        scope: &'static str,
    },
    /// The host said why not.
    #[error("{}", .0.detail)]
    Refused(Problem),
    /// No answer in time.
    #[error("the host gave no answer within {} seconds: it is busy or hangs; try again, and look at its log", PATIENCE.as_secs())]
    Timeout,
    /// It broke off in the middle.
    #[error("the connection to the host broke off: {0}")]
    Broken(String),
    /// Not an answer of a host.
    #[error("the host's answer cannot be used: {0}")]
    Answer(String),
}

impl ClientError {
    /// Whether it may be over in a moment, so that trying again is worth it.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Timeout | Self::Broken(_) => true,
            Self::Refused(problem) => matches!(problem.status, 429 | 500..),
            _ => false,
        }
    }
}

/// What to do where a socket cannot be used.
fn advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "; run this as the user that the host runs as",
        _ => "",
    }
}
