//! Runs the command in a folder of its own, with guests as plugins.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The variable by which `cargo xtask test` tells where the guests are.
const GUESTS_VARIABLE: &str = "GLASSHOUSE_GUESTS";
/// How often a process is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// The component file of a guest.
pub(crate) fn guest(name: &str) -> PathBuf {
    let folder = std::env::var_os(GUESTS_VARIABLE)
        .unwrap_or_else(|| panic!("{GUESTS_VARIABLE} is not set: run the tests with `cargo xtask test`"));
    PathBuf::from(folder).join(format!("{name}.wasm"))
}

/// A folder to run the command in; it goes with the value.
pub(crate) struct Place(tempfile::TempDir);

/// What a command left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    /// A folder with these guests as bare components in `plugins`.
    pub(crate) fn with_plugins(names: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().expect("making a folder"));
        fs::create_dir(place.path("plugins")).expect("making the plugin directory");
        for name in names {
            place.link(name, &format!("plugins/{name}.wasm"));
        }
        place
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a guest's component at a path.
    pub(crate) fn link(&self, guest_name: &str, at: &str) {
        let at = self.path(at);
        fs::create_dir_all(at.parent().expect("it is in a folder")).expect("making a folder");
        std::os::unix::fs::symlink(guest(guest_name), at).expect("linking a guest");
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it is in a folder")).expect("making a folder");
        fs::write(path, text).expect("writing a file");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect("reading a file")
    }

    /// The command with arguments. Compiled components are kept for all tests.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_glasshouse"));
        command.args(arguments).current_dir(self.0.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"GLASSHOUSE_")) {
            command.env_remove(name);
        }
        command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        command
    }

    /// Runs the command to its end.
    pub(crate) fn glasshouse(&self, arguments: &[&str]) -> Ended {
        end(&mut self.command(arguments))
    }

    /// Runs the command to its end, with text on its standard input.
    pub(crate) fn glasshouse_with_input(&self, arguments: &[&str], input: &str) -> Ended {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        child.stdin.take().expect("it has an input").write_all(input.as_bytes()).expect("it reads its input");
        Ended::from(child.wait_with_output().expect("it ends"))
    }
}

/// Runs a command to its end.
pub(crate) fn end(command: &mut Command) -> Ended {
    Ended::from(command.output().expect("the command starts"))
}

impl From<std::process::Output> for Ended {
    fn from(output: std::process::Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).expect("it writes text"),
            stderr: String::from_utf8(output.stderr).expect("it writes text"),
        }
    }
}

impl Ended {
    /// The lines of standard output, each of them JSON.
    pub(crate) fn json_lines(&self) -> Vec<Value> {
        json_lines(&self.stdout)
    }

    /// Standard output, which is one JSON value.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

pub(crate) fn json_lines(text: &str) -> Vec<Value> {
    let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// A running command that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn interrupt(&self) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it is running");
    }

    /// Its exit code, if it ends within a time.
    pub(crate) fn code_within(&mut self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        while start.elapsed() < limit {
            if let Some(status) = self.0.try_wait().expect("it is our child") {
                return status.code();
            }
            std::thread::sleep(LOOK);
        }
        panic!("it has not ended after {limit:?}")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended already in a test that passes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
