//! Where what is stored is pushed to: a collector of OpenTelemetry's protocol.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::Signal;
use crate::text::visible;

/// Bytes of a header's name and value together: what servers take of all headers is some 8 to 16 KiB.
const HEADER_BYTES: usize = 4096;
/// Bytes of a word that may be secret: shorter ones would be in any text.
const WORD_BYTES: usize = 4;
/// Headers that the exporter sets itself, and those that are about a connection and not about a request.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

glasshouse_wire::byte_enum! {
    /// How records are sent.
    #[derive(Default)]
    OtlpProtocol {
        /// Protobuf over HTTP/1.1.
        #[default]
        HttpProtobuf = 0 "http/protobuf",
        /// JSON over HTTP/1.1.
        HttpJson = 1 "http/json",
        /// gRPC, which is protobuf over HTTP/2.
        Grpc = 2 "grpc",
    }
}

glasshouse_wire::byte_enum! {
    /// What is done with requests before they are sent.
    #[derive(Default)]
    OtlpCompression {
        /// They are made smaller.
        #[default]
        Gzip = 0 "gzip",
        /// Nothing.
        None = 1 "none",
    }
}

glasshouse_wire::byte_enum! {
    /// What can be pushed, by the name that it has in the configuration.
    OtlpSignal {
        /// Logs.
        Logs = 0 "logs",
        /// Errors and failures, as logs.
        Errors = 1 "errors",
        /// Records of alerts, as logs.
        Alerts = 2 "alerts",
        /// Metric samples.
        Metrics = 3 "metrics",
        /// Spans and calls.
        Traces = 4 "traces",
    }
}

glasshouse_wire::byte_enum! {
    /// The part of a collector that takes a kind of telemetry.
    OtlpService {
        /// Takes logs, and what becomes logs.
        Logs = 0 "logs",
        /// Takes metrics.
        Metrics = 1 "metrics",
        /// Takes spans.
        Traces = 2 "traces",
    }
}

/// Where and how records are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpSettings {
    pub(super) endpoint: String,
    pub(super) logs_endpoint: String,
    pub(super) metrics_endpoint: String,
    pub(super) traces_endpoint: String,
    pub(super) protocol: String,
    pub(super) compression: String,
    pub(super) signals: Vec<String>,
    /// What each request carries beside what is the protocol's, such as who it is from.
    pub headers: Secrets,
    /// The certificates, in PEM, that collectors are trusted by; `None` stands for those of the system.
    pub certificate: Option<PathBuf>,
    /// The host's own certificate, in PEM, for collectors that ask who it is.
    pub client_certificate: Option<PathBuf>,
    /// The private key of that, in PEM.
    pub client_key: Option<PathBuf>,
    /// How often it is looked for what is new.
    pub interval: Duration,
    /// How long a request may take, its answer included.
    pub timeout: Duration,
    /// Records of a request.
    pub batch_records: usize,
    /// Bytes of a request before it is compressed; a record that is larger goes alone.
    pub batch_bytes: u64,
}

impl Default for OtlpSettings {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            logs_endpoint: String::new(),
            metrics_endpoint: String::new(),
            traces_endpoint: String::new(),
            protocol: OtlpProtocol::default().to_string(),
            compression: OtlpCompression::default().to_string(),
            signals: OtlpSignal::ALL.iter().map(ToString::to_string).collect(),
            headers: Secrets::default(),
            certificate: None,
            client_certificate: None,
            client_key: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            batch_records: 512,
            // Collectors take 4 MiB at once where nobody says otherwise.
            batch_bytes: 1 << 20,
        }
    }
}

impl OtlpSettings {
    /// How records are sent.
    pub fn protocol(&self) -> OtlpProtocol {
        // The configuration takes nothing else.
        self.protocol.parse().unwrap_or_default()
    }

    /// What is done with requests before they are sent.
    pub fn compression(&self) -> OtlpCompression {
        self.compression.parse().unwrap_or_default()
    }

    /// Where what a service takes goes to; `None` if it is not pushed. An endpoint of all services has the path of each after its own, one
    /// of a single service is taken as it is (OpenTelemetry's "Protocol Exporter", "Endpoint URLs for OTLP/HTTP").
    pub fn endpoint(&self, service: OtlpService) -> Option<Endpoint> {
        let own = match service {
            OtlpService::Logs => &self.logs_endpoint,
            OtlpService::Metrics => &self.metrics_endpoint,
            OtlpService::Traces => &self.traces_endpoint,
        };
        if !own.is_empty() {
            return Endpoint::parse(own).ok();
        }
        let mut endpoint = Endpoint::parse(&self.endpoint).ok()?;
        endpoint.path = format!("{}/v1/{service}", endpoint.path.trim_end_matches('/'));
        Some(endpoint)
    }

    /// The service that takes a signal; `None` if it is not to be pushed, or there is nowhere to push it to.
    pub fn service(&self, signal: Signal) -> Option<OtlpService> {
        let (pushed, service) = match signal {
            Signal::Log => (OtlpSignal::Logs, OtlpService::Logs),
            Signal::Error => (OtlpSignal::Errors, OtlpService::Logs),
            Signal::Alert => (OtlpSignal::Alerts, OtlpService::Logs),
            Signal::Metric => (OtlpSignal::Metrics, OtlpService::Metrics),
            Signal::Span | Signal::Invocation => (OtlpSignal::Traces, OtlpService::Traces),
        };
        let is_wanted = self.signals.iter().any(|name| name == pushed.as_str());
        (is_wanted && self.endpoint(service).is_some()).then_some(service)
    }

    /// Whether anything is pushed anywhere.
    pub fn is_on(&self) -> bool {
        Signal::ALL.iter().any(|signal| self.service(*signal).is_some())
    }
}

/// Where a collector listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whether it is spoken to by TLS.
    pub is_tls: bool,
    /// Its name or address; that of IPv6 without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The path of its requests, which begins with a slash.
    pub path: String,
}

impl Endpoint {
    /// Reads a URL. The error is a sentence about what is wrong with it, and does not quote what could be a secret.
    pub fn parse(url: &str) -> Result<Self, String> {
        let such = "write one such as http://127.0.0.1:4318";
        let (is_tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(format!("it is no URL of http or https: {such}")),
        };
        if rest.contains('@') {
            return Err("it has a user or a password in it: name them in otlp.headers".to_owned());
        }
        if rest.contains(['?', '#']) {
            return Err("it has a query or a fragment: name what it is to say in otlp.headers".to_owned());
        }
        let legal = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'`');
        if !rest.bytes().all(legal) {
            return Err("it has characters that no URL has".to_owned());
        }
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or_else(|| format!("its address has no end: {such}"))?;
                if host.parse::<std::net::Ipv6Addr>().is_err() {
                    return Err(format!("\"{}\" is no address of IPv6", visible(host, 80)));
                }
                (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
            }
            None => authority.split_once(':').map_or((authority, Some("")), |(host, port)| (host, Some(port))),
        };
        let port = match port {
            Some("") if !authority.ends_with(':') => Some(if is_tls { 443 } else { 80 }),
            Some(port) => port.parse().ok().filter(|port| *port > 0),
            None => None,
        };
        let port = port.ok_or_else(|| format!("its port is no number from 1 to 65535: {such}"))?;
        if !host.contains(':') {
            super::check::host_name(host)?;
        }
        Ok(Self { is_tls, host: host.to_owned(), port, path: path.to_owned() })
    }

    /// Its host and port, as in a URL.
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http{}://{}{}", if self.is_tls { "s" } else { "" }, self.authority(), self.path)
    }
}

/// Texts such as `authorization=Bearer ...`, of which only the names are ever shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(pub(super) Vec<String>);

impl Secrets {
    /// The names, in lower case, and what they stand for.
    pub fn pairs(&self) -> impl Iterator<Item = (String, &str)> {
        let pairs = self.0.iter().filter_map(|text| text.split_once('='));
        pairs.map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim()))
    }

    /// A text without what is secret, which somebody who was told it may have put in. Since it may have been cut, its end is not to be the
    /// beginning of a secret either.
    pub fn scrub(&self, text: &str) -> String {
        let mut found = Vec::new();
        for (_, value) in self.pairs() {
            // Of what a word follows, such as `Bearer`, each word counts.
            for word in value.split_whitespace().filter(|word| word.len() >= WORD_BYTES) {
                found.extend(text.match_indices(word).map(|(at, _)| (at, at + word.len())));
                let is_end = |length: &usize| word.get(..*length).is_some_and(|front| text.ends_with(front));
                let cut = (WORD_BYTES..word.len()).rev().find(is_end);
                found.extend(cut.map(|length| (text.len() - length, text.len())));
            }
        }
        // One may be a part of another.
        found.sort_unstable();
        let (mut scrubbed, mut done) = (String::with_capacity(text.len()), 0);
        for (start, end) in found {
            if start >= done {
                scrubbed.push_str(&text[done..start]);
                scrubbed.push_str("***");
            }
            done = done.max(end);
        }
        scrubbed.push_str(&text[done..]);
        scrubbed
    }
}

impl fmt::Display for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, (name, _)) in self.pairs().enumerate() {
            write!(f, "{}{}=***", if index == 0 { "" } else { ", " }, visible(&name, 80))?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An endpoint, or none.
pub(super) fn endpoint(text: &str) -> Result<(), String> {
    if text.is_empty() { Ok(()) } else { Endpoint::parse(text).map(drop) }
}

pub(super) fn protocol(text: &str) -> Result<(), String> {
    visible(text, 80).parse::<OtlpProtocol>().map(drop)
}

pub(super) fn compression(text: &str) -> Result<(), String> {
    visible(text, 80).parse::<OtlpCompression>().map(drop)
}

pub(super) fn signal(text: &str) -> Result<(), String> {
    visible(text, 80).parse::<OtlpSignal>().map(drop)
}

/// A header. What is wrong with it is told without quoting it.
pub(super) fn header(text: &str) -> Result<(), String> {
    let (name, value) = text.split_once('=').ok_or("a header has a name, = and a value")?;
    let (name, value) = (name.trim(), value.trim());
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(legal) {
        return Err("the name of a header has letters, digits and - only".to_owned());
    }
    let lower = name.to_ascii_lowercase();
    if OWN_HEADERS.contains(&lower.as_str()) || lower.starts_with("grpc-") {
        return Err(format!("the header {} is the exporter's own to set", visible(name, 80)));
    }
    if !value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) || text.len() > HEADER_BYTES {
        let name = visible(name, 80);
        return Err(format!("the value of the header {name} is to be printable ASCII, {HEADER_BYTES} bytes at most"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, expect: Result<&str, &str>) {
        match (Endpoint::parse(url).map(|endpoint| endpoint.to_string()), expect) {
            (Ok(found), expect) => assert_eq!(Ok(found.as_str()), expect, "{url}"),
            (Err(found), Err(expect)) => {
                assert!(found.contains(expect) && !found.contains("hunter2"), "{url}: {found}");
            }
            (Err(found), Ok(_)) => panic!("{url}: {found}"),
        }
    }

    #[test]
    fn an_endpoint_is_a_url_without_secrets() {
        check("http://localhost:4318", Ok("http://localhost:4318/"));
        check("https://otlp.example.com/base/", Ok("https://otlp.example.com:443/base/"));
        check("http://[::1]:4317", Ok("http://[::1]:4317/"));
        check("http://[::1]", Ok("http://[::1]:80/"));
        check("localhost:4318", Err("no URL"));
        check("ftp://hunter2", Err("no URL"));
        check("http://user:hunter2@localhost", Err("otlp.headers"));
        check("http://localhost/?key=hunter2", Err("otlp.headers"));
        check("http://localhost:", Err("port"));
        check("http://localhost:0", Err("port"));
        check("http://localhost:65536", Err("port"));
        check("http://[::1]4317", Err("port"));
        check("http://[::1", Err("no end"));
        check("http://[local]", Err("IPv6"));
        check("http://a b", Err("characters"));
        check("http://é", Err("characters"));
        check("http://", Err("host name"));
    }

    #[test]
    fn each_service_has_its_path_after_a_common_endpoint_and_an_own_one_is_taken_as_it_is() {
        let at = |endpoint: &str, own: &str| {
            let settings = OtlpSettings {
                endpoint: endpoint.to_owned(),
                traces_endpoint: own.to_owned(),
                ..OtlpSettings::default()
            };
            settings.endpoint(OtlpService::Traces).map(|endpoint| endpoint.to_string())
        };
        assert_eq!(at("http://a:4318", "").as_deref(), Some("http://a:4318/v1/traces"));
        assert_eq!(at("http://a:4318/base/", "").as_deref(), Some("http://a:4318/base/v1/traces"));
        assert_eq!(at("http://a:4318", "https://b").as_deref(), Some("https://b:443/"));
        assert_eq!(at("", ""), None);
    }

    #[test]
    fn what_is_pushed_is_what_was_asked_for_and_has_somewhere_to_go() {
        assert!(!OtlpSettings::default().is_on());
        let metrics = OtlpSettings { metrics_endpoint: "http://a".to_owned(), ..OtlpSettings::default() };
        assert!(metrics.is_on());
        assert_eq!(metrics.service(Signal::Metric), Some(OtlpService::Metrics));
        assert_eq!(metrics.service(Signal::Log), None);
        assert!(!OtlpSettings { signals: vec!["logs".to_owned()], ..metrics }.is_on());
    }

    #[test]
    fn nothing_is_left_of_a_secret_that_begins_like_another_or_is_cut() {
        let secrets = ["a=hunter2", "b=Bearer hunter2long", "c=2longer", "d=abcdabcd", "e=abc"].map(str::to_owned);
        let secrets = Secrets(secrets.to_vec());
        for (text, expect) in [
            ("hunter2long, hunter2, hunter2lo.", "***, ***, ***lo."),
            ("no hunter2longer", "no ***"),
            ("no hunter2lo", "no ***"),
            ("no hunt", "no ***"),
            ("no hun", "no hun"),
            ("hunt no", "hunt no"),
            ("abcdabcd", "***"),
            ("abcdabcdabcd", "***"),
            ("Bearer abc é", "*** abc é"),
            ("", ""),
        ] {
            let found = secrets.scrub(text);
            // Those that touch may be shown as one or as two.
            assert_eq!(found.replace("******", "***"), expect, "{text:?}");
        }
    }

    #[test]
    fn headers_are_shown_by_their_names_only_and_taken_out_of_what_others_say() {
        let secrets = Secrets(vec!["Authorization=Bearer hunter2".to_owned(), "x-key = abcdef".to_owned()]);
        for shown in [secrets.to_string(), format!("{secrets:?}")] {
            assert_eq!(shown, "[authorization=***, x-key=***]");
        }
        assert_eq!(secrets.scrub("no Bearer hunter2 (abcdef)"), "no *** *** (***)");
        for (text, expect) in [
            ("authorization=Basic aHVudGVyMg==", ""),
            ("hunter2", "a name"),
            ("=hunter2", "letters"),
            ("a b=hunter2", "letters"),
            ("Content-Type=hunter2", "own"),
            ("grpc-timeout=hunter2", "own"),
            ("a=hunter2\r\nb: c", "printable"),
        ] {
            let found = header(text).err().unwrap_or_default();
            assert!(found.contains(expect) && found.is_empty() == expect.is_empty(), "{text:?}: {found}");
            assert!(!found.contains("hunter2"), "{found}");
        }
    }
}
