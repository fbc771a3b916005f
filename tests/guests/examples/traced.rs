//! Traces its own code by the SDK: functions, blocks, a struct and a loop, that go well, fail and trap.

use std::fmt;
use std::hint::black_box;
use std::sync::atomic::{AtomicU32, Ordering};

use glasshouse_sdk::{Error, ReportProgress, Tracked, batch, extension, instrument, watch};
use serde::Deserialize;

/// How often values were formatted.
static FORMATTED: AtomicU32 = AtomicU32::new(0);

/// A value that counts how often it is formatted.
struct Seen;

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        FORMATTED.fetch_add(1, Ordering::Relaxed);
        f.write_str("Seen")
    }
}

/// Somebody who wants to come in.
#[derive(Debug, Deserialize)]
pub struct Login {
    user: String,
    password: String,
}

/// Whoever is in.
#[derive(Tracked)]
struct Session {
    user: String,
    token: String,
    visits: u32,
}

/// The extension.
pub struct Traced {
    session: Session,
}

#[extension]
impl Traced {
    fn init() -> Self {
        Self { session: Session { user: String::new(), token: String::new(), visits: 0 } }
    }

    /// Lets somebody in, whose password is as long as the name.
    #[event("log-in")]
    #[instrument(err)]
    fn log_in(&mut self, login: Login) -> Result<u32, Error> {
        let token = check(&login.user, &login.password)?;
        let mut session = self.session.track();
        session.user = login.user;
        session.token = token;
        drop(session);
        self.session.set_visits(self.session.visits + 1);
        let password = login.password;
        let visits = watch!("welcome", [password, visits = self.session.visits], {
            self.session.visits += 1;
            self.session.visits
        });
        Ok(visits)
    }

    /// Goes down three levels, and ends there in the way that is asked for.
    #[event]
    fn descend(&mut self, end: String) -> u32 {
        let mut session = self.session.track();
        session.visits += 1;
        let floors = ["first", "second"];
        floors.iter().progress("go down").every(1).map(|floor| outer(floor, &end)).sum()
    }

    /// Gathers logs from now on.
    #[event]
    fn gather(&mut self) {
        batch::start(batch::LogTime::OfReceipt);
    }

    /// A little work so many times, without tracing; each of the following is the same with some.
    #[event]
    fn plain(&mut self, times: u32) -> u32 {
        (0..times).fold(0, |sum, number| sum ^ black_box(plain(black_box(number), &Seen)));
        formatted()
    }

    /// In a function that is instrumented.
    #[event]
    fn instrumented(&mut self, times: u32) -> u32 {
        (0..times).fold(0, |sum, number| sum ^ black_box(instrumented(black_box(number), &Seen)));
        formatted()
    }

    /// In a block that is watched.
    #[event]
    fn watched(&mut self, times: u32) -> u32 {
        for number in 0..times {
            watch!(level: Debug, "block", [number, seen = ?Seen], {
                black_box(plain(black_box(number), &Seen));
            });
        }
        formatted()
    }

    /// With a field that is set.
    #[event]
    fn set(&mut self, times: u32) -> u32 {
        for number in 0..times {
            self.session.set_visits(black_box(plain(black_box(number), &Seen)));
        }
        formatted()
    }

    /// With a struct that is lent out.
    #[event]
    fn lent(&mut self, times: u32) -> u32 {
        for number in 0..times {
            self.session.track().visits = black_box(plain(black_box(number), &Seen));
        }
        formatted()
    }

    /// In a loop that tells of its progress.
    #[event]
    fn iterated(&mut self, times: u32) -> u32 {
        (0..times).progress("loop").fold(0, |sum, number| sum ^ black_box(plain(black_box(number), &Seen)));
        formatted()
    }
}

fn formatted() -> u32 {
    FORMATTED.load(Ordering::Relaxed)
}

#[instrument("check the password", err, skip(user))]
fn check(user: &str, password: &str) -> Result<String, Error> {
    if user.len() == password.len() {
        return Ok(format!("token of {user}"));
    }
    Err(Error::failed("refused", format!("the password of {user} has {} letters", password.len())))
}

#[inline(never)]
fn plain(number: u32, _seen: &Seen) -> u32 {
    black_box(number).wrapping_mul(31)
}

/// The same as the one before, but for the attribute.
#[inline(never)]
#[instrument(level = Debug, ret)]
fn instrumented(number: u32, seen: &Seen) -> u32 {
    black_box(number).wrapping_mul(31)
}

#[instrument(ret)]
fn outer(floor: &str, end: &str) -> u32 {
    let mut steps = 0;
    watch!("stairs", [steps], {
        steps += inner(floor, end);
    });
    steps
}

#[inline(never)]
#[instrument]
fn inner(floor: &str, end: &str) -> u32 {
    if floor == "first" {
        return 1;
    }
    match end {
        "panic" => panic!("the stairs end here"),
        "trap" => trap(),
        "spin" => loop {
            black_box(end);
        },
        _ => 2,
    }
}

#[cfg(target_family = "wasm")]
fn trap() -> u32 {
    core::arch::wasm32::unreachable()
}

#[cfg(not(target_family = "wasm"))]
fn trap() -> u32 {
    std::process::abort()
}
