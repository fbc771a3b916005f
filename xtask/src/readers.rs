//! Programs of the system by which tests have others read what the host writes: found, or installed, or their tests are left out.

use glasshouse_toolchain::{Apt, Machine, NoApt};

/// Programs that tests need, and which tests.
#[derive(Debug)]
pub(crate) struct Reader {
    /// What they are called, for a person.
    name: &'static str,
    /// Commands that go well where they are.
    probes: &'static [&'static [&'static str]],
    /// Debian's package.
    package: &'static str,
    /// The modules of `tests/cli` whose tests need them.
    pub(crate) modules: &'static [&'static str],
}

/// All of them.
pub(crate) const READERS: [Reader; 2] = [
    Reader {
        name: "prometheus and promtool",
        probes: &[&["promtool", "--version"], &["prometheus", "--version"]],
        package: "prometheus",
        modules: &["export::prometheus", "api::peers"],
    },
    Reader {
        name: "python3 with venv and ensurepip",
        probes: &[&["python3", "-c", "import venv, ensurepip"]],
        package: "python3-venv",
        modules: &["export::prometheus", "export::python", "api::peers", "otlp"],
    },
];

/// A reader that is not there, and why.
#[derive(Debug)]
pub(crate) struct Missing {
    reader: &'static Reader,
    reason: String,
}

impl Missing {
    /// For a person: what is missing, which tests need it, and why it was not installed.
    pub(crate) fn describe(&self) -> String {
        let Reader { name, modules, .. } = self.reader;
        format!("{name}, for the tests in {}: {}", modules.join(", "), self.reason.replace('\n', "\n    "))
    }
}

/// The tests that need what is missing, as a filter of nextest's.
pub(crate) fn filter(missing: &[Missing]) -> String {
    let modules = missing.iter().flat_map(|missing| missing.reader.modules);
    let tests: Vec<_> = modules.map(|module| format!("test(/^{module}::/)")).collect();
    format!("binary(cli) and ({})", tests.join(" or "))
}

/// Looks for the readers, installs those that are not there where the machine is Debian's and lets us, and returns those that are missing
/// all the same. What takes time is told to `progress`.
pub(crate) fn prepare(machine: &dyn Machine, progress: &mut dyn FnMut(&str)) -> Vec<Missing> {
    let lacking: Vec<_> = READERS.iter().filter(|reader| !reader.is_there(machine)).collect();
    if lacking.is_empty() {
        return Vec::new();
    }
    let apt = Apt::of(machine, progress);
    let install = |reader: &'static Reader| {
        let outcome = match &apt {
            Ok(apt) => reader.install(machine, apt, progress),
            Err(why) => Err(reader.by_hand(*why)),
        };
        outcome.err().map(|reason| Missing { reader, reason })
    };
    lacking.into_iter().filter_map(install).collect()
}

impl Reader {
    fn is_there(&self, machine: &dyn Machine) -> bool {
        self.probes.iter().all(|probe| machine.run(probe[0], &probe[1..]).is_ok())
    }

    fn install(&self, machine: &dyn Machine, apt: &Apt<'_>, progress: &mut dyn FnMut(&str)) -> Result<(), String> {
        apt.install(&[self.package], progress)?;
        if self.is_there(machine) {
            Ok(())
        } else {
            Err(format!("{} is installed, and yet it is not found", self.package))
        }
    }

    fn by_hand(&self, why: NoApt) -> String {
        let package = self.package;
        match why {
            NoApt::NotDebian => format!("this is not Debian, so install it yourself; Debian's package is {package}"),
            NoApt::NotRoot => format!("installing it needs root; type: sudo apt-get install {package}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::path::Path;

    use super::*;

    const APT: &str = "env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get";

    /// A machine of Debian's, or not, which has some of the packages, and lets some be had.
    #[derive(Default)]
    struct Imagined {
        debian: bool,
        root: bool,
        sudo: bool,
        stale: bool,
        offered: &'static [&'static str],
        installed: RefCell<Vec<&'static str>>,
        ran: RefCell<Vec<String>>,
    }

    impl Imagined {
        fn debian() -> Self {
            Self { debian: true, root: true, offered: &["prometheus", "python3-venv"], ..Self::default() }
        }

        fn has(&self, package: &str) -> Result<String, String> {
            if self.installed.borrow().contains(&package) { Ok(String::new()) } else { Err("not found".to_owned()) }
        }

        fn allowed(allowed: bool) -> Result<String, String> {
            if allowed { Ok(String::new()) } else { Err("refused".to_owned()) }
        }

        fn apt_get(&self, arguments: &str) -> Result<String, String> {
            self.ran.borrow_mut().push(arguments.to_owned());
            let wanted = arguments.strip_prefix("install --yes --no-install-recommends ");
            match self.offered.iter().find(|package| Some(**package) == wanted) {
                Some(package) => {
                    self.installed.borrow_mut().push(package);
                    Ok(String::new())
                }
                None if wanted.is_none() && !self.stale => Ok(String::new()),
                None => Err(format!("`apt-get {arguments}` failed")),
            }
        }

        /// What is missing in the end, and what was asked of apt-get.
        fn check(&self, missing: &[&str], ran: &[&str]) {
            let found = prepare(self, &mut |_| ());
            assert_eq!(found.iter().map(Missing::describe).collect::<Vec<_>>(), missing);
            assert_eq!(*self.ran.borrow(), ran);
        }
    }

    impl Machine for Imagined {
        fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
            let command = format!("{program} {}", arguments.join(" "));
            if let Some((before, arguments)) = command.split_once(&format!("{APT} ")) {
                let may = if before.is_empty() { self.root } else { before == "sudo -n " && self.sudo };
                return Self::allowed(may).and_then(|_| self.apt_get(arguments));
            }
            match command.as_str() {
                "promtool --version" | "prometheus --version" => self.has("prometheus"),
                "python3 -c import venv, ensurepip" => self.has("python3-venv"),
                "id -u" => Ok(if self.root { "0\n" } else { "1000\n" }.to_owned()),
                "sudo -n true" => Self::allowed(self.sudo),
                _ => Err(format!("{command}: unexpected")),
            }
        }

        fn exists(&self, path: &Path) -> bool {
            self.debian && path == Path::new("/etc/debian_version")
        }

        fn variable(&self, _name: &str) -> Option<String> {
            None
        }
    }

    const UPDATE: &str = "update";
    const PROMETHEUS: &str = "install --yes --no-install-recommends prometheus";
    const PYTHON: &str = "install --yes --no-install-recommends python3-venv";

    #[test]
    fn where_all_is_there_nothing_is_changed() {
        let machine = Imagined { installed: RefCell::new(vec!["prometheus", "python3-venv"]), ..Imagined::debian() };
        machine.check(&[], &[]);
    }

    #[test]
    fn debian_installs_only_what_is_missing_as_root_or_by_sudo_without_a_question() {
        Imagined::debian().check(&[], &[UPDATE, PROMETHEUS, PYTHON]);
        Imagined { root: false, sudo: true, ..Imagined::debian() }.check(&[], &[UPDATE, PROMETHEUS, PYTHON]);
        let machine = Imagined { installed: RefCell::new(vec!["prometheus"]), stale: true, ..Imagined::debian() };
        machine.check(&[], &[UPDATE, PYTHON]);
    }

    #[test]
    fn what_cannot_be_installed_is_named_with_its_tests_and_what_to_do() {
        const TESTS: &str = "prometheus and promtool, for the tests in export::prometheus, api::peers:";
        let machine = Imagined { root: false, installed: RefCell::new(vec!["python3-venv"]), ..Imagined::debian() };
        machine.check(&[&format!("{TESTS} installing it needs root; type: sudo apt-get install prometheus")], &[]);
        let machine = Imagined { debian: false, installed: RefCell::new(vec!["python3-venv"]), ..Imagined::debian() };
        let reason = "this is not Debian, so install it yourself; Debian's package is prometheus";
        machine.check(&[&format!("{TESTS} {reason}")], &[]);
        let machine = Imagined { offered: &["python3-venv"], stale: true, ..Imagined::debian() };
        let reason = format!("`apt-get update` failed\n    `apt-get {PROMETHEUS}` failed");
        machine.check(&[&format!("{TESTS} {reason}")], &[UPDATE, PROMETHEUS, PYTHON]);
    }

    #[test]
    fn the_tests_of_what_is_missing_are_a_filter() {
        let missing = prepare(&Imagined { offered: &["python3-venv"], ..Imagined::debian() }, &mut |_| ());
        assert_eq!(filter(&missing), "binary(cli) and (test(/^export::prometheus::/) or test(/^api::peers::/))");
    }
}
