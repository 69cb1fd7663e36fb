//! Signals: who receives them and sending them. Installs no handler that does anything; never signals a pid of 1 or below.

use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use libc::{c_int, sigset_t};
use nix::errno::Errno;
use nix::sys::time::TimeSpec;

use crate::base::{Pid, Signal};

/// The highest signal number; the kernel's set of them has as many bits.
const SIGNAL_MAX: c_int = 64;

/// Left alone by [`block_all`]: faults of our own code, which the kernel delivers whatever the mask says, and ^Z.
const NEVER_BLOCKED: [c_int; 8] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGABRT,
    libc::SIGSYS,
    libc::SIGTSTP,
];

/// Blocks every signal that can be caught, in the calling thread and the threads that it will start. The mask outlives an
/// exec, so that a signal in that moment waits for the new image instead of killing it.
pub fn block_all() {
    change_mask(libc::SIG_BLOCK, &all_that_can_be_blocked());
}

fn all_that_can_be_blocked() -> sigset_t {
    let mut set = full_set();
    for number in NEVER_BLOCKED {
        // SAFETY: the set is initialised, and the number is a valid signal.
        unsafe { libc::sigdelset(&mut set, number) };
    }
    set
}

/// Blocks this one in the calling thread alone.
pub(super) fn block(number: c_int) {
    change_mask(libc::SIG_BLOCK, &set_of([number]));
}

/// The mask of [`block_all`] without this one, for a call that shall be interrupted by it.
pub(super) fn mask_without(number: c_int) -> sigset_t {
    let mut set = all_that_can_be_blocked();
    // SAFETY: the set is initialised, and the caller names a signal that there is.
    unsafe { libc::sigdelset(&mut set, number) };
    set
}

/// Has this signal interrupt the call that waits when it comes, and do nothing else.
pub(super) fn let_interrupt(number: c_int) {
    extern "C" fn nothing(_: c_int) {}
    set_disposition(number, nothing as extern "C" fn(c_int) as libc::sighandler_t);
}

/// rt_sigtimedwait(2): takes one of these signals, which the calling thread blocks. Without a timeout it waits until there is one.
/// None: none came, or another signal interrupted the call.
pub(super) fn take(wanted: impl IntoIterator<Item = c_int>, timeout: Option<Duration>) -> Option<c_int> {
    let wanted = set_of(wanted);
    let timeout = timeout.map(TimeSpec::from_duration);
    let timeout = timeout.as_ref().map_or(ptr::null(), |timeout| ptr::from_ref(timeout.as_ref()));
    // SAFETY: both point to initialised values that outlive the call, or the timeout to nothing; the siginfo is not asked for.
    let number = unsafe { libc::sigtimedwait(&wanted, ptr::null_mut(), timeout) };
    (number > 0).then_some(number)
}

/// Empties the calling thread's mask. Async-signal-safe: the child of a fork calls it before its exec.
pub(super) fn unblock_all() {
    change_mask(libc::SIG_SETMASK, &empty_set());
}

/// What the C library keeps to itself: it lets nobody block them or say what they do, and by default they kill.
const OF_THE_LIBRARY: [c_int; 2] = [32, 33];

/// Undoes what a starter may have done: with SIGCHLD ignored, children vanish unseen; and SIGPIPE must not kill a master
/// whose log reader is gone. Nor shall those two that [`block_all`] cannot reach.
pub fn prepare_dispositions() {
    set_disposition(libc::SIGCHLD, libc::SIG_DFL);
    set_disposition(libc::SIGPIPE, libc::SIG_IGN);
    for number in OF_THE_LIBRARY {
        set_kernel_disposition(number, libc::SIG_IGN);
    }
    // See `keep_memory_faults_from_the_runtime`.
    for number in MEMORY_FAULTS {
        if disposition(number) == libc::SIG_IGN {
            set_disposition(number, libc::SIG_DFL);
        }
    }
}

/// Sets all dispositions to the default. Async-signal-safe: the child of a fork calls it before its exec.
pub(super) fn reset_dispositions() {
    for number in 1..=SIGNAL_MAX {
        // The kernel refuses KILL and STOP.
        set_kernel_disposition(number, libc::SIG_DFL);
    }
}

/// What a signal did before somebody changed it.
pub(super) struct Disposition {
    number: c_int,
    action: libc::sigaction,
}

/// What the kernel says of a stack that has run over.
const MEMORY_FAULTS: [c_int; 2] = [libc::SIGSEGV, libc::SIGBUS];

/// To be run before Rust's runtime starts. The runtime catches SIGSEGV and SIGBUS, if it finds the default, to report a stack
/// overflow; for that it gives each thread a second stack, and aborts the process when there is no memory for one. So it finds them
/// ignored, until [`prepare_dispositions`] sets the default. A fault kills a process that ignores its signal, too.
pub extern "C" fn keep_memory_faults_from_the_runtime() {
    for number in MEMORY_FAULTS {
        set_disposition(number, libc::SIG_IGN);
    }
}

impl Disposition {
    /// Lets SIGPIPE end a program again, as programs expect it at their birth; an ignored signal stays ignored over an exec.
    pub(super) fn exchange_sigpipe_for_the_default() -> Self {
        let action = exchange_disposition(libc::SIGPIPE, &plain_action(libc::SIG_DFL));
        Self { number: libc::SIGPIPE, action }
    }

    /// Makes it so again.
    pub(super) fn restore(&self) {
        exchange_disposition(self.number, &self.action);
    }
}

/// kill(2) to one process. ESRCH is normal for one that has just ended.
pub fn send(pid: Pid, signal: Signal) -> Result<(), Errno> {
    assert!(pid.0 > 1, "a signal to pid {pid} would reach strangers");
    kill(pid.0, signal)
}

/// kill(2) to every process of a group.
pub fn send_group(pgid: Pid, signal: Signal) -> Result<(), Errno> {
    assert!(pgid.0 > 1, "a signal to group {pgid} would reach strangers");
    kill(-pgid.0, signal)
}

/// tgkill(2) to a thread of this process. That there is none of this number is no error: it has ended.
pub(super) fn send_to_thread(thread: c_int, number: c_int) {
    // SAFETY: no memory is passed, and no thread of another process is reached.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, number) };
}

fn kill(target: c_int, signal: Signal) -> Result<(), Errno> {
    // SAFETY: no memory is passed; the callers keep the target from meaning everybody.
    Errno::result(unsafe { libc::kill(target, signal.number()) }).map(drop)
}

fn set_disposition(number: c_int, disposition: libc::sighandler_t) {
    exchange_disposition(number, &plain_action(disposition));
}

/// What it is now.
fn disposition(number: c_int) -> libc::sighandler_t {
    let mut now = plain_action(libc::SIG_DFL);
    // SAFETY: no new action is given; the one that there is is written where there is room for it.
    unsafe { libc::sigaction(number, ptr::null(), &mut now) };
    now.sa_sigaction
}

/// No flags, an empty mask.
fn plain_action(disposition: libc::sighandler_t) -> libc::sigaction {
    // SAFETY: all-zero is a valid sigaction: no flags, an empty mask, SIG_DFL.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = disposition;
    action
}

/// Returns what was there before.
fn exchange_disposition(number: c_int, action: &libc::sigaction) -> libc::sigaction {
    let mut old = plain_action(libc::SIG_DFL);
    // SAFETY: the action has no handler, or one that was there before; the old one is written where there is room for it.
    unsafe { libc::sigaction(number, action, &mut old) };
    old
}

/// Past the C library, to reach what it keeps to itself. Async-signal-safe.
fn set_kernel_disposition(number: c_int, disposition: libc::sighandler_t) {
    // The kernel's sigaction begins with the handler; no flags and an empty mask follow.
    let action: [libc::sighandler_t; 16] = std::array::from_fn(|word| if word == 0 { disposition } else { 0 });
    let number = libc::c_long::from(number);
    // SAFETY: the kernel reads one of its sigactions, which is shorter than this on every architecture, and which is valid:
    // neither disposition is a handler of ours. The old one is not asked for.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, number, action.as_ptr(), ptr::null::<u64>(), size_of::<u64>()) };
}

fn change_mask(how: c_int, set: &sigset_t) {
    // SAFETY: the set is initialised, and the old mask is not asked for.
    let result = unsafe { libc::pthread_sigmask(how, set, ptr::null_mut()) };
    // EINVAL for an unknown `how` is its only error.
    debug_assert_eq!(result, 0);
}

fn set_of(numbers: impl IntoIterator<Item = c_int>) -> sigset_t {
    let mut set = empty_set();
    for number in numbers {
        // SAFETY: the set is initialised; a number that is no signal's is refused, without consequence.
        unsafe { libc::sigaddset(&mut set, number) };
    }
    set
}

fn empty_set() -> sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset writes the whole set.
    unsafe { libc::sigemptyset(set.as_mut_ptr()) };
    // SAFETY: written just above.
    unsafe { set.assume_init() }
}

fn full_set() -> sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigfillset writes the whole set.
    unsafe { libc::sigfillset(set.as_mut_ptr()) };
    // SAFETY: written just above.
    unsafe { set.assume_init() }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::sys::testing::in_own_process;

    /// A mask of this thread as the kernel shows it; signal n is bit n-1.
    fn mask(field: &str) -> u64 {
        let status = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
    }

    fn bit(number: c_int) -> u64 {
        1 << (number - 1)
    }

    #[test]
    fn all_but_faults_and_stops_are_blocked() {
        in_own_process(module_path!(), "all_but_faults_and_stops_are_blocked", || {
            block_all();
            let blocked = mask("SigBlk");
            for number in [libc::SIGHUP, libc::SIGTERM, libc::SIGCHLD, libc::SIGTTOU, libc::SIGPIPE, 34, 64] {
                assert_ne!(blocked & bit(number), 0, "{number} is not blocked");
            }
            for number in NEVER_BLOCKED {
                assert_eq!(blocked & bit(number), 0, "{number} is blocked");
            }
            unblock_all();
            assert_eq!(mask("SigBlk"), 0);
        });
    }

    #[test]
    fn dispositions_of_the_starter_are_undone() {
        in_own_process(module_path!(), "dispositions_of_the_starter_are_undone", || {
            set_disposition(libc::SIGCHLD, libc::SIG_IGN);
            set_disposition(libc::SIGPIPE, libc::SIG_DFL);
            prepare_dispositions();
            let ignored = mask("SigIgn");
            assert_eq!(ignored & bit(libc::SIGCHLD), 0);
            for number in [libc::SIGPIPE, 32, 33] {
                assert_ne!(ignored & bit(number), 0, "{number} is not ignored");
            }
        });
    }

    #[test]
    #[should_panic(expected = "would reach strangers")]
    fn pid_1_is_never_signalled() {
        let _ = send(Pid(1), Signal::CONT);
    }

    #[test]
    #[should_panic(expected = "would reach strangers")]
    fn the_own_group_is_never_signalled() {
        let _ = send_group(Pid(0), Signal::CONT);
    }
}
