//! What the host calls of a component.

use wasmtime::component::InstancePre;

use crate::bindings::exports::glasshouse::extension::{collector, handler, health, lifecycle};
use crate::state::State;

/// Which of the exports of `wit/` a component has.
pub(crate) struct Exports {
    pub(crate) handler: Option<handler::GuestIndices>,
    pub(crate) lifecycle: Option<lifecycle::GuestIndices>,
    pub(crate) collector: Option<collector::GuestIndices>,
    pub(crate) health: Option<health::GuestIndices>,
}

impl Exports {
    /// Finds the exports; one that is there with other functions than in `wit/` is an error.
    pub(crate) fn find(pre: &InstancePre<State>) -> wasmtime::Result<Self> {
        macro_rules! indices {
            ($interface:ident) => {{
                let name = concat!("glasshouse:extension/", stringify!($interface), "@0.1.0");
                let exported = pre.component().get_export_index(None, name).is_some();
                exported.then(|| $interface::GuestIndices::new(pre)).transpose()?
            }};
        }
        Ok(Self {
            handler: indices!(handler),
            lifecycle: indices!(lifecycle),
            collector: indices!(collector),
            health: indices!(health),
        })
    }
}
