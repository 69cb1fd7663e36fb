//! Signals: who receives them and sending them. Installs no handler that does anything; never signals a pid of 1 or below.

use std::mem::MaybeUninit;
use std::ptr;
use std::time::Duration;

use libc::c_int;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal as Named, sigaction};
use nix::sys::time::TimeSpec;

use crate::base::{Pid, Signal};

/// The highest signal number.
const SIGNAL_MAX: c_int = 64;

/// Left alone by [`block_all`]: faults of our own code, which the kernel delivers whatever the mask says, and ^Z.
const NEVER_BLOCKED: [Named; 8] = [
    Named::SIGSEGV,
    Named::SIGBUS,
    Named::SIGFPE,
    Named::SIGILL,
    Named::SIGTRAP,
    Named::SIGABRT,
    Named::SIGSYS,
    Named::SIGTSTP,
];

/// The C library keeps these two to itself: they cannot be blocked or caught by its functions, and kill by default.
const OF_THE_LIBRARY: [c_int; 2] = [32, 33];

/// What the kernel says of a stack that has run over.
const MEMORY_FAULTS: [Named; 2] = [Named::SIGSEGV, Named::SIGBUS];

/// Blocks every signal that can be caught, in the calling thread and the threads that it will start. The mask outlives an
/// exec, so that a signal in that moment waits for the new image instead of killing it.
pub fn block_all() {
    // EINVAL, for what is no mask, is the only error of this and the other changes of a mask.
    let _ = all_that_can_be_blocked().thread_block();
}

fn all_that_can_be_blocked() -> SigSet {
    let mut set = SigSet::all();
    NEVER_BLOCKED.into_iter().for_each(|signal| set.remove(signal));
    set
}

/// Blocks this one in the calling thread alone.
pub(super) fn block(signal: Named) {
    let _ = SigSet::from_iter([signal]).thread_block();
}

/// The mask of [`block_all`] without this one, for a call that shall be interrupted by it.
pub(super) fn mask_without(signal: Named) -> SigSet {
    let mut set = all_that_can_be_blocked();
    set.remove(signal);
    set
}

/// Has this signal interrupt the call that waits when it comes, and do nothing else.
pub(super) fn let_interrupt(signal: Named) {
    extern "C" fn nothing(_: c_int) {}
    set_disposition(signal, SigHandler::Handler(nothing));
}

/// A signal that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub signal: Signal,
    pub sender: Sender,
}

/// Where a signal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// It may be gone.
    Process(Pid),
    /// A process that has no number here, such as one outside of this container.
    Unnumbered,
    /// The kernel: a key was pressed at the terminal, or a process of the same group has used the terminal from the background.
    Kernel,
}

/// rt_sigtimedwait(2): takes one of these signals, which the calling thread blocks. Without a timeout it waits until there is one.
/// None: none came, or another signal interrupted the call. Real-time signals are not taken.
pub(super) fn take(wanted: impl IntoIterator<Item = c_int>, timeout: Option<Duration>) -> Option<Received> {
    let wanted: SigSet = wanted.into_iter().filter_map(|number| Named::try_from(number).ok()).collect();
    let timeout = timeout.map(TimeSpec::from_duration);
    let timeout = timeout.as_ref().map_or(ptr::null(), |timeout| ptr::from_ref(timeout.as_ref()));
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: the set and the timeout point to initialised values that outlive the call, or the timeout to nothing; the kernel writes
    // one siginfo.
    let number = unsafe { libc::sigtimedwait(wanted.as_ref(), info.as_mut_ptr(), timeout) };
    // SAFETY: a siginfo is plain data, for which all zeros will do.
    let info = unsafe { info.assume_init() };
    let is_sent = [libc::SI_USER, libc::SI_QUEUE, libc::SI_TKILL].contains(&info.si_code);
    // SAFETY: signals that a process sends have the number of that process.
    let sender = match is_sent.then(|| unsafe { info.si_pid() }) {
        Some(pid) if pid > 0 => Sender::Process(Pid(pid)),
        Some(_) => Sender::Unnumbered,
        None => Sender::Kernel,
    };
    Signal::from_number(number).map(|signal| Received { signal, sender })
}

/// Empties the calling thread's mask. Async-signal-safe: the child of a fork calls it before its exec.
pub(super) fn unblock_all() {
    let _ = SigSet::empty().thread_set_mask();
}

/// Undoes what a starter may have done: with SIGCHLD ignored, children vanish unseen; and SIGPIPE must not kill a master
/// whose log reader is gone. Nor shall those two that [`block_all`] cannot reach.
pub fn prepare_dispositions() {
    set_disposition(Named::SIGCHLD, SigHandler::SigDfl);
    set_disposition(Named::SIGPIPE, SigHandler::SigIgn);
    for number in OF_THE_LIBRARY {
        set_kernel_disposition(number, libc::SIG_IGN);
    }
    for signal in MEMORY_FAULTS {
        let before = Disposition::exchange(signal, SigHandler::SigDfl);
        if !matches!(before.action.handler(), SigHandler::SigIgn) {
            before.restore();
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

/// To be run before Rust's runtime starts. The runtime catches SIGSEGV and SIGBUS, if it finds the default, to report a stack
/// overflow; for that it gives each thread a second stack, and aborts the process when there is no memory for one. So it finds them
/// ignored, until [`prepare_dispositions`] sets the default. A fault kills a process that ignores its signal, too.
pub extern "C" fn keep_memory_faults_from_the_runtime() {
    for signal in MEMORY_FAULTS {
        set_disposition(signal, SigHandler::SigIgn);
    }
}

/// What a signal did before it was changed.
pub(super) struct Disposition {
    signal: Named,
    action: SigAction,
}

impl Disposition {
    /// Lets SIGPIPE end a program again, as programs expect it at their birth; an ignored signal stays ignored over an exec.
    pub(super) fn exchange_sigpipe_for_the_default() -> Self {
        Self::exchange(Named::SIGPIPE, SigHandler::SigDfl)
    }

    fn exchange(signal: Named, handler: SigHandler) -> Self {
        Self { signal, action: set_disposition(signal, handler) }
    }

    /// Makes it so again.
    pub(super) fn restore(&self) {
        exchange_action(self.signal, &self.action);
    }
}

/// kill(2) to one process.
///
/// # Errors
/// ESRCH is normal for one that has just ended; EPERM, for one that is not ours to signal.
pub fn send(pid: Pid, signal: Signal) -> Result<(), Errno> {
    assert!(pid.0 > 1, "a signal to pid {pid} would reach strangers");
    kill(pid.0, signal)
}

/// Whether there is a process of this number that [`send`] would reach, a zombie too.
pub fn may_send(pid: Pid) -> bool {
    assert!(pid.0 > 1, "pid {pid} is a stranger");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.0), None).is_ok()
}

/// kill(2) to every process of a group.
///
/// # Errors
/// As [`send`].
pub fn send_group(pgid: Pid, signal: Signal) -> Result<(), Errno> {
    assert!(pgid.0 > 1, "a signal to group {pgid} would reach strangers");
    kill(-pgid.0, signal)
}

/// tgkill(2) to a thread of this process. That there is none of this number is no error: it has ended.
pub(super) fn send_to_thread(thread: c_int, signal: Named) {
    // SAFETY: no memory is passed, and no thread of another process is reached.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), thread, signal as c_int) };
}

fn kill(target: c_int, signal: Signal) -> Result<(), Errno> {
    // SAFETY: no memory is passed; the callers keep the target from meaning every process.
    Errno::result(unsafe { libc::kill(target, signal.number()) }).map(drop)
}

/// With no flags and an empty mask. Returns what was there before.
fn set_disposition(signal: Named, handler: SigHandler) -> SigAction {
    exchange_action(signal, &SigAction::new(handler, SaFlags::empty(), SigSet::empty()))
}

fn exchange_action(signal: Named, action: &SigAction) -> SigAction {
    // SAFETY: the action has no handler, one that does nothing, or one that was there before.
    let before = unsafe { sigaction(signal, action) };
    // EINVAL is its only error, for KILL, STOP and what is no signal.
    before.unwrap_or(*action)
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
                assert_eq!(blocked & bit(number as c_int), 0, "{number} is blocked");
            }
            unblock_all();
            assert_eq!(mask("SigBlk"), 0);
        });
    }

    #[test]
    fn dispositions_of_the_starter_are_undone() {
        in_own_process(module_path!(), "dispositions_of_the_starter_are_undone", || {
            set_disposition(Named::SIGCHLD, SigHandler::SigIgn);
            set_disposition(Named::SIGPIPE, SigHandler::SigDfl);
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
