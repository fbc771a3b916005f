//! Who is let in, and by which name the host is called.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::served::{ROOT, Served};
use crate::harness::{Place, wait_for};

#[test]
fn without_a_token_nothing_is_told_but_that_the_host_runs() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    served.ask("GET /livez", None, "", "").expect(200);
    // Whether it is the id or the secret that is wrong is told to nobody.
    let (id, _) = served.token.rsplit_once('_').expect("a secret");
    for (request, token, why) in [
        ("GET /api/extensions/debugging/managers", None, "no token was given: "),
        ("GET /api/extensions/debugging/managers", Some("glasshouse_00000000_x"), "the token is not known: "),
        ("GET /api/extensions/debugging/managers", Some(&*format!("{id}_x")), "the token is not known: "),
        ("GET /nothing", None, "no token was given: "),
        ("POST /api/extensions/debugging/managers/neighbour/stop", None, "no token was given: "),
    ] {
        let answer = served.ask(request, token, "", "");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer realm=\"glasshouse\""), "{answer:?}");
        let problem = answer.expect_problem(401, "unauthorized");
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.starts_with(why)), "{problem}");
    }
    let basic = served.ask("GET /api/extensions/debugging/managers", None, "Authorization: Basic YTpi\r\n", "");
    basic.expect_problem(401, "unauthorized");
    served.get("managers").expect(200);
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json"]).json_lines();
    let refused: Vec<_> = logs.iter().filter(|log| log["fields"]["event"] == "login.failed").collect();
    assert_eq!(refused.len(), 6, "{logs:?}");
    assert!(refused.iter().all(|log| log["fields"]["network.peer.address"] == "127.0.0.1"), "{refused:?}");
}

#[test]
fn who_tries_on_and_on_is_asked_to_wait_and_who_has_a_token_is_not() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let tries: Vec<_> = (0..40).map(|_| served.ask("GET /api", Some("wrong"), "", "")).collect();
    let last = tries.last().expect("there are some");
    assert!(last.header("retry-after").is_some(), "{last:?}");
    assert_eq!(tries.iter().filter(|one| one.status == 401).count(), 10, "{:?}", tries.last());
    served.get("managers").expect(200);
    // Not each of them is a record, but all of them are told of.
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json"]).json_lines();
    let records = logs.iter().filter(|log| log["fields"]["event"] == "login.failed").count();
    assert!((10..=40).contains(&records), "{records}");
}

#[test]
fn a_token_allows_what_its_scope_says_and_each_order_leaves_a_record() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let make = |name: &str, scope: &str| {
        let made = served.post("tokens", &json!({"name": name, "scope": scope})).expect(200).json();
        (made["id"].as_str().expect("an id").to_owned(), made["secret"].as_str().expect("a secret").to_owned())
    };
    let (reader_id, reader) = make("a dashboard", "read");
    let (_, operator) = make("a colleague", "operate");
    let ask = |request: &str, token: &str| served.ask(&request.replace('~', ROOT), Some(token), "", "{}");
    ask("GET ~/managers", &reader).expect(200);
    ask("POST ~/managers/neighbour/stop", &reader).expect_problem(403, "forbidden");
    ask("GET ~/tokens", &operator).expect_problem(403, "forbidden");
    ask("POST ~/managers/neighbour/stop", &operator).expect(200);
    let tokens = served.get("tokens").expect(200);
    assert!(!tokens.body.contains(&reader) && tokens.body.contains("a dashboard"), "{tokens:?}");
    served.ask(&format!("DELETE {ROOT}/tokens/{reader_id}"), Some(&served.token), "", "").expect(200);
    ask("GET ~/managers", &reader).expect_problem(401, "unauthorized");

    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "message:stop"]);
    let orders: Vec<_> = logs
        .json_lines()
        .iter()
        .map(|log| (log["fields"]["by"].clone(), log["fields"]["http.response.status_code"].clone()))
        .collect();
    let name =
        |(by, status): &(Value, Value)| (by.as_str().is_some_and(|by| by.ends_with("(a colleague)")), status.clone());
    assert_eq!(orders.iter().map(name).collect::<Vec<_>>(), [(false, json!(403)), (true, json!(200))]);
    assert!(!place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json"]).stdout.contains(&operator));
    let changes = ["logs", "show", "--extension-id", "host", "--format", "json", "field.event:\"token.\" oldest first"];
    let changes = place.on_data(&changes).json_lines();
    let of = |log: &Value| ["event", "detail", "operation"].map(|name| log["fields"][name].as_str().map(str::to_owned));
    let expect = [
        ["token.made", "a dashboard", "read"],
        ["token.made", "a colleague", "operate"],
        ["token.revoked", "a dashboard", "read"],
    ];
    assert_eq!(changes.iter().map(of).collect::<Vec<_>>(), expect.map(|one| one.map(|text| Some(text.to_owned()))));
    assert_eq!((&changes[2]["fields"]["target"], changes[2]["fields"]["by"].is_string()), (&json!(reader_id), true));
}

/// How many times are in an answer, each of which is as RFC 3339 has it, in UTC and with nanoseconds.
fn times_in(told: &Value) -> usize {
    match told {
        Value::Array(all) => all.iter().map(times_in).sum(),
        Value::Object(object) => object.values().map(times_in).sum(),
        Value::String(text) => {
            let form: String = text.chars().map(|one| if one.is_ascii_digit() { '0' } else { one }).collect();
            if !form.starts_with("0000-00-00T") {
                return 0;
            }
            assert_eq!(form, "0000-00-00T00:00:00.000000000Z", "{text}");
            1
        }
        _ => 0,
    }
}

#[test]
fn who_may_only_read_is_refused_each_order_of_the_api_which_leaves_a_record_and_reads_all_else() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let made = served.post("tokens", &json!({"name": "a dashboard", "scope": "read"})).expect(200).json();
    let reader = made["secret"].as_str().expect("a secret");
    let described: Value = serde_json::from_str(include_str!("../../../docs/openapi.json")).expect("it is JSON");
    let (mut orders, mut times) = (0, 0);
    for (path, methods) in described["paths"].as_object().expect("paths") {
        // What has a name has that of an extension.
        let named = path.split('/').map(|part| if part.starts_with('{') { "neighbour" } else { part });
        let asked = named.collect::<Vec<_>>().join("/");
        for method in methods.as_object().expect("methods").keys() {
            // It never ends.
            if path.ends_with("/stream") {
                continue;
            }
            // These are reads whose queries are bodies.
            let is_read = method == "get" || path.ends_with("/search") || path.ends_with("/realtime");
            let answer = served.ask(&format!("{} {asked}", method.to_uppercase()), Some(reader), "", "{}");
            if is_read && !path.ends_with("/tokens") {
                assert_ne!(answer.status, 403, "{method} {path}: {answer:?}");
                times += serde_json::from_str(&answer.body).map_or(0, |told| times_in(&told));
            } else {
                answer.expect_problem(403, "forbidden");
                orders += 1;
            }
        }
    }
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "--limit", "1000"]);
    let refused = logs.json_lines();
    let is_refused = |log: &&Value| {
        let by = log["fields"]["by"].as_str().is_some_and(|by| by.ends_with("(a dashboard)"));
        by && log["fields"]["event"] == "audit" && log["fields"]["http.response.status_code"] == 403
    };
    let told = refused.iter().filter(is_refused).count();
    assert!(times > 5, "answers have times: {times}");
    assert!(orders > 12 && told == orders, "{told} of {orders}: {refused:?}");
}

#[test]
fn tokens_are_made_and_revoked_by_the_command_and_survive_the_host() {
    let place = Place::with_plugins(&["neighbour"]);
    let mut served = Served::start(&place);
    let made = place.on_data(&["tokens", "create", "ci", "--for", "1d"]).expect_code(0);
    let secret = made.stdout.trim_end().to_owned();
    served.ask(&format!("GET {ROOT}/managers"), Some(&secret), "", "").expect(200);
    let list = place.on_data(&["tokens", "list", "--format", "json"]).expect_code(0).json_lines();
    let scopes: Vec<_> = list.iter().map(|token| (token["name"].clone(), token["scope"].clone())).collect();
    assert_eq!(scopes, [(json!("first"), json!("admin")), (json!("ci"), json!("read"))]);
    served.host.kill();

    let served = Served::start(&place);
    served.ask(&format!("GET {ROOT}/managers"), Some(&secret), "", "").expect(200);
    let id = list[1]["id"].as_str().expect("an id");
    place.on_data(&["tokens", "revoke", id]).expect_code(0);
    served.ask(&format!("GET {ROOT}/managers"), Some(&secret), "", "").expect(401);
    let unknown = place.on_data(&["tokens", "revoke", id]).expect_code(2);
    assert!(unknown.stderr.contains("`glasshouse tokens list` lists them"), "{unknown:?}");
}

#[test]
fn a_page_of_a_strangers_cannot_ask_under_its_own_name() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start_with(&place, &["--set", "host.names=[\"glass.example\"]"]);
    let ask = |host: &str| {
        let token = &served.token;
        served.exchange(&format!(
            "GET {ROOT}/managers HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        ))
    };
    for host in ["evil.example", "evil.example:7077", "localhost.evil.example", "127.0.0.1.nip.io", "", "a b"] {
        let answer = ask(host);
        assert!(matches!(answer.status, 400 | 421), "{host}: {answer:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    for host in ["localhost", "LOCALHOST:1", "127.0.0.1:7077", "[::1]:7077", "Glass.Example:443"] {
        assert_eq!(ask(host).status, 200, "{host}");
    }
}

#[test]
fn an_address_that_others_reach_needs_tls_and_a_taken_one_is_told() {
    let place = Place::with_plugins(&["neighbour"]);
    let run = |listen: &str, more: &[&str]| {
        place.glasshouse(
            &[&["run", "plugins", "--data-dir", "data", "--exit-when-done", "--listen", listen], more].concat(),
        )
    };
    let exposed = run("0.0.0.0:0", &[]).expect_code(3);
    assert!(exposed.stderr.contains("which other machines can reach, without TLS"), "{exposed:?}");
    let half = run("127.0.0.1:0", &["--set", "host.tls_key=key.pem"]).expect_code(3);
    assert!(half.stderr.contains("go together: name both"), "{half:?}");
    let none = run("127.0.0.1:0", &["--set", "host.tls_key=key.pem", "--set", "host.tls_certificate=none.pem"]);
    assert!(none.expect_code(3).stderr.contains("none.pem"));
    for wrong in ["7077", "localhost", "127.0.0.1", "on"] {
        let refused = run(wrong, &[]).expect_code(3);
        assert!(refused.stderr.contains("is no address with a port"), "{refused:?}");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free one");
    let address = taken.local_addr().expect("it has one").to_string();
    let refused = run(&address, &[]).expect_code(3);
    assert!(refused.stderr.contains("choose another with --listen"), "{refused:?}");
    run("off", &[]).expect_code(0);
}

#[test]
fn on_loopback_no_token_is_needed_only_if_it_is_configured_so() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start_with(&place, &["--set", "host.open_on_loopback=true"]);
    served.ask(&format!("GET {ROOT}/managers"), None, "", "").expect(200);
    served.ask(&format!("GET {ROOT}/managers"), Some("wrong"), "", "").expect_problem(401, "unauthorized");
    let post = format!("POST {ROOT}/managers/neighbour/stop");
    for foreign in ["Origin: https://evil.example", "Origin: null", "Sec-Fetch-Site: cross-site"] {
        served.ask(&post, None, &format!("{foreign}\r\n"), "").expect_problem(401, "unauthorized");
    }
    let own = format!("Origin: http://{}\r\nSec-Fetch-Site: same-origin\r\n", served.address);
    served.ask(&post, None, &own, "").expect(200);
}

#[test]
fn with_a_certificate_the_api_speaks_tls_and_nothing_else() {
    use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
    use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto};

    let place = Place::with_plugins(&["neighbour"]);
    let made = rcgen::generate_simple_self_signed(["glass.example".to_owned()]).expect("a certificate");
    place.write("cert.pem", &made.cert.pem());
    place.write("key.pem", &made.signing_key.serialize_pem());
    let tls = ["--set", "host.tls_certificate=cert.pem", "--set", "host.tls_key=key.pem"];
    let names = ["--set", "host.names=[\"glass.example\"]"];
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-", "--listen", "0.0.0.0:0"];
    let mut host = place.start(&[&run[..], &tls, &names].concat());
    let note = host.stderr().wait_for("the API listens on https://0.0.0.0:");
    let port = note.split("0.0.0.0:").nth(1).and_then(|rest| rest.split(';').next()).expect("it says where");
    let address = format!("127.0.0.1:{}", port.trim());
    let token = place.read("data/admin.token");

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(made.cert.der().to_vec())).expect("it is one");
    let config = ClientConfig::builder_with_provider(std::sync::Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("there are versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("glass.example").expect("a name");
    let client = ClientConnection::new(std::sync::Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(client, TcpStream::connect(&address).expect("it listens"));
    let token = token.trim_end();
    write!(
        stream,
        "GET {ROOT}/managers HTTP/1.1\r\nHost: glass.example\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    // It may end without a farewell.
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"neighbour\""), "{answer}");

    let mut plain = TcpStream::connect(&address).expect("it listens");
    write!(plain, "GET {ROOT}/managers HTTP/1.1\r\nHost: glass.example\r\n\r\n").expect("it reads");
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[test]
fn an_order_whose_sender_does_not_wait_leaves_a_record_too() {
    let place = Place::with_plugins(&["sleeper"]);
    let served = Served::start(&place);
    let body = "{\"event\": \"sleep\", \"payload\": 2000}";
    let mut stream = TcpStream::connect(&served.address).expect("it listens");
    let (address, token, length) = (&served.address, &served.token, body.len());
    write!(
        stream,
        "POST {ROOT}/call/sleeper HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .expect("it reads");
    // A request that nobody has read yet when its sender goes is no order.
    let asleep = ["logs", "show", "--extension-id", "sleeper", "--format", "json", "message=\"falling asleep\""];
    wait_for("the order to be under way", || (!place.on_data(&asleep).stdout.is_empty()).then_some(()));
    drop(stream);
    wait_for("the record of the order", || {
        let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json"]).json_lines();
        let of_call = |log: &Value| log["fields"]["url.path"] == format!("{ROOT}/call/sleeper");
        logs.into_iter()
            .find(of_call)
            .filter(|log| log["fields"]["by"].as_str().is_some_and(|by| by.ends_with("(first)")))
    });
}

/// A connection from an address of this machine, on which the life of extensions is followed.
fn follow_from(address: [u8; 4], served: &Served) -> (TcpStream, u16) {
    use std::net::{SocketAddr, SocketAddrV4};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stream = runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::V4(SocketAddrV4::new(address.into(), 0))).expect("an address of this machine");
        socket.connect(served.address.parse().expect("an address")).await.expect("it listens")
    });
    let mut stream = stream.into_std().expect("a connection");
    stream.set_nonblocking(false).expect("it waits");
    stream.set_read_timeout(Some(std::time::Duration::from_mins(1))).expect("setting a limit");
    // One that is closed at once may not take this.
    let _ = write!(
        stream,
        "GET {ROOT}/managers/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\r\n",
        served.token
    );
    let mut head = [0; 12];
    let status = stream.read_exact(&mut head).ok().map(|()| String::from_utf8_lossy(&head[9..]).into_owned());
    (stream, status.and_then(|status| status.parse().ok()).unwrap_or_default())
}

#[test]
fn one_address_cannot_take_the_places_of_all_others() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let greedy: Vec<_> = (0..600).map(|_| follow_from([127, 0, 0, 1], &served)).collect();
    let taken = greedy.iter().filter(|(_, status)| *status == 200).count();
    // A few that were there before may not have gone yet.
    assert!((500..=512).contains(&taken), "{taken} of 600");
    assert!(greedy.iter().all(|(_, status)| matches!(status, 200 | 0)), "the others are closed");
    let (_other, status) = follow_from([127, 0, 0, 2], &served);
    assert_eq!(status, 200, "another address has places");
    drop(greedy);
    wait_for("places to be free again", || (follow_from([127, 0, 0, 1], &served).1 == 200).then_some(()));
}

#[test]
fn an_order_that_fails_is_not_told_as_done() {
    let place = Place::with_plugins(&["neighbour"]);
    let _served = Served::start(&place);
    let digests = place.path("data/tokens.json");
    std::fs::rename(&digests, place.path("aside")).expect("it is there");
    let failed = place.on_data(&["tokens", "create", "a reader"]).expect_code(3);
    assert!(failed.stderr.contains("cannot use"), "{failed:?}");
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "field.event=audit"]);
    let logs = logs.json_lines();
    let told: Vec<_> = logs.iter().filter_map(|log| log["message"].as_str()).collect();
    assert!(told.len() == 1 && told[0].ends_with(": failed with 503"), "{told:?}");
}

#[test]
fn refused_orders_without_end_leave_the_records_of_what_was_done() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    served.post("managers/neighbour/stop", &json!({})).expect(200);
    let reader = served.post("tokens", &json!({"name": "a reader"})).expect(200).json();
    let reader = reader["secret"].as_str().expect("a secret");
    for _ in 0..100 {
        let order = format!("POST {ROOT}/managers/neighbour/start");
        served.ask(&order, Some(reader), "", "{}").expect_problem(403, "forbidden");
        served.post("budgets/nobody/release", &json!({})).expect_problem(404, "unknown-extension");
    }
    served.post("managers/neighbour/start", &json!({})).expect(200);
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "field.event=audit"]);
    let statuses: Vec<_> =
        logs.json_lines().iter().map(|log| log["fields"]["http.response.status_code"].as_u64()).collect();
    let of = |status: u64| statuses.iter().filter(|known| **known == Some(status)).count();
    // Twenty at once, and one more for each minute that this takes.
    assert!((20..=25).contains(&of(403)) && (20..=25).contains(&of(404)), "{statuses:?}");
    assert_eq!(of(200), 3, "each order that was done is told");
}

#[test]
fn however_many_orders_somebody_gives_they_drive_no_record_out_and_all_of_them_are_told() {
    const ORDERS: u64 = 260;
    let place = Place::with_plugins(&["neighbour"]);
    let mut served = Served::start(&place);
    let made = served.post("tokens", &json!({"name": "a colleague", "scope": "operate"})).expect(200).json();
    let operator = made["secret"].as_str().expect("a secret").to_owned();
    for number in 0..ORDERS {
        let order = ["start", "stop"][usize::from(number % 3 == 0)];
        let request = format!("POST {ROOT}/managers/neighbour/{order}");
        served.ask(&request, Some(&operator), "", "{}").expect(200);
    }
    served.host.terminate();
    assert_eq!(served.host.code_within(std::time::Duration::from_mins(1)), Some(0));
    let logs = place.on_data(&["logs", "show", "--extension-id", "host", "--format", "json", "--limit", "1000"]);
    let logs = logs.expect_code(0).json_lines();
    let by_them = |log: &&Value| {
        let is_by = log["fields"]["by"].as_str().is_some_and(|by| by.ends_with("(a colleague)"));
        log["fields"]["event"] == "audit" && is_by
    };
    let by_them: Vec<_> = logs.iter().filter(by_them).collect();
    let one_by_one = by_them.iter().filter(|log| log["fields"]["url.path"].is_string()).count() as u64;
    let counted: u64 = by_them.iter().filter_map(|log| log["fields"]["untold"].as_u64()).sum();
    assert_eq!(one_by_one + counted, ORDERS, "each is told, by itself or with others");
    // A hundred at once, and then one a minute.
    assert!((100..110).contains(&one_by_one), "{one_by_one}");
    let what: String = by_them.iter().filter_map(|log| log["fields"]["orders"].as_str()).collect();
    assert!(what.contains(&format!("POST {ROOT}/managers/neighbour/start (")), "{what}");
    assert!(logs.iter().any(|log| log["fields"]["url.path"] == format!("{ROOT}/tokens")), "what came before is there");
}

#[test]
fn who_asks_too_often_with_a_token_is_asked_to_wait_and_others_are_not() {
    use std::io::{BufRead as _, BufReader};

    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let other = served.post("tokens", &json!({"name": "another"})).expect(200).json();
    let other = other["secret"].as_str().expect("a secret");
    let stream = TcpStream::connect(&served.address).expect("it listens");
    let mut sending = stream.try_clone().expect("a second handle");
    let (address, token) = (&served.address, &served.token);
    let request = format!("GET {ROOT}/nothing HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut answers = BufReader::new(stream);
    let (mut statuses, mut waits) = (Vec::new(), Vec::new());
    // As many as one may ask at once, and those that were given back meanwhile; on one connection, a hundred under way at a time.
    while !statuses.contains(&429) && statuses.len() < 20_000 {
        sending.write_all(request.repeat(100).as_bytes()).expect("it reads");
        for _ in 0..100 {
            let (mut status, mut length, mut line) = (0, 0, String::new());
            while line != "\r\n" {
                line.clear();
                assert!(answers.read_line(&mut line).expect("it answers") > 0, "it ended");
                let lower = line.to_ascii_lowercase();
                if let Some(rest) = lower.strip_prefix("http/1.1 ") {
                    status = rest[..3].parse().expect("a status");
                } else if let Some(rest) = lower.strip_prefix("content-length: ") {
                    length = rest.trim().parse().expect("a length");
                } else if let Some(rest) = lower.strip_prefix("retry-after: ") {
                    waits.push(rest.trim().parse::<u64>().expect("seconds"));
                }
            }
            let mut body = vec![0; length];
            answers.read_exact(&mut body).expect("the whole answer");
            assert!(status == 404 || String::from_utf8_lossy(&body).contains("too-many-requests"), "{status}");
            statuses.push(status);
        }
    }
    let asked_to_wait = statuses.iter().filter(|status| **status == 429).count();
    assert!(asked_to_wait > 0 && statuses.len() - asked_to_wait >= 1000, "{asked_to_wait} of {}", statuses.len());
    assert_eq!(waits.len(), asked_to_wait, "each says for how long");
    served.ask(&format!("GET {ROOT}/managers"), Some(other), "", "").expect(200);
    wait_for("its turn to come", || (served.get("managers").status == 200).then_some(()));
}

#[test]
fn no_page_of_another_origin_may_read_an_answer() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let foreign = "Origin: https://evil.example\r\nAccess-Control-Request-Method: GET\r\n";
    for (request, statuses) in [
        (format!("OPTIONS {ROOT}/managers"), [204, 405]),
        (format!("GET {ROOT}/managers"), [200, 200]),
        ("GET /metrics".to_owned(), [200, 200]),
        ("GET /api/services".to_owned(), [200, 200]),
        ("GET /livez".to_owned(), [200, 200]),
    ] {
        for token in [Some(&*served.token), None] {
            let answer = served.ask(&request, token, foreign, "");
            assert!(token.is_none() || statuses.contains(&answer.status), "{request}: {answer:?}");
            assert!(!answer.head.to_ascii_lowercase().contains("access-control-"), "{request}: {answer:?}");
        }
    }
}

#[test]
fn what_others_reach_is_never_open_without_a_token() {
    let place = Place::with_plugins(&["neighbour"]);
    let made = rcgen::generate_simple_self_signed(["glass.example".to_owned()]).expect("a certificate");
    place.write("cert.pem", &made.cert.pem());
    place.write("key.pem", &made.signing_key.serialize_pem());
    let run = ["run", "plugins", "--data-dir", "data", "--exit-when-done", "--listen", "0.0.0.0:0"];
    let tls = ["--set", "host.tls_certificate=cert.pem", "--set", "host.tls_key=key.pem"];
    let open = ["--set", "host.open_on_loopback=true"];
    let refused = place.glasshouse(&[&run[..], &tls, &open].concat()).expect_code(3);
    let says = |text: &str| refused.stderr.contains(text);
    assert!(says("without a token for everybody") && says("leave host.open_on_loopback out"), "{refused:?}");
    place.glasshouse(&[&run[..], &tls].concat()).expect_code(0);
}
