//! Shows that the host knows a token to who has it and will not show it to just anybody (`glasshouse_client::proof`).

use std::net::SocketAddr;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use glasshouse_client::api::{Problem, Proof, code};
use glasshouse_client::proof::CHALLENGE_BYTES;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::asked::{Named, Params};
use crate::openapi::Refused;
use crate::routes::{Host, answer};

/// The address at which the host took a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakenAt(pub(crate) SocketAddr);

/// What is to be shown.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Challenged {
    /// The token's id.
    token: String,
    /// 64 hexadecimal digits, drawn by lot.
    challenge: String,
}

impl Named for Challenged {
    const NAMES: &str = "token and challenge";
}

/// Show that the host knows a token, to who has it; needs none
#[utoipa::path(
    get,
    path = "/api/proof",
    tag = "tokens",
    params(Challenged),
    responses((status = 200, body = Proof), Refused),
    security(()),
)]
pub(crate) async fn prove(
    State(control): Host,
    taken_at: Option<Extension<TakenAt>>,
    Params(Challenged { token, challenge }): Params<Challenged>,
) -> Response {
    let Some(challenge) = bytes(&challenge) else {
        let detail = format!("the challenge has {} hexadecimal digits", 2 * CHALLENGE_BYTES);
        return answer::<Proof>(Err(Problem::new(400, code::INVALID_QUERY, "The query cannot be used", detail)));
    };
    // On the socket in the data directory nobody shows a token.
    let proof = taken_at.and_then(|Extension(TakenAt(at))| control.tokens().ok()?.prove(&token, &challenge, at));
    answer(proof.map(|proof| Proof { proof: proof.to_hex().to_string() }).ok_or_else(|| {
        Problem::new(
            404,
            code::UNKNOWN_TOKEN,
            "No such token",
            "the host knows no token of this id, or shows nothing here",
        )
    }))
}

/// A challenge of just so many digits.
fn bytes(digits: &str) -> Option<[u8; CHALLENGE_BYTES]> {
    // It takes as many digits as a digest has.
    blake3::Hash::from_hex(digits).ok().map(|hash| *hash.as_bytes())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_proof_is_described_at_the_path_where_clients_ask_for_it() {
        let described = <super::__path_prove as utoipa::Path>::path();
        assert_eq!(described, glasshouse_client::proof::PATH);
    }
}
