//! What is kept of extensions beside their records, such as groups of errors and alerts: as their host tells it, or as its data
//! directory does where none runs.

use anyhow::Result;
use glasshouse::StoredExtension;
use glasshouse_client::api::code;
use glasshouse_client::{Client, ClientError};

use super::super::UsageError;
use super::super::control::told;
use super::select::Selection;

/// What is kept of all extensions that are meant.
pub(super) async fn all<T>(
    selection: &Selection,
    ask: impl AsyncFn(&Client, &str) -> Result<Vec<T>, ClientError>,
    read: impl Fn(&StoredExtension) -> Vec<T>,
) -> Result<Vec<T>> {
    let client = selection.place.client()?;
    let mut all = Vec::new();
    let mut runs = true;
    for extension in selection.extensions().await? {
        let asked = if runs { Some(ask(&client, extension.id()).await) } else { None };
        runs &= !matches!(asked, Some(Err(ClientError::NoHost(_))));
        match (asked.map(known).transpose()?.flatten(), extension.stored()) {
            (Some(told), _) => all.extend(told),
            (None, Some(stored)) => all.extend(read(stored)),
            // The host's own process has none.
            (None, None) => {}
        }
    }
    Ok(all)
}

/// What a host has told; `None` where none runs, or the one that does knows nothing of the extension, so that it is as it is stored.
/// Whatever else keeps a host from telling is told: what is stored may be less than it knows.
fn known<T>(answer: Result<T, ClientError>) -> Result<Option<T>> {
    match answer {
        Err(ClientError::NoHost(_)) => Ok(None),
        Err(ClientError::Refused(problem)) if problem.code == code::UNKNOWN_EXTENSION => Ok(None),
        answer => told(answer).map(Some),
    }
}

/// The one whose id starts so; `of` gives its id and its extension. Where there is none, `lister` is what lists them.
pub(super) fn one_of<T>(
    mut found: Vec<T>,
    start: &str,
    what: &str,
    lister: &str,
    of: impl Fn(&T) -> (&str, &str),
) -> Result<T> {
    found.retain(|one| !start.is_empty() && of(one).0.starts_with(start));
    let start = glasshouse::text::visible(start, 40);
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(UsageError(format!("there is no {what} {start}; `{lister}` lists them")).into()),
        _ => {
            let which = found.iter().map(|one| format!("{} of {}", of(one).0, of(one).1));
            let which = which.collect::<Vec<_>>().join(", ");
            let is_same = found.iter().all(|one| of(one).0 == of(&found[0]).0);
            let advice = if is_same { "add --extension-id" } else { "write more of it" };
            Err(UsageError(format!("{start} could be {which}: {advice}")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use glasshouse_client::api::Problem;

    use super::*;

    #[test]
    fn what_is_stored_stands_for_a_host_only_where_none_knows_the_extension() {
        let refused = |code| ClientError::Refused(Problem::new(404, code, "", "why"));
        assert_eq!(known(Ok(7)).expect("it was told"), Some(7));
        for error in [ClientError::NoHost("data".into()), refused(code::UNKNOWN_EXTENSION)] {
            assert_eq!(known::<u8>(Err(error)).expect("what is stored is read"), None);
        }
        let cause = io::Error::from(io::ErrorKind::PermissionDenied);
        for error in [
            ClientError::Timeout,
            ClientError::Socket { path: "data/control.sock".into(), cause },
            ClientError::Answer("it is none".to_owned()),
            refused(code::NOT_FOUND),
            refused(code::UNAVAILABLE),
        ] {
            let expect = error.to_string();
            assert_eq!(known::<u8>(Err(error)).expect_err("it is told").to_string(), expect);
        }
    }

    #[test]
    fn one_is_found_by_how_its_id_starts_and_several_say_what_tells_them_apart() {
        let found = |start: &str| {
            let all = vec![("3f09a1", "markdown"), ("3f77b2", "markdown"), ("ab0001", "markdown"), ("ab0001", "spell")];
            one_of(all, start, "group", "glasshouse errors groups", |one| *one).map_err(|error| error.to_string())
        };
        assert_eq!(found("3f0"), Ok(("3f09a1", "markdown")));
        let refused = |start: &str| found(start).expect_err("it is none");
        assert_eq!(refused("3f"), "3f could be 3f09a1 of markdown, 3f77b2 of markdown: write more of it");
        assert_eq!(refused("ab"), "ab could be ab0001 of markdown, ab0001 of spell: add --extension-id");
        for none in ["", "ff"] {
            assert_eq!(refused(none), format!("there is no group {none}; `glasshouse errors groups` lists them"));
        }
    }
}
