//! What the kernel allows a process, held against the number of extensions.

use std::fs;

use glasshouse::text;
use rustix::process::{Resource, getrlimit};

use super::Check;

/// Mappings of an extension: memory, code, tables and stack are some 15, each of six signals and three lengths of rollups has up
/// to two mapped segments in a data directory, and a call has its own stack.
const MAPS: u64 = 38;
/// Descriptors of an extension that holds none by itself: its compiled code, and a file or two of its telemetry in the making.
const DESCRIPTORS: u64 = 4;
/// Descriptors and mappings of a host without extensions.
const OF_HOST: u64 = 200;
/// Address space that an extension with one memory takes, its guard regions included.
const ADDRESS_SPACE: u64 = 4300 << 20;
/// Address space that 64-bit processors commonly give to a process.
const ALL_ADDRESSES: u64 = 1 << 47;

/// All checks of the kernel and of this process's limits.
pub(super) fn checks(extensions: usize) -> Vec<Check> {
    let extensions = extensions as u64;
    let mut checks = vec![
        maps(read("/proc/sys/vm/max_map_count").and_then(|text| text.parse().ok()), extensions),
        descriptors(getrlimit(Resource::Nofile).maximum, extensions),
        addresses(getrlimit(Resource::As).current, extensions),
        overcommit(read("/proc/sys/vm/overcommit_memory").as_deref()),
        clock(read("/sys/devices/system/clocksource/clocksource0/current_clocksource").as_deref()),
    ];
    if read("/proc/self/stat").is_none() {
        let advice = "grants of folders and the figures of compiling need it: mount it";
        checks.push(Check::failure("/proc", "it is not mounted", advice));
    }
    checks
}

fn read(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

fn maps(limit: Option<u64>, extensions: u64) -> Check {
    const NAME: &str = "memory mappings";
    let Some(limit) = limit else {
        return Check::warning(
            NAME,
            "vm.max_map_count cannot be read",
            format!("{extensions} extensions need {MAPS} each"),
        );
    };
    let room = limit.saturating_sub(OF_HOST) / MAPS;
    let found = format!("vm.max_map_count = {limit}, enough for some {} extensions", text::count(room));
    if room < extensions {
        let wanted = (extensions * MAPS + OF_HOST).next_power_of_two();
        let advice =
            format!("there are {extensions}, and the last ones will not start: sysctl -w vm.max_map_count={wanted}");
        return Check::failure(NAME, found, advice);
    }
    if room < 2 * extensions {
        let advice = format!("there are {extensions}; leave room for more: sysctl -w vm.max_map_count={}", 2 * limit);
        return Check::warning(NAME, found, advice);
    }
    Check::ok(NAME, found)
}

fn descriptors(limit: Option<u64>, extensions: u64) -> Check {
    const NAME: &str = "open files";
    let Some(limit) = limit else { return Check::ok(NAME, "unlimited") };
    let found = format!("up to {limit} at once");
    let needed = extensions * DESCRIPTORS + OF_HOST;
    if limit < needed {
        let advice = format!(
            "{extensions} extensions need some {needed}, files and sockets that they open not counted: raise the hard limit \
             (ulimit -Hn, LimitNOFILE= of systemd)"
        );
        return Check::failure(NAME, found, advice);
    }
    if limit < 2 * needed {
        let advice = format!("{extensions} extensions need some {needed} without what they open themselves: raise it");
        return Check::warning(NAME, found, advice);
    }
    Check::ok(NAME, found)
}

fn addresses(limit: Option<u64>, extensions: u64) -> Check {
    const NAME: &str = "address space";
    let room = limit.unwrap_or(ALL_ADDRESSES).min(ALL_ADDRESSES) / ADDRESS_SPACE;
    let found = match limit {
        Some(limit) => format!("limited to {}, enough for {} memories", text::bytes(limit), text::count(room)),
        None => format!("unlimited; the processor's is enough for some {} memories", text::count(room)),
    };
    if room < extensions.max(1) {
        let advice = "each memory of an extension reserves 4 GiB of addresses, whatever its size: lift the limit (ulimit -v \
                      unlimited)";
        return Check::failure(NAME, found, advice);
    }
    if room < 2 * extensions {
        return Check::warning(
            NAME,
            found,
            "extensions with several memories need more: share them among several hosts",
        );
    }
    Check::ok(NAME, found)
}

fn overcommit(mode: Option<&str>) -> Check {
    const NAME: &str = "overcommit";
    match mode {
        Some("2") => Check::warning(
            NAME,
            "vm.overcommit_memory = 2: the kernel promises no more memory than it has",
            "where it counts reservations of address space, few extensions fit: sysctl -w vm.overcommit_memory=0",
        ),
        Some(mode) => Check::ok(NAME, format!("vm.overcommit_memory = {mode}")),
        None => Check::warning(NAME, "vm.overcommit_memory cannot be read", "2 would leave room for few extensions"),
    }
}

fn clock(source: Option<&str>) -> Check {
    const NAME: &str = "clock";
    match source {
        Some(source @ ("tsc" | "arch_sys_counter")) => Check::ok(NAME, format!("{source}, read without a system call")),
        Some(source) => Check::warning(
            NAME,
            format!("{source}: the kernel does not trust the processor's counter"),
            "each reading of the time is slower, and so is each record; CPU times of short calls may be off",
        ),
        None => {
            Check::warning(NAME, "the kernel's clock source cannot be read", "it should be tsc or arch_sys_counter")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    fn check(found: &Check, verdict: Verdict, advice: &str) {
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert_eq!(found.advice.is_some(), verdict != Verdict::Ok, "{found:?}");
        assert!(found.advice.as_deref().unwrap_or_default().contains(advice), "{found:?}");
    }

    #[test]
    fn limits_are_held_against_the_number_of_extensions() {
        check(&maps(Some(65_530), 100), Verdict::Ok, "");
        check(&maps(Some(65_530), 1_500), Verdict::Warning, "vm.max_map_count=131060");
        check(&maps(Some(65_530), 10_000), Verdict::Failure, "vm.max_map_count=524288");
        check(&maps(None, 1), Verdict::Warning, "38 each");
        check(&descriptors(None, 1_000_000), Verdict::Ok, "");
        check(&descriptors(Some(1024), 50), Verdict::Ok, "");
        check(&descriptors(Some(1024), 100), Verdict::Warning, "600");
        check(&descriptors(Some(1024), 1000), Verdict::Failure, "LimitNOFILE");
        check(&addresses(None, 10_000), Verdict::Ok, "");
        check(&addresses(None, 20_000), Verdict::Warning, "several hosts");
        check(&addresses(Some(8 << 30), 10), Verdict::Failure, "ulimit -v");
        check(&addresses(Some(1 << 30), 0), Verdict::Failure, "ulimit -v");
    }

    #[test]
    fn what_makes_a_host_slow_or_small_is_a_warning() {
        check(&overcommit(Some("0")), Verdict::Ok, "");
        check(&overcommit(Some("2")), Verdict::Warning, "vm.overcommit_memory=0");
        check(&clock(Some("tsc")), Verdict::Ok, "");
        check(&clock(Some("hpet")), Verdict::Warning, "slower");
        check(&clock(None), Verdict::Warning, "tsc");
    }
}
