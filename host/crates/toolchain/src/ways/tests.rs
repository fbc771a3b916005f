//! The order of the ways, and the words of the failure, on machines that tests make up.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use super::{Toolchain, Way, search};
use crate::Error;
use crate::machine::Machine;

const SYSROOT: &str = "/sysroot";
const LINKERS: &str = "/sysroot/lib/rustlib/x86_64-unknown-linux-gnu/bin";

/// A machine of given files; commands change them.
#[derive(Default)]
struct Imagined {
    files: RefCell<BTreeSet<String>>,
    ran: RefCell<Vec<String>>,
    root: bool,
    rustup_works: bool,
    apt_works: bool,
    only: Option<&'static str>,
}

impl Imagined {
    fn debian() -> Self {
        let machine = Self { root: true, ..Self::default() };
        machine.add(&["/etc/debian_version"]);
        machine.add(&[&format!("{LINKERS}/wasm-component-ld"), &format!("{LINKERS}/gcc-ld/wasm-ld")]);
        machine
    }

    fn add(&self, files: &[&str]) {
        self.files.borrow_mut().extend(files.iter().map(|&file| file.to_owned()));
    }

    fn with_packages(self) -> Self {
        self.add(&["/usr/bin/rustc", super::DEBIAN_STD, "/usr/lib/wasm32-wasi/libc.a"]);
        self
    }

    fn with_target(self) -> Self {
        self.add(&["/sysroot/lib/rustlib/wasm32-wasip2/lib"]);
        self
    }

    fn changes(&self) -> Vec<String> {
        let ran = self.ran.borrow();
        ran.iter().filter(|command| !command.starts_with("rustc") && !command.starts_with("id")).cloned().collect()
    }
}

impl Machine for Imagined {
    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let command = format!("{program} {}", arguments.join(" "));
        let command = command.replace("env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get", "apt-get");
        self.ran.borrow_mut().push(command.clone());
        match command.as_str() {
            "rustc --print sysroot" => Ok(format!("{SYSROOT}\n")),
            "rustc -vV" => Ok("rustc 1.95.0\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n".to_owned()),
            "rustup target add wasm32-wasip2" if self.rustup_works => {
                self.add(&["/sysroot/lib/rustlib/wasm32-wasip2/lib"]);
                Ok(String::new())
            }
            "rustup target add wasm32-wasip2" => Err("no network".to_owned()),
            "id -u" => Ok(if self.root { "0\n" } else { "1000\n" }.to_owned()),
            "apt-get update" => Ok(String::new()),
            "apt-get install --yes --no-install-recommends rustc-web rust-web-src wasi-libc" if self.apt_works => {
                self.add(&["/usr/bin/rustc", super::DEBIAN_STD, "/usr/lib/wasm32-wasi/libc.a"]);
                Ok(String::new())
            }
            _ => Err(format!("{command}: refused")),
        }
    }

    fn exists(&self, path: &Path) -> bool {
        self.files.borrow().contains(&path.display().to_string())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.only.filter(|_| name == crate::WAY_VARIABLE).map(str::to_owned)
    }
}

fn prepare(machine: &Imagined) -> Result<Toolchain, Error> {
    search(machine, Some(&mut |_| ()))
}

fn installed(added: bool) -> Way {
    Way::Installed { sysroot: SYSROOT.into(), added }
}

fn debian() -> Way {
    Way::Debian { linkers: LINKERS.into() }
}

fn text(outcome: Result<Toolchain, Error>) -> String {
    outcome.err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn an_installed_target_comes_first_and_nothing_is_changed() {
    let machine = Imagined { rustup_works: true, ..Imagined::debian() }.with_packages().with_target();
    assert_eq!(prepare(&machine).expect("a toolchain").way, installed(false));
    assert!(machine.changes().is_empty(), "{:?}", machine.changes());
}

#[test]
fn rustup_comes_before_debian() {
    let machine = Imagined { rustup_works: true, ..Imagined::debian() }.with_packages();
    assert_eq!(prepare(&machine).expect("a toolchain").way, installed(true));
}

#[test]
fn debian_comes_when_rustup_has_failed() {
    let machine = Imagined::debian().with_packages();
    assert_eq!(prepare(&machine).expect("a toolchain").way, debian());
    assert_eq!(machine.changes(), ["rustup target add wasm32-wasip2"]);
}

#[test]
fn root_on_debian_gets_the_packages_installed() {
    let machine = Imagined { apt_works: true, ..Imagined::debian() };
    assert_eq!(prepare(&machine).expect("a toolchain").way, debian());
    assert_eq!(machine.changes()[1], "apt-get update");
}

#[test]
fn find_changes_nothing_and_says_what_to_type() {
    let machine = Imagined { rustup_works: true, apt_works: true, ..Imagined::debian() };
    let message = text(search(&machine, None));
    assert!(machine.changes().is_empty(), "{:?}", machine.changes());
    assert!(message.contains("`rustup target add wasm32-wasip2`: not tried"), "{message}");
    assert!(message.contains("apt-get install --yes rustc-web rust-web-src wasi-libc"), "{message}");
}

#[test]
fn the_failure_names_each_way_and_its_reason() {
    let message = text(prepare(&Imagined { root: false, ..Imagined::debian() }));
    assert_eq!(
        message,
        "there is no toolchain that builds for wasm32-wasip2; one of these ways has to work:\n  \
         1. the target in the active toolchain: not installed in /sysroot\n  \
         2. `rustup target add wasm32-wasip2`: no network\n  \
         3. Debian's packages rustc-web, rust-web-src and wasi-libc: installing them needs root; type: sudo sh -c \
         'apt-get update && apt-get install --yes rustc-web rust-web-src wasi-libc'"
    );
}

#[test]
fn a_machine_that_is_not_debian_is_told_so() {
    let message = text(prepare(&Imagined::default()));
    assert!(message.ends_with("this is not Debian"), "{message}");
}

#[test]
fn the_variable_restricts_the_search_to_one_way() {
    let machine = Imagined { only: Some("debian"), ..Imagined::debian() }.with_packages().with_target();
    assert_eq!(prepare(&machine).expect("a toolchain").way, debian());
    let machine = Imagined { only: Some("conda"), ..Imagined::debian() };
    assert!(text(prepare(&machine)).contains("unknown way \"conda\""));
}
