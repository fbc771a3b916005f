//! Server-sent events: what is new, as it comes, for as long as somebody listens. Little is kept for a listener, a
//! few hundred kilobytes that it has not taken yet: what comes after stays where it is stored, so that a slow one holds up nobody, and is
//! told of what was evicted meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
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
use crate::feeds::{Feeds, Heard, Place, written};
use crate::openapi::{Refused, SignalWord};
use crate::routes::{Host, Member, refused};
use crate::{Follower, News, Served, What};

/// How often it is looked how extensions are doing.
const LOOK_AT_MANAGERS: Duration = Duration::from_millis(250);
/// How often it is looked whether a token is still known.
const LOOK_AT_TOKEN: Duration = Duration::from_secs(5);
/// How often something is said where nothing is new, so that nobody on the way takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// What is said then: a comment.
const SIGN_OF_LIFE: Bytes = Bytes::from_static(b": heartbeat\n\n");

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
            let begun = written(&[News { last: 0, cursor: follower.place(), what: What::Place }]);
            let place = Place::take(&feeds, &*follower);
            let following = Following {
                place,
                step: Step::Looks(follower, Instant::now()),
                begun: Some(begun),
                pass: Pass::new(peer, control),
                closing,
                said: Instant::now(),
                heartbeat: HEARTBEAT,
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
    place: Place,
    step: Step,
    /// What is told first.
    begun: Option<Bytes>,
    pass: Pass,
    closing: Closing,
    /// When something was said last.
    said: Instant,
    /// How often something is said in any case.
    heartbeat: Duration,
}

/// What somebody who listens does.
enum Step {
    /// Looks for more, then.
    Looks(Box<dyn Follower>, Instant),
    /// Reads what there is, or waits for who does.
    Reads(Reading),
}

/// What is to be told; `None` where the runtime ended.
type Reading = Pin<Box<dyn Future<Output = Option<Heard>> + Send>>;

/// What somebody listens by.
struct Pass {
    /// The token that it came with.
    token: Option<Arc<str>>,
    /// When it was last seen that the token is known.
    looked: Instant,
    /// How often it is looked.
    every: Duration,
    allows: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Pass {
    fn new(peer: Peer, control: Arc<dyn Served>) -> Self {
        let allows = move |token: &str| control.tokens().is_ok_and(|tokens| tokens.allows(token));
        Self { token: peer.token, looked: Instant::now(), every: LOOK_AT_TOKEN, allows: Box::new(allows) }
    }

    /// Whether the token, if there is one, was known a few seconds ago at the latest.
    fn is_good(&mut self) -> bool {
        let Some(token) = &self.token else { return true };
        if self.looked.elapsed() < self.every {
            return true;
        }
        self.looked = Instant::now();
        (self.allows)(token)
    }
}

impl Following {
    /// Waits for what is new. Whose token is revoked, or over, is told no more, whatever was waited for meanwhile. Where the host ends, what was stored is told before.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        loop {
            let mut told = self.begun.take();
            if told.is_none() {
                (told, self.step) = match self.step {
                    Step::Looks(follower, time) => {
                        pause(time, &mut self.closing).await;
                        // In this order: what was stored before the host closed is there then.
                        let is_over = self.closing.is_told();
                        if follower.waiting() > 0 {
                            (None, Step::Reads(Box::pin(self.place.news(follower))))
                        } else if is_over {
                            return None;
                        } else {
                            let is_due = self.said.elapsed() >= self.heartbeat;
                            (is_due.then_some(SIGN_OF_LIFE), Step::Looks(follower, self.place.next_look()))
                        }
                    }
                    Step::Reads(mut reading) => tokio::select! {
                        biased;
                        read = &mut reading => {
                            let heard = read?;
                            let time = self.place.rest(&heard);
                            (Some(heard.events), Step::Looks(heard.follower, time))
                        }
                        () = tokio::time::sleep_until((self.said + self.heartbeat).into()) => {
                            (Some(SIGN_OF_LIFE), Step::Reads(reading))
                        }
                    },
                };
            }
            if !self.pass.is_good() {
                return None;
            }
            if let Some(told) = told {
                self.said = Instant::now();
                return Some((told, self));
            }
        }
    }
}

/// Waits until then, or until the host closes.
async fn pause(until: Instant, closing: &mut Closing) {
    if until <= Instant::now() {
        return;
    }
    tokio::select! {
        () = tokio::time::sleep_until(until.into()) => {}
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
        let (told, news, pass) = (BTreeMap::new(), VecDeque::new(), Pass::new(peer, Arc::clone(&control)));
        Self { control, told, news, is_first: true, is_last: false, pass, closing }
    }

    pub(crate) fn respond(self) -> Response {
        respond(unfold(self, Self::next))
    }

    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if !self.pass.is_good() {
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
                pause(Instant::now() + LOOK_AT_MANAGERS, &mut self.closing).await;
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc::{Receiver, channel};

    use super::*;

    /// Has one record, which it reads as soon as it is let.
    struct Held(Mutex<Receiver<()>>);

    impl Follower for Held {
        fn waiting(&self) -> u64 {
            1
        }

        fn read(&mut self, _: usize) -> Vec<News> {
            let _ = self.0.get_mut().expect("nobody panics").recv();
            vec![News { last: 1, cursor: "there".to_owned(), what: What::Place }]
        }

        fn place(&self) -> String {
            "here".to_owned()
        }

        fn feed(&self) -> String {
            String::new()
        }

        fn next(&self) -> Option<u64> {
            Some(1)
        }

        fn skip_to(&mut self, _: u64) {}
    }

    /// Has nothing to tell.
    struct Idle;

    impl Follower for Idle {
        fn waiting(&self) -> u64 {
            0
        }

        fn read(&mut self, _: usize) -> Vec<News> {
            panic!("there is nothing to be read")
        }

        fn place(&self) -> String {
            "here".to_owned()
        }

        fn feed(&self) -> String {
            "idle".to_owned()
        }

        fn next(&self) -> Option<u64> {
            Some(1)
        }

        fn skip_to(&mut self, _: u64) {}
    }

    #[tokio::test]
    async fn where_nothing_is_new_a_stream_says_that_it_lives_and_it_ends_with_the_host() {
        let follower = Box::new(Idle);
        let (tell, closing) = Closing::new();
        let mut following = Following {
            place: Place::take(&Arc::default(), &*follower),
            step: Step::Looks(follower, Instant::now()),
            begun: None,
            pass: Pass { token: None, looked: Instant::now(), every: Duration::ZERO, allows: Box::new(|_| true) },
            closing,
            said: Instant::now(),
            heartbeat: Duration::from_millis(1),
        };
        for _ in 0..3 {
            let told;
            (told, following) = following.next().await.expect("it goes on");
            assert_eq!(told, SIGN_OF_LIFE);
        }
        tell.send_replace(true);
        assert!(following.next().await.is_none());
    }

    #[tokio::test]
    async fn while_it_reads_a_stream_says_that_it_lives_and_it_ends_with_its_token() {
        let (let_go, held) = channel();
        let follower = Box::new(Held(Mutex::new(held)));
        let is_known = Arc::new(AtomicBool::new(true));
        let known = Arc::clone(&is_known);
        let pass = Pass {
            token: Some("a".into()),
            looked: Instant::now(),
            every: Duration::ZERO,
            allows: Box::new(move |_| known.load(Ordering::Relaxed)),
        };
        let (_tell, closing) = Closing::new();
        let mut following = Following {
            place: Place::take(&Arc::default(), &*follower),
            step: Step::Looks(follower, Instant::now()),
            begun: None,
            pass,
            closing,
            said: Instant::now(),
            heartbeat: Duration::from_millis(1),
        };
        let mut told;
        for _ in 0..3 {
            (told, following) = following.next().await.expect("it goes on");
            assert_eq!(told, SIGN_OF_LIFE);
        }
        let_go.send(()).expect("it waits");
        loop {
            (told, following) = following.next().await.expect("it goes on");
            if told != SIGN_OF_LIFE {
                break;
            }
        }
        assert_eq!(&*told, b"id: there\n\n");
        is_known.store(false, Ordering::Relaxed);
        let_go.send(()).expect("it waits");
        assert!(following.next().await.is_none(), "nothing is told that was read after the token was revoked");
    }
}
