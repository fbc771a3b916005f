//! A guest reaches what was granted to it, and nothing else.

use std::fs;
use std::path::Path;

use glasshouse_model::settings::FileAccess;
use glasshouse_model::{FailureKind, Level, Origin};
use glasshouse_runtime::{CallError, Extension};
use serde_json::json;

use crate::harness::{House, Log, ask, call, event, fail, guest, logs, logs_with, on_behalf};

/// A folder within a granted one.
fn access(root: &Path, host: &Path, guest: &str, write: bool) -> FileAccess {
    FileAccess { host: host.to_owned(), root: root.to_owned(), guest: guest.to_owned(), write }
}

/// Starts a trespasser that may use a folder, and perhaps write to it.
async fn with_folder(house: &House, folder: &Path, write: bool) -> Extension {
    house
        .ready_with("trespasser", |spec| {
            spec.settings.permissions.files = vec![access(folder, folder, "/data", write)];
        })
        .await
}

async fn read(extension: &Extension, path: &str) -> String {
    ask(extension, "read", json!(path).to_string()).await
}

async fn write(extension: &Extension, path: &str) -> String {
    ask(extension, "write", json!({"path": path, "text": "was here"}).to_string()).await
}

/// The security events so far: permission, operation and what was tried.
fn denied(extension: &Extension) -> Vec<(String, String, String)> {
    let told = logs(extension).into_iter().filter(|log| log.field("event") == Some("permission.denied"));
    let told = told.inspect(|log| {
        assert_eq!((log.level, log.envelope.origin), (Level::Warning, Origin::Host), "{log:?}");
    });
    let field = |log: &Log, name| log.field(name).unwrap_or_default().to_owned();
    told.map(|log| (field(&log, "permission"), field(&log, "operation"), field(&log, "target"))).collect()
}

/// A security event as it should be.
fn denial(permission: &str, operation: &str, target: &str) -> (String, String, String) {
    (permission.to_owned(), operation.to_owned(), target.to_owned())
}

fn refused(answer: &str) -> bool {
    answer.starts_with("\"refused: ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_grants_there_are_no_files_and_no_variables() {
    let house = House::new();
    let extension = house.ready("trespasser").await;
    assert_eq!(ask(&extension, "env", "\"PATH\"").await, "null");
    assert_eq!(ask(&extension, "variables", "").await, "[]");
    for path in ["/etc/hostname", "/etc/passwd", "Cargo.toml", ".", "/", "../../../../etc/passwd"] {
        assert!(refused(&read(&extension, path).await), "{path}");
    }
    assert!(refused(&write(&extension, "/tmp/glasshouse-trespasser").await));
    // The guest's C library knows that there is no folder, and there is no asking for one variable: no trace of either.
    assert_eq!(denied(&extension), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_variable_is_seen_only_if_it_is_granted() {
    let house = House::new();
    let extension = house
        .ready_with("trespasser", |spec| {
            spec.settings.permissions.env = vec!["PATH".to_owned(), "GLASSHOUSE_NO_SUCH_VARIABLE".to_owned()];
        })
        .await;
    assert_eq!(ask(&extension, "variables", "").await, r#"["PATH"]"#);
    assert_eq!(ask(&extension, "env", "\"PATH\"").await, json!(std::env::var("PATH").ok()).to_string());
    assert_eq!(ask(&extension, "env", "\"HOME\"").await, "null");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_folder_has_no_way_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = folder.path().join("inside");
    fs::create_dir_all(inside.join("deep")).expect("making folders");
    fs::write(inside.join("note"), "for you").expect("writing a file");
    fs::write(folder.path().join("secret"), "not for you").expect("writing a file");
    std::os::unix::fs::symlink("../secret", inside.join("link")).expect("linking a file");
    std::os::unix::fs::symlink("/etc/passwd", inside.join("absolute")).expect("linking a file");

    let house = House::new();
    let extension = with_folder(&house, &inside, false).await;
    assert_eq!(read(&extension, "/data/note").await, "\"for you\"");
    assert_eq!(read(&extension, "/data/deep/../note").await, "\"for you\"");
    for path in [
        "/data/../secret",
        "/data/deep/../../secret",
        "/data/../inside/note",
        "/data/link",
        "/data/absolute",
        "/data/no-such-file",
        "/secret",
    ] {
        assert!(refused(&read(&extension, path).await), "{path}");
    }
    // What is not there is not denied, and "/secret" is in no folder that the guest's C library would ask the host for.
    let ways_out =
        ["/data/../secret", "/data/deep/../../secret", "/data/../inside/note", "/data/link", "/data/absolute"];
    assert_eq!(denied(&extension), ways_out.map(|path| denial("files", "open-at", path)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_is_written_to_only_if_that_is_granted() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("note"), "as it was").expect("writing a file");
    let house = House::new();
    let reader = with_folder(&house, folder.path(), false).await;
    for path in ["/data/new", "/data/note"] {
        assert!(refused(&write(&reader, path).await), "{path}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("note")).expect("the file is there"), "as it was");
    assert!(!folder.path().join("new").exists());
    assert!(refused(&ask(&reader, "rename", r#"["/data/note", "/data/away"]"#).await));
    let [new, note] = ["/data/new", "/data/note"].map(|path| denial("files", "open-at", path));
    assert_eq!(denied(&reader), [new, note, denial("files", "rename-at", "/data/note to /data/away")]);

    let house = House::new();
    let writer = with_folder(&house, folder.path(), true).await;
    assert_eq!(write(&writer, "/data/note").await, "\"written\"");
    assert_eq!(fs::read_to_string(folder.path().join("note")).expect("the file is there"), "was here");
    assert_eq!(denied(&writer), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_goes_on_trying_what_is_denied_fills_no_log_and_every_use_is_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::new();
    let extension = with_folder(&house, folder.path(), false).await;
    for _ in 0..2 {
        assert_eq!(ask(&extension, "read-often", r#"["/data/../secret", 500]"#).await, "500");
    }
    let told = denied(&extension);
    assert_eq!(told.len(), 2 * 17, "each call: sixteen uses, and one record of the rest");
    let rest: Vec<_> = logs_with(&extension, "more uses in the same call").into_iter().collect();
    assert_eq!(rest.iter().map(|log| log.field("count")).collect::<Vec<_>>(), [Some("484"); 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_any_address_there_is_no_socket_and_that_is_told() {
    let house = House::new();
    let extension = house.ready("trespasser").await;
    assert!(refused(&ask(&extension, "connect", "\"127.0.0.1:9\"").await));
    assert!(refused(&ask(&extension, "send", "\"127.0.0.1:9\"").await));
    assert!(refused(&ask(&extension, "connect", "\"glasshouse.invalid:80\"").await));
    let [tcp, udp] =
        ["create-tcp-socket", "create-udp-socket"].map(|operation| denial("network", operation, "any IPv4 address"));
    assert_eq!(denied(&extension), [tcp, udp, denial("network", "resolve-addresses", "glasshouse.invalid")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datagram_goes_to_granted_addresses_only() {
    let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = peer.local_addr().expect("it has an address");
    let house = House::new();
    let extension = house
        .ready_with("trespasser", |spec| {
            spec.settings.permissions.network = vec![address.to_string().parse().expect("an address")];
        })
        .await;
    assert_eq!(ask(&extension, "send", json!(address.to_string()).to_string()).await, "\"sent\"");
    assert_eq!(denied(&extension), []);
    assert!(refused(&ask(&extension, "send", "\"127.0.0.2:9\"").await));
    assert_eq!(denied(&extension), [denial("network", "udp-send", "127.0.0.2:9")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_granted_name_leads_to_its_addresses_and_port_and_no_other_name_is_looked_up() {
    let peer = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = peer.local_addr().expect("it has an address").port();
    let house = House::new();
    let extension = house
        .ready_with("trespasser", |spec| {
            spec.settings.permissions.network = vec![format!("localhost:{port}").parse().expect("a name")];
        })
        .await;
    let connect = async |to: &str| ask(&extension, "connect", json!(to).to_string()).await;
    assert_eq!(connect(&format!("localhost:{port}")).await, "\"connected\"");
    // A new instance has the same addresses.
    fail(&extension, "give-up", "", FailureKind::Panic).await;
    for granted in [format!("LocalHost:{port}"), format!("127.0.0.1:{port}")] {
        assert_eq!(connect(&granted).await, "\"connected\"", "{granted}");
    }
    assert_eq!(denied(&extension), []);
    for other in [format!("127.0.0.2:{port}"), format!("glasshouse.localhost:{port}")] {
        assert!(refused(&connect(&other).await), "{other}");
    }
    let [address, name] =
        [("tcp-connect", format!("127.0.0.2:{port}")), ("resolve-addresses", "glasshouse.localhost".into())]
            .map(|(operation, target)| denial("network", operation, &target));
    assert_eq!(denied(&extension), [address, name]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_there_is_named_in_the_cause() {
    let house = House::new();
    let extension = house.start("trespasser", &guest("trespasser"), |spec| {
        let folder = Path::new("/no/such/folder");
        spec.settings.permissions.files = vec![access(folder, folder, "/data", false)];
    });
    let status = extension.loaded().await;
    let cause = status.reason().expect("it cannot start");
    assert!(cause.contains("permissions.files: cannot open /no/such/folder for the guest's /data"), "{cause}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_a_guest_puts_in_place_of_a_granted_folder_leads_nowhere_after_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let (pages, secrets) = (folder.path().join("pages"), folder.path().join("secrets"));
    let sub = pages.join("sub");
    fs::create_dir_all(&sub).expect("making folders");
    fs::create_dir(&secrets).expect("making a folder");
    fs::write(secrets.join("note"), "not for you").expect("writing a file");
    let house = House::new();
    let extension = house
        .ready_with("trespasser", |spec| {
            spec.settings.permissions.files =
                vec![access(&pages, &pages, "/a", true), access(&pages, &sub, "/b", false)];
        })
        .await;
    assert_eq!(ask(&extension, "plant", json!(["/a/sub", "../secrets"]).to_string()).await, "\"planted\"");
    assert_eq!(fs::read_to_string(sub.join("note")).expect("the link is there"), "not for you");
    assert!(refused(&read(&extension, "/b/note").await), "what it has open stays what it was");
    fail(&extension, "give-up", "", FailureKind::Panic).await;
    match call(&extension, "read", "\"/b/note\"").await {
        Err(CallError::Unavailable(reason)) => {
            assert!(reason.contains("a symbolic link on its path is absolute or leads out"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_not_granted_is_refused_and_told_with_the_context_of_the_call() {
    let house = House::new();
    let extension = house
        .ready_with("trespasser", |spec| {
            let network = "192.0.2.1:1".parse().expect("an address");
            spec.settings.permissions.network = vec![network];
        })
        .await;
    let reply = extension.call(event("connect", "\"127.0.0.1:9\""), on_behalf("c-1", "ada", "engines")).await;
    let answer = String::from_utf8(reply.expect("it replies").payload).expect("the reply is text");
    assert!(refused(&answer), "{answer}");
    let told = logs_with(&extension, "denied").pop().expect("it is told");
    assert_eq!((told.level, told.user()), (Level::Warning, Some("ada")));
    assert_eq!(denied(&extension), [denial("network", "tcp-connect", "127.0.0.1:9")]);
}
