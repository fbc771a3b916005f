//! The questions that are asked of a machine, behind a trait so that tests can give other answers.

use std::path::Path;
use std::process::{Command, Stdio};

/// What a search for programs and files needs to know of, and to do on, a machine.
pub trait Machine {
    /// Runs a program to its end and returns its stdout.
    ///
    /// # Errors
    ///
    /// What a person needs to know about why it failed.
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String>;
    /// Whether a file or folder exists.
    fn exists(&self, path: &Path) -> bool;
    /// The value of an environment variable, if it is set and not empty.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The machine that this process runs on.
pub struct ThisMachine;

/// How many lines of a failed program's stderr are kept: the last ones say what went wrong.
const KEPT_LINES: usize = 6;

impl Machine for ThisMachine {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(program)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("could not run `{program}`: {error}"))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let command = format!("{program} {}", arguments.join(" "));
        Err(failure(&command, &output.status.to_string(), &String::from_utf8_lossy(&output.stderr)))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

fn failure(command: &str, status: &str, stderr: &str) -> String {
    let lines: Vec<&str> = stderr.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(KEPT_LINES)..];
    if last.is_empty() {
        format!("`{command}` failed ({status})")
    } else {
        format!("`{command}` failed ({status}):\n{}", last.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::failure;

    #[test]
    fn a_failure_keeps_the_last_lines_of_stderr() {
        let stderr = (1..=20).map(|line| format!("line {line}")).collect::<Vec<_>>().join("\n\n");
        let message = failure("rustup target add x", "exit status: 1", &stderr);
        assert!(message.starts_with("`rustup target add x` failed (exit status: 1):\nline 15\n"), "{message}");
        assert!(message.ends_with("line 20"), "{message}");
    }

    #[test]
    fn a_silent_failure_still_names_command_and_status() {
        assert_eq!(failure("id -u", "exit status: 2", "\n"), "`id -u` failed (exit status: 2)");
    }
}
