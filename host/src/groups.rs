//! Groups of errors as they are told to people and programs, with what to do about them.

use glasshouse_model::FailureKind;
use glasshouse_model::config::Setting;
use glasshouse_server::api;
use glasshouse_telemetry::{Component, ErrorGroup};

/// What to do about errors of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suggestion {
    /// In words.
    pub text: &'static str,
    /// The setting that is the limit, where it is one.
    pub setting: Option<&'static str>,
}

impl Suggestion {
    /// What to do about errors of a kind that the host knows, or that says of itself what it is.
    pub fn of(kind: &str, title: &str) -> Option<Self> {
        if let Ok(kind) = kind.parse::<FailureKind>() {
            return Some(Self { text: kind.advice(), setting: limit(kind, title) });
        }
        let says = |word: &&str| contains(kind, word) || contains(title, word);
        if DENIED.iter().any(says) {
            let text = "grant it under [extensions.ID.permissions] if the extension may have it: files, env, network, http, call or \
                        publish; what was denied, and by which of them: \
                        glasshouse logs search 'field.event=\"permission.denied\"'";
            let setting = GRANTS.iter().find(|(word, _)| says(word)).map(|(_, setting)| *setting);
            return Some(Self { text, setting });
        }
        if says(&"invalid payload") || says(&"invalid-payload") {
            let text = "look at who sends it: the payload is not what the event takes; \
                        glasshouse errors explain shows the latest ones with their correlation ids";
            return Some(Self { text, setting: None });
        }
        None
    }
}

/// What errors say that come of a use which was not granted: the system's words, WASI's and the SDK's. A guest may deny things of its own, such
/// as a card.
const DENIED: [&str; 8] = [
    "permission denied",
    "access denied",
    "access-denied",
    "accessdenied",
    "not permitted",
    "not-permitted",
    "not granted",
    "httprequestdenied",
];
/// What those of them say that a single permission is about, and the setting which grants it. Files and addresses have the same words.
const GRANTS: [(&str, &str); 4] = [
    ("`publish`", "permissions.publish"),
    ("`call`", "permissions.call"),
    ("`http`", "permissions.http"),
    ("httprequestdenied", "permissions.http"),
];

/// Whether a text has a word in it, in letters of either case.
fn contains(text: &str, word: &str) -> bool {
    text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
}

/// What the host's messages say of the limits that several kinds of failure share, in that order of words, and their settings.
const RESOURCES: [(&str, &str); 5] = [
    ("core instances; an instance may have", "budget.instances"),
    ("memories; an instance may have", "budget.memories"),
    ("resources of the host, as many as", "budget.resources"),
    ("handles of resources, as many as", "budget.handles"),
    ("elements", "budget.table_elements"),
];
const LOADING: [(&str, &str); 2] = [("of CPU time", "host.compile_time"), ("of memory", "host.compile_memory")];

/// The setting that is the limit which a failure of a kind is over, by its title where there are several.
fn limit(kind: FailureKind, title: &str) -> Option<&'static str> {
    let by_title = |limits: &[(&str, &'static str)]| {
        limits.iter().find(|(words, _)| contains(title, words)).map(|(_, setting)| *setting)
    };
    match kind {
        FailureKind::FuelBreach => Some("budget.fuel_per_call"),
        FailureKind::DeadlineBreach => Some("budget.deadline"),
        FailureKind::MemoryBreach => Some("budget.memory"),
        FailureKind::HostDataBreach => Some("budget.host_data_per_call"),
        FailureKind::HostCallBreach => Some("budget.host_calls_per_call"),
        FailureKind::ResourceBreach => by_title(&RESOURCES),
        FailureKind::LoadBreach if contains(title, "compiling it takes more than") => by_title(&LOADING),
        _ => None,
    }
}

/// A group as the API and the command tell it, with the value of the setting to change where settings are known.
pub fn group_answer(extension: &str, group: &ErrorGroup, settings: Option<&[Setting]>) -> api::ErrorGroup {
    let component = |component: &Component| api::Component {
        digest: component.digest.to_string(),
        version: component.version.as_ref().map(ToString::to_string),
    };
    let suggestion = Suggestion::of(&group.kind, &group.title).map(|suggestion| {
        let known = settings.into_iter().flatten().find(|setting| Some(setting.key.as_str()) == suggestion.setting);
        api::Suggestion {
            text: suggestion.text.to_owned(),
            setting: suggestion.setting.map(str::to_owned),
            value: known.map(|setting| setting.value.clone()),
        }
    });
    let mut parts = group.fingerprint.iter().cloned();
    let (version, basis) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    api::ErrorGroup {
        extension: extension.to_owned(),
        group: group.id.to_string(),
        state: group.state.to_string(),
        title: group.title.clone(),
        kind: group.kind.clone(),
        blame: group.blame.to_string(),
        severity: group.severity.to_string(),
        count: group.count,
        first_seen: group.first_seen.to_string(),
        last_seen: group.last_seen.to_string(),
        rate_per_hour: group.rate_per_hour,
        trend: group.trend.to_string(),
        hours: group.hours.to_vec(),
        users: group.users,
        tenants: group.tenants,
        inputs: group.inputs,
        with_input: group.with_input,
        components: group.components.iter().map(component).collect(),
        samples: group.samples.clone(),
        regressed_at: group.regressed_at.map(|at| at.to_string()),
        resolution: group.resolution.as_ref().map(|resolution| api::Resolution {
            at: resolution.at.to_string(),
            by: resolution.by.clone(),
            notes: resolution.notes.clone(),
            version: resolution.version.as_ref().map(ToString::to_string),
        }),
        fingerprint: api::Fingerprint { version, basis, parts: parts.skip(1).collect() },
        suggestion,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use glasshouse_model::config::{reference, values};
    use glasshouse_model::settings::Settings;

    #[test]
    fn each_kind_of_failure_has_a_suggestion_and_its_setting_is_a_key() {
        let settings = values(&Settings::default());
        for kind in FailureKind::ALL {
            let suggestion = Suggestion::of(kind.as_str(), "").expect("the host knows it");
            if let Some(key) = suggestion.setting {
                assert!(settings.iter().any(|(known, _)| *known == key), "{key}");
                assert!(suggestion.text.contains(key), "{}", suggestion.text);
            }
        }
    }

    #[test]
    fn a_breach_of_one_of_several_limits_names_the_one_that_its_message_tells_of() {
        for (kind, title, expect) in [
            (
                FailureKind::ResourceBreach,
                "needs 101 core instances; an instance may have 100",
                Some("budget.instances"),
            ),
            (FailureKind::ResourceBreach, "needs 17 memories; an instance may have 16", Some("budget.memories")),
            (FailureKind::ResourceBreach, "needs 200 tables; an instance may have 100", None),
            (
                FailureKind::ResourceBreach,
                "holds 10,000 handles of resources, as many as an instance may",
                Some("budget.handles"),
            ),
            (
                FailureKind::ResourceBreach,
                "holds 1,000 resources of the host, as many as an instance may",
                Some("budget.resources"),
            ),
            (
                FailureKind::ResourceBreach,
                "asked 16 times for larger tables than its budget of 1000000 elements",
                Some("budget.table_elements"),
            ),
            (
                FailureKind::LoadBreach,
                "a.wasm was not loaded: compiling it takes more than 1 min of CPU time: it was given up after 1 min, with 2 GiB of memory in use",
                Some("host.compile_time"),
            ),
            (
                FailureKind::LoadBreach,
                "a.wasm was not loaded: compiling it takes more than 2 GiB of memory: it was given up after 1 s",
                Some("host.compile_memory"),
            ),
            (FailureKind::LoadBreach, "a.wasm was not loaded: it has 2 GiB of code; up to 64 MiB are accepted", None),
            (FailureKind::FuelBreach, "", Some("budget.fuel_per_call")),
            (FailureKind::DeadlineBreach, "", Some("budget.deadline")),
            (FailureKind::MemoryBreach, "", Some("budget.memory")),
            (FailureKind::HostDataBreach, "", Some("budget.host_data_per_call")),
            (FailureKind::HostCallBreach, "", Some("budget.host_calls_per_call")),
        ] {
            let suggestion = Suggestion::of(kind.as_str(), title).expect("the host knows it");
            assert_eq!(suggestion.setting, expect, "{title}");
            if let Some(key) = expect {
                assert!(suggestion.text.contains(key), "{}", suggestion.text);
                assert!(reference().any(|known| known.path() == key), "{key}");
            }
        }
        let stack = Suggestion::of(FailureKind::StackOverflow.as_str(), "").expect("the host knows it").text;
        let limit = glasshouse_model::text::bytes(glasshouse_model::limits::CALL_STACK_BYTES as u64);
        assert!(stack.contains(&limit) && stack.contains("-zstack-size"), "{limit}: {stack}");
        let denied = Suggestion::of("io::Error", "Permission denied (os error 2)").expect("it says so").text;
        let grants = reference().filter_map(|key| key.path().strip_prefix("permissions."));
        for grant in grants {
            assert!(denied.contains(grant), "{grant}: {denied}");
        }
    }

    #[test]
    fn reports_that_say_what_they_are_have_one_too() {
        for (kind, title, expect) in [
            ("io::Error", "Permission denied (os error 2)", Some("grant it")),
            ("invalid-payload", "no markdown", Some("look at who sends it")),
            ("parse", "line 3 is none", None),
            ("shop::Error", "the card was denied", None),
        ] {
            let found = Suggestion::of(kind, title).map(|suggestion| suggestion.text);
            assert!(
                found.is_some() == expect.is_some() && found.unwrap_or("").starts_with(expect.unwrap_or("")),
                "{found:?}"
            );
        }
    }
}
