//! What the process keeps of memory that was given back.
#![expect(unsafe_code, reason = "the allocator is set by functions of C; see `return_large_blocks`")]

/// Blocks of at least so many bytes are mapped one by one. What an extension passes in a call, and makes the host hold for a while, is
/// such a block where it is large; the telemetry of usual calls never is.
#[cfg(target_env = "gnu")]
const LARGE_BYTES: libc::c_int = 1 << 20;
/// Free bytes that an arena may have at its end.
#[cfg(target_env = "gnu")]
const KEPT_BYTES: libc::c_int = 4 << 20;

/// Has the allocator of this process return large blocks to the system when they are freed. It changes the whole process, so it is for
/// a program to call, first of all, and not for this library.
///
/// Otherwise the GNU C library learns from the largest block that was ever freed how large the blocks are that it should keep: guests that
/// pass 12 MiB at a time then leave up to 24 MiB in each of its arenas, of which there are eight a processor. Does nothing where
/// another C library is used.
pub fn return_large_blocks() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `mallopt` may be called at any time, and changes nothing of what is in use.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT_BYTES);
    }
}
