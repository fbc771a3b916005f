//! An access log of a web server in the combined format, the same at every run: a quiet day with a burst of errors.

use std::fmt::Write as _;

/// How many lines the log has.
pub(crate) const LINES: usize = 4000;
/// Where the burst of server errors begins and ends: long enough to raise an alert, short enough to be over.
const BURST: std::ops::Range<usize> = 2600..2760;
/// Every so many lines there is one that is no access log line, as logs have in real life.
const BROKEN_EVERY: usize = 977;
/// Any value: it only has to stay the same.
const SEED: u64 = 0x6c61_7373_686f_7573;

/// The lines, oldest first.
pub(crate) fn lines() -> Vec<String> {
    let mut random = Random(SEED);
    let mut second = 6 * 3600;
    (0..LINES)
        .map(|index| {
            second += random.below(4);
            if index % BROKEN_EVERY == BROKEN_EVERY - 1 {
                return "-- log rotated --".to_owned();
            }
            line(&mut random, second, BURST.contains(&index))
        })
        .collect()
}

fn line(random: &mut Random, second: u64, burst: bool) -> String {
    const PATHS: [&str; 8] = [
        "/",
        "/docs/",
        "/docs/guide.html",
        "/assets/app.css",
        "/assets/app.js",
        "/api/v1/items",
        "/search?q=wasm",
        "/login",
    ];
    const AGENTS: [&str; 4] = [
        "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        "curl/8.5.0",
        "ExampleBot/1.0 (+https://bot.example/about)",
    ];
    const USERS: [&str; 5] = ["-", "-", "-", "alice", "bob"];
    let method = if random.below(10) == 0 { "POST" } else { "GET" };
    let path = random.pick(&PATHS);
    let status = match random.below(100) {
        0..70 if burst => 503,
        0..2 => 500,
        2..7 => 404,
        7..10 => 302,
        10..18 => 304,
        _ => 200,
    };
    let bytes = match status {
        304 => "-".to_owned(),
        503 | 500 => "162".to_owned(),
        _ => (200 + random.below(48_000)).to_string(),
    };
    let referrer = if random.below(3) == 0 { "https://www.example.com/" } else { "-" };
    let mut text = String::new();
    let _ = write!(
        text,
        "192.0.2.{} - {} [21/Nov/2025:{:02}:{:02}:{:02} +0000] \"{method} {path} HTTP/1.1\" {status} {bytes} \"{referrer}\" \"{}\"",
        1 + random.below(254),
        random.pick(&USERS),
        second / 3600,
        second / 60 % 60,
        second % 60,
        random.pick(&AGENTS),
    );
    text
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", 2014): six lines whose sequence
/// no update of a crate can change.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 up to `end`, without `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items[self.below(items.len() as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_the_same_at_every_run() {
        assert_eq!(lines(), lines());
        assert_eq!(lines().len(), LINES);
    }

    #[test]
    fn server_errors_come_in_a_burst() {
        let failed = |lines: &[String]| lines.iter().filter(|line| line.contains("HTTP/1.1\" 5")).count();
        let lines = lines();
        assert!(failed(&lines[BURST]) > BURST.len() / 2, "{}", failed(&lines[BURST]));
        assert!(failed(&lines[..BURST.start]) < BURST.start / 20, "{}", failed(&lines[..BURST.start]));
    }

    #[test]
    fn the_log_stays_within_one_day() {
        let last = lines().pop().expect("a line");
        assert!(last.contains("[21/Nov/2025:"), "{last}");
    }
}
