//! Panics.

use glasshouse_sdk::{context, extension, info, span};

/// The extension.
#[derive(Default)]
pub struct Panic {
    calls: u64,
}

#[extension]
impl Panic {
    /// Panics with what it is given.
    #[event]
    fn panic(&mut self, what: String) -> String {
        info!("about to panic");
        let _outer = span!("kitchen");
        let _inner = span!("kettle");
        boil(&what)
    }

    /// Panics on behalf of somebody else than the caller.
    #[event("panic-as")]
    fn panic_as(&mut self, user: String) -> String {
        let _scope = context::scope().user(&user).enter();
        boil("on behalf of another")
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

#[inline(never)]
fn boil(what: &str) -> String {
    panic!("the kettle boiled dry: {what}"); // the line that panics
}
