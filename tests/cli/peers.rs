//! Other people's programs and libraries, which read what we write: Python's, Prometheus and its own tool, a collector, and schemathesis.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Ended, Running, end};

/// What is installed from PyPI to read what we write, once for all tests.
const PACKAGES: [&str; 3] = ["opentelemetry-proto==1.45.2", "prometheus-client==0.26.0", "rotel==0.0.1a15"];
/// What tries an API by its description; it needs other versions of what it shares with those, so that it has an environment of its own.
const SCHEMATHESIS: [&str; 1] = ["schemathesis==4.32.5"];
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cli/peers/read.py");

/// What a reader of this format makes of a file.
pub(crate) fn read(format: &str, more: &[&str], file: &Path) -> Value {
    let mut command = Command::new(installed(&PACKAGES).join("python"));
    let ended = end(command.arg(READER).arg(format).args(more).arg(file)).expect_code(0);
    serde_json::from_str(&ended.stdout).expect("it writes JSON")
}

/// What `promtool check metrics` says of metrics.
pub(crate) fn promtool(file: &Path) -> Ended {
    let input = fs::File::open(file).expect("what was exported is there");
    let output = Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::from(input)).output();
    let output = output.unwrap_or_else(|error| {
        panic!("metrics are checked by promtool, which cannot be run ({error}): apt-get install prometheus")
    });
    Ended::from(output)
}

/// The program of a collector of OpenTelemetry's, which one of the packages has in it.
pub(crate) fn rotel() -> PathBuf {
    let mut find = Command::new(installed(&PACKAGES).join("python"));
    let ended = end(find.args(["-c", "import rotel; print(rotel.__path__[0])"])).expect_code(0);
    Path::new(ended.stdout.trim_end()).join("rotel-agent")
}

/// What schemathesis says of an API, tried as its arguments and the configuration in a folder say.
pub(crate) fn schemathesis(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = Command::new(installed(&SCHEMATHESIS).join("python"));
    // The command's own file names the folder in which it was installed, which has another name by now.
    command.args(["-c", "from schemathesis.cli import schemathesis; schemathesis()"]);
    // It leaves notes of what it tried where it is run.
    end(command.args(["--config-file", "schemathesis.toml", "run"]).args(arguments).current_dir(folder))
}

/// A Prometheus with a configuration, in a folder of its own, which listens on an address.
pub(crate) fn prometheus(configuration: &Path, folder: &Path, address: &str) -> Running {
    let mut command = Command::new("prometheus");
    command.arg(format!("--config.file={}", configuration.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.display())).arg(format!("--web.listen-address={address}"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Running(command.spawn().unwrap_or_else(|error| {
        panic!("metrics are scraped by prometheus, which cannot be run ({error}): apt-get install prometheus")
    }))
}

/// The programs of a Python with these packages, in a folder that is kept for later runs.
fn installed(packages: &[&str]) -> PathBuf {
    let name = packages.join("+").replace("==", "-");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let programs = folder.join("bin");
    if programs.join("python").exists() {
        return programs;
    }
    // Tests run side by side: whichever is first gives it its name.
    let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("making a folder");
    let needed = |command: &mut Command, what: &str| {
        let ended = command.output().map(Ended::from);
        assert!(
            ended.as_ref().is_ok_and(|ended| ended.code == Some(0)),
            "what is written is read by {}, for which are needed python3 with venv, and PyPI at the first time; {what}: {ended:?}",
            packages.join(" and "),
        );
    };
    needed(Command::new("python3").args(["-m", "venv"]).arg(made.path()), "making an environment");
    let mut install = Command::new(made.path().join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(packages);
    needed(&mut install, "installing them");
    if fs::rename(made.path(), &folder).is_ok() {
        // It has another name now, under which it stays.
        let _ = made.keep();
    }
    programs
}
