//! Compiles components for the hosts of the end-to-end tests; under another name, as on a kernel without Landlock.

use std::process::ExitCode;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// The name by which it is as if the kernel had no Landlock.
const WITHOUT_LANDLOCK: &str = "without-landlock";

fn main() -> ExitCode {
    let name = std::env::current_exe().ok().and_then(|path| path.file_name().map(ToOwned::to_owned));
    if name.is_some_and(|name| name == WITHOUT_LANDLOCK) && take_landlock().is_err() {
        return ExitCode::FAILURE;
    }
    glasshouse_runtime::worker::main()
}

/// Has the system answer what it would if it knew nothing of Landlock.
fn take_landlock() -> Result<(), seccompiler::Error> {
    let calls = [libc::SYS_landlock_create_ruleset, libc::SYS_landlock_add_rule, libc::SYS_landlock_restrict_self];
    let rules = calls.into_iter().map(|call| (call, Vec::new())).collect();
    let unknown = SeccompAction::Errno(libc::ENOSYS as u32);
    let architecture = std::env::consts::ARCH.try_into()?;
    let program: BpfProgram = SeccompFilter::new(rules, SeccompAction::Allow, unknown, architecture)?.try_into()?;
    seccompiler::apply_filter(&program)
}
