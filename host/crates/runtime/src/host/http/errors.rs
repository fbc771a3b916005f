//! What goes wrong with a request, in the words of `wasi:http`.

use std::error::Error as _;
use std::io::{self, ErrorKind};

use rustix::io::Errno;
use tokio_rustls::rustls;
use wasmtime_wasi_http::Error;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

/// Why no connection was made.
pub(super) fn of_connecting(error: &io::Error) -> Error {
    match error.kind() {
        ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        ErrorKind::TimedOut => Error::ConnectionTimeout,
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => Error::DestinationIpUnroutable,
        _ if matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE)) => Error::ConnectionLimitReached,
        _ => Error::DestinationUnavailable,
    }
}

/// Why there is no TLS.
pub(super) fn of_tls(error: &io::Error) -> Error {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::InvalidCertificate(_)) => Error::TlsCertificateError,
        Some(rustls::Error::AlertReceived(alert)) => {
            Error::TlsAlertReceived { alert_id: Some(u8::from(*alert)), alert_message: Some(format!("{alert:?}")) }
        }
        Some(_) => Error::TlsProtocolError,
        None => Error::ConnectionTerminated,
    }
}

/// What is wrong with request or response.
pub(super) fn of_hyper(error: &hyper::Error) -> Error {
    let by_system = error.source().and_then(|cause| cause.downcast_ref()).map(io::Error::kind);
    if error.is_parse_too_large() {
        Error::HttpResponseHeaderSectionSize(None)
    } else if error.is_incomplete_message() || by_system == Some(ErrorKind::UnexpectedEof) {
        Error::HttpResponseIncomplete
    } else if error.is_timeout() {
        Error::HttpResponseTimeout
    } else if error.is_closed() || error.is_canceled() || by_system.is_some() {
        Error::ConnectionTerminated
    } else {
        Error::HttpProtocolError
    }
}

/// What a body's stream ended with, as the guest gets it; wasmtime's own function knows only codes, which no body of a response ends with.
pub(super) fn of_stream(error: &wasmtime::Error) -> Option<ErrorCode> {
    let told = match error.downcast_ref()? {
        Error::HttpResponseIncomplete => ErrorCode::HttpResponseIncomplete,
        Error::HttpResponseTimeout => ErrorCode::HttpResponseTimeout,
        Error::ConnectionTerminated => ErrorCode::ConnectionTerminated,
        Error::ConnectionReadTimeout => ErrorCode::ConnectionReadTimeout,
        _ => ErrorCode::HttpProtocolError,
    };
    Some(told)
}

/// The word of `wasi:http` for an error, without what it may tell beside that.
pub(super) fn word(error: &Error) -> &'static str {
    match error {
        Error::DnsError { .. } => "DNS-error",
        Error::DnsTimeout => "DNS-timeout",
        Error::DestinationUnavailable => "destination-unavailable",
        Error::DestinationIpProhibited => "destination-IP-prohibited",
        Error::DestinationIpUnroutable => "destination-IP-unroutable",
        Error::ConnectionRefused => "connection-refused",
        Error::ConnectionTerminated => "connection-terminated",
        Error::ConnectionTimeout => "connection-timeout",
        Error::ConnectionReadTimeout => "connection-read-timeout",
        Error::ConnectionLimitReached => "connection-limit-reached",
        Error::TlsProtocolError => "TLS-protocol-error",
        Error::TlsCertificateError => "TLS-certificate-error",
        Error::TlsAlertReceived { .. } => "TLS-alert-received",
        Error::HttpRequestUriInvalid => "HTTP-request-URI-invalid",
        Error::HttpResponseIncomplete => "HTTP-response-incomplete",
        Error::HttpResponseHeaderSectionSize(_) => "HTTP-response-header-section-size",
        Error::HttpResponseTimeout => "HTTP-response-timeout",
        Error::HttpProtocolError => "HTTP-protocol-error",
        Error::ConfigurationError => "configuration-error",
        _ => "internal-error",
    }
}
