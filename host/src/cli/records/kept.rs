//! What is kept of extensions beside their records, such as groups of errors and alerts: as their host tells it, or as its data
//! directory does where none runs.

use anyhow::Result;
use glasshouse::StoredExtension;
use glasshouse_client::{Client, ClientError};

use super::super::UsageError;
use super::select::Selection;

/// What is kept of all extensions that are meant.
pub(super) async fn all<T>(
    selection: &Selection,
    ask: impl AsyncFn(&Client, &str) -> Result<Vec<T>, ClientError>,
    read: impl Fn(&StoredExtension) -> Vec<T>,
) -> Result<Vec<T>> {
    let client = Client::new(selection.place.folder()?);
    let mut all = Vec::new();
    let mut runs = true;
    for extension in selection.extensions()? {
        let told = if runs { ask(&client, extension.id()).await } else { Ok(Vec::new()) };
        runs &= !matches!(told, Err(ClientError::NoHost(_)));
        match told {
            Ok(told) if runs => all.extend(told),
            // A host that does not know the extension leaves it as it is stored.
            _ => all.extend(read(&extension)),
        }
    }
    Ok(all)
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
            Err(UsageError(format!("{start} could be {which}: write more of it, or add --extension-id")).into())
        }
    }
}
