//! `glasshouse tokens`: who may use the API of a running host.

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use glasshouse::text::visible;
use glasshouse_client::api::{MakeToken, Scope, Token};

use super::super::records::{Place, duration};
use super::super::{Exit, RecordFormat};
use super::told;
use crate::output::{self, Align, Paint, Table};

const EXAMPLES: &str = "\
Examples:
  glasshouse tokens create grafana --scope read --for 90d --data-dir data
  glasshouse tokens list --data-dir data
  glasshouse tokens revoke 1f0c9a2b --data-dir data

They need a host that runs: with that data directory (glasshouse run plugins --data-dir data), or at --host URL";

/// Make, list and revoke the tokens by which a running host knows clients of its API
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Tokens {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// All tokens, without what is secret of them
    List {
        #[command(flatten)]
        place: Place,
    },
    /// Make a token; it is shown this once
    Create(Create),
    /// End a token at once
    Revoke {
        /// Its id
        id: String,
        #[command(flatten)]
        place: Place,
    },
}

#[derive(Args, Debug)]
struct Create {
    /// What it is for
    name: String,
    /// What it allows
    #[arg(long, value_enum, default_value_t = Allowed::Read)]
    scope: Allowed,
    /// For how long; for ever if left out
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    lasting: Option<Duration>,
    #[command(flatten)]
    place: Place,
}

/// What a token allows; each allows what those before it do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Allowed {
    /// To read what is stored, and how extensions are doing
    Read,
    /// To change how extensions are watched and what they may use, and to call them
    Operate,
    /// To make and revoke tokens
    Admin,
}

impl From<Allowed> for Scope {
    fn from(allowed: Allowed) -> Self {
        match allowed {
            Allowed::Read => Self::Read,
            Allowed::Operate => Self::Operate,
            Allowed::Admin => Self::Admin,
        }
    }
}

impl Tokens {
    pub(crate) async fn run(self, format: RecordFormat) -> Result<Exit> {
        match self.verb {
            Verb::List { place } => {
                let tokens = told(place.client()?.tokens().await)?;
                match format {
                    RecordFormat::Table => list(&tokens)?,
                    RecordFormat::Json | RecordFormat::Csv => output::values(&tokens, format)?,
                }
            }
            Verb::Create(Create { name, scope, lasting, place }) => {
                let for_ms = lasting.map(|lasting| u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX));
                let wanted = MakeToken { name, scope: scope.into(), for_ms };
                let made = told(place.client()?.make_token(&wanted).await)?;
                match format {
                    RecordFormat::Json | RecordFormat::Csv => output::values(&[made], format)?,
                    RecordFormat::Table => {
                        output::line(&made.secret)?;
                        output::note(format_args!(
                            "keep it: it is not shown again; send it as \"Authorization: Bearer TOKEN\""
                        ));
                    }
                }
            }
            Verb::Revoke { id, place } => {
                let revoked = told(place.client()?.revoke_token(&id).await)?;
                match format {
                    RecordFormat::Json | RecordFormat::Csv => output::values(&[revoked], format)?,
                    RecordFormat::Table => {
                        let name = visible(&revoked.name, 80);
                        output::line(format_args!("{} ({name}) allows nothing any more", revoked.id))?;
                    }
                }
            }
        }
        Ok(Exit::Ok)
    }
}

fn list(tokens: &[Token]) -> std::io::Result<()> {
    let columns = ["token", "name", "scope", "made", "expires", "by"];
    let mut table = Table::new(&columns.map(|name| (name, Align::Left)));
    for token in tokens {
        table.row([
            token.id.clone(),
            visible(&token.name, 80).into_owned(),
            token.scope.to_string(),
            token.made.clone(),
            token.expires.clone().unwrap_or_else(|| "-".to_owned()),
            visible(&token.by, 80).into_owned(),
        ]);
    }
    output::line(table.plain(Paint::stdout()))
}
