//! What the host's own process uses: stored under its own name, told at the end of a run, and a line of its log.

use crate::harness::Place;

const FEED: &str = "{\"extension\": \"neighbour\", \"event\": \"count\"}\n";

#[test]
fn what_the_host_uses_is_kept_under_its_own_name_and_told_at_the_end() {
    let place = Place::with_plugins(&["neighbour"]);
    place.write("feed.jsonl", FEED);
    let run = ["run", "plugins", "--feed", "feed.jsonl", "--exit-when-done", "--data-dir", "data"];
    let ended = place.glasshouse(&[&run[..], &["--log", "glasshouse::performance=info"]].concat()).expect_code(0);
    let lines: Vec<_> = ended.stderr.lines().collect();
    let told = lines.iter().find(|line| line.starts_with("host: ")).expect("a line about the host");
    for part in [" memory (", " CPU", " threads", " open files", " connections"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let logged = lines.iter().filter(|line| line.contains("glasshouse::performance") && line.contains("memory_bytes="));
    assert!(logged.count() >= 1, "{ended:?}");

    // A second host goes on where the first one stopped.
    place.glasshouse(&run).expect_code(0);
    let show = ["metrics", "show", "--data-dir", "data", "--extension-id", "host", "--format", "json"];
    let samples = place.glasshouse(&show).expect_code(0).json_lines();
    for (name, least) in [
        ("process_resident_memory_bytes", 1e6),
        ("memory_mb", 1.0),
        ("memory_percent", 0.001),
        ("process_cpu_seconds_total", 0.0),
        ("process_open_fds", 3.0),
        ("process_max_fds", 3.0),
        ("process_threads", 2.0),
        ("process_tcp_connections", 0.0),
    ] {
        let of: Vec<_> = samples.iter().filter(|sample| sample["name"] == name).collect();
        assert!(of.len() >= 2, "{name}: {samples:?}");
        assert!(
            of.iter().all(|sample| sample["value"].as_f64() >= Some(least) && sample["origin"] == "host"),
            "{of:?}"
        );
    }
}

#[test]
fn no_extension_has_the_hosts_name() {
    let place = Place::with_plugins(&["neighbour"]);
    place.extension("host", "neighbour", "");
    let listed = place.glasshouse(&["list", "plugins", "--format", "json"]).json_lines();
    let refused = listed.iter().map(ToString::to_string).find(|line| line.contains("the host's own name"));
    assert!(
        refused.is_some_and(|line| line.contains("failed") && !line.contains("\"extension\":\"host\"")),
        "{listed:?}"
    );
    let set = place.glasshouse(&["list", "plugins", "--set", "extensions.host.budget.deadline=1s"]).expect_code(3);
    assert!(set.stderr.contains("the host's own name"), "{set:?}");
}
