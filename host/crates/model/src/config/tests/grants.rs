//! What of a request is granted.

use std::path::Path;

use super::{file, id, manifest};
use crate::config::{Layers, matches_pattern};
use crate::settings::{HttpAccess, Permissions};

fn request(kind: &str, items: &str) -> Permissions {
    let text = format!("id = \"relay\"\npermissions.{kind} = [{items}]");
    manifest(&text).expect("a manifest").permissions.rooted(Path::new("/plugins/relay"))
}

/// Checks whether a request of one kind is granted by grants of the same kind.
fn check(kind: &str, asked: &str, granted: &str, expect: bool) {
    let (request, grants) = (request(kind, asked), request(kind, granted));
    let grant = request.granted(&grants);
    let what = format!("{kind}: {asked} by {granted}: {grant:?}");
    let mut effective = grant.effective.clone();
    for file in &mut effective.files {
        assert_eq!(file.root, grants.files[0].host, "{what}");
        file.root.clone_from(&file.host);
    }
    assert_eq!(effective == request, expect, "{what}");
    assert_eq!(grant.denied.is_empty(), expect, "{what}");
    assert_eq!(grant.unused.is_empty(), expect || granted.is_empty(), "{what}");
}

fn folder(host: &str, access: &str) -> String {
    format!("{{ host = \"{host}\", guest = \"/g\", access = \"{access}\" }}")
}

#[test]
fn folders_are_granted_from_above_and_for_no_more() {
    let check = |asked, granted, expect| {
        let (asked, granted): ((&str, &str), (&str, &str)) = (asked, granted);
        check("files", &folder(asked.0, asked.1), &folder(granted.0, granted.1), expect);
    };
    check(("docs", "read"), ("docs", "read"), true);
    check(("docs", "read"), ("docs", "write"), true);
    check(("docs", "write"), ("docs", "read"), false);
    check(("docs/a/b", "read"), ("docs", "read"), true);
    check(("docs", "read"), ("docs/a", "read"), false);
    check(("docs-private", "read"), ("docs", "read"), false);
    check(("docs/../secrets", "read"), ("docs", "read"), false);
    check(("./docs/./x/..", "read"), ("/plugins/relay/docs", "read"), true);
    check(("/../../etc", "read"), ("/etc", "read"), true);
    check(("../../../../..", "read"), ("/plugins", "read"), false);
    check(("/srv/x", "write"), ("/", "write"), true);
}

#[test]
fn a_folder_is_opened_from_the_outermost_grant_that_covers_it() {
    let (inner, outer) = (folder("pages/sub", "read"), folder("pages", "write"));
    for grants in [format!("{inner}, {outer}"), format!("{outer}, {inner}")] {
        let grant = request("files", &folder("pages/sub/x", "read")).granted(&request("files", &grants));
        let [file] = &grant.effective.files[..] else { panic!("{grant:?}") };
        assert_eq!(
            (&*file.host, &*file.root),
            (Path::new("/plugins/relay/pages/sub/x"), Path::new("/plugins/relay/pages"))
        );
        assert_eq!(grant.unused, Vec::<String>::new());
    }
}

#[test]
fn relative_folders_without_a_base_cover_only_themselves() {
    let unrooted = |host: &str| {
        let text = format!("id = \"relay\"\npermissions.files = [{}]", folder(host, "read"));
        manifest(&text).expect("a manifest").permissions.rooted(Path::new(""))
    };
    assert_eq!(unrooted("../x").granted(&unrooted(".")).effective, Permissions::default());
    assert_eq!(unrooted("a/b").granted(&unrooted("a")).effective, Permissions::default());
    assert_eq!(unrooted("a/./b").granted(&unrooted("a/b")).denied, Vec::<String>::new());
}

#[test]
fn networks_are_granted_by_containment_and_port() {
    for (asked, granted, expect) in [
        ("10.1.0.0/16:443", "10.0.0.0/8:443", true),
        ("10.1.2.3:443", "10.0.0.0/8", true),
        ("10.0.0.0/8:443", "10.1.0.0/16:443", false),
        ("10.1.2.3:80", "10.0.0.0/8:443", false),
        ("10.1.2.3", "10.0.0.0/8:443", false),
        ("[::1]:80", "::/0", true),
        ("[::ffff:10.0.0.1]:80", "10.0.0.0/8", false),
        ("10.0.0.1", "::/0", false),
        ("Example.com:443", "example.COM:443", true),
        ("www.example.com:443", "example.com:443", false),
        ("example.com", "0.0.0.0/0", false),
    ] {
        check("network", &format!("\"{asked}\""), &format!("\"{granted}\""), expect);
    }
}

#[test]
fn servers_are_granted_by_origin_and_names_lead_where_the_operator_says() {
    check("http", "\"https://api.example.com\"", "\"https://*.example.com\"", true);
    check("http", "\"https://api.example.com\"", "\"http://api.example.com\"", false);
    check("http", "\"http://10.1.2.3:80\"", "\"http://10.0.0.0/8\"", true);
    let asked = request("http", "\"http://a.example:8080\", \"http://b.example\"");
    let granted = "\"http://a.example:8080\", \"http://10.0.0.0/8:8080\", \"http://10.0.0.0/8\"";
    let grant = asked.granted(&request("http", granted));
    let shown = |all: &[HttpAccess]| all.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(shown(&grant.effective.http), ["http://a.example:8080"]);
    assert_eq!(shown(&grant.effective.http_addresses), ["http://10.0.0.0/8:8080"], "for the names that are granted");
    assert_eq!(grant.denied, ["http: http://b.example is not granted"]);
    assert_eq!(grant.unused, ["http: http://10.0.0.0/8"]);
}

#[test]
fn names_are_granted_as_they_are_and_patterns_by_their_start() {
    check("env", "\"LANG\"", "\"LANG\"", true);
    check("env", "\"LANG\"", "\"lang\"", false);
    check("env", "\"LANG\"", "\"LANG*\"", false);
    check("publish", "\"pages.rendered\"", "\"pages.*\"", true);
    check("publish", "\"pages.*\"", "\"pages.*\"", true);
    check("publish", "\"pages.*\"", "\"*\"", true);
    check("publish", "\"pages.*\"", "\"pages.rendered\"", false);
    check("publish", "\"*\"", "\"pages.*\"", false);
    check("call", "\"markdown\"", "\"mark*\"", true);
    check("call", "\"markdown\"", "", false);
    assert!(matches_pattern("*", "anything") && !matches_pattern("", "anything"));
}

#[test]
fn what_is_denied_or_unused_is_told() {
    let asked = "id = \"relay\"\n[permissions]\nfiles = [{ host = \"docs\", guest = \"/docs\", access = \"write\" }]\n\
        env = [\"LANG\", \"HOME\"]\nnetwork = [\"192.0.2.1\"]\ncall = [\"b\"]\npublish = [\"t\"]";
    let granted = "[extensions.relay.permissions]\nfiles = [{ host = \"/plugins\" }]\nenv = [\"LANG\", \"TERM\"]\n\
        network = [\"192.0.2.1:443\"]\ncall = [\"c\"]";
    let layers = Layers { file: file(granted), ..Layers::default() };
    let manifest = manifest(asked).expect("a manifest");
    assert_eq!(manifest.id, id("relay"));
    let grant = layers.resolve(&manifest, Path::new("/plugins/relay")).grant;
    assert_eq!(
        grant.denied,
        [
            "files: write \"/plugins/relay/docs\" as \"/docs\" is not granted: \"/plugins\" is granted to read only",
            "env: \"HOME\" is not granted",
            "call: \"b\" is not granted",
            "publish: \"t\" is not granted",
            "network: 192.0.2.1 is not granted",
        ]
    );
    assert_eq!(grant.unused, ["files: read \"/plugins\"", "env: \"TERM\"", "network: 192.0.2.1:443", "call: \"c\""]);
    assert_eq!(grant.effective.env, ["LANG"]);
    assert_eq!(grant.effective.files, []);
}
