//! Server-sent events: what is new, as it comes, for as long as somebody listens. Little is kept for a listener, a
//! few hundred kilobytes that it has not taken yet: what comes after stays where it is stored, so that a slow one holds up nobody, and is
//! told of what was evicted meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream::{StreamExt as _, unfold};
use glasshouse_client::api::Manager;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use crate::access::guard::Peer;
use crate::asked::{Named, Params};
use crate::connections::Closing;
use crate::feeds::{Feeds, Place, written};
use crate::openapi::{Refused, SignalWord};
use crate::routes::{Host, Member, refused};
use crate::{Follower, News, Served, lanes};

/// How often it is looked how extensions are doing.
const LOOK_AT_MANAGERS: Duration = Duration::from_millis(250);
/// How often it is looked whether a token is still known.
const LOOK_AT_TOKEN: Duration = Duration::from_secs(5);
/// How often something is said where nothing is new, so that nobody on the way takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// What is followed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Followed {
    /// What records must be, in the language of docs/query.md.
    #[serde(default)]
    query: String,
    /// Go on after this cursor.
    #[serde(default)]
    after: Option<String>,
}

impl Named for Followed {
    const NAMES: &str = "query and after";
}

/// Follow a signal as server-sent events: from the event that was seen last, from a cursor, or from now on
#[utoipa::path(
    get,
    path = "/dashboard/{id}/{signal}/stream",
    tag = "dashboard",
    params(
        ("id" = String, Path, description = "The id of an extension."),
        ("signal" = inline(SignalWord), Path, description = "`logs`, `metrics`, `errors`, `spans`, `alerts` or `invocations`."),
        Followed,
        ("last-event-id" = Option<String>, Header, description = "The cursor of the last event that was seen."),
    ),
    responses((status = 200, content_type = "text/event-stream", body = String), Refused),
)]
pub(crate) async fn stream(
    State(control): Host,
    Member(id, signal): Member,
    Extension(peer): Extension<Peer>,
    Extension(closing): Extension<Closing>,
    Extension(feeds): Extension<Arc<Feeds>>,
    Params(Followed { query, after }): Params<Followed>,
    headers: HeaderMap,
) -> Response {
    let last_seen = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    match control.follow(&id, &signal, &query, last_seen.or(after).as_deref()) {
        Ok(follower) => {
            // A client that is cut off before anything was told comes back here.
            let begun = written(&[News::Place { cursor: follower.place() }]);
            let (place, pass) = (Place::take(&feeds, &*follower), Pass::new(peer));
            let following = Following {
                follower,
                place,
                begun: Some(begun),
                control,
                pass,
                closing,
                said: Instant::now(),
                wait: Duration::ZERO,
            };
            let events = unfold(following, Following::next).map(Ok::<_, Infallible>);
            let head = [(CONTENT_TYPE, "text/event-stream"), (CACHE_CONTROL, "no-cache")];
            (head, Body::from_stream(events)).into_response()
        }
        Err(problem) => refused(problem),
    }
}

fn respond(events: impl futures_util::Stream<Item = Result<Event, Infallible>> + Send + 'static) -> Response {
    Sse::new(events.fuse()).keep_alive(KeepAlive::new().interval(HEARTBEAT).text("heartbeat")).into_response()
}

/// Somebody who listens.
struct Following {
    follower: Box<dyn Follower>,
    place: Place,
    /// What is told first.
    begun: Option<Bytes>,
    control: Arc<dyn Served>,
    pass: Pass,
    closing: Closing,
    /// When something was said last.
    said: Instant,
    /// How long to wait before it is looked for more.
    wait: Duration,
}

/// What somebody listens by.
struct Pass {
    /// The token that it came with.
    token: Option<Arc<str>>,
    /// When it was last seen that the token is known.
    looked: Instant,
}

impl Pass {
    fn new(peer: Peer) -> Self {
        Self { token: peer.token, looked: Instant::now() }
    }

    /// Whether the token, if there is one, was known a few seconds ago at the latest.
    fn is_good(&mut self, control: &dyn Served) -> bool {
        let Some(token) = &self.token else { return true };
        if self.looked.elapsed() < LOOK_AT_TOKEN {
            return true;
        }
        self.looked = Instant::now();
        control.tokens().is_ok_and(|tokens| tokens.allows(token))
    }
}

impl Following {
    /// Waits for what is new. Whose token is revoked, or over, is told no more. Where the host ends, what was stored is told before.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            if !self.pass.is_good(&*self.control) {
                return None;
            }
            if let Some(begun) = self.begun.take() {
                return Some((begun, self));
            }
            pause(std::mem::take(&mut self.wait), &mut self.closing).await;
            // In this order: what was stored before the host closed is there then.
            let is_over = self.closing.is_told();
            if self.follower.waiting() > 0 {
                let events;
                (events, self) = self.read().await?;
                self.said = Instant::now();
                self.wait = self.place.rest(events.len(), self.follower.waiting());
                return Some((events, self));
            }
            if is_over {
                return None;
            }
            if self.said.elapsed() >= HEARTBEAT {
                self.said = Instant::now();
                return Some((Bytes::from_static(b": heartbeat\n\n"), self));
            }
            self.wait = self.place.look();
        }
    }

    /// What is new: as others were told it, or else read on a thread where that holds nobody up.
    async fn read(mut self) -> Option<(Bytes, Self)> {
        if let Some(events) = self.place.feed.shared(&mut *self.follower) {
            return Some((events, self));
        }
        let lane = lanes::to_read().await;
        let reading = tokio::task::spawn_blocking(move || {
            let events = self.place.feed.read(&mut *self.follower);
            drop(lane);
            (events, self)
        });
        reading.await.ok()
    }
}

/// Waits so long, or until the host closes.
async fn pause(length: Duration, closing: &mut Closing) {
    if length.is_zero() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep(length) => {}
        () = closing.told() => {}
    }
}

fn named(name: &str, data: &impl Serialize) -> Event {
    Event::default().event(name).data(serde_json::to_string(data).unwrap_or_default())
}

/// Tells how all extensions are doing, and then each that is doing otherwise.
pub(crate) struct Lifecycle {
    control: Arc<dyn Served>,
    told: BTreeMap<String, (String, String)>,
    news: VecDeque<Manager>,
    is_first: bool,
    /// Whether the host was looked at after it began to close.
    is_last: bool,
    pass: Pass,
    closing: Closing,
}

impl Lifecycle {
    pub(crate) fn new(control: Arc<dyn Served>, peer: Peer, closing: Closing) -> Self {
        let (told, news, pass) = (BTreeMap::new(), VecDeque::new(), Pass::new(peer));
        Self { control, told, news, is_first: true, is_last: false, pass, closing }
    }

    pub(crate) fn respond(self) -> Response {
        respond(unfold(self, Self::next))
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if !self.pass.is_good(&*self.control) {
                return None;
            }
            if let Some(manager) = self.news.pop_front() {
                return Some((Ok(named("manager", &manager)), self));
            }
            // Told before it is looked for the last time: nothing changes any more then.
            if self.closing.is_told() && std::mem::replace(&mut self.is_last, true) {
                return None;
            }
            if !self.is_first {
                pause(LOOK_AT_MANAGERS, &mut self.closing).await;
            }
            self.is_first = false;
            for manager in self.control.managers() {
                let state = (manager.status.clone(), manager.standing.state.clone());
                if self.told.get(&manager.extension) != Some(&state) {
                    self.told.insert(manager.extension.clone(), state);
                    self.news.push_back(manager);
                }
            }
        }
    }
}
