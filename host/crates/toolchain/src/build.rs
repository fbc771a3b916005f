//! Builds extensions by running cargo with the toolchain that was found.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::messages::{self, Artifact};
use crate::ways::{DEBIAN_LIBC, DEBIAN_RUSTC, Toolchain, Way};
use crate::{Error, TARGET};

/// What to build, and where to put it.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The folder with the `Cargo.toml` to start from.
    pub manifest_dir: PathBuf,
    /// The workspace's packages to build; none means the package of the folder.
    pub packages: Vec<String>,
    /// Which targets of these packages.
    pub targets: Targets,
    /// How to optimise.
    pub profile: Profile,
    /// Cargo's target folder for guests. Keep it apart from the host's, so that neither build waits for the other.
    pub target_dir: PathBuf,
}

/// Which targets of a package are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Targets {
    /// The library and the programs.
    Default,
    /// The examples.
    Examples,
}

/// How guests are optimised. Both profiles keep names and line tables, so that traps carry function, file and line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// The profile `guest` of the workspace: for guests that are members of one that has it.
    Guest,
    /// `release`, with line tables kept: for projects of their own.
    Release,
}

impl BuildRequest {
    /// A request for the package in a folder.
    pub fn new(manifest_dir: impl Into<PathBuf>, profile: Profile, target_dir: impl Into<PathBuf>) -> Self {
        Self {
            manifest_dir: manifest_dir.into(),
            packages: Vec::new(),
            targets: Targets::Default,
            profile,
            target_dir: target_dir.into(),
        }
    }

    fn what(&self) -> String {
        if self.packages.is_empty() { self.manifest_dir.display().to_string() } else { self.packages.join(", ") }
    }
}

impl Toolchain {
    /// Builds, passing the compiler's diagnostics to stderr, and returns the `.wasm` files that were made or were up to
    /// date. Flags for rustc in the environment are the host's and are not used.
    pub fn build(&self, request: &BuildRequest) -> Result<Vec<Artifact>, Error> {
        if !request.manifest_dir.join("Cargo.toml").is_file() {
            return Err(Error::NoManifest { folder: request.manifest_dir.clone() });
        }
        let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let mut command = Command::new(&program);
        command.current_dir(&request.manifest_dir).args(arguments(self, request));
        for (name, value) in environment(self, request.profile, std::env::var_os("PATH").unwrap_or_default()) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let start = |source| Error::Start { program: program.clone(), what: request.what(), source };
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(start)?;
        let mut artifacts = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            for line in BufReader::new(stdout).lines() {
                artifacts.extend(messages::artifact(&line.map_err(start)?));
            }
        }
        if !child.wait().map_err(start)?.success() {
            return Err(Error::Build { what: request.what() });
        }
        if artifacts.is_empty() {
            return Err(Error::NoArtifact { what: request.what() });
        }
        Ok(artifacts)
    }
}

fn arguments(toolchain: &Toolchain, request: &BuildRequest) -> Vec<OsString> {
    let mut arguments: Vec<OsString> =
        ["build", "--target", TARGET, "--message-format=json-render-diagnostics"].map(OsString::from).into();
    if matches!(toolchain.way, Way::Debian { .. }) {
        arguments.push("-Zbuild-std=std,panic_abort".into());
    }
    match request.profile {
        Profile::Guest => arguments.extend(["--profile", "guest"].map(OsString::from)),
        Profile::Release => arguments.push("--release".into()),
    }
    for package in &request.packages {
        arguments.extend(["--package".into(), package.into()]);
    }
    if request.targets == Targets::Examples {
        arguments.push("--examples".into());
    }
    arguments.extend(["--target-dir".into(), absolute(&request.target_dir).into()]);
    arguments
}

/// Cargo runs in the manifest's folder, so a relative target folder is made absolute first.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Variables to set, or to unset where there is no value.
fn environment(toolchain: &Toolchain, profile: Profile, path: OsString) -> Vec<(&'static str, Option<OsString>)> {
    let mut variables = vec![
        // These outrank RUSTFLAGS and `--target`, and are meant for the host.
        ("CARGO_ENCODED_RUSTFLAGS", None),
        ("CARGO_BUILD_RUSTFLAGS", None),
        ("CARGO_BUILD_TARGET", None),
    ];
    if profile == Profile::Release {
        variables.push(("CARGO_PROFILE_RELEASE_DEBUG", Some("line-tables-only".into())));
    }
    match &toolchain.way {
        Way::Installed { .. } => variables.push(("RUSTFLAGS", None)),
        Way::Debian { linkers } => {
            let mut flags = OsString::from("-C linker=");
            flags.push(linkers.join("wasm-component-ld"));
            flags.push(format!(" -L native={DEBIAN_LIBC} -C link-self-contained=no"));
            let folders = [linkers.clone(), linkers.join("gcc-ld")];
            let path = std::env::join_paths(folders.into_iter().chain(std::env::split_paths(&path))).unwrap_or(path);
            variables.extend([
                ("RUSTC", Some(DEBIAN_RUSTC.into())),
                // Building std is an unstable feature of cargo and rustc.
                ("RUSTC_BOOTSTRAP", Some("1".into())),
                ("RUSTFLAGS", Some(flags)),
                ("PATH", Some(path)),
                // Empty rather than unset: that also switches off a wrapper from a configuration file.
                ("RUSTC_WRAPPER", Some(OsString::new())),
                ("RUSTC_WORKSPACE_WRAPPER", Some(OsString::new())),
                // Left by `cargo run`, it would show Debian's compiler the libraries of another one.
                ("LD_LIBRARY_PATH", None),
            ]);
        }
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::{BuildRequest, Profile, Targets, arguments, environment};
    use crate::ways::{Toolchain, Way};

    fn installed() -> Toolchain {
        Toolchain { way: Way::Installed { sysroot: "/sysroot".into(), added: false } }
    }

    fn debian() -> Toolchain {
        Toolchain { way: Way::Debian { linkers: "/sysroot/bin".into() } }
    }

    fn line(toolchain: &Toolchain, request: &BuildRequest) -> String {
        let words = arguments(toolchain, request);
        words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn members_are_built_by_name_with_the_guest_profile() {
        let request = BuildRequest {
            packages: vec!["markdown".into(), "relay".into()],
            targets: Targets::Examples,
            ..BuildRequest::new("/w", Profile::Guest, "/t/guests")
        };
        assert_eq!(
            line(&installed(), &request),
            "build --target wasm32-wasip2 --message-format=json-render-diagnostics --profile guest \
             --package markdown --package relay --examples --target-dir /t/guests"
        );
    }

    #[test]
    fn debian_builds_std_with_the_linker_of_the_active_toolchain() {
        let request = BuildRequest::new("/w", Profile::Release, "/t");
        assert!(line(&debian(), &request).contains(" -Zbuild-std=std,panic_abort --release "));
        let variables = environment(&debian(), Profile::Release, "/bin".into());
        let value = |name: &str| {
            let (_, value) = variables.iter().find(|(given, _)| *given == name).expect("is given");
            value.as_ref().map(|value| value.to_string_lossy().into_owned())
        };
        assert_eq!(value("PATH").as_deref(), Some("/sysroot/bin:/sysroot/bin/gcc-ld:/bin"));
        assert_eq!(
            value("RUSTFLAGS").as_deref(),
            Some("-C linker=/sysroot/bin/wasm-component-ld -L native=/usr/lib/wasm32-wasi -C link-self-contained=no")
        );
        assert_eq!(value("CARGO_PROFILE_RELEASE_DEBUG").as_deref(), Some("line-tables-only"));
        assert_eq!(value("LD_LIBRARY_PATH"), None);
    }
}
