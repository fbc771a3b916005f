//! The user's folders, as the XDG base directory specification has them (<https://specifications.freedesktop.org/basedir-spec/latest/>).

use std::path::PathBuf;

/// For what can be made again.
pub(crate) fn cache() -> Option<PathBuf> {
    folder("XDG_CACHE_HOME", ".cache")
}

/// For what is kept.
pub(crate) fn state() -> Option<PathBuf> {
    folder("XDG_STATE_HOME", ".local/state")
}

fn folder(variable: &str, in_home: &str) -> Option<PathBuf> {
    let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(absolute(variable).or_else(|| Some(absolute("HOME")?.join(in_home)))?.join("glasshouse"))
}
