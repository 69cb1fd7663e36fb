//! The master's memory: the system's allocator, and a reserve of address space for the moment at which the system refuses more.
//! The first refusal gives the reserve back and tries again, so that the main loop hears of it while there is room to act. When that
//! is not enough, the process ends: it says so, and with an exit code of its own. Nothing here allocates or takes a lock.
//!
//! The reserve is mapped and never touched, so that it takes no memory: what RLIMIT_AS, RLIMIT_DATA and a strict overcommit count is
//! the mapping.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, Ordering};

use libc::{c_int, c_void};

use crate::sys::stderr;

/// Enough for what replaces the master by a fresh image, and for some turns of its loop.
const RESERVE_BYTES: usize = 16 * 1024 * 1024;

/// What a fresh image maps beside its reserve before it supervises: stacks of its threads, and its first heap.
const FRESH_IMAGE_BYTES: usize = 12 * 1024 * 1024;

const LAST_WORDS: &[u8] = b"einhyrningsins: no memory is left, and the reserve is used up; ending\n";

/// The mapping; null while it is given back.
static RESERVE: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());

/// A reserve is wanted, and is not there.
static SHORT: AtomicBool = AtomicBool::new(false);

/// The exit code for an end without memory. 0: the process wants no reserve, and aborts as any other.
static LAST_EXIT: AtomicI32 = AtomicI32::new(0);

/// The system's allocator with the reserve behind it.
#[derive(Clone, Copy, Debug)]
pub struct WithReserve;

// SAFETY: every block comes from `System` and goes back to it, with the layout that the caller gave.
unsafe impl GlobalAlloc for WithReserve {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's layout, under the same conditions.
        or_from_reserve(|| unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        or_from_reserve(|| unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above; the block is `System`'s, and stays as it was when this fails.
        or_from_reserve(|| unsafe { System.realloc(block, layout, size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is `System`'s, as the caller says.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Wants a reserve from now on, and ends with this code when even that is used up. Where there is no room for one,
/// [`is_short`] says so.
pub fn keep_reserve(exit_code: u8) {
    LAST_EXIT.store(exit_code.into(), Ordering::Relaxed);
    SHORT.store(true, Ordering::Relaxed);
    replenish();
}

/// Whether memory was refused, and the reserve has not been filled up since.
pub fn is_short() -> bool {
    SHORT.load(Ordering::Relaxed)
}

/// Tries to have the reserve again. Says whether it is there.
pub fn replenish() -> bool {
    if !is_short() {
        return true;
    }
    let Some(mapping) = map(RESERVE_BYTES) else { return false };
    // Only the main thread fills it up.
    RESERVE.store(mapping, Ordering::Release);
    SHORT.store(false, Ordering::Release);
    true
}

/// Whether there would be room for a fresh image beside what this process has by now.
pub fn has_room_for_an_image() -> bool {
    let mapping = map(FRESH_IMAGE_BYTES);
    mapping.is_some_and(|mapping| unmap(mapping, FRESH_IMAGE_BYTES)) && replenish()
}

fn or_from_reserve(allocate: impl Fn() -> *mut u8) -> *mut u8 {
    let block = allocate();
    if block.is_null() { refused(&allocate) } else { block }
}

#[cold]
fn refused(allocate: &dyn Fn() -> *mut u8) -> *mut u8 {
    let code = LAST_EXIT.load(Ordering::Relaxed);
    if code == 0 {
        return ptr::null_mut();
    }
    SHORT.store(true, Ordering::Release);
    let mapping = RESERVE.swap(ptr::null_mut(), Ordering::AcqRel);
    if !mapping.is_null() {
        unmap(mapping, RESERVE_BYTES);
    }
    // Another thread may have given it back a moment ago.
    let block = allocate();
    if block.is_null() { end(code) } else { block }
}

/// Workers that are to go with the master (`-k`) are told by the kernel: it is their parent's death. Everything else stays as at any
/// other sudden end, and the next start finds it.
fn end(code: c_int) -> ! {
    if stderr::has_room() {
        // SAFETY: the bytes are readable for their whole length. Without a reader there is nothing to tell.
        unsafe { libc::write(libc::STDERR_FILENO, LAST_WORDS.as_ptr().cast(), LAST_WORDS.len()) };
    }
    // SAFETY: ends the process without running anything that could allocate.
    unsafe { libc::_exit(code) }
}

fn map(bytes: usize) -> Option<*mut c_void> {
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, which replaces none.
    let mapping = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    (mapping != libc::MAP_FAILED).then_some(mapping)
}

fn unmap(mapping: *mut c_void, bytes: usize) -> bool {
    // SAFETY: `map` has made it with this length, and nothing lies in it.
    unsafe { libc::munmap(mapping, bytes) == 0 }
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    use super::*;
    use crate::base::Ending;
    use crate::sys::testing::{fork_to_run, in_own_process, reap};

    const CODE: u8 = 77;
    const LARGE: usize = 8 << 20;

    /// Lets the process have so much more than now, at most.
    fn leave(resource: Resource, bytes: i64) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let field = if resource == Resource::RLIMIT_AS { "VmSize:" } else { "VmData:" };
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        let kib: i64 = line.trim().trim_end_matches(" kB").parse().unwrap();
        let (_, hard) = getrlimit(resource).unwrap();
        setrlimit(resource, u64::try_from(kib * 1024 + bytes).unwrap(), hard).unwrap();
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, 8).unwrap()
    }

    #[test]
    fn the_reserve_serves_the_first_refusal_and_is_filled_again() {
        in_own_process(module_path!(), "the_reserve_serves_the_first_refusal_and_is_filled_again", || {
            for resource in [Resource::RLIMIT_AS, Resource::RLIMIT_DATA] {
                let before = getrlimit(resource).unwrap();
                keep_reserve(CODE);
                assert!(!is_short() && has_room_for_an_image());
                leave(resource, 1 << 20);
                // Not by malloc(3), which may have got much more than it needs for a thread.
                let large = || map(LARGE).map_or(ptr::null_mut(), <*mut c_void>::cast);
                let block = or_from_reserve(large);
                assert!(!block.is_null() && is_short());
                assert!(!replenish() && is_short() && !has_room_for_an_image());
                assert!(unmap(block.cast(), LARGE) && replenish() && !is_short());
                setrlimit(resource, before.0, before.1).unwrap();
                let mapping = RESERVE.swap(ptr::null_mut(), Ordering::Relaxed);
                assert!(unmap(mapping, RESERVE_BYTES));
            }
        });
    }

    #[test]
    fn without_any_memory_the_process_ends_with_its_code() {
        in_own_process(module_path!(), "without_any_memory_the_process_ends_with_its_code", || {
            let pid = fork_to_run(|| {
                keep_reserve(CODE);
                leave(Resource::RLIMIT_AS, -(1 << 20));
                // SAFETY: the layout is not empty; there is no such block.
                unsafe { WithReserve.alloc(layout(64 << 20)) };
            });
            assert_eq!(reap(pid), Ending::Code(CODE.into()));
        });
    }

    #[test]
    fn a_process_that_wants_no_reserve_is_told_of_the_refusal() {
        in_own_process(module_path!(), "a_process_that_wants_no_reserve_is_told_of_the_refusal", || {
            leave(Resource::RLIMIT_AS, 1 << 20);
            // SAFETY: the layout is not empty; there is no such block.
            assert!(unsafe { WithReserve.alloc(layout(64 << 20)) }.is_null() && !is_short());
        });
    }
}
