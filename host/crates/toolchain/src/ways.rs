//! The three ways to a guest toolchain, in order.

use std::path::{Path, PathBuf};

use crate::apt::{Apt, NoApt};
use crate::machine::{Machine, ThisMachine};
use crate::{Attempt, Error, TARGET, WAY_VARIABLE};

/// A toolchain that builds extensions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    pub(crate) way: Way,
}

/// How the toolchain comes to have the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// The target is installed in the active toolchain.
    Installed {
        sysroot: PathBuf,
        /// Whether rustup installed it just now.
        added: bool,
    },
    /// `std` is built from Debian's sources by Debian's compiler, and linked with the active toolchain's linker.
    Debian {
        /// The active toolchain's folder of linkers: `<sysroot>/lib/rustlib/<host>/bin`.
        linkers: PathBuf,
    },
}

pub(crate) const DEBIAN_RUSTC: &str = "/usr/bin/rustc";
/// Where Debian's `wasi-libc` puts the C library.
pub(crate) const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";
const DEBIAN_STD: &str = "/usr/lib/rustlib/src/rust/library/std/Cargo.toml";
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "rust-web-src", "wasi-libc"];

const NOT_DEBIAN: &str = "this is not Debian";
const INSTALLED: &str = "the target in the active toolchain";
const RUSTUP: &str = "`rustup target add wasm32-wasip2`";
const DEBIAN: &str = "Debian's packages rustc-web, rust-web-src and wasi-libc";

impl Toolchain {
    /// The toolchain that is there now. Changes nothing on the machine.
    pub fn find() -> Result<Self, Error> {
        search(&ThisMachine, None)
    }

    /// The toolchain that is there, or else one that it installs: by rustup, or, on Debian, as root or by sudo that asks nothing, by apt-get. What it
    /// is about to do that takes time is told to `progress`, a line each.
    pub fn prepare(progress: &mut dyn FnMut(&str)) -> Result<Self, Error> {
        search(&ThisMachine, Some(progress))
    }

    /// Which way it is, for a person.
    pub fn describe(&self) -> String {
        match &self.way {
            Way::Installed { sysroot, added } => {
                let name = sysroot.file_name().unwrap_or(sysroot.as_os_str()).to_string_lossy();
                let origin = if *added { "just added by rustup" } else { "already installed" };
                format!("{TARGET} of the toolchain {name} ({origin})")
            }
            Way::Debian { .. } => {
                format!("{TARGET} with std built from Debian's packages {}", DEBIAN_PACKAGES.join(", "))
            }
        }
    }
}

/// Takes the first way that works. Without `progress`, nothing may be installed.
fn search(machine: &dyn Machine, mut progress: Option<&mut dyn FnMut(&str)>) -> Result<Toolchain, Error> {
    let only = machine.variable(WAY_VARIABLE);
    if let Some(value) = only.as_deref().filter(|value| !["installed", "rustup", "debian"].contains(value)) {
        return Err(Error::UnknownWay { value: value.to_owned() });
    }
    let wanted = |way: &str| only.as_deref().is_none_or(|only| only == way);
    let skipped = || format!("not tried, because {WAY_VARIABLE} asks for another way");
    let rustc = Rustc::active(machine);

    let mut tried = Vec::new();
    let mut attempt = |way, outcome: Result<Way, String>| match outcome {
        Ok(way) => Some(Toolchain { way }),
        Err(reason) => {
            tried.push(Attempt { way, reason });
            None
        }
    };
    let outcome = if wanted("installed") { installed(machine, &rustc) } else { Err(skipped()) };
    if let Some(found) = attempt(INSTALLED, outcome) {
        return Ok(found);
    }
    let outcome = if wanted("rustup") { rustup(machine, &rustc, &mut progress) } else { Err(skipped()) };
    if let Some(found) = attempt(RUSTUP, outcome) {
        return Ok(found);
    }
    let outcome = if wanted("debian") { debian(machine, &rustc, &mut progress) } else { Err(skipped()) };
    if let Some(found) = attempt(DEBIAN, outcome) {
        return Ok(found);
    }
    Err(Error::NoToolchain { tried })
}

/// What the active compiler says of itself.
struct Rustc {
    sysroot: PathBuf,
    host: String,
}

impl Rustc {
    fn active(machine: &dyn Machine) -> Result<Self, String> {
        let program = machine.variable("RUSTC").unwrap_or_else(|| "rustc".to_owned());
        let sysroot = PathBuf::from(machine.run(&program, &["--print", "sysroot"])?.trim());
        let version = machine.run(&program, &["-vV"])?;
        let host = host_triple(&version).ok_or_else(|| format!("`{program} -vV` names no host"))?;
        Ok(Self { sysroot, host: host.to_owned() })
    }

    fn has_target(&self, machine: &dyn Machine) -> bool {
        machine.exists(&self.sysroot.join("lib/rustlib").join(TARGET).join("lib"))
    }
}

fn host_triple(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: ")).map(str::trim)
}

fn installed(machine: &dyn Machine, rustc: &Result<Rustc, String>) -> Result<Way, String> {
    let rustc = rustc.as_ref().map_err(Clone::clone)?;
    if rustc.has_target(machine) {
        Ok(Way::Installed { sysroot: rustc.sysroot.clone(), added: false })
    } else {
        Err(format!("not installed in {}", rustc.sysroot.display()))
    }
}

fn rustup(
    machine: &dyn Machine,
    rustc: &Result<Rustc, String>,
    progress: &mut Option<&mut dyn FnMut(&str)>,
) -> Result<Way, String> {
    let rustc = rustc.as_ref().map_err(Clone::clone)?;
    let Some(progress) = progress else {
        return Err("not tried, because it changes the machine; type it yourself".to_owned());
    };
    progress("asking rustup for the target");
    machine.run("rustup", &["target", "add", TARGET])?;
    if rustc.has_target(machine) {
        Ok(Way::Installed { sysroot: rustc.sysroot.clone(), added: true })
    } else {
        Err(format!("rustup says that it is done, but {} has no such target", rustc.sysroot.display()))
    }
}

fn debian(
    machine: &dyn Machine,
    rustc: &Result<Rustc, String>,
    progress: &mut Option<&mut dyn FnMut(&str)>,
) -> Result<Way, String> {
    let rustc = rustc.as_ref().map_err(Clone::clone)?;
    if !Apt::is_for(machine) {
        return Err(NOT_DEBIAN.to_owned());
    }
    let linkers = rustc.sysroot.join("lib/rustlib").join(&rustc.host).join("bin");
    for linker in ["wasm-component-ld", "gcc-ld/wasm-ld"] {
        if !machine.exists(&linkers.join(linker)) {
            return Err(format!(
                "{} is missing, which a toolchain of rustup brings; install one from https://rustup.rs",
                linkers.join(linker).display()
            ));
        }
    }
    if missing_packages(machine).is_none() {
        return Ok(Way::Debian { linkers });
    }
    let by_hand = format!("apt-get update && apt-get install --yes {}", DEBIAN_PACKAGES.join(" "));
    let Some(progress) = progress else {
        return Err(format!("not installed; as root, type: {by_hand}"));
    };
    let apt = Apt::of(machine, *progress).map_err(|why| match why {
        NoApt::NotDebian => NOT_DEBIAN.to_owned(),
        NoApt::NotRoot => format!("installing them needs root; type: sudo sh -c '{by_hand}'"),
    })?;
    apt.install(&DEBIAN_PACKAGES, *progress)?;
    match missing_packages(machine) {
        None => Ok(Way::Debian { linkers }),
        Some(file) => Err(format!("apt-get says that it is done, but {file} is missing")),
    }
}

/// The first file of the packages that is not there.
fn missing_packages(machine: &dyn Machine) -> Option<&'static str> {
    const LIBC_ARCHIVE: &str = "/usr/lib/wasm32-wasi/libc.a";
    [DEBIAN_RUSTC, DEBIAN_STD, LIBC_ARCHIVE].into_iter().find(|file| !machine.exists(Path::new(file)))
}

#[cfg(test)]
mod tests;
