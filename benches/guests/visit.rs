//! What the logs say that are measured: values that change from log to log, alike for all sides.

/// Paths of several lengths.
const PATHS: [&str; PERIOD as usize] = [
    "/index.html",
    "/about",
    "/static/css/main.css",
    "/blog/2024/05/some-post",
    "/favicon.ico",
    "/api/v1/items/4711",
    "/",
    "/images/header-large.webp",
];

/// Logs after which paths and flags come again; numbers do not.
pub(crate) const PERIOD: u32 = 8;

/// The values of one log.
pub(crate) struct Visit {
    pub(crate) path: &'static str,
    pub(crate) status: u32,
    pub(crate) seconds: f64,
    pub(crate) cached: bool,
}

/// The values of the log of that number.
#[inline]
pub(crate) fn visit(number: u32) -> Visit {
    Visit {
        path: PATHS[number as usize % PATHS.len()],
        status: number,
        seconds: f64::from(number) / 1000.0,
        cached: number.is_multiple_of(2),
    }
}
