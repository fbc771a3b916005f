//! What the `#[extension]` attribute implements, and how the component's exports call it.

use std::cell::RefCell;
use std::thread::LocalKey;

use serde::de::DeserializeOwned;

use crate::handler::{argument, outcome};
use crate::{Check, Error, IntoPayload, Payload};

/// An extension as its host sees it. [`extension`](crate::extension) implements it; nobody does so by hand.
pub trait Extension: Sized + 'static {
    /// The names of the events that have a handler.
    const EVENTS: &'static [&'static str];

    /// Starts the extension with its configuration, a JSON object. An error is the reason why it cannot start.
    fn init(config: &str) -> Result<Self, String>;

    /// Handles an event.
    fn handle(&mut self, event: &str, payload: Payload) -> Result<Payload, Error>;

    /// Called once before the instance goes.
    fn shutdown(&mut self) {}

    /// Called every metrics interval.
    fn collect(&mut self) {}

    /// What the extension checks about itself.
    fn health(&mut self) -> Vec<Check> {
        Vec::new()
    }

    /// The state to hand to a successor.
    fn save(&mut self) -> Option<Vec<u8>> {
        None
    }

    /// Takes over the state of a predecessor.
    fn restore(&mut self, _state: Vec<u8>) -> Result<(), String> {
        Err("this extension saves no state, so it cannot restore any".to_owned())
    }

    /// Where the instance lives.
    #[doc(hidden)]
    fn state() -> &'static LocalKey<RefCell<Option<Self>>>;
}

/// Reads the configuration.
#[doc(hidden)]
pub fn config<T: DeserializeOwned>(config: &str) -> Result<T, String> {
    let config = if config.trim().is_empty() { "{}" } else { config };
    serde_json::from_str(config).map_err(|error| format!("the configuration is not what this extension takes: {error}"))
}

/// The reason why an extension cannot start or restore.
#[doc(hidden)]
pub fn reason<T, E: Into<Error>>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| match error.into() {
        Error::Failed { message, .. } => message,
        other => other.to_string(),
    })
}

/// The bytes of a saved state.
#[doc(hidden)]
pub fn saved<T: IntoPayload>(state: T) -> Option<Vec<u8>> {
    match outcome::<T, Error>(Ok(state)) {
        Ok(payload) => Some(payload.bytes),
        Err(error) => {
            crate::record_error("save", &error.to_string());
            None
        }
    }
}

/// The state that was saved.
#[doc(hidden)]
pub fn restored<T: crate::FromPayload>(state: Vec<u8>) -> Result<T, String> {
    reason(argument(Payload { content_type: String::new(), bytes: state }))
}

#[cfg(target_family = "wasm")]
pub use exports::Exports;

#[cfg(target_family = "wasm")]
mod exports {
    //! The component's exports, for any extension.

    use std::marker::PhantomData;

    use super::{Error, Extension, Payload};
    use crate::batch::FlushAtEnd;
    use crate::bindings::exports::glasshouse::extension::{collector, handler, health, lifecycle};
    use crate::{Status, bridge, gate};

    /// The exports of a component whose extension is `E`.
    #[doc(hidden)]
    #[derive(Debug)]
    pub struct Exports<E>(PhantomData<E>);

    /// Runs one invocation. A host that calls something else first gets an extension started without configuration.
    fn invoke<E: Extension, T>(call: impl FnOnce(&mut E) -> T) -> Result<T, String> {
        let _flush = FlushAtEnd;
        gate::forget();
        E::state().with_borrow_mut(|state| {
            if state.is_none() {
                *state = Some(start::<E>("{}")?);
            }
            match state {
                Some(extension) => Ok(call(extension)),
                None => Err("the extension is not started".to_owned()),
            }
        })
    }

    fn start<E: Extension>(config: &str) -> Result<E, String> {
        bridge::install();
        E::init(config)
    }

    impl<E: Extension> lifecycle::Guest for Exports<E> {
        fn init(config: String) -> Result<(), String> {
            let _flush = FlushAtEnd;
            gate::forget();
            let extension = start::<E>(&config)?;
            E::state().set(Some(extension));
            Ok(())
        }

        fn shutdown() {
            let _flush = FlushAtEnd;
            gate::forget();
            if let Some(mut extension) = E::state().take() {
                extension.shutdown();
            }
        }

        fn save() -> Option<Vec<u8>> {
            invoke::<E, _>(Extension::save).ok().flatten()
        }

        fn restore(state: Vec<u8>) -> Result<(), String> {
            invoke::<E, _>(|extension| extension.restore(state))?
        }
    }

    impl<E: Extension> handler::Guest for Exports<E> {
        fn handle(event: handler::EventResult) -> Result<handler::Reply, handler::HandlerError> {
            let payload = Payload { content_type: event.content_type, bytes: event.payload };
            let handled = invoke::<E, _>(|extension| extension.handle(&event.name, payload))
                .map_err(|reason| handler::HandlerError::Failed(("init".to_owned(), reason)))?;
            match handled {
                Ok(payload) => Ok(handler::Reply { content_type: payload.content_type, payload: payload.bytes }),
                Err(Error::UnknownEvent(message)) => Err(handler::HandlerError::UnknownEvent(message)),
                Err(Error::InvalidPayload(message)) => Err(handler::HandlerError::InvalidPayload(message)),
                Err(Error::Failed { kind, message }) => Err(handler::HandlerError::Failed((kind, message))),
            }
        }
    }

    impl<E: Extension> collector::Guest for Exports<E> {
        fn collect() {
            let collect = |extension: &mut E| {
                crate::metrics::collect();
                extension.collect();
            };
            if let Err(reason) = invoke::<E, _>(collect) {
                crate::record_error("init", &reason);
            }
        }
    }

    impl<E: Extension> health::Guest for Exports<E> {
        fn check_health() -> Vec<health::Check> {
            let checks = invoke::<E, _>(Extension::health)
                .unwrap_or_else(|reason| vec![crate::Check::unhealthy("init", reason)]);
            let convert = |check: crate::Check| health::Check {
                name: check.name,
                status: match check.status {
                    Status::Healthy => health::Status::Healthy,
                    Status::Degraded => health::Status::Degraded,
                    Status::Unhealthy => health::Status::Unhealthy,
                },
                detail: check.detail,
            };
            checks.into_iter().map(convert).collect()
        }
    }
}
