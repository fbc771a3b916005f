//! What a call is given: its name, and a digest that tells whether another call was given the same.

use std::borrow::Cow;

use glasshouse_model::InputDigest;
use glasshouse_telemetry::Recorder;

use crate::job::Job;

/// Digests what a call was given: its name, and an event's type and payload or `init`'s configuration. `None` of a call without input, and of
/// an embedder's, whose input is its own. After each mebibyte the neighbours run.
pub(crate) fn digest_input<'a>(
    recorder: &'a Recorder,
    name: &'a str,
    config: &'a serde_json::Map<String, serde_json::Value>,
    job: &'a Job,
) -> impl Future<Output = Option<InputDigest>> + Send + use<'a> {
    const AT_ONCE: usize = 1 << 20;
    let (content_type, input): (&str, Cow<'a, [u8]>) = match job {
        Job::Handle(event) => (&event.content_type, Cow::Borrowed(&event.payload)),
        Job::Init => ("", Cow::Owned(serde_json::to_vec(config).unwrap_or_default())),
        Job::Shutdown | Job::Collect | Job::CheckHealth | Job::Embedder(..) => ("", Cow::default()),
    };
    let has_input = matches!(job, Job::Handle(_) | Job::Init);
    async move {
        if !has_input {
            return None;
        }
        let mut digest = recorder.digest_input();
        digest.part(name.as_bytes());
        digest.part(content_type.as_bytes());
        digest.begin(input.len());
        for (index, part) in input.chunks(AT_ONCE).enumerate() {
            if index > 0 {
                tokio::task::yield_now().await;
            }
            digest.add(part);
        }
        digest.finish()
    }
}
