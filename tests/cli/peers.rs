//! Other people's programs and libraries, which read what we write: Python's, Prometheus' own tool, and a collector.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::harness::{Ended, end};

/// What is installed from PyPI, once for all tests.
const PACKAGES: [&str; 3] = ["opentelemetry-proto==1.45.2", "prometheus-client==0.26.0", "rotel==0.0.1a15"];
const READER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cli/peers/read.py");

/// What a reader of this format makes of a file.
pub(crate) fn read(format: &str, more: &[&str], file: &Path) -> Value {
    let mut command = Command::new(python());
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
    let mut find = Command::new(python());
    let ended = end(find.args(["-c", "import rotel; print(rotel.__path__[0])"])).expect_code(0);
    Path::new(ended.stdout.trim_end()).join("rotel-agent")
}

/// A Python with the packages, in a folder that is kept for later runs.
fn python() -> PathBuf {
    let name = PACKAGES.join("+").replace("==", "-");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let python = folder.join("bin/python");
    if python.exists() {
        return python;
    }
    // Tests run side by side: whichever is first gives it its name.
    let made = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("making a folder");
    let needed = |command: &mut Command, what: &str| {
        let ended = command.output().map(Ended::from);
        assert!(
            ended.as_ref().is_ok_and(|ended| ended.code == Some(0)),
            "what is exported is read by {}, which need python3 with venv, and PyPI at the first time; {what}: {ended:?}",
            PACKAGES.join(" and "),
        );
    };
    needed(Command::new("python3").args(["-m", "venv"]).arg(made.path()), "making an environment");
    let mut install = Command::new(made.path().join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
    needed(&mut install, "installing them");
    if fs::rename(made.path(), &folder).is_ok() {
        // It has another name now, under which it stays.
        let _ = made.keep();
    }
    python
}
