//! What a signal would do to another process, as /proc shows it. It looks only; what it finds may be outdated.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::{Pid, Signal};
use crate::sys::directory;

/// What becomes of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// There is a handler, or every thread blocks it and it is read from a signalfd(2).
    Handled,
    /// Neither handled nor ignored: the kernel does what is written in signal(7). Where /proc does not show it, and while a thread waits
    /// for the signal in sigwait(3), too: the kernel shows it as not blocked then.
    Default,
    /// It is ignored, or blocked by every thread and read by none.
    Never,
}

/// What this process would do with this signal.
pub fn hearing(pid: Pid, signal: Signal) -> Hearing {
    let process = PathBuf::from(format!("/proc/{pid}"));
    if has(&process, "SigCgt", signal) {
        return Hearing::Handled;
    }
    if has(&process, "SigIgn", signal) {
        return Hearing::Never;
    }
    match (is_blocked(&process, signal), reads_signals(&process)) {
        (false, _) => Hearing::Default,
        (true, true) => Hearing::Handled,
        (true, false) => Hearing::Never,
    }
}

/// Whether a signal that was sent to this process is not waiting for it any more. No, if it ignores the signal.
pub fn has_taken(pid: Pid, signal: Signal) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    !has(&process, "SigIgn", signal) && !has(&process, "ShdPnd", signal)
}

/// By every thread.
fn is_blocked(process: &Path, signal: Signal) -> bool {
    let tasks = process.join("task");
    let threads = directory::names(&tasks).unwrap_or_default();
    !threads.is_empty() && threads.iter().all(|thread| has(&tasks.join(thread), "SigBlk", signal))
}

fn reads_signals(process: &Path) -> bool {
    let descriptors = process.join("fd");
    let names = directory::names(&descriptors).unwrap_or_default();
    let mut open = names.iter().filter_map(|name| fs::read_link(descriptors.join(name)).ok());
    open.any(|file| file.as_os_str() == "anon_inode:[signalfd]")
}

/// Whether the set of this name in the status of a process or thread has the signal; signal 1 is its lowest bit.
fn has(directory: &Path, name: &str, signal: Signal) -> bool {
    let status = fs::read_to_string(directory.join("status")).unwrap_or_default();
    let set = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let set = set.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).unwrap_or_default();
    set >> (signal.number() - 1) & 1 == 1
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    use super::*;
    use crate::sys::testing::{LIMIT, wait_until};

    /// Of what says by a line that it is ready, and ends with its input.
    fn of(program: &[&str]) -> Hearing {
        let mut command = Command::new(program[0]);
        let mut child = command.args(&program[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let pid = Pid(i32::try_from(child.id()).unwrap());
        let hearing = hearing(pid, Signal::USR1);
        if hearing != Hearing::Default {
            crate::sys::signal::send(pid, Signal::USR1).unwrap();
        }
        // What has no handler stays where it is; what is ignored is gone at once.
        let is_taken = || has_taken(pid, Signal::USR1);
        match hearing {
            Hearing::Never => assert!(!is_taken()),
            Hearing::Default => {}
            Hearing::Handled => assert!(wait_until(LIMIT, || is_taken() || program[0] == "python3")),
        }
        child.kill().unwrap();
        child.wait().unwrap();
        hearing
    }

    #[test]
    fn a_process_hears_what_it_handles_or_leaves_to_the_kernel() {
        let shell = |script| of(&["sh", "-c", script]);
        assert_eq!(shell("trap : USR1; echo; read x"), Hearing::Handled);
        assert_eq!(shell("echo; read x"), Hearing::Default);
        assert_eq!(shell("trap '' USR1; echo; read x"), Hearing::Never);
        assert_eq!(hearing(Pid(i32::MAX), Signal::USR1), Hearing::Default);
    }

    #[test]
    fn a_signal_that_is_blocked_is_heard_by_a_signalfd_alone() {
        let blocks = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])";
        let reads = "import ctypes; ctypes.CDLL(None).signalfd(-1, (ctypes.c_ulong * 16)(1 << 9), 0)";
        let python = |script: &str| of(&["python3", "-c", &format!("{script}; print(flush=True); input()")]);
        assert_eq!(python(blocks), Hearing::Never);
        assert_eq!(python(&format!("{blocks}; {reads}")), Hearing::Handled);
    }
}
