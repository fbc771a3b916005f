//! Serving a host to other programs: on the socket in its data directory, and by the API.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use glasshouse_model::config::{HostSettings, LISTEN_OFF, Origin};
use glasshouse_server::api::{MadeToken, MakeToken, Problem, Token, code};
use glasshouse_server::{
    ApiServer, ApiSettings, Control as _, ControlSocket, ServeError, TlsFiles, Tokens, TokensError,
};

use crate::folders;
use crate::host::Host;

impl Host {
    /// Lets other programs of this user change the host, by the socket in its data directory, until what is returned is
    /// dropped; `None` without a data directory. The command uses it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn listen(&self) -> std::io::Result<Option<ControlSocket>> {
        let control = Arc::clone(self.controlled());
        self.data_dir().map(|folder| ControlSocket::open(folder, control)).transpose()
    }

    /// Serves the API on `host.listen` until what is returned is dropped; `None` if that is off. Where there are no tokens yet, a first
    /// one is made, see [`Host::first_token`].
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn serve(&self) -> Result<Option<ApiServer>, ServeError> {
        let Some(settings) = api_settings(self.settings())? else { return Ok(None) };
        let control = Arc::clone(self.controlled());
        control.access.tokens()?;
        ApiServer::open(&settings, control).await.map(Some)
    }

    /// The tokens by which clients of the API prove that they may ask, the oldest first, without what is secret of them. Where there are none yet, a
    /// first one is made, see [`Host::first_token`]. Reads a file, as the two that follow write it.
    pub fn tokens(&self) -> Result<Vec<Token>, Problem> {
        self.controlled().tokens()?.list()
    }

    /// Makes a token, which is told this once. The host's record of it says by whom.
    pub fn make_token(&self, wanted: &MakeToken, by: &str) -> Result<MadeToken, Problem> {
        self.controlled().make_token(wanted, by)
    }

    /// Ends the token of this id at once. The host's record of it says by whom.
    pub fn revoke_token(&self, id: &str, by: &str) -> Result<Token, Problem> {
        self.controlled().revoke_token(id, by)
    }

    /// Whether nobody has said where the API is to listen.
    pub fn listens_by_default(&self) -> bool {
        self.config().host.iter().any(|setting| setting.key == "host.listen" && setting.origin == Origin::BuiltIn)
    }

    /// The file with the token that was made first, and allows everything, if it was not revoked.
    pub fn first_token(&self) -> Option<PathBuf> {
        let file = self.controlled().access.folder.as_ref()?.join(Tokens::FIRST);
        file.exists().then_some(file)
    }
}

/// Where the token may be that a host on this machine has made first: in its data directory, or in the user's folder for what programs
/// keep.
pub fn first_token_files(data_dir: Option<PathBuf>) -> Vec<PathBuf> {
    data_dir.into_iter().chain(folders::state()).map(|folder| folder.join(Tokens::FIRST)).collect()
}

/// How the API is to be served, if it is.
fn api_settings(host: &HostSettings) -> Result<Option<ApiSettings>, ServeError> {
    if host.listen == LISTEN_OFF {
        return Ok(None);
    }
    // The configuration takes nothing else.
    let Ok(address) = host.listen.parse() else { return Ok(None) };
    let tls = match (&host.tls_certificate, &host.tls_key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate: certificate.clone(), key: key.clone() }),
        (None, None) => None,
        (Some(one), None) | (None, Some(one)) => {
            let why = "host.tls_certificate and host.tls_key go together: name both".to_owned();
            return Err(ServeError::Tls { path: one.clone(), why });
        }
    };
    Ok(Some(ApiSettings { address, names: host.names.clone(), tls, open_on_loopback: host.open_on_loopback }))
}

/// The tokens of a host, which are looked for when they are first asked for.
#[derive(Debug)]
pub(crate) struct Access {
    /// The data directory, or else the user's folder for what programs keep; `None` if there is neither.
    folder: Option<PathBuf>,
    tokens: OnceLock<Tokens>,
}

impl Access {
    pub(crate) fn new(data_dir: Option<PathBuf>) -> Self {
        Self { folder: data_dir.or_else(folders::state), tokens: OnceLock::new() }
    }

    pub(crate) fn tokens(&self) -> Result<&Tokens, TokensError> {
        if let Some(tokens) = self.tokens.get() {
            return Ok(tokens);
        }
        let folder = self.folder.as_ref().ok_or_else(|| TokensError::Io {
            path: "the user's state folder".into(),
            cause: std::io::Error::other("neither HOME nor a data directory is set"),
        })?;
        let tokens = Tokens::open(folder)?;
        Ok(self.tokens.get_or_init(|| tokens))
    }

    pub(crate) fn tokens_or_problem(&self) -> Result<&Tokens, Problem> {
        self.tokens()
            .map_err(|error| Problem::new(503, code::UNAVAILABLE, "The tokens cannot be used", error.to_string()))
    }
}
