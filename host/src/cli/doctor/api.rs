//! The API that a host is to serve: where it listens, who can read its tokens, its certificate, and the clock that both are held against.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use glasshouse::config::{HostSettings, LISTEN_OFF, Origin};
use glasshouse::{Clock as _, Plan, ServeError, SystemClock, TlsFiles, Tokens, UnixNanos, first_token_files, text};
use glasshouse_client::api::SOCKET;

use super::Check;

/// How long before its end a certificate is told to be renewed: time for somebody to come back from a holiday.
const RENEWAL: Duration = Duration::from_hours(14 * 24);
/// How far the clock may be behind the time of a file that a host has written.
const BEHIND: Duration = Duration::from_mins(1);
/// The year that this was written in has begun: a clock before that was never set (Unix seconds).
const WRITTEN: u64 = 1_767_225_600;

/// All checks of the API; none if it is off.
pub(super) fn checks(plan: &Plan, data_dir: Option<PathBuf>) -> Vec<Check> {
    let settings = &plan.host.settings;
    if settings.listen == LISTEN_OFF {
        return vec![Check::ok("API address", "off: the API is not served")];
    }
    let is_default =
        plan.config().host.iter().any(|setting| setting.key == "host.listen" && setting.origin == Origin::BuiltIn);
    let has_host = data_dir.as_ref().is_some_and(|folder| UnixStream::connect(folder.join(SOCKET)).is_ok());
    let tokens = first_token_files(data_dir).into_iter().next();
    let folder = tokens.as_deref().and_then(Path::parent);
    let mut checks = vec![address(settings, is_default, has_host)];
    checks.extend(folder.map(token_files));
    checks.extend(tls(settings, SystemClock::new().now()));
    checks.push(clock(SystemTime::now(), folder));
    checks
}

/// Where it is to listen, and whether it can and may.
fn address(settings: &HostSettings, is_default: bool, has_host: bool) -> Check {
    const NAME: &str = "API address";
    let Ok(address) = settings.listen.parse::<SocketAddr>() else {
        return Check::failure(NAME, settings.listen.clone(), "it is no address with a port, such as 127.0.0.1:7077");
    };
    if let Some(error) = ServeError::exposed(address, settings.tls_certificate.is_some(), settings.open_on_loopback) {
        return Check::failure(NAME, format!("other machines can reach {address}"), error.to_string());
    }
    match TcpListener::bind(address) {
        Ok(_) if settings.open_on_loopback => {
            let advice = "everybody on this machine can read and steer the host: leave host.open_on_loopback out, unless it is yours alone";
            Check::warning(NAME, format!("{address}, without tokens"), advice)
        }
        Ok(_) => Check::ok(NAME, format!("{address} is free")),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse && has_host => {
            Check::ok(NAME, format!("{address} is taken, and a host runs on the data directory"))
        }
        Err(error) if is_default => {
            let advice = "the API is not served: end who listens there, or choose another with host.listen";
            Check::warning(NAME, format!("{address}: {error}"), advice)
        }
        Err(error) => {
            let advice = "the host does not start: end who listens there, or choose another with host.listen";
            Check::failure(NAME, format!("{address}: {error}"), advice)
        }
    }
}

/// Who can read the tokens in a folder.
fn token_files(folder: &Path) -> Check {
    const NAME: &str = "API tokens";
    let files = [Tokens::FIRST, Tokens::DIGESTS].map(|name| folder.join(name));
    let there: Vec<_> = files.iter().filter_map(|file| Some((file, fs::metadata(file).ok()?))).collect();
    if there.is_empty() {
        return Check::ok(NAME, format!("none yet: the first one will be in {}", files[0].display()));
    }
    for (file, metadata) in &there {
        let (file, mode) = (file.display(), metadata.mode() & 0o7777);
        if metadata.uid() != rustix::process::geteuid().as_raw() {
            let advice = "they are to be those of the host's user: run this as that one, or give them to it with chown";
            return Check::warning(
                NAME,
                format!("{file} belongs to another user, with the id {}", metadata.uid()),
                advice,
            );
        }
        if mode & 0o077 != 0 {
            let advice = format!(
                "others can read it: chmod 600 {file}; who could read the first token has had it: revoke it with `glasshouse tokens revoke`, \
                 and make another"
            );
            return Check::warning(NAME, format!("{file} has mode {mode:04o}"), advice);
        }
    }
    Check::ok(NAME, format!("in {}, for their user only", folder.display()))
}

/// Whether the certificate and its key can be used, and for how long.
fn tls(settings: &HostSettings, now: UnixNanos) -> Option<Check> {
    const NAME: &str = "API certificate";
    let (certificate, key) = match (&settings.tls_certificate, &settings.tls_key) {
        (None, None) => return None,
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(one), None) | (None, Some(one)) => {
            let advice = "host.tls_certificate and host.tls_key go together: name both";
            return Some(Check::failure(NAME, format!("{} stands alone", one.display()), advice));
        }
    };
    let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
    let (from, until) = match files.examine() {
        Ok(validity) => validity,
        Err(error) => {
            let advice = "the host does not start: name a certificate in PEM and the key of it";
            return Some(Check::failure(NAME, error.to_string(), advice));
        }
    };
    let found = format!("{} holds from {} until {}", certificate.display(), from.date(), until.date());
    if now < from {
        return Some(Check::failure(NAME, found, "no client believes it yet: look at the clock, or name another"));
    }
    if now >= until {
        return Some(Check::failure(NAME, found, "no client believes it any more: renew it, and start the host anew"));
    }
    if let Ok(metadata) = fs::metadata(key)
        && metadata.mode() & 0o077 != 0
    {
        let found = format!("{} has mode {:04o}", key.display(), metadata.mode() & 0o7777);
        let advice = format!("others can read the key, and pass for the host: chmod 600 {}", key.display());
        return Some(Check::warning(NAME, found, advice));
    }
    let left = Duration::from_nanos(until.0.abs_diff(now.0));
    if left < RENEWAL {
        let advice = format!("it ends in {}: renew it, and start the host anew", text::duration(left));
        return Some(Check::warning(NAME, found, advice));
    }
    Some(Check::ok(NAME, found))
}

/// Whether the clock can be right, by which tokens and certificates end.
fn clock(now: SystemTime, folder: Option<&Path>) -> Check {
    const NAME: &str = "wall clock";
    let advice = "tokens and certificates end by it, and records have its time: set it (timedatectl set-ntp true)";
    let found =
        UnixNanos(now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)).to_string();
    if now < SystemTime::UNIX_EPOCH + Duration::from_secs(WRITTEN) {
        return Check::warning(NAME, format!("{found}: it was never set"), advice);
    }
    let file = folder.map(|folder| folder.join(Tokens::DIGESTS));
    let written = file.as_ref().and_then(|file| fs::metadata(file).ok()?.modified().ok());
    match written.and_then(|written| written.duration_since(now).ok()) {
        Some(behind) if behind > BEHIND => {
            let behind = text::duration(behind);
            Check::warning(NAME, format!("{found}: {behind} before the host wrote its tokens"), advice)
        }
        _ => Check::ok(NAME, found),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::Verdict;
    use super::*;

    fn check(found: &Check, verdict: Verdict, text: &str) {
        assert_eq!(found.verdict, verdict, "{found:?}");
        assert_eq!(found.advice.is_some(), verdict != Verdict::Ok, "{found:?}");
        let told = format!("{} {}", found.found, found.advice.as_deref().unwrap_or_default());
        assert!(told.contains(text), "{found:?}");
    }

    fn listening(listen: &str) -> HostSettings {
        HostSettings { listen: listen.to_owned(), ..HostSettings::default() }
    }

    #[test]
    fn an_address_is_free_or_taken_or_open_to_too_many() {
        let of = |settings: &HostSettings| address(settings, false, false);
        check(&of(&listening("127.0.0.1:0")), Verdict::Ok, "is free");
        let open = HostSettings { open_on_loopback: true, ..listening("127.0.0.1:0") };
        check(&of(&open), Verdict::Warning, "everybody on this machine");
        check(&of(&listening("0.0.0.0:0")), Verdict::Failure, "without TLS");
        let tls =
            HostSettings { tls_certificate: Some("cert.pem".into()), open_on_loopback: true, ..listening("0.0.0.0:0") };
        check(&of(&tls), Verdict::Failure, "without a token");
        check(&of(&listening("192.0.2.1:7")), Verdict::Failure, "other machines can reach");
        let taken = TcpListener::bind("127.0.0.1:0").expect("a free one");
        let settings = listening(&taken.local_addr().expect("it has one").to_string());
        check(&of(&settings), Verdict::Failure, "the host does not start");
        check(&address(&settings, true, false), Verdict::Warning, "the API is not served");
        check(&address(&settings, true, true), Verdict::Ok, "a host runs");
    }

    #[test]
    fn token_files_are_for_their_user_only() {
        let place = tempfile::tempdir().expect("a folder");
        check(&token_files(place.path()), Verdict::Ok, "none yet");
        Tokens::open(place.path()).expect("they are made");
        check(&token_files(place.path()), Verdict::Ok, "for their user only");
        check(&clock(SystemTime::now(), Some(place.path())), Verdict::Ok, "");
        check(&clock(SystemTime::now() - Duration::from_hours(2), Some(place.path())), Verdict::Warning, "2");
        check(&clock(SystemTime::UNIX_EPOCH, None), Verdict::Warning, "never set");
        let first = place.path().join(Tokens::FIRST);
        fs::set_permissions(&first, fs::Permissions::from_mode(0o640)).expect("it is opened");
        check(&token_files(place.path()), Verdict::Warning, "tokens revoke");
    }

    #[test]
    fn a_certificate_is_judged_by_its_key_its_time_and_who_can_read_it() {
        let place = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str, mode: u32| {
            let path = place.path().join(name);
            fs::write(&path, text).expect("writing it");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("setting its mode");
            path
        };
        let mut wanted = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
        (wanted.not_before, wanted.not_after) = (rcgen::date_time_ymd(2026, 3, 1), rcgen::date_time_ymd(2026, 9, 1));
        let (key, other) = (rcgen::KeyPair::generate().expect("a key"), rcgen::KeyPair::generate().expect("a key"));
        let made = wanted.self_signed(&key).expect("a certificate");
        let certificate = write("cert.pem", &made.pem(), 0o644);
        let key_file = write("key.pem", &key.serialize_pem(), 0o600);
        let other = write("other.pem", &other.serialize_pem(), 0o600);
        let open = write("open.pem", &key.serialize_pem(), 0o644);
        let of = |certificate: &Path, key: Option<&Path>, now: &str| {
            let (tls_certificate, tls_key) = (Some(certificate.to_owned()), key.map(Path::to_owned));
            let settings = HostSettings { tls_certificate, tls_key, ..HostSettings::default() };
            tls(&settings, now.parse().expect("a time")).expect("there is TLS")
        };
        let summer = "2026-06-01T00:00:00Z";
        check(&of(&certificate, Some(&key_file), summer), Verdict::Ok, "from 2026-03-01 until 2026-09-01");
        check(&of(&certificate, Some(&key_file), "2026-02-28T23:59:59Z"), Verdict::Failure, "yet");
        check(&of(&certificate, Some(&key_file), "2026-09-01T00:00:01Z"), Verdict::Failure, "any more");
        check(&of(&certificate, Some(&key_file), "2026-08-25T00:00:00Z"), Verdict::Warning, "renew it");
        check(&of(&certificate, Some(&open), summer), Verdict::Warning, "chmod 600");
        check(&of(&certificate, Some(&other), summer), Verdict::Failure, "does not start");
        check(&of(&key_file, Some(&key_file), summer), Verdict::Failure, "no certificate in PEM");
        check(&of(&certificate, None, summer), Verdict::Failure, "go together");
        assert!(tls(&HostSettings::default(), UnixNanos(0)).is_none());
    }
}
