//! Sends HTTP requests, as it should and as it should not.

use std::collections::BTreeMap;
use std::time::Duration;

use glasshouse_sdk::http::{Error, Pending, Request};
use glasshouse_sdk::{Payload, events, extension, in_span};
use serde::{Deserialize, Serialize};

/// What to fetch.
#[derive(Deserialize)]
struct Fetch {
    url: String,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Bytes of the body that is sent.
    #[serde(default)]
    send: usize,
    /// Bytes of the response's body that are taken.
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

/// What came.
#[derive(Serialize)]
struct Fetched {
    status: u16,
    headers: BTreeMap<String, String>,
    bytes: usize,
    text: String,
}

impl Fetch {
    fn request(self) -> Request {
        let method = self.method.unwrap_or_else(|| "GET".to_owned());
        let mut request = Request::new(method, self.url).body(vec![b'x'; self.send]);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        if let Some(limit) = self.limit {
            request = request.limit(limit);
        }
        match self.timeout_ms {
            Some(timeout) => request.timeout(Duration::from_millis(timeout)),
            None => request,
        }
    }
}

/// What came of something, or why nothing did.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Answer<T> {
    Came(T),
    Failed(String),
}

impl<T> From<Result<T, Error>> for Answer<T> {
    fn from(result: Result<T, Error>) -> Self {
        result.map_or_else(|error| Self::Failed(format!("{error:?}")), Self::Came)
    }
}

fn fetched(request: Request) -> Result<Fetched, Error> {
    let response = request.send()?;
    let text = String::from_utf8_lossy(&response.body[..response.body.len().min(200)]).into_owned();
    let headers =
        response.headers.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
    Ok(Fetched { status: response.status, headers: headers.collect(), bytes: response.body.len(), text })
}

/// The extension.
#[derive(Default)]
pub struct Fetcher {
    kept: Option<Pending>,
}

#[extension]
impl Fetcher {
    /// Fetches something: what came, or why nothing did.
    #[event]
    fn fetch(&mut self, what: Fetch) -> Answer<Fetched> {
        fetched(what.request()).into()
    }

    /// Fetches something in a span.
    #[event("in-span")]
    fn in_a_span(&mut self, what: Fetch) -> Answer<Fetched> {
        in_span("work", |_| fetched(what.request())).into()
    }

    /// Fetches the same so many times at once; tells the statuses.
    #[event]
    fn many(&mut self, what: (String, usize)) -> Answer<Vec<u16>> {
        let (url, times) = what;
        let started: Result<Vec<_>, _> = (0..times).map(|_| Request::get(&url).start()).collect();
        started.and_then(|all| all.into_iter().map(|one| Ok(one.wait()?.status)).collect()).into()
    }

    /// Sends requests and gives each up at once.
    #[event("give-up")]
    fn give_up(&mut self, what: (String, usize)) -> usize {
        let (url, times) = what;
        (0..times).filter(|_| Request::get(&url).start().is_ok()).count()
    }

    /// Sends a request and keeps it for the next call.
    #[event]
    fn keep(&mut self, url: String) -> bool {
        self.kept = Request::get(url).start().ok();
        self.kept.is_some()
    }

    /// What came of the request that was kept.
    #[event]
    fn kept(&mut self) -> Answer<u16> {
        let kept = self.kept.take().expect("something was kept");
        kept.wait().map(|response| response.status).into()
    }

    /// Passes what to fetch on to another extension.
    #[event]
    fn pass(&mut self, what: (String, String)) -> Result<Payload, events::CallError> {
        let (extension, url) = what;
        events::call(&extension, "fetch", BTreeMap::from([("url", url)]))
    }

    /// Says what the host makes of parts that are too long.
    #[event("too-long")]
    fn too_long(&mut self) -> Vec<bool> {
        raw::too_long()
    }

    /// Makes headers that are far too long.
    #[event]
    fn headers(&mut self, bytes: usize) -> bool {
        raw::headers(bytes)
    }

    /// Makes requests with bodies, and sends none of them.
    #[event]
    fn hoard(&mut self, what: usize) -> usize {
        raw::hoard(what)
    }

    /// Asks for a request to be proxied.
    #[event]
    fn connect(&mut self, authority: String) -> String {
        raw::connect(&authority)
    }
}

/// The interface as it is, without the SDK.
#[cfg(target_family = "wasm")]
mod raw {
    use wasip2::http::outgoing_handler::handle;
    use wasip2::http::types::{Fields, Method, OutgoingRequest, Scheme};

    pub(super) fn too_long() -> Vec<bool> {
        let request = OutgoingRequest::new(Fields::new());
        let long = "x".repeat(1 << 20);
        vec![
            request.set_method(&Method::Other(long.clone())).is_err(),
            request.set_scheme(Some(&Scheme::Other(long.clone()))).is_err(),
            request.set_authority(Some(&long)).is_err(),
            request.set_path_with_query(Some(&format!("/{long}"))).is_err(),
        ]
    }

    pub(super) fn headers(bytes: usize) -> bool {
        let fields = Fields::new();
        fields.append("x-long", &vec![b'x'; bytes]).is_ok()
    }

    pub(super) fn hoard(requests: usize) -> usize {
        let mut kept = Vec::new();
        for _ in 0..requests {
            let request = OutgoingRequest::new(Fields::new());
            let body = request.body();
            if let Ok(body) = &body
                && let Ok(stream) = body.write()
            {
                while stream.check_write().is_ok_and(|room| room > 0) && stream.write(&[b'x'; 4096]).is_ok() {}
                std::mem::forget(stream);
            }
            kept.push((request, body));
        }
        let count = kept.len();
        std::mem::forget(kept);
        count
    }

    pub(super) fn connect(authority: &str) -> String {
        let request = OutgoingRequest::new(Fields::new());
        let set = request.set_method(&Method::Connect).is_ok() && request.set_authority(Some(authority)).is_ok();
        assert!(set && request.set_scheme(Some(&Scheme::Http)).is_ok());
        handle(request, None).map_or_else(|code| format!("{code:?}"), |_| "sent".to_owned())
    }
}

#[cfg(not(target_family = "wasm"))]
mod raw {
    pub(super) fn too_long() -> Vec<bool> {
        Vec::new()
    }

    pub(super) fn headers(_bytes: usize) -> bool {
        false
    }

    pub(super) fn hoard(_requests: usize) -> usize {
        0
    }

    pub(super) fn connect(_authority: &str) -> String {
        String::new()
    }
}
