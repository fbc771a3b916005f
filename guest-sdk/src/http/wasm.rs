//! The same by the component's imports: `wasi:http/outgoing-handler`.

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{
    ErrorCode, Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest,
    RequestOptions, Scheme, http_error_code,
};
use wasip2::io::streams::StreamError;

use super::{Error, Request, Response};

/// Bytes that `blocking-write-and-flush` takes at once.
const WRITE_BYTES: usize = 4096;
/// Bytes of a body that are read at once.
const READ_BYTES: u64 = 64 * 1024;

pub(super) struct Started(FutureIncomingResponse);

pub(super) fn start(request: &Request) -> Result<Started, Error> {
    let (scheme, authority, path) = request.parts()?;
    let fields = Fields::new();
    let invalid = |name: &str| Error::InvalidHeader(name.to_owned());
    for (name, value) in &request.headers {
        fields.append(name, value).map_err(|_| invalid(name))?;
    }
    if !request.body.is_empty() && !fields.has("content-length") {
        let length = request.body.len().to_string();
        fields.append("content-length", length.as_bytes()).map_err(|_| invalid("content-length"))?;
    }
    let outgoing = OutgoingRequest::new(fields);
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => return Err(Error::InvalidUrl),
    };
    outgoing.set_method(&method(&request.method)).map_err(|()| invalid("the method"))?;
    let url = outgoing.set_scheme(Some(&scheme)).and_then(|()| outgoing.set_authority(Some(authority)));
    url.and_then(|()| outgoing.set_path_with_query(Some(path))).map_err(|()| Error::InvalidUrl)?;
    let body = match request.body.is_empty() {
        true => None,
        false => Some(outgoing.body().map_err(|()| invalid("content-length"))?),
    };
    let options = request.timeout.map(|timeout| {
        let options = RequestOptions::new();
        let nanos = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        // The host knows both.
        let _ = options.set_first_byte_timeout(Some(nanos));
        let _ = options.set_between_bytes_timeout(Some(nanos));
        options
    });
    let response = handle(outgoing, options).map_err(error_of)?;
    if let Some(body) = body {
        send_body(body, &request.body)?;
    }
    Ok(Started(response))
}

fn method(name: &str) -> Method {
    match name {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// Sends a body. A server may answer before it has read all of it; what became of the request is told by its response.
fn send_body(body: OutgoingBody, bytes: &[u8]) -> Result<(), Error> {
    let stream = body.write().map_err(|()| Error::Failed("there is no stream".to_owned()))?;
    for part in bytes.chunks(WRITE_BYTES) {
        if stream.blocking_write_and_flush(part).is_err() {
            return Ok(());
        }
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(error_of)
}

fn error_of(code: ErrorCode) -> Error {
    match code {
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => Error::Denied,
        ErrorCode::HttpRequestUriInvalid => Error::InvalidUrl,
        other => {
            let name = format!("{other:?}");
            Error::Failed(name.strip_prefix("ErrorCode::").unwrap_or(&name).to_owned())
        }
    }
}

impl Started {
    pub(super) fn wait(self, limit: usize) -> Result<Response, Error> {
        let response = loop {
            match self.0.get() {
                Some(Ok(response)) => break response.map_err(error_of)?,
                Some(Err(())) => return Err(Error::Failed("the response was taken already".to_owned())),
                None => self.0.subscribe().block(),
            }
        };
        let (status, headers) = (response.status(), response.headers().entries());
        let body = read(&response, limit)?;
        Ok(Response { status, headers, body })
    }
}

fn read(response: &IncomingResponse, limit: usize) -> Result<Vec<u8>, Error> {
    let body: IncomingBody = response.consume().map_err(|()| Error::Failed("the body was taken already".to_owned()))?;
    let stream = body.stream().map_err(|()| Error::Failed("the body was taken already".to_owned()))?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_BYTES) {
            Ok(part) if bytes.len() + part.len() > limit => return Err(Error::TooLong),
            Ok(part) => bytes.extend_from_slice(&part),
            Err(StreamError::Closed) => return Ok(bytes),
            Err(StreamError::LastOperationFailed(error)) => {
                let failed = || Error::Failed(error.to_debug_string());
                return Err(http_error_code(&error).map_or_else(failed, error_of));
            }
        }
    }
}
