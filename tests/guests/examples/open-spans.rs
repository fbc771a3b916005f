//! Leaves spans and scopes open, nests them too deeply, and hoards handles and meters.

use glasshouse_sdk::{context, counter, extension, info, span};

/// The extension.
#[derive(Default)]
pub struct OpenSpans;

#[extension]
impl OpenSpans {
    /// Forgets three nested spans: the host must end them.
    #[event]
    fn forget(&mut self) {
        for name in ["outer", "middle", "inner"] {
            std::mem::forget(span!(name, depth = 1));
        }
        info!("three are open");
    }

    /// Nests so many spans, and ends them in order.
    #[event]
    fn nest(&mut self, depth: usize) -> usize {
        let spans: Vec<_> = (0..depth).map(|_| span!("nested")).collect();
        info!("at the bottom");
        let mut spans = spans;
        while spans.pop().is_some() {}
        depth
    }

    /// Enters a scope for another user and forgets it.
    #[event("forget-scope")]
    fn forget_scope(&mut self, user: String) {
        std::mem::forget(context::scope().user(&user).enter());
        info!("in a scope");
    }

    /// Nests so many scopes, and leaves them in order.
    #[event("nest-scopes")]
    fn nest_scopes(&mut self, depth: usize) -> usize {
        let mut scopes: Vec<_> = (0..depth).map(|_| context::scope().user("nested").enter()).collect();
        while scopes.pop().is_some() {}
        info!("out again");
        depth
    }

    /// Keeps so many meters for ever.
    #[event("hoard-meters")]
    fn hoard_meters(&mut self, meters: usize) -> usize {
        (0..meters).for_each(|_| std::mem::forget(counter("kept").bind()));
        meters
    }

    /// Nests so many spans by the typed calls, which give a handle for each, and ends them in order.
    #[event("nest-handles")]
    fn nest_handles(&mut self, depth: usize) -> usize {
        let mut spans: Vec<_> = (0..depth).map(|_| handle("nested")).collect();
        while spans.pop().is_some() {}
        depth
    }

    /// Keeps the handles of so many spans for ever.
    #[event]
    fn hoard(&mut self, spans: usize) -> usize {
        (0..spans).for_each(|_| std::mem::forget(handle("kept")));
        spans
    }
}

#[cfg(target_family = "wasm")]
fn handle(name: &str) -> glasshouse_sdk::bindings::glasshouse::extension::debugging::Span {
    use glasshouse_sdk::bindings::glasshouse::extension::debugging::{Span, SpanKind};
    Span::start(name, SpanKind::Internal, &[])
}

#[cfg(not(target_family = "wasm"))]
fn handle(name: &str) -> String {
    name.to_owned()
}
