//! HTTP requests. Where they may go, the manifest asks (`permissions.http`) and the operator grants.
//!
//! The host puts the trace of the present call into each request, and makes a span of it; `traceparent`, `tracestate` and `baggage` of a request's own
//! are left out. A request lives no longer than the call of the extension that sends it. Redirects are not followed: each place that one
//! leads to has to be granted, too.

use std::fmt;
use std::time::Duration;

use crate::batch;

#[cfg(target_family = "wasm")]
mod wasm;
#[cfg(target_family = "wasm")]
use wasm as backend;

#[cfg(not(target_family = "wasm"))]
mod backend {
    use super::{Error, Request, Response};

    /// There is none.
    pub(super) enum Started {}

    pub(super) fn start(_request: &Request) -> Result<Started, Error> {
        Err(Error::Failed("there is no host outside of WebAssembly".to_owned()))
    }

    impl Started {
        pub(super) fn wait(self, _limit: usize) -> Result<Response, Error> {
            match self {}
        }
    }
}

/// Bytes of a response's body where nothing else is said: it has to fit into the extension's memory.
const BODY_BYTES: usize = 8 * 1024 * 1024;

/// A request.
///
/// ```no_run
/// use glasshouse_sdk::http::Request;
///
/// # fn example() -> Result<(), glasshouse_sdk::http::Error> {
/// let response = Request::post("https://api.example.com/v1/orders", "{}").header("content-type", "application/json").send()?;
/// assert_eq!(response.status, 201);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a request does nothing until it is sent"]
#[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only what is sent is read"))]
pub struct Request {
    method: String,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
    limit: usize,
}

impl Request {
    /// A request with any method but `CONNECT`. The URL begins with `http://` or `https://`, and has no credentials.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        let (headers, body) = (Vec::new(), Vec::new());
        Self { method: method.into(), url: url.into(), headers, body, timeout: None, limit: BODY_BYTES }
    }

    /// A `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A `POST` with a body.
    pub fn post(url: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", url).body(body)
    }

    /// With a header, beside those of the same name. Of connections and of traces only the host decides.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a body, whose length is sent with it.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Given up if the server lets so much time pass before it answers, or between parts of its answer. In any case the
    /// deadline of the extension's call ends it.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// With so many bytes of the response's body at most; 8 MiB without a call of this.
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Sends it, and waits for the response.
    pub fn send(self) -> Result<Response, Error> {
        self.start()?.wait()
    }

    /// Sends it, and does not wait for the response: others can be sent meanwhile. One with a body is waited for until the server takes that.
    /// The host has sixteen connections for an extension, each in use until its response was read or dropped; what is beyond them waits for one.
    pub fn start(self) -> Result<Pending, Error> {
        batch::flush();
        Ok(Pending { started: backend::start(&self)?, limit: self.limit })
    }

    /// Scheme, host with port, and path with query of the URL.
    #[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "only what is sent is read"))]
    fn parts(&self) -> Result<(&str, &str, &str), Error> {
        let (scheme, rest) = self.url.split_once("://").ok_or(Error::InvalidUrl)?;
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() { Err(Error::InvalidUrl) } else { Ok((scheme, authority, path)) }
    }
}

/// A request that is on its way; dropping it gives it up.
#[must_use = "a request that is dropped is given up"]
pub struct Pending {
    started: backend::Started,
    limit: usize,
}

impl Pending {
    /// Waits for the response, and all of its body.
    pub fn wait(self) -> Result<Response, Error> {
        batch::flush();
        self.started.wait(self.limit)
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Response {
    /// Its status, such as 200. That of an error is no [`Error`].
    pub status: u16,
    /// Its headers, with names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Response {
    /// The first header of a name in lower case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// Why there is no response.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The operator did not grant where it goes, or where the server's name leads.
    Denied,
    /// The URL is none, or has credentials.
    InvalidUrl,
    /// A header, or the method, is none, or not an extension's to set.
    InvalidHeader(String),
    /// The response's body has more bytes than the request's limit.
    TooLong,
    /// Something else, by the name that `wasi:http` has for it, such as `ConnectionRefused`.
    Failed(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str(
                "the server, or an address that its name leads to, is not granted: ask for it under `http` in [permissions] of \
                 extension.toml, and have the operator grant it",
            ),
            Self::InvalidUrl => f.write_str("the URL is not http://host/path or https://host/path without credentials"),
            Self::InvalidHeader(name) => write!(f, "{name} cannot be sent as it is"),
            Self::TooLong => f.write_str("the response is longer than the request's limit"),
            Self::Failed(what) => write!(f, "the request failed: {what}"),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_has_a_scheme_a_host_and_perhaps_a_path() {
        let check = |url: &str, expect: Result<(&str, &str, &str), Error>| {
            assert_eq!(Request::get(url).parts(), expect, "{url}");
        };
        check("https://a.example/x/y?z#part", Ok(("https", "a.example", "/x/y?z")));
        check("http://127.0.0.1:80?z", Ok(("http", "127.0.0.1:80", "?z")));
        check("http://[::1]:80", Ok(("http", "[::1]:80", "")));
        check("a.example/x", Err(Error::InvalidUrl));
        check("http:///x", Err(Error::InvalidUrl));
    }

    #[test]
    fn without_a_host_a_request_fails_and_says_so() {
        let failed = Request::get("http://a.example").send().expect_err("there is none");
        assert!(failed.to_string().contains("no host"), "{failed}");
    }
}
