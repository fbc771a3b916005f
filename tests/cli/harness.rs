//! Runs the command in a folder of its own, with guests as plugins.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

/// The variable by which `cargo xtask test` tells where the guests are.
const GUESTS_VARIABLE: &str = "GLASSHOUSE_GUESTS";
/// The command.
const PROGRAM: &str = env!("CARGO_BIN_EXE_glasshouse");
/// How often a process is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);
/// How long is waited for what takes a moment: compiling a guest may come first, on a machine with much to do.
const PATIENCE: Duration = Duration::from_mins(1);

/// The component file of a guest.
pub(crate) fn guest(name: &str) -> PathBuf {
    let folder = std::env::var_os(GUESTS_VARIABLE)
        .unwrap_or_else(|| panic!("{GUESTS_VARIABLE} is not set: run the tests with `cargo xtask test`"));
    PathBuf::from(folder).join(format!("{name}.wasm"))
}

/// A folder to run the command in; it goes with the value.
pub(crate) struct Place {
    folder: tempfile::TempDir,
    /// More variables that the command gets.
    variables: &'static [(&'static str, &'static str)],
}

/// What debugging costs in a build that is not optimised, on a machine with much to do, leaves no record out, and neither does
/// their number.
const LENIENT: &[(&str, &str)] = &[
    ("GLASSHOUSE_DEFAULTS__DEBUGGING__PROFILING_OVERHEAD_LIMIT", "100"),
    ("GLASSHOUSE_DEFAULTS__BUDGET__RECORDS_PER_SECOND", "100000000"),
];

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
        let place = Self { folder: tempfile::tempdir().expect("making a folder"), variables: &[] };
        fs::create_dir(place.path("plugins")).expect("making the plugin directory");
        for name in names {
            place.link(name, &format!("plugins/{name}.wasm"));
        }
        place
    }

    /// Runs a command on the data directory `data`.
    pub(crate) fn on_data(&self, arguments: &[&str]) -> Ended {
        self.glasshouse(&[arguments, &["--data-dir", "data"]].concat())
    }

    /// Starts a host on `plugins` and `data`, fed by its standard input, and waits until it takes commands and all its extensions are
    /// loaded.
    pub(crate) fn host(&self, settings: &[&str]) -> (Running, Lines) {
        let run = ["run", "plugins", "--data-dir", "data", "--feed", "-"];
        let mut host = self.start(&[&run, settings].concat());
        let replies = host.stdout();
        wait_for("all to be loaded", || {
            let status = self.on_data(&["status", "--format", "json"]);
            let loaded = status.code == Some(0) && status.json_lines().iter().all(|one| one["status"] != "loading");
            loaded.then_some(())
        });
        (host, replies)
    }

    /// Lets commands store whatever a flood of records brings. Without it they run with the defaults that are shipped.
    pub(crate) fn lenient(self) -> Self {
        Self { variables: LENIENT, ..self }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
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

    /// Makes an extension of this id of a guest, with more lines for its manifest.
    pub(crate) fn extension(&self, id: &str, guest_name: &str, manifest: &str) {
        let head = format!("id = \"{id}\"\ncomponent = \"{guest_name}.wasm\"\n");
        self.write(&format!("plugins/{id}/extension.toml"), &(head + manifest));
        self.link(guest_name, &format!("plugins/{id}/{guest_name}.wasm"));
    }

    /// The command with arguments. Compiled components are kept for all tests.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.args(arguments);
        self.prepared(command)
    }

    /// What a shell does with lines that somebody typed, to whom the command is called by its name.
    pub(crate) fn shell(&self, lines: &str) -> Ended {
        let mut shell = Command::new("bash");
        shell.args(["-c", lines]);
        let programs = self.path("bin");
        if !programs.exists() {
            fs::create_dir(&programs).expect("making a folder");
            std::os::unix::fs::symlink(PROGRAM, programs.join("glasshouse")).expect("linking the command");
        }
        let others = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(programs).chain(std::env::split_paths(&others)));
        end(self.prepared(shell).env("PATH", path.expect("a path")))
    }

    /// A command that runs here, and hears nothing of what holds elsewhere.
    fn prepared(&self, mut command: Command) -> Command {
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        let is_read = |name: &OsStr| {
            [&b"GLASSHOUSE_"[..], b"OTEL_"].iter().any(|start| name.as_encoded_bytes().starts_with(start))
        };
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_read(name)) {
            command.env_remove(name);
        }
        command.env("XDG_CACHE_HOME", Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"));
        // Hosts of other tests have the usual address, and the user's tokens are none of theirs.
        command.env("GLASSHOUSE_HOST__LISTEN", "off").env("XDG_STATE_HOME", self.folder.path().join("state"));
        command.envs(self.variables.iter().copied());
        command
    }

    /// The same on a terminal of its own, whose output is the command's and whose keys are its input.
    pub(crate) fn on_terminal(&self, arguments: &[&str]) -> Command {
        let inner = self.command(arguments);
        let words = std::iter::once(inner.get_program()).chain(inner.get_args());
        let line: Vec<_> = words.map(|word| format!("'{}'", word.to_string_lossy())).collect();
        let mut command = Command::new("script");
        // It has no size of its own.
        let line = format!("stty rows 40 cols 160 && {}", line.join(" "));
        command.args(["-q", "-e", "-c", &line, "/dev/null"]).stdin(Stdio::null());
        command.current_dir(self.folder.path()).env_remove("NO_COLOR").env("TERM", "xterm");
        for (name, value) in inner.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        command
    }

    /// Runs the command to its end.
    pub(crate) fn glasshouse(&self, arguments: &[&str]) -> Ended {
        end(&mut self.command(arguments))
    }

    /// Starts the command, with pipes for all that it reads and writes.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(arguments))
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

/// Looks again and again until there is what is waited for.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(found) = look() {
            return found;
        }
        std::thread::sleep(LOOK);
    }
    panic!("waited {PATIENCE:?} for {what}")
}

/// The lines that a process writes, collected as they come.
pub(crate) struct Lines {
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Lines {
    fn of(output: impl Read + Send + 'static) -> Self {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let collected = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = String::new();
            // What has no end was cut off when the process was killed.
            while output.read_line(&mut line).is_ok_and(|bytes| bytes > 0) && line.ends_with('\n') {
                line.pop();
                collected.lock().expect("nobody panics with it").push(std::mem::take(&mut line));
            }
        });
        Self { lines, reader }
    }

    /// What there is by now.
    pub(crate) fn so_far(&self) -> Vec<String> {
        self.lines.lock().expect("nobody panics with it").clone()
    }

    /// Waits for a line that has a text in it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        wait_for(text, || self.so_far().into_iter().find(|line| line.contains(text)))
    }

    /// How many there are by now.
    pub(crate) fn count(&self) -> usize {
        self.lines.lock().expect("nobody panics with it").len()
    }

    /// All of them, once the process has ended.
    pub(crate) fn all_of_them(self) -> Vec<String> {
        self.reader.join().expect("it reads to the end");
        std::mem::take(&mut *self.lines.lock().expect("nobody panics with it"))
    }
}

/// A running command that does not outlive its test.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// Starts a command, with pipes for all that it reads and writes.
    pub(crate) fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().expect("the command starts"))
    }

    /// Feeds it a call, and waits for the reply.
    pub(crate) fn call(&mut self, replies: &Lines, call: &Value) -> Value {
        let before = replies.count();
        self.tell(call);
        let line = wait_for("a reply", || replies.so_far().into_iter().nth(before));
        serde_json::from_str(&line).expect("a reply is JSON")
    }

    /// Collects what it writes to its standard output.
    pub(crate) fn stdout(&mut self) -> Lines {
        Lines::of(self.0.stdout.take().expect("its output is a pipe"))
    }

    /// Collects what it writes to its standard error.
    pub(crate) fn stderr(&mut self) -> Lines {
        Lines::of(self.0.stderr.take().expect("its output is a pipe"))
    }

    /// Writes a line to its standard input.
    pub(crate) fn tell(&mut self, line: &Value) {
        writeln!(self.0.stdin.as_mut().expect("its input is a pipe"), "{line}").expect("it reads its input");
    }

    /// Ends it as nobody can refuse: by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it is running");
        self.0.wait().expect("it is our child");
    }

    pub(crate) fn interrupt(&self) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::INT).expect("it is running");
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        let id = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it is running");
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
