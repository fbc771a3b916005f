//! Debian's packages.

use std::path::Path;

use crate::machine::Machine;

/// Debian's apt-get, with the rights to install, its lists updated.
pub struct Apt<'m> {
    machine: &'m dyn Machine,
    as_root: &'static [&'static str],
    /// Why the lists could not be updated: one of others that is out of reach says nothing of Debian's own.
    stale: Option<String>,
}

/// Why packages cannot be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoApt {
    /// The machine is not Debian's.
    NotDebian,
    /// Neither root, nor may it become root without a question.
    NotRoot,
}

impl<'m> Apt<'m> {
    /// Gets ready to install, as root or by sudo if that asks nothing. What takes time is told to `progress`.
    ///
    /// # Errors
    ///
    /// The machine is not Debian's, or does not let us.
    pub fn of(machine: &'m dyn Machine, progress: &mut dyn FnMut(&str)) -> Result<Self, NoApt> {
        if !Self::is_for(machine) {
            return Err(NoApt::NotDebian);
        }
        let as_root: &[&str] = if machine.run("id", &["-u"]).is_ok_and(|id| id.trim() == "0") {
            &[]
        } else if machine.run("sudo", &["-n", "true"]).is_ok() {
            &["sudo", "-n"]
        } else {
            return Err(NoApt::NotRoot);
        };
        let mut apt = Self { machine, as_root, stale: None };
        progress("updating apt's lists");
        apt.stale = apt.run(&["update"]).err();
        Ok(apt)
    }

    /// Whether a machine has Debian's packages.
    pub fn is_for(machine: &dyn Machine) -> bool {
        machine.exists(Path::new("/etc/debian_version"))
    }

    /// Installs packages, and without what they merely recommend.
    ///
    /// # Errors
    ///
    /// What apt-get says, for a person.
    pub fn install(&self, packages: &[&str], progress: &mut dyn FnMut(&str)) -> Result<(), String> {
        progress(&format!("installing {}", packages.join(" ")));
        let outcome = self.run(&[&["install", "--yes", "--no-install-recommends"], packages].concat());
        outcome.map_err(|reason| self.stale.iter().cloned().chain([reason]).collect::<Vec<_>>().join("\n"))
    }

    /// Runs apt-get without questions, and without starting the services that come with a package: a run level of 1 has none.
    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let command = ["env", "DEBIAN_FRONTEND=noninteractive", "RUNLEVEL=1", "apt-get"];
        let command = [self.as_root, &command, arguments].concat();
        self.machine.run(command[0], &command[1..]).map(|_| ())
    }
}
