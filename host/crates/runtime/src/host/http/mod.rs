//! `wasi:http/outgoing-handler`: wasmtime's own types, and requests that go only where the operator lets them, carry the trace of the
//! call that sends them, and end with it.

mod door;
mod errors;
mod exchange;
mod requests;
mod trust;
mod wire;

use std::sync::{Arc, OnceLock};

use glasshouse_model::settings::{HttpAccess, HttpScheme};
use glasshouse_model::{Context, HostFunction, SpanId, TraceParent};
use hyper::Request;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::uri::{Authority, PathAndQuery};
use wasmtime::StoreContextMut;
use wasmtime::component::{ComponentNamedList, ComponentType, Lift, Linker, LinkerInstance, Lower, Resource};
use wasmtime_wasi_http::p2::bindings::LinkOptions;
use wasmtime_wasi_http::p2::bindings::http::outgoing_handler::Host as _;
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, ErrorCode, HeaderError, HostFields as _, HostOutgoingRequest as _, Method, Scheme,
};
use wasmtime_wasi_http::p2::types::{HostFutureIncomingResponse, HostOutgoingRequest};
use wasmtime_wasi_http::p2::{HeaderResult, HttpResult};
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, FieldMap, RequestOptions, WasiBody, WasiHttp, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks,
};

pub(crate) use door::Door;
use exchange::{Answer, Exchange};
use requests::{Requests, Sent};
pub(crate) use trust::Trust;

use crate::denials::Denied;
use crate::intake::Intake;
use crate::state::State;

/// The interfaces' names in wasmtime's linker, which also serves components of other 0.2 versions.
const TYPES: &str = "wasi:http/types@0.2.12";
const HANDLER: &str = "wasi:http/outgoing-handler@0.2.12";

/// Bytes of the headers, or of the trailers, that a guest puts together, with what each takes beside its text: servers take 8 KiB or so.
const FIELDS_BYTES: usize = 16 * 1024;
/// Bytes of a path with its query: twice what servers take.
const PATH_BYTES: usize = 16 * 1024;
/// Bytes of a host and its port: a name has 253 at most.
const AUTHORITY_BYTES: usize = 300;
/// Bytes of a method: the longest that is registered has 17.
const METHOD_BYTES: usize = 32;
/// Bytes of a body that one write may have. Two of them wait for the network, or for the request to be sent at all.
const CHUNK_BYTES: usize = 8 * 1024;
/// What a field costs the host beyond its bytes, as so many bytes.
const FIELD_COST: usize = 64;

/// What an instance has for HTTP.
#[derive(Default)]
pub(crate) struct Http {
    context: WasiHttpCtx,
    hooks: Hooks,
    pub(crate) requests: Requests,
}

impl Http {
    pub(crate) fn new() -> Self {
        let mut http = Self::default();
        http.context.set_field_size_limit(FIELDS_BYTES);
        http
    }
}

/// What wasmtime's implementation leaves to us.
#[derive(Default)]
struct Hooks {
    /// The request that is being handed over, and the headers that the host puts into it.
    next: Option<(Exchange, Vec<(HeaderName, HeaderValue)>)>,
}

/// Headers by which a trace is passed on. Those of a guest are left out: what it is part of is the host's to say.
const TRACE_HEADERS: [HeaderName; 3] =
    [HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate"), HeaderName::from_static("baggage")];

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn send_request(
        &mut self,
        mut request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Answer, Error>> + Send> {
        let Some((exchange, trace)) = self.next.take() else {
            return Box::new(std::future::ready(Err(Error::HttpRequestDenied)));
        };
        for name in &TRACE_HEADERS {
            request.headers_mut().remove(name);
        }
        request.headers_mut().extend(trace);
        Box::new(exchange.run(request, options.unwrap_or_default()))
    }
}

/// Links the interfaces. What a guest passes to them is charged, since none of them can yield.
pub(crate) fn add(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    types::add_to_linker::<State, WasiHttp>(linker, &(&LinkOptions::default()).into(), State::counted_http)?;
    linker.allow_shadowing(true);
    linker.instance(HANDLER)?.func_wrap(
        "handle",
        |mut store: StoreContextMut<'_, State>,
         (request, options): (Resource<HostOutgoingRequest>, Option<Resource<RequestOptions>>)| {
            let state = store.data_mut();
            let entered = state.imports.enter(HostFunction::HttpSend)?;
            let sent = state.send(request, options);
            state.imports.leave(entered);
            Ok((or_code(sent)?,))
        },
    )?;
    let types = &mut linker.instance(TYPES)?;
    add_fields(types)?;
    add_requests(types)?;
    types.func_wrap(
        "http-error-code",
        |mut store: StoreContextMut<'_, State>, (error,): (Resource<wasmtime::Error>,)| {
            let state = store.data_mut();
            state.imports.note(HostFunction::Http);
            let error = state.table.get(&error)?;
            Ok((error.downcast_ref::<ErrorCode>().cloned().or_else(|| errors::of_stream(error)),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

type Fields = Resource<FieldMap>;
type OutgoingRequest = Resource<HostOutgoingRequest>;
type Entries = Vec<(String, Vec<u8>)>;

fn add_fields(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    charged(
        types,
        "[static]fields.from-list",
        |(entries,): &(Entries,)| entries.iter().map(|(name, value)| name.len() + value.len() + FIELD_COST).sum(),
        |mut view, (entries,)| or_header_error(view.from_list(entries)),
    )?;
    charged(
        types,
        "[method]fields.set",
        |(_, name, values): &(Fields, String, Vec<Vec<u8>>)| {
            name.len() + values.iter().map(|value| value.len() + FIELD_COST).sum::<usize>()
        },
        |mut view, (fields, name, values)| or_header_error(view.set(fields, name, values)),
    )?;
    charged(
        types,
        "[method]fields.append",
        |(_, name, value): &(Fields, String, Vec<u8>)| name.len() + value.len() + FIELD_COST,
        |mut view, (fields, name, value)| or_header_error(view.append(fields, name, value)),
    )?;
    let of_name = |(_, name): &(Fields, String)| name.len();
    charged(types, "[method]fields.get", of_name, |mut view, (fields, name)| view.get(fields, name))?;
    charged(types, "[method]fields.has", of_name, |mut view, (fields, name)| view.has(fields, name))?;
    charged(types, "[method]fields.delete", of_name, |mut view, (fields, name)| {
        or_header_error(types::HostFields::delete(&mut view, fields, name))
    })
}

fn add_requests(types: &mut LinkerInstance<'_, State>) -> wasmtime::Result<()> {
    charged(
        types,
        "[method]outgoing-request.set-method",
        |(_, method): &(OutgoingRequest, Method)| if let Method::Other(text) = method { text.len() } else { 0 },
        |mut view, (request, method)| match method {
            Method::Other(text) if text.len() > METHOD_BYTES => Ok(Err(())),
            method => view.set_method(request, method),
        },
    )?;
    charged(
        types,
        "[method]outgoing-request.set-scheme",
        |(_, scheme): &(OutgoingRequest, Option<Scheme>)| {
            if let Some(Scheme::Other(text)) = scheme { text.len() } else { 0 }
        },
        |mut view, (request, scheme)| view.set_scheme(request, scheme),
    )?;
    let of_text = |(_, text): &(OutgoingRequest, Option<String>)| text.as_ref().map_or(0, String::len);
    charged(types, "[method]outgoing-request.set-authority", of_text, |mut view, (request, authority)| {
        let fits = authority.as_ref().is_none_or(|text| text.len() <= AUTHORITY_BYTES);
        if fits { view.set_authority(request, authority) } else { Ok(Err(())) }
    })?;
    charged(types, "[method]outgoing-request.set-path-with-query", of_text, |mut view, (request, path)| {
        let fits = path.as_ref().is_none_or(|text| text.len() <= PATH_BYTES);
        if fits { view.set_path_with_query(request, path) } else { Ok(Err(())) }
    })
}

/// Puts a function in the place of wasmtime's, which is timed now and then, and whose bytes are charged.
fn charged<P, R>(
    types: &mut LinkerInstance<'_, State>,
    name: &str,
    bytes: fn(&P) -> usize,
    call: fn(WasiHttpCtxView<'_>, P) -> wasmtime::Result<R>,
) -> wasmtime::Result<()>
where
    P: ComponentNamedList + Lift + 'static,
    R: ComponentType + Lower + 'static,
{
    types.func_wrap(name, move |mut store: StoreContextMut<'_, State>, parameters: P| {
        let state = store.data_mut();
        let entered = state.imports.enter_light(HostFunction::Http)?;
        state.charge(bytes(&parameters))?;
        let returned = call(state.http_view(), parameters);
        state.imports.leave(entered);
        Ok((returned?,))
    })
}

fn or_code<T>(result: HttpResult<T>) -> wasmtime::Result<Result<T, ErrorCode>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

fn or_header_error<T>(result: HeaderResult<T>) -> wasmtime::Result<Result<T, HeaderError>> {
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

/// Where a request is to go, and what it is called in its span.
struct Target {
    server: HttpAccess,
    method: String,
    url: String,
}

impl Target {
    /// What the guest has put together, with what it left out. Credentials in the URL and proxying are refused: the first would be told
    /// to whoever reads the URL, the second would reach for what was not granted.
    fn of(request: &mut HostOutgoingRequest) -> Result<Self, ErrorCode> {
        let method = match &request.method {
            Method::Connect => return Err(ErrorCode::HttpRequestMethodInvalid),
            Method::Other(name) if name.eq_ignore_ascii_case("connect") => {
                return Err(ErrorCode::HttpRequestMethodInvalid);
            }
            Method::Other(name) => name.clone(),
            Method::Get => "GET".to_owned(),
            Method::Head => "HEAD".to_owned(),
            Method::Post => "POST".to_owned(),
            Method::Put => "PUT".to_owned(),
            Method::Delete => "DELETE".to_owned(),
            Method::Options => "OPTIONS".to_owned(),
            Method::Trace => "TRACE".to_owned(),
            Method::Patch => "PATCH".to_owned(),
        };
        let scheme = match request.scheme.get_or_insert(Scheme::Https) {
            Scheme::Http => HttpScheme::Http,
            Scheme::Https => HttpScheme::Https,
            Scheme::Other(_) => return Err(ErrorCode::HttpProtocolError),
        };
        let invalid = ErrorCode::HttpRequestUriInvalid;
        let authority: Option<Authority> = request.authority.as_ref().and_then(|text| text.parse().ok());
        let authority = authority.ok_or_else(|| invalid.clone())?;
        let rest = authority.as_str().strip_prefix(authority.host()).ok_or_else(|| invalid.clone())?;
        let port = match rest.strip_prefix(':') {
            // As servers read it: `+443` is a number to Rust alone.
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(port.parse().ok().filter(|port| *port > 0).ok_or_else(|| invalid.clone())?)
            }
            None if rest.is_empty() => None,
            _ => return Err(invalid),
        };
        let server = HttpAccess::of_request(scheme, authority.host(), port).ok_or_else(|| invalid.clone())?;
        let path = request.path_with_query.get_or_insert_default();
        if path.is_empty() {
            path.push('/');
        }
        path.parse::<PathAndQuery>().map_err(|_| invalid)?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        let url = format!("{}://{authority}{slash}{path}", scheme.as_str());
        Ok(Self { server, method, url })
    }
}

impl State {
    fn counted_http(&mut self) -> WasiHttpCtxView<'_> {
        self.imports.note(HostFunction::Http);
        self.http_view()
    }

    fn http_view(&mut self) -> WasiHttpCtxView<'_> {
        let Http { context, hooks, .. } = &mut self.http;
        WasiHttpCtxView { ctx: context, table: &mut self.table, hooks }
    }

    /// Sends a request, if it may be sent: its parts are checked, it gets the trace of the call, and is noted.
    fn send(
        &mut self,
        request: Resource<HostOutgoingRequest>,
        options: Option<Resource<RequestOptions>>,
    ) -> HttpResult<Resource<HostFutureIncomingResponse>> {
        let target = self.table.get_mut(&request).map(Target::of)?;
        let prepared = target.and_then(|target| self.let_through(target));
        let sent = match prepared {
            Ok((exchange, sent)) => {
                let headers = self.trace_headers(&sent);
                self.http.hooks.next = Some((exchange, headers));
                let passed_on = options.as_ref().map(|options| Resource::new_own(options.rep()));
                let handed = self.http_view().handle(request, passed_on);
                self.http.hooks.next = None;
                if handed.is_ok() {
                    self.http.requests.note(sent);
                }
                handed
            }
            Err(code) => {
                self.table.delete(request)?;
                Err(code.into())
            }
        };
        // wasmtime's own function leaves them where they are.
        if let Some(options) = options {
            self.table.delete(options)?;
        }
        sent
    }

    /// What is needed to send a request that may go where it is to go.
    fn let_through(&mut self, target: Target) -> Result<(Exchange, Sent), ErrorCode> {
        let Target { server, method, url } = target;
        if let Err(by) = self.door.lets(&server) {
            let target = format!("{method} {url}");
            let denied = Denied { by, permission: "http", operation: "handle", target: &target };
            self.denials.tell(denied, |level, message, fields| self.intake.host_log(level, message, fields));
            return Err(ErrorCode::HttpRequestDenied);
        }
        let (carried, outcome) = (Arc::default(), Arc::new(OnceLock::new()));
        let parent = self.intake.context().span_id;
        let is_traced = self.intake.may_store_spans();
        // Where there will be no span of it, what it causes is caused by the one around it.
        let id = if is_traced && self.http.requests.has_room() {
            SpanId(self.spans.ids.draw().to_be_bytes())
        } else {
            parent
        };
        let context = Intake::with_span(self.intake.context_bytes(), id);
        let sent = Sent {
            context,
            id,
            is_traced,
            parent,
            start: self.intake.clock().monotonic_nanos(),
            method,
            url,
            is_cut: false,
            server: server.clone(),
            carried: Arc::clone(&carried),
            outcome: Arc::clone(&outcome),
        };
        let exchange = Exchange {
            server,
            door: Arc::clone(&self.door),
            carried,
            pulse: Arc::clone(self.imports.pulse()),
            clock: self.intake.shared_clock(),
            over: self.http.requests.over(),
            outcome,
            strays: Arc::clone(&self.http.requests.strays),
        };
        Ok((exchange, sent))
    }

    /// The headers by which a request passes its trace on; what the server does is caused by the request itself.
    fn trace_headers(&self, sent: &Sent) -> Vec<(HeaderName, HeaderValue)> {
        let Context { trace_id, ref sampling, .. } = *self.intake.context();
        let parent = TraceParent { trace_id, span_id: sent.id, is_sampled: sampling.is_sampled };
        let carried = self.carried();
        let values = [parent.to_string(), carried.tracestate(sampling), carried.baggage().to_owned()];
        let said = TRACE_HEADERS.into_iter().zip(values).filter(|(_, value)| !value.is_empty());
        said.filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?))).collect()
    }
}
