//! A guest reaches what was granted to it, and nothing else.

use std::fs;
use std::path::Path;

use glasshouse_model::settings::FileAccess;
use glasshouse_runtime::Extension;
use serde_json::json;

use crate::harness::{House, ask, guest};

/// Starts a trespasser that may use a folder, and perhaps write to it.
async fn with_folder(house: &House, folder: &Path, write: bool) -> Extension {
    house
        .ready_with("trespasser", |spec| {
            let guest = "/data".to_owned();
            spec.settings.permissions.files = vec![FileAccess { host: folder.to_owned(), guest, write }];
        })
        .await
}

async fn read(extension: &Extension, path: &str) -> String {
    ask(extension, "read", json!(path).to_string()).await
}

async fn write(extension: &Extension, path: &str) -> String {
    ask(extension, "write", json!({"path": path, "text": "was here"}).to_string()).await
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

    let house = House::new();
    let writer = with_folder(&house, folder.path(), true).await;
    assert_eq!(write(&writer, "/data/note").await, "\"written\"");
    assert_eq!(fs::read_to_string(folder.path().join("note")).expect("the file is there"), "was here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_not_there_is_named_in_the_cause() {
    let house = House::new();
    let extension = house.start("trespasser", &guest("trespasser"), |spec| {
        let host = "/no/such/folder".into();
        spec.settings.permissions.files = vec![FileAccess { host, guest: "/data".to_owned(), write: false }];
    });
    let status = extension.loaded().await;
    let cause = status.reason().expect("it cannot start");
    assert!(cause.contains("permissions.files: cannot open /no/such/folder for the guest's /data"), "{cause}");
}
