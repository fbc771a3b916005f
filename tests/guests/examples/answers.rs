//! Answers calls with errors, some of which it has reported, and panics in spans that are open.

use std::fmt;
use std::io;

use glasshouse_sdk::events;
use glasshouse_sdk::http::Request;
use glasshouse_sdk::{Error, ErrorReport, Payload, extension, info, record_exception, span};

/// The extension.
#[derive(Default)]
pub struct Answers;

/// An error with a cause.
#[derive(Debug)]
struct NoPage(io::Error);

impl fmt::Display for NoPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no page")
    }
}

impl std::error::Error for NoPage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[extension]
impl Answers {
    /// Replies with what it got.
    #[event]
    fn echo(&mut self, text: String) -> String {
        text
    }

    /// Reports an error with its cause, and answers with it.
    #[event]
    fn both(&mut self, text: String) -> Result<(), Error> {
        let error = NoPage(io::Error::other(text));
        record_exception(&error);
        Err(error)?
    }

    /// Reports one error, and answers with another.
    #[event]
    fn other(&mut self, text: String) -> Result<(), Error> {
        ErrorReport::new("index", "the index is old").send();
        Err(Error::failed("page", text))
    }

    /// Answers with an error only.
    #[event]
    fn answer(&mut self, text: String) -> Result<(), Error> {
        Err(Error::failed("page", text))
    }

    /// Uses a permission that it may not have, and answers with what came of it.
    #[event]
    fn insist(&mut self, permission: String) -> Result<(), Error> {
        match permission.as_str() {
            "publish" => drop(events::publish("news", "all is well")?),
            "call" => drop(events::call::<Payload>("other", "ask", Payload::new("text/plain", Vec::new()))?),
            "http" => drop(Request::get("http://192.0.2.1/").send()?),
            other => return Err(Error::failed("card", format!("{other} was denied"))),
        }
        Ok(())
    }

    /// Reports what it then replies all the same to.
    #[event]
    fn report(&mut self) {
        ErrorReport::new("page", "there is no page").send();
    }

    /// Panics two spans deep.
    #[event]
    fn panic(&mut self, text: String) {
        let _outer = span!("outer");
        let _inner = span!("inner");
        info!("about to panic", text = text);
        panic!("there is no page at all");
    }
}
