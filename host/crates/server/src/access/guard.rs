//! What stands before all paths: which host is meant, how often somebody asks, who it is, and what becomes of orders.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Extension, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::Response;
use glasshouse_client::api::{Problem, ROOT, Scope, code};
use glasshouse_client::proof;

use super::orders::{Orders, kind};
use super::pace::{Pace, network};
use super::tally::Tally;
use crate::openapi::PAGE;
use crate::routes::refused;
use crate::{Audit, GIVEN_UP, Refusal, Served};

/// Requests of a client at once, and how long one of them counts: a dashboard with many charts, or several hundred readers that
/// come together.
const REQUESTS: (u32, Duration) = (1000, Duration::from_millis(2));
/// Tries without a token that is known, of an address at once, and how long one of them counts.
const TRIES: (u32, Duration) = (10, Duration::from_secs(6));
/// Paths that need no token: whether the host is up, the page to try the API, which is the same for every host and asks for a token
/// itself, and where the host shows who it is to who will not show it a token before.
const OPEN_PATHS: [&str; 4] = ["/livez", "/readyz", PAGE, proof::PATH];
/// The header by which a request is known in answers and records.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header by which a browser says for whose page it asks.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Characters of a request's id.
const ID_CHARACTERS: usize = 64;
/// Characters of a path in a record.
const PATH_CHARACTERS: usize = 200;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: Arc<str>,
    pub(crate) scope: Scope,
    /// The id of its token, if it has one.
    pub(crate) token: Option<Arc<str>>,
}

/// From where a request comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) IpAddr);

/// What a request is known by.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(String);

/// Stands before the paths where anybody may connect.
pub(crate) struct Guard {
    control: Arc<dyn Served>,
    /// In lower case.
    names: Vec<String>,
    open_on_loopback: bool,
    /// Of whom is known, by name and address, so that nobody goes short for others with the same token.
    known: Pace<(Arc<str>, IpAddr)>,
    /// Of paths that need no token, by address.
    strangers: Pace<IpAddr>,
    tries: Pace<IpAddr>,
    /// Of all addresses together, since there is no end of these.
    refused: Tally<()>,
}

impl Guard {
    pub(crate) fn new(control: Arc<dyn Served>, names: &[String], open_on_loopback: bool) -> Self {
        Self {
            control,
            names: names.iter().map(|name| name.to_ascii_lowercase()).collect(),
            open_on_loopback,
            known: Pace::new(REQUESTS.0, REQUESTS.1),
            strangers: Pace::new(REQUESTS.0, REQUESTS.1),
            tries: Pace::new(TRIES.0, TRIES.1),
            refused: Tally::new(),
        }
    }

    /// A page of a stranger's can make a browser ask for it here, under a name that it lets point here: what calls the host by a
    /// name that it does not go by is such a page.
    fn is_meant(&self, headers: &HeaderMap, uri: &Uri) -> Result<(), Problem> {
        let given = uri.authority().map(Authority::as_str);
        let given = given.or_else(|| headers.get(HOST)?.to_str().ok()).unwrap_or_default();
        let host = match given.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => given,
        };
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host).to_ascii_lowercase();
        if host == "localhost" || host.parse::<IpAddr>().is_ok() || self.names.contains(&host) {
            return Ok(());
        }
        let shown: String = host.chars().take(80).collect();
        let detail = format!(
            "this host does not go by the name \"{shown}\": call it by its address, or name it in host.names of its configuration"
        );
        Err(Problem::new(421, code::WRONG_HOST, "Not this host", detail))
    }

    /// Who asks, if it is somebody who may.
    fn who(&self, headers: &HeaderMap, address: IpAddr) -> Result<Peer, &'static str> {
        let Some(given) = headers.get(AUTHORIZATION) else {
            if !self.open_on_loopback || !address.to_canonical().is_loopback() {
                return Err("no token was given");
            }
            if is_of_another_page(headers) {
                return Err("the request is one of another site's page, and no token was given");
            }
            return Ok(Peer { name: format!("{address}, without a token").into(), scope: Scope::Admin, token: None });
        };
        let token = given.to_str().ok().and_then(|given| given.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let tokens = self.control.tokens().map_err(|_| "the host has no tokens")?;
        let found = token.and_then(|token| tokens.find(token)).ok_or("the token is not known")?;
        let name = format!("token {} ({})", found.id, found.name).into();
        Ok(Peer { name, scope: found.scope, token: Some(found.id.into()) })
    }

    /// The answer to who may not ask, and a record of it.
    fn refuse(&self, why: &str, address: IpAddr, path: &str) -> Response {
        let now = Instant::now();
        if let Some(untold) = self.refused.note((), now) {
            let path: String = path.chars().take(PATH_CHARACTERS).collect();
            self.control.refused(&Refusal { address, why, path: &path, untold });
        }
        if let Err(wait) = self.tries.take(network(address), now) {
            return too_many(
                wait,
                "there were too many requests from this address without a token that the host knows",
            );
        }
        let detail = format!(
            "{why}: send \"Authorization: Bearer TOKEN\" with one that `glasshouse tokens create` has made, or with the first, \
             which is in the file admin.token of the host's data directory, or of the user's state folder"
        );
        let mut response = refused(Problem::new(401, code::UNAUTHORIZED, "A token is needed", detail));
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"glasshouse\""));
        response
    }
}

/// Whether a browser sends it for a page that the host has not served: no token shows that the page's reader means it.
fn is_of_another_page(headers: &HeaderMap) -> bool {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    let is_foreign = text(&ORIGIN).is_some_and(|origin| {
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        authority.is_none() || authority != text(&HOST)
    });
    is_foreign || text(&FETCH_SITE).is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

/// Lets a request pass whose sender is known.
pub(crate) async fn admit(
    State(guard): State<Arc<Guard>>,
    Extension(Address(address)): Extension<Address>,
    mut request: Request,
    next: Next,
) -> Response {
    if let Err(problem) = guard.is_meant(request.headers(), request.uri()) {
        return refused(problem);
    }
    // Who is known is not held up by who is not, though both may have one address.
    match guard.who(request.headers(), address) {
        Ok(peer) => {
            if let Err(wait) = guard.known.take((Arc::clone(&peer.name), network(address)), Instant::now()) {
                return too_many(wait, "there were too many requests with this token from this address");
            }
            request.extensions_mut().insert(peer);
        }
        Err(_) if OPEN_PATHS.contains(&request.uri().path()) => {
            if let Err(wait) = guard.strangers.take(network(address), Instant::now()) {
                return too_many(wait, "there were too many requests from this address");
            }
        }
        Err(why) => return guard.refuse(why, address, request.uri().path()),
    }
    next.run(request).await
}

fn too_many(wait: Duration, why: &str) -> Response {
    let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
    let detail = format!("{why}; try again in {seconds} s");
    let mut response = refused(Problem::new(429, code::TOO_MANY_REQUESTS, "Too many requests", detail));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// What a path needs.
#[derive(Clone)]
pub(crate) struct Needs {
    pub(crate) control: Arc<dyn Served>,
    pub(crate) scope: Scope,
    pub(crate) refused: Arc<Refused>,
    pub(crate) done: Arc<Orders>,
}

/// Orders that were refused, by the id of the token that they came with: all of a socket, or without a token, are one user's.
pub(crate) type Refused = Tally<Option<Arc<str>>>;

/// Lets an order pass whose sender may give it, and leaves a record of it: one by one while they are few, and then counted, but for those that take scope admin and are not refused.
pub(crate) async fn order(
    State(Needs { control, scope, refused: tally, done }): State<Needs>,
    Extension(peer): Extension<Peer>,
    Extension(RequestId(id)): Extension<RequestId>,
    request: Request,
    next: Next,
) -> Response {
    let method = request.method().clone();
    // The router has taken off what all paths start with.
    let path = format!("{ROOT}{}", request.uri().path()).chars().take(PATH_CHARACTERS).collect();
    let mut order = Order { control, peer, scope, tally, done, method, path, id, status: GIVEN_UP };
    let response = if order.peer.scope >= scope {
        next.run(request).await
    } else {
        let Order { peer, method, path, .. } = &order;
        let detail =
            format!("{} allows to {}, and {method} {path} takes one that allows to {scope}", peer.name, peer.scope);
        refused(Problem::new(403, code::FORBIDDEN, "The token does not allow it", detail))
    };
    order.status = response.status().as_u16();
    response
}

/// An order, which leaves its record in any case: also when its sender is gone, or does not wait, while it is being done.
struct Order {
    control: Arc<dyn Served>,
    peer: Peer,
    scope: Scope,
    tally: Arc<Refused>,
    done: Arc<Orders>,
    method: Method,
    path: String,
    id: String,
    status: u16,
}

impl Drop for Order {
    fn drop(&mut self) {
        let Self { control, peer, scope, tally, done, method, path, id, status } = self;
        if std::thread::panicking() {
            *status = StatusCode::INTERNAL_SERVER_ERROR.as_u16();
        }
        let (by, method) = (&*peer.name, method.as_str());
        let is_refused = (400..500).contains(status) && *status != GIVEN_UP;
        let now = Instant::now();
        // What was done, or may have been, is always told, by itself or with others; making and ending tokens is seldom, and matters most.
        let untold = if is_refused {
            tally.note(peer.token.clone(), now)
        } else if *scope >= Scope::Admin {
            Some(0)
        } else {
            done.note(peer, &kind(method, path, *status), now).then_some(0)
        };
        let Some(untold) = untold else { return };
        control.audit(&Audit { by, scope: *scope, method, path, status: *status, request: id, untold });
    }
}

/// Gives each request an id, its own if it has a usable one, and each answer that of its request.
pub(crate) async fn identify(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_usable = |id: &&str| {
        (1..=ID_CHARACTERS).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    let id = given.filter(is_usable).map_or_else(|| format!("{:016x}", fastrand::u64(..)), str::to_owned);
    let header = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let mut response = next.run(request).await;
    if let Ok(header) = header {
        response.headers_mut().insert(REQUEST_ID, header);
    }
    response
}
