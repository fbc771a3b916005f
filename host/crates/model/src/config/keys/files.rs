//! The keys of `[files]`: the log files that the host writes.

use super::super::check;
use super::super::key::{Key, Target, key};
use super::super::value::Kind;
use super::{KEPT_AGE, SWITCH, duration};

pub(super) const FOLDER: Key = key(
    "files.folder",
    Kind::Path,
    "",
    "The folder that log files are written to, which has nothing else in it; none are written if empty.",
)
.host(|host| Target::Path(&mut host.files.folder));

pub(super) const TIERS: Key = key(
    "files.tiers",
    Kind::Texts(check::log_tier),
    "[all, debug, error, structured, performance, security, database, request, cache, function, recovery]",
    "The log files that are written, of those that there are by default.",
)
.host(|host| Target::Texts(&mut host.files.tiers));

pub(super) const FORMAT: Key = key(
    "files.format",
    Kind::Text(check::log_format),
    "text",
    "How their lines are written: text, or json as in structured.json.log, which always has it.",
)
.host(|host| Target::Text(&mut host.files.format));

pub(super) const ROTATE_SIZE: Key = key(
    "files.rotate_size",
    Kind::Size { least: 64 << 10, most: 1 << 40 },
    "64MiB",
    "Bytes at which a log file is set aside and a new one begun; sooner where files.keep_bytes is little.",
)
.host(|host| Target::Size(&mut host.files.rotate_size));

pub(super) const ROTATE_AGE: Key = key(
    "files.rotate_age",
    duration(1_000, 3650 * 86_400),
    "1d",
    "How long a log file is written to before it is set aside and a new one begun.",
)
.host(|host| Target::Duration(&mut host.files.rotate_age));

pub(super) const COMPRESS: Key =
    key("files.compress", SWITCH, "true", "Whether log files that were set aside are compressed, by gzip.")
        .host(|host| Target::Switch(&mut host.files.compress));

pub(super) const KEEP_COUNT: Key = key(
    "files.keep_count",
    Kind::Integer { least: 0, most: 100_000 },
    "100",
    "Log files of each tier that are kept beside the one that is written to.",
)
.host(|host| Target::Count(&mut host.files.keep_count));

pub(super) const KEEP_AGE: Key =
    key("files.keep_age", KEPT_AGE, "30d", "How long a log file is kept after it was set aside.")
        .host(|host| Target::Duration(&mut host.files.keep_age));

pub(super) const KEEP_BYTES: Key = key(
    "files.keep_bytes",
    Kind::Size { least: 2 << 20, most: 1 << 50 },
    "4GiB",
    "Bytes of all log files together; the tier that has most of them gives up its oldest.",
)
.host(|host| Target::Size(&mut host.files.keep_bytes));
