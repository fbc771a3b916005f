//! Opens a file that it was granted, again and again, and closes it never.

use std::fs::File;

use glasshouse_sdk::extension;

/// The extension.
#[derive(Default)]
pub struct HoardFiles;

#[extension]
impl HoardFiles {
    /// Opens a file so many times; tells how often it could.
    #[event]
    fn hoard(&mut self, what: (String, usize)) -> usize {
        let (path, times) = what;
        let opened: Vec<_> = (0..times).map_while(|_| File::open(&path).ok()).collect();
        let count = opened.len();
        std::mem::forget(opened);
        count
    }
}
