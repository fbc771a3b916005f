//! The command and addresses that are not what they should be: it says what is wrong and what to do, and shows no token to strangers.

use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::served::Served;
use crate::harness::{Ended, Place};

fn refused(place: &Place, arguments: &[&str], code: i32, why: &str) -> Ended {
    let told = place.glasshouse(arguments).expect_code(code);
    assert!(told.stderr.contains(why), "{arguments:?}: {told:?}");
    assert!(told.stdout.is_empty(), "{told:?}");
    told
}

#[test]
fn who_is_not_let_in_hears_what_is_missing_and_how_to_get_it() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let url = format!("http://{}", served.address);
    let made = served.post("tokens", &json!({"name": "reader", "scope": "read"})).expect(200).json();
    let secret = made["secret"].as_str().expect("a secret");
    let status = ["status", "--host", &url];
    // The host's first token is in none of the folders that are looked into here.
    refused(&place, &status, 3, "it takes a token, and there is none; name a token's file with --token-file");
    refused(&place, &[&status[..], &["--token", "wrong"]].concat(), 3, "`glasshouse tokens create NAME --scope read`");
    refused(&place, &[&status[..], &["--token", "a b"]].concat(), 2, "other than visible ASCII");
    refused(&place, &[&status[..], &["--token-file", "none"]].concat(), 3, "reading the token in none");
    place.write("reader", &format!("{secret}\n"));
    let by_file = place.glasshouse(&[&status[..], &["--token-file", "reader"]].concat()).expect_code(0);
    assert!(by_file.stdout.contains("neighbour"), "{by_file:?}");
    let mut by_variables = place.command(&["status"]);
    by_variables.env("GLASSHOUSE_HOST_URL", &url).env("GLASSHOUSE_TOKEN", secret);
    assert_eq!(crate::harness::end(&mut by_variables).expect_code(0).stdout, by_file.stdout);
    // What the command line names counts more than the environment.
    let mut of_folder = place.command(&["logs", "show", "--data-dir", "nowhere"]);
    of_folder.env("GLASSHOUSE_HOST_URL", &url);
    assert!(crate::harness::end(&mut of_folder).expect_code(3).stderr.contains("there is no data directory nowhere"));
    let stop = ["stop", "--extension-id", "neighbour", "--host", &url, "--token-file", "reader"];
    let forbidden = refused(&place, &stop, 3, "takes one that allows to operate");
    assert!(forbidden.stderr.contains("`glasshouse tokens create NAME --scope operate` makes one"), "{forbidden:?}");
    refused(&place, &["tokens", "list", "--host", &url, "--token-file", "reader"], 3, "--scope admin` makes one");
    served
        .ask(
            &format!("DELETE {}/tokens/{}", super::served::ROOT, made["id"].as_str().expect("an id")),
            Some(&served.token),
            "",
            "",
        )
        .expect(200);
    let revoked = refused(&place, &[&status[..], &["--token-file", "reader"]].concat(), 3, "or was revoked");
    assert!(!revoked.stderr.contains(secret), "{revoked:?}");
    let port = served.address.rsplit_once(':').expect("it has a port").1;
    for (host, code) in [(format!("http://localhost:{port}"), 0), (format!("http://127.0.0.2:{port}"), 3)] {
        place.glasshouse(&["status", "--host", &host, "--data-dir", "data"]).expect_code(code);
    }
}

#[test]
fn an_address_that_cannot_be_used_is_refused_with_the_reason() {
    let place = Place::with_plugins(&[]);
    let closed = TcpListener::bind("127.0.0.1:0").expect("a free one").local_addr().expect("it has one").to_string();
    let status = |url: &str, more: &[&str], code: i32, why: &str| {
        refused(&place, &[&["status", "--host", url], more].concat(), code, why)
    };
    status(&format!("http://{closed}"), &[], 3, "cannot be reached");
    status("http://127.0.0.1:7077/api", &[], 2, "it holds a path");
    status("127.0.0.1:7077", &[], 2, "write http://HOST:PORT");
    assert!(!status("http://ada:hunter2@127.0.0.1", &[], 2, "a user or a password").stderr.contains("hunter2"));
    // Nothing goes out: nobody has this address.
    let clear = status("http://192.0.2.1:7077", &["--token", "hunter2"], 3, "in clear text: use https://");
    assert!(clear.stderr.contains("--allow-http") && !clear.stderr.contains("hunter2"), "{clear:?}");
    status("https://127.0.0.1:1", &["--ca", "none.pem"], 2, "the certificates in none.pem cannot be used");
    refused(&place, &["status", "--data-dir", "data", "--token", "x"], 2, "name it with --host URL");
}

/// Answers each connection with these bytes, and keeps what was asked.
fn stranger(answer: &'static [u8], is_endless: bool) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free address");
    let url = format!("http://{}", listener.local_addr().expect("it has one"));
    let asked = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let heard = Arc::clone(&heard);
            std::thread::spawn(move || serve(stream, answer, is_endless, &heard));
        }
    });
    (url, asked)
}

fn serve(mut stream: TcpStream, answer: &[u8], is_endless: bool, heard: &Mutex<Vec<String>>) {
    let mut head = String::new();
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    while !head.ends_with("\r\n\r\n") && reader.read_line(&mut head).is_ok_and(|bytes| bytes > 0) {}
    heard.lock().expect("nobody panics with it").push(head);
    let _ = stream.write_all(answer);
    while is_endless && stream.write_all(&[b' '; 4 << 10]).is_ok() {}
}

#[test]
fn what_answers_and_is_no_host_is_told_apart_from_one() {
    let place = Place::with_plugins(&[]);
    for (answer, why) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"[..], "its answer is none that this version knows"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP status 404"),
        (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", "something on the way answers with HTTP status 502"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "it speaks no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n[", "broke off"),
        (b"", "broke off"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "no Glasshouse host"),
    ] {
        let (url, _) = stranger(answer, false);
        for verb in [&["status"][..], &["logs", "show"], &["logs", "follow"], &["export", "logs"]] {
            refused(&place, &[verb, &["--host", &url, "--token", "t"]].concat(), 3, why_of(verb, why));
        }
    }
    let (url, _) = stranger(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[", true);
    refused(&place, &["status", "--host", &url, "--token", "t"], 3, "it is longer than 32 MiB");
}

#[test]
fn what_a_host_refuses_is_told_in_its_own_words_and_moves_no_cursor() {
    let place = Place::with_plugins(&[]);
    for (status, code, exit) in [(421, "wrong-host", 3), (429, "too-many-requests", 3), (404, "unknown-extension", 2)] {
        let detail = "it says \\u001b[2J so; do \\u001b]0;this\\u0007";
        let body = format!(r#"{{"status":{status},"code":"{code}","title":"No","detail":"{detail}"}}"#);
        let head = format!("HTTP/1.1 {status} No\r\nContent-Type: application/problem+json\r\n");
        let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        let (url, _) = stranger(answer.leak().as_bytes(), false);
        let told = refused(&place, &["status", "--host", &url, "--token", "t"], exit, "it says ");
        assert!(!told.stderr.contains(['\u{1b}', '\u{7}']), "{told:?}");
    }
    let manager =
        r#"[{"extension":"a","status":"\u001b[2J","debugging":true,"enabled_components":[],"standing":{"state":"b"}}]"#;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", manager.len());
    let (url, _) = stranger((head + manager).leak().as_bytes(), false);
    let told = place.glasshouse(&["status", "--host", &url, "--token", "t"]).expect_code(0);
    assert!(!told.stdout.contains('\u{1b}') && told.stdout.contains("\\u{1b}[2J"), "{told:?}");
}

/// An export is passed on as it comes, so that only the head of the answer tells.
fn why_of<'a>(verb: &[&str], why: &'a str) -> &'a str {
    if verb[0] == "export" { "error: " } else { why }
}

#[test]
fn no_token_goes_where_an_answer_leads() {
    let place = Place::with_plugins(&[]);
    let (elsewhere, heard) = stranger(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", false);
    let answer = format!("HTTP/1.1 307 There\r\nLocation: {elsewhere}/\r\nContent-Length: 0\r\n\r\n");
    let (url, asked) = stranger(answer.leak().as_bytes(), false);
    refused(&place, &["status", "--host", &url, "--token", "hunter2"], 3, "it leads elsewhere");
    assert!(heard.lock().expect("nobody panics with it").is_empty());
    let asked = asked.lock().expect("nobody panics with it");
    assert!(asked.len() == 1 && asked[0].contains("Bearer hunter2"), "{asked:?}");
}

#[test]
fn a_host_with_tls_is_asked_by_who_trusts_it_and_by_nobody_else() {
    let place = Place::with_plugins(&["neighbour"]);
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    place.write("cert.pem", &made.cert.pem());
    place.write("key.pem", &made.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    place.write("other.pem", &other.cert.pem());
    let tls = ["--set", "host.tls_certificate=cert.pem", "--set", "host.tls_key=key.pem"];
    let run = ["run", "plugins", "--data-dir", "data", "--feed", "-", "--listen", "127.0.0.1:0"];
    let mut host = place.start(&[&run[..], &tls].concat());
    let note = host.stderr().wait_for("the API listens on https://127.0.0.1:");
    let port = note.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(';').next()).expect("it says where").trim();
    let url = format!("https://localhost:{port}");
    let status = ["status", "--host", &url, "--data-dir", "data"];
    let trusting = [&status[..], &["--ca", "cert.pem"]].concat();
    let told = place.glasshouse(&trusting).expect_code(0);
    assert!(told.stdout.contains("neighbour"), "{told:?}");
    for ca in [&[][..], &["--ca", "other.pem"]] {
        refused(&place, &[&status[..], ca].concat(), 3, "is not trusted: its certificate does not hold");
    }
    let by_address = format!("https://127.0.0.1:{port}");
    let status = ["status", "--host", &by_address, "--data-dir", "data", "--ca", "cert.pem"];
    refused(&place, &status, 3, "is not trusted");
    // Of several tokens that were found it is shown the one that it has shown to know, and none without that.
    let found = place.read("data/admin.token");
    std::fs::create_dir_all(place.path("old")).expect("a folder");
    std::fs::create_dir_all(place.path("state/glasshouse")).expect("a folder");
    place.write("old/admin.token", "glasshouse_00000000_made-by-another-host\n");
    let several = ["status", "--host", &url, "--data-dir", "old", "--ca", "cert.pem"];
    let why = "was not sent the one in old/admin.token, since it has not shown that it knows it";
    refused(&place, &several, 3, why);
    place.write("state/glasshouse/admin.token", &found);
    place.glasshouse(&several).expect_code(0);
    place.glasshouse(&["status", "--host", &format!("http://127.0.0.1:{port}"), "--token", "t"]).expect_code(3);
    let other = Place::with_plugins(&[]);
    let plain = Served::start(&other);
    let url = format!("https://{}", plain.address);
    refused(&place, &["status", "--host", &url, "--token", "t", "--ca", "cert.pem"], 3, "it speaks no TLS");
}

/// Passes what it hears on to an address, and the answers back.
fn relay(to: &str) -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free address");
    let url = format!("http://{}", listener.local_addr().expect("it has one"));
    let (to, heard) = (to.to_owned(), Arc::<Mutex<Vec<u8>>>::default());
    let hears = Arc::clone(&heard);
    std::thread::spawn(move || {
        for mut here in listener.incoming().map_while(Result::ok) {
            let mut there = TcpStream::connect(&to).expect("the host listens");
            let (mut back_from, mut back_to) =
                (there.try_clone().expect("a second handle"), here.try_clone().expect("a second handle"));
            std::thread::spawn(move || std::io::copy(&mut back_from, &mut back_to));
            let heard = Arc::clone(&hears);
            std::thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = here.read(&mut bytes) {
                    heard.lock().expect("nobody panics with it").extend_from_slice(&bytes[..read]);
                    let _ = there.write_all(&bytes[..read]);
                }
                let _ = there.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    (url, heard)
}

#[test]
fn a_token_that_nobody_named_goes_to_no_other_who_holds_the_hosts_port() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let secret = served.token.rsplit('_').next().expect("it has one");
    // The host itself shows that it knows it, for each connection.
    let own = format!("http://{}", served.address);
    for verb in [&["status"][..], &["logs", "show"], &["export", "logs"]] {
        place.glasshouse(&[verb, &["--host", &own, "--data-dir", "data"]].concat()).expect_code(0);
    }
    // Others do not: neither what says so without knowing it, nor who passes on what the host says.
    let guess = format!("{{\"proof\":\"{}\"}}", "0".repeat(64));
    let guess =
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{guess}", guess.len());
    let refusal = r#"{"status":401,"code":"unauthorized","title":"No","detail":"send a token"}"#;
    let refusal = format!(
        "HTTP/1.1 401 No\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{refusal}",
        refusal.len()
    );
    for answer in [guess, refusal, String::new()] {
        let (url, asked) = stranger(answer.leak().as_bytes(), false);
        let told = place.glasshouse(&["status", "--host", &url, "--data-dir", "data"]).expect_code(3);
        let asked = asked.lock().expect("nobody panics with it").concat();
        assert!(asked.contains("/api/proof") && asked.contains("/managers"), "{asked}");
        assert!(!asked.contains(secret) && !asked.to_ascii_lowercase().contains("bearer"), "{asked}");
        assert!(!told.stderr.contains(secret), "{told:?}");
    }
    let (url, heard) = relay(&served.address);
    let why = "was not sent the one in data/admin.token, since it has not shown that it knows it";
    refused(&place, &["status", "--host", &url, "--data-dir", "data"], 3, why);
    let heard = String::from_utf8_lossy(&heard.lock().expect("nobody panics with it")).into_owned();
    assert!(heard.contains("/api/proof") && !heard.contains(secret), "{heard}");
    // Who names it sends it.
    place.glasshouse(&["status", "--host", &url, "--token-file", "data/admin.token"]).expect_code(0);
}

#[test]
fn a_proof_is_given_of_known_tokens_only_and_to_challenges_of_full_length() {
    let place = Place::with_plugins(&["neighbour"]);
    let served = Served::start(&place);
    let id = served.token.split('_').nth(1).expect("it has one");
    let challenge = "a".repeat(64);
    let ask = |query: &str| served.ask(&format!("GET /api/proof{query}"), None, "", "");
    let proof = ask(&format!("?token={id}&challenge={challenge}")).expect(200).json();
    assert_eq!(proof["proof"].as_str().map(str::len), Some(64), "{proof}");
    ask(&format!("?token=00000000&challenge={challenge}")).expect_problem(404, "unknown-token");
    for query in ["", "?token=x", "?token=x&challenge=aa", "?token=x&challenge=%00", "?token=x&challenge=ää"] {
        assert!(ask(query).status == 400, "{query}");
    }
}
