//! What a request to Jaeger's API says behind its path. Parameters that are not known are passed over, as Jaeger does.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::Query;
use axum::http::Uri;
use glasshouse_client::api::{Problem, code};
use glasshouse_model::text::visible;
use glasshouse_model::{SpanSearch, UnixNanos};

use super::filter;

/// Traces of an answer where nobody says otherwise, as Jaeger has it.
const LIMIT: usize = 100;
/// Traces of an answer at most: as many as Jaeger's interface asks for.
const LIMIT_MOST: usize = 1500;
/// How far back traces are looked for where nobody says otherwise, as Jaeger has it.
const LOOK_BACK: Duration = Duration::from_hours(48);
/// The same for who calls whom.
const LOOK_BACK_AT_CALLS: Duration = Duration::from_hours(24);
/// Tags that a span must have, at most: each is compared with each of its own.
const TAGS: usize = 20;

/// The parameters of a request, each of which may be there several times.
pub(super) struct Asked(Vec<(String, String)>);

/// That a parameter cannot be used.
pub(super) fn unusable(name: &str, why: &str) -> Problem {
    let detail = format!("parameter '{}' cannot be used: {why}", visible(name, 40));
    Problem::new(400, code::INVALID_QUERY, "The query cannot be used", detail)
}

impl Asked {
    pub(super) fn parse(query: &str) -> Result<Self, Problem> {
        let uri = Uri::builder().path_and_query(format!("/?{query}")).build();
        let read = uri.ok().and_then(|uri| Query::<Vec<(String, String)>>::try_from_uri(&uri).ok());
        read.map(|Query(all)| Self(all)).ok_or_else(|| {
            Problem::new(
                400,
                code::INVALID_QUERY,
                "The query cannot be used",
                "what stands behind the path is no list of parameters",
            )
        })
    }

    /// All values of a parameter.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A parameter, if it says anything. The third generation's have two names each, such as `query.search_depth` and `query.searchDepth`.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        let camel = camel(name);
        let mut all = self.0.iter().filter(|(known, _)| known == name || *known == camel);
        all.next().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(super) fn needed(&self, name: &str) -> Result<&str, Problem> {
        self.given(name).ok_or_else(|| {
            let detail = format!("parameter '{name}' is required");
            Problem::new(400, code::INVALID_QUERY, "The query cannot be used", detail)
        })
    }

    /// What is asked for in the second generation.
    pub(super) fn spans(&self, now: UnixNanos) -> Result<SpanSearch, Problem> {
        let until = self.unix("end", 1000)?.unwrap_or(now);
        // What the interface calls its custom range is no duration, and comes with a start.
        let back = self.given("lookback").filter(|_| self.given("start").is_none());
        let back = back.map(|_| self.duration("lookback")).transpose()?.flatten().unwrap_or(LOOK_BACK);
        let mut tags = BTreeMap::new();
        for tag in self.all("tag") {
            let (key, value) = tag.split_once(':').ok_or_else(|| unusable("tag", "name one as key:value"))?;
            tags.insert(key.to_owned(), value.to_owned());
        }
        for given in self.all("tags") {
            tags.extend(tag_map("tags", given)?);
        }
        self.spans_of(SpanSearch {
            service: Some(self.needed("service")?.to_owned()),
            operation: self.given("operation").map(str::to_owned),
            tags: tags.into_iter().collect(),
            since: self.unix("start", 1000)?.unwrap_or_else(|| before(until, back)),
            until,
            shortest: self.duration("minDuration")?,
            longest: self.duration("maxDuration")?,
            filter: None,
            limit: self.number("limit")?.unwrap_or(LIMIT),
        })
    }

    /// What is asked for in the third generation.
    pub(super) fn spans_v3(&self) -> Result<SpanSearch, Problem> {
        let (since, until) = ("query.start_time_min", "query.start_time_max");
        let (Some(since), Some(until)) = (self.rfc3339(since)?, self.rfc3339(until)?) else {
            let detail = format!("{since} and {until} are required");
            return Err(Problem::new(400, code::INVALID_QUERY, "The query cannot be used", detail));
        };
        let filter = self.given(filter::NAME).map(filter::parsed).transpose()?;
        let others = ["service_name", "operation_name", "attributes", "duration_min", "duration_max"];
        let is_other = |name: &&&str| self.given(&format!("query.{name}")).is_some();
        if let Some(other) = others.iter().find(is_other).filter(|_| filter.is_some()) {
            return Err(unusable(filter::NAME, &format!("it stands alone: say what 'query.{other}' does in it")));
        }
        let tags = self.given("query.attributes").map(|given| tag_map("query.attributes", given)).transpose()?;
        let limit = self.number("query.search_depth")?.or(self.number("query.num_traces")?);
        self.spans_of(SpanSearch {
            service: self.given("query.service_name").map(str::to_owned),
            operation: self.given("query.operation_name").map(str::to_owned),
            tags: tags.unwrap_or_default().into_iter().collect(),
            since,
            until,
            shortest: self.duration("query.duration_min")?,
            longest: self.duration("query.duration_max")?,
            filter,
            limit: limit.unwrap_or(LIMIT),
        })
    }

    #[expect(clippy::unused_self, reason = "it ends what the two before begin")]
    fn spans_of(&self, wanted: SpanSearch) -> Result<SpanSearch, Problem> {
        if wanted.tags.len() > TAGS {
            return Err(unusable("tags", &format!("there are {}; name {TAGS} at most", wanted.tags.len())));
        }
        if wanted.shortest.zip(wanted.longest).is_some_and(|(shortest, longest)| longest < shortest) {
            return Err(unusable("maxDuration", "it should be greater than 'minDuration'"));
        }
        if !(1..=LIMIT_MOST).contains(&wanted.limit) {
            return Err(unusable("limit", &format!("it is {}; use 1 to {LIMIT_MOST}", wanted.limit)));
        }
        Ok(wanted)
    }

    /// From when to when it is looked who calls whom.
    pub(super) fn dependency_window(&self) -> Result<(UnixNanos, UnixNanos), Problem> {
        self.needed("endTs")?;
        let until = self.unix("endTs", 1_000_000)?.unwrap_or_default();
        let back = self.number::<u64>("lookback")?.filter(|back| *back > 0);
        Ok((before(until, back.map_or(LOOK_BACK_AT_CALLS, Duration::from_millis)), until))
    }

    /// A time in units of so many nanoseconds since 1970.
    fn unix(&self, name: &str, unit: i64) -> Result<Option<UnixNanos>, Problem> {
        let Some(count) = self.number::<i64>(name)? else { return Ok(None) };
        let time = count.checked_mul(unit).filter(|nanos| *nanos >= 0);
        time.map(|nanos| Some(UnixNanos(nanos))).ok_or_else(|| unusable(name, "it is no time since 1970 in its unit"))
    }

    /// A time as RFC 3339 has it.
    pub(super) fn rfc3339(&self, name: &str) -> Result<Option<UnixNanos>, Problem> {
        let Some(text) = self.given(name) else { return Ok(None) };
        time(text)
            .map(Some)
            .ok_or_else(|| unusable(name, "it is no time as RFC 3339 has it, such as 2026-11-22T10:00:00Z"))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| text.parse().map_err(|_| unusable(name, "it is no number that it can be"));
        self.given(name).map(parse).transpose()
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        let parse =
            |text: &str| go_duration(text).ok_or_else(|| unusable(name, "it is no duration, such as 1.5s or 100ms"));
        self.given(name).map(parse).transpose()
    }
}

/// A name with its underscores left out, and a capital letter after each.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |name, part| name + &part[..1].to_ascii_uppercase() + &part[1..])
}

/// A time as RFC 3339 has it.
pub(super) fn time(text: &str) -> Option<UnixNanos> {
    let nanos = i64::try_from(text.parse::<jiff::Timestamp>().ok()?.as_nanosecond()).ok()?;
    Some(UnixNanos(nanos)).filter(|time| time.0 >= 0)
}

/// A time so long before another.
fn before(time: UnixNanos, back: Duration) -> UnixNanos {
    let back = i64::try_from(back.as_nanos()).unwrap_or(i64::MAX);
    UnixNanos(time.0.saturating_sub(back).max(0))
}

fn tag_map(name: &str, text: &str) -> Result<BTreeMap<String, String>, Problem> {
    serde_json::from_str(text)
        .map_err(|_| unusable(name, "it is no JSON object of texts, such as {\"error\": \"true\"}"))
}

/// A duration as Go writes them (`time.ParseDuration`), and in days and weeks as Jaeger's interface says how far to look back.
pub(super) fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 9] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("μs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
        ("d", 86_400.0),
    ];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut seconds) = (text, 0.0);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        let end = rest[digits..].find(|letter: char| letter.is_ascii_digit() || letter == '.');
        let (unit, more) = rest[digits..].split_at(end.unwrap_or(rest.len() - digits));
        let weeks = (unit == "w").then_some(7.0 * 86_400.0);
        let length = weeks.or(UNITS.iter().find(|(known, _)| *known == unit).map(|(_, length)| *length))?;
        seconds += number * length;
        rest = more;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixNanos = UnixNanos(1_800_000_000_000_000_000);

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, nanos) in [
            ("0", Some(0)),
            ("100ms", Some(100_000_000)),
            ("1.5s", Some(1_500_000_000)),
            ("1h30m", Some(5_400_000_000_000)),
            ("12us", Some(12_000)),
            ("12µs", Some(12_000)),
            ("7ns", Some(7)),
            ("2d", Some(172_800_000_000_000)),
            ("1w", Some(604_800_000_000_000)),
            ("", None),
            ("5", None),
            ("s", None),
            (".s", None),
            ("-1s", None),
            ("1 s", None),
            ("custom", None),
            ("99999999999999999999999999h", None),
        ] {
            let read = go_duration(text).map(|duration| duration.as_nanos());
            assert_eq!(read, nanos, "{text}");
        }
    }

    #[test]
    fn a_search_says_what_jaegers_interface_says() {
        let asked = Asked::parse(
            "end=1800000000000000&limit=20&lookback=2h&maxDuration=1.2s&minDuration=100ms&operation=handle%3Aecho&service=a\
             &start=1799990000000000&tags=%7B%22error%22%3A%22true%22%7D&tag=http.status%3A500%3A1&unknown=x",
        );
        let wanted = asked.and_then(|asked| asked.spans(NOW)).expect("it is usable");
        assert_eq!(
            wanted,
            SpanSearch {
                service: Some("a".into()),
                operation: Some("handle:echo".into()),
                tags: vec![("error".into(), "true".into()), ("http.status".into(), "500:1".into())],
                since: UnixNanos(1_799_990_000_000_000_000),
                until: NOW,
                shortest: Some(Duration::from_millis(100)),
                longest: Some(Duration::from_millis(1200)),
                filter: None,
                limit: 20,
            }
        );
        let usual = Asked::parse("service=a").and_then(|asked| asked.spans(NOW)).expect("it is usable");
        assert_eq!((usual.until, usual.since, usual.limit), (NOW, before(NOW, LOOK_BACK), 100));
        let back = Asked::parse("service=a&lookback=1h").and_then(|asked| asked.spans(NOW)).expect("it is usable");
        assert_eq!(back.since, before(NOW, Duration::from_hours(1)));
        let custom = Asked::parse("service=a&lookback=custom&start=5").and_then(|asked| asked.spans(NOW));
        assert_eq!(custom.expect("it is usable").since, UnixNanos(5000));
    }

    #[test]
    fn parameters_of_the_third_generation_go_by_either_of_their_names() {
        let snake = "query.service_name=a&query.start_time_min=2026-11-22T10:00:00Z&query.start_time_max=2026-11-22T11:00:00Z\
                     &query.search_depth=7&query.duration_min=1.5s";
        let camel = "query.serviceName=a&query.startTimeMin=2026-11-22T10:00:00Z&query.startTimeMax=2026-11-22T11:00:00Z\
                     &query.searchDepth=7&query.durationMin=1.5s";
        let read = |query: &str| Asked::parse(query).and_then(|asked| asked.spans_v3()).expect("it is usable");
        assert_eq!((read(snake), read(snake).limit), (read(camel), 7));
        assert_eq!(read(camel).service.as_deref(), Some("a"));
    }

    #[test]
    fn what_cannot_be_used_is_told_by_its_name() {
        for (query, says) in [
            ("", "'service' is required"),
            ("service=a&limit=x", "'limit'"),
            ("service=a&limit=0", "use 1 to 1500"),
            ("service=a&limit=1501", "use 1 to 1500"),
            ("service=a&start=-1", "'start'"),
            ("service=a&end=9223372036854775807", "'end'"),
            ("service=a&minDuration=2", "'minDuration'"),
            ("service=a&minDuration=2s&maxDuration=1s", "'maxDuration'"),
            ("service=a&lookback=ever", "'lookback'"),
            ("service=a&tag=x", "'tag'"),
            ("service=a&tags=[]", "'tags'"),
            ("service=a&tags=%7B%22a%22%3A1%7D", "'tags'"),
        ] {
            let problem = Asked::parse(query).and_then(|asked| asked.spans(NOW)).expect_err(query);
            assert!(problem.status == 400 && problem.detail.contains(says), "{query}: {problem:?}");
        }
        for (query, says) in [
            ("", "are required"),
            ("query.start_time_min=2026-11-22T10:00:00Z&query.start_time_max=never", "'query.start_time_max'"),
            (
                "query.start_time_min=2026-11-22T10:00:00Z&query.start_time_max=2026-11-22T11:00:00Z&query.filter=%7B%7D",
                "'query.filter'",
            ),
            (
                "query.start_time_min=2026-11-22T10:00:00Z&query.start_time_max=2026-11-22T11:00:00Z&query.serviceName=a&query.filter=\
                 %7B%22op%22%3A%22exists%22%2C%22args%22%3A%5B%7B%22attr%22%3A%7B%22key%22%3A%22a%22%7D%7D%5D%7D",
                "it stands alone: say what 'query.service_name' does in it",
            ),
        ] {
            let problem = Asked::parse(query).and_then(|asked| asked.spans_v3()).expect_err(query);
            assert!(problem.status == 400 && problem.detail.contains(says), "{query}: {problem:?}");
        }
        let many: Vec<_> = (0..=TAGS).map(|tag| format!("&tag={tag}:1")).collect();
        let problem =
            Asked::parse(&format!("service=a{}", many.concat())).and_then(|asked| asked.spans(NOW)).expect_err("many");
        assert!(problem.detail.contains("20 at most"), "{problem:?}");
    }
}
