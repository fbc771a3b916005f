//! Puts what a terminal should not get into every name and text: escape sequences, bells, line ends, signs that turn the text around.

use glasshouse_sdk::{ErrorReport, Severity, alert, counter, extension, info, span};

/// Clears a screen, sets a title, rings, goes back on the line and turns the reading direction around.
const PAINT: &str = "\u{1b}[2J\u{1b}]0;owned\u{7}\r\u{8}\u{9b}31m\n\u{202e}paint";

/// The extension.
#[derive(Default)]
pub struct Painter;

#[extension]
impl Painter {
    /// Paints every kind of record.
    #[event]
    fn paint(&mut self) {
        let span = span!(PAINT, text = PAINT);
        info!("painted", text = PAINT);
        log::info!("{PAINT}");
        counter(PAINT).unit(PAINT).label(PAINT, PAINT).record(1);
        alert(PAINT, Severity::High, PAINT).message(PAINT).metric(PAINT).raise();
        ErrorReport::new(PAINT, PAINT).stack(PAINT).field(PAINT, PAINT).send();
        drop(span);
    }

    /// Paints its last words.
    #[event]
    fn fall(&mut self) {
        panic!("{PAINT}");
    }
}
