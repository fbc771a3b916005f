//! Breaks the sandbox's rules, one way for each event.
#![allow(unsafe_code, reason = "safe code cannot break these rules")]

use std::hint::black_box;

use glasshouse_sdk::extension;

/// The extension.
#[derive(Default)]
pub struct Traps {
    calls: u64,
}

#[extension]
impl Traps {
    /// Executes `unreachable`, without a panic before it.
    #[event]
    fn unreachable(&mut self) {
        #[cfg(target_family = "wasm")]
        core::arch::wasm32::unreachable();
    }

    /// Reads far outside of its memory.
    #[event("out-of-bounds")]
    fn out_of_bounds(&mut self) -> u8 {
        let far = black_box(0xffff_0000_usize) as *const u8;
        // SAFETY: none; it is the sandbox that must stop it.
        unsafe { far.read_volatile() }
    }

    /// Calls a function as one of another type.
    #[event("bad-call")]
    fn bad_call(&mut self) -> f64 {
        // SAFETY: none; it is the sandbox that must stop it.
        let disguised = unsafe { std::mem::transmute::<fn(u32) -> u32, fn(f64, f64) -> f64>(black_box(plain)) };
        black_box(disguised)(black_box(1.0), 2.0)
    }

    /// Hands the host text that is no text.
    #[event("not-utf8")]
    fn not_utf8(&mut self) {
        #[cfg(target_family = "wasm")]
        {
            use glasshouse_sdk::bindings::glasshouse::extension::debugging::{Level, log};
            // SAFETY: none; it is the sandbox that must stop it.
            let text = unsafe { std::str::from_utf8_unchecked(black_box(b"\xff\xfe")) };
            log(Level::Info, text, &[]);
        }
    }

    /// Counts the calls since the instance was made.
    #[event]
    fn count(&mut self) -> u64 {
        self.calls += 1;
        self.calls
    }
}

fn plain(number: u32) -> u32 {
    number + 1
}
