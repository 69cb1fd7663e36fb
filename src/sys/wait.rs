//! wait(2), the only place that calls it: looks at children without reaping them, and reaps one by its pid. Never reaps
//! a child that was not named, so that a pid which the pool still lists cannot go to a stranger.

use std::mem::MaybeUninit;

use libc::{c_int, id_t, idtype_t, siginfo_t};
use nix::errno::Errno;

use crate::base::{Ending, Pid, Signal};
use crate::sys::errno::retry;

/// A child and what has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    pub pid: Pid,
    pub change: ChildChange,
}

/// What wait(2) can tell of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildChange {
    Exited(Ending),
    Stopped(Signal),
    Continued,
}

const ANY_CHANGE: c_int = libc::WEXITED | libc::WSTOPPED | libc::WCONTINUED;

/// A child with news, if there is one, left as it is: the next look sees it again until [`reap`] or
/// [`consume_job_change`].
///
/// # Errors
/// ECHILD: there is no child at all.
pub fn peek() -> Result<Option<Child>, Errno> {
    wait_id(libc::P_ALL, 0, ANY_CHANGE | libc::WNOHANG | libc::WNOWAIT)
}

/// Whether there is any child at all, living or not.
pub fn any_child() -> bool {
    wait_id(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) != Err(Errno::ECHILD)
}

/// Whether this is a child of ours, living or not yet reaped.
pub fn is_child(pid: Pid) -> bool {
    wait_id(libc::P_PID, named(pid), libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) != Err(Errno::ECHILD)
}

/// How this child has ended, left as it is. None: it lives, or is no child of ours.
pub fn ending(pid: Pid) -> Option<Ending> {
    wait_id(libc::P_PID, named(pid), libc::WEXITED | libc::WNOHANG | libc::WNOWAIT).ok().and_then(ending_of)
}

/// Waits until some child has news, and leaves it as it is.
///
/// # Errors
/// ECHILD: there is no child at all.
pub fn watch() -> Result<Child, Errno> {
    loop {
        if let Some(child) = wait_id(libc::P_ALL, 0, ANY_CHANGE | libc::WNOWAIT)? {
            return Ok(child);
        }
    }
}

/// Reaps this child if it has ended; after that its pid may be any process's.
///
/// # Errors
/// ECHILD: it is no child of ours, or was reaped elsewhere.
pub fn reap(pid: Pid) -> Result<Option<Ending>, Errno> {
    wait_id(libc::P_PID, named(pid), libc::WEXITED | libc::WNOHANG).map(ending_of)
}

/// Reaps this child, which was sent KILL, and waits for its end.
///
/// # Errors
/// As [`reap`].
pub fn reap_killed(pid: Pid) -> Result<Option<Ending>, Errno> {
    wait_id(libc::P_PID, named(pid), libc::WEXITED).map(ending_of)
}

fn ending_of(found: Option<Child>) -> Option<Ending> {
    found.and_then(|child| match child.change {
        ChildChange::Exited(ending) => Some(ending),
        ChildChange::Stopped(_) | ChildChange::Continued => None,
    })
}

/// Takes note that this child was stopped or continued, so that [`watch`] does not tell it again.
///
/// # Errors
/// ECHILD: it is no child of ours.
pub fn consume_job_change(pid: Pid) -> Result<(), Errno> {
    wait_id(libc::P_PID, named(pid), libc::WSTOPPED | libc::WCONTINUED | libc::WNOHANG).map(drop)
}

/// Whether a child of ours, living or not yet reaped, is in this process group. A worker's own children count once they
/// are ours: after its death, in a master that is their subreaper.
pub fn group_lives(pgid: Pid) -> bool {
    wait_id(libc::P_PGID, named(pgid), libc::WEXITED | libc::WNOHANG | libc::WNOWAIT) != Err(Errno::ECHILD)
}

/// The process group of a process, if it lives or is not yet reaped.
pub fn process_group(pid: Pid) -> Option<Pid> {
    nix::unistd::getpgid(Some(nix::unistd::Pid::from_raw(pid.0))).ok().map(|pgid| Pid(pgid.as_raw()))
}

/// P_PID and P_PGID take 0 to mean ourselves, and no child has such a number.
fn named(pid: Pid) -> id_t {
    assert!(pid.0 > 1, "pid {pid} is no child");
    id_t::try_from(pid.0).unwrap_or(id_t::MAX)
}

fn wait_id(kind: idtype_t, id: id_t, options: c_int) -> Result<Option<Child>, Errno> {
    retry(|| {
        let mut info = MaybeUninit::<siginfo_t>::zeroed();
        // SAFETY: the kernel writes into `info`, which is large enough and lives on.
        let result = unsafe { libc::waitid(kind, id, info.as_mut_ptr(), options) };
        Errno::result(result)?;
        // SAFETY: a siginfo of zeroes is valid, and waitid has succeeded.
        Ok(decode(unsafe { info.assume_init_ref() }))
    })
}

/// None when nothing has happened, which waitid shows as a pid of 0.
fn decode(info: &siginfo_t) -> Option<Child> {
    // SAFETY: a siginfo of waitid has this field, or is all zeroes.
    let pid = unsafe { info.si_pid() };
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    (pid != 0).then(|| Child { pid: Pid(pid), change: change(info.si_code, status) })
}

fn change(code: c_int, status: c_int) -> ChildChange {
    match code {
        libc::CLD_EXITED => ChildChange::Exited(Ending::Code(status)),
        libc::CLD_KILLED | libc::CLD_DUMPED => ChildChange::Exited(killed_by(status)),
        // A tracer's stop has its event above the low byte. No stop is without a signal.
        libc::CLD_STOPPED | libc::CLD_TRAPPED => {
            Signal::from_number(status & 0x7f).map_or(ChildChange::Continued, ChildChange::Stopped)
        }
        // CLD_CONTINUED is the only other code of waitid(2).
        _ => ChildChange::Continued,
    }
}

/// The status is a signal's number then, and every number is a signal's that the kernel has.
fn killed_by(status: c_int) -> Ending {
    Ending::Signal(Signal::from_number(status).unwrap_or(Signal::KILL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::limits::set_child_subreaper;
    use crate::sys::signal::{send, send_group};
    use crate::sys::testing::{self, LIMIT, in_own_process, shell, wait_until};

    #[test]
    fn codes_and_signals_are_told_apart() {
        assert_eq!(testing::reap(shell("exit 7")), Ending::Code(7));
        assert_eq!(testing::reap(shell("kill -TERM $$")), Ending::Signal(Signal::TERM));
        let real_time = Signal::from_number(40).unwrap();
        assert_eq!(testing::reap(shell("kill -40 $$")), Ending::Signal(real_time));
    }

    #[test]
    fn a_child_is_reaped_once() {
        let pid = shell("exit 0");
        assert!(is_child(pid));
        testing::reap(pid);
        assert!(!is_child(pid));
        assert_eq!(reap(pid), Err(Errno::ECHILD));
        assert_eq!(consume_job_change(pid), Err(Errno::ECHILD));
    }

    #[test]
    fn looking_leaves_the_child_until_it_is_reaped() {
        in_own_process(module_path!(), "looking_leaves_the_child_until_it_is_reaped", || {
            assert_eq!(watch(), Err(Errno::ECHILD));
            assert_eq!(peek(), Err(Errno::ECHILD));
            let pid = shell("exit 3");
            let ended = Child { pid, change: ChildChange::Exited(Ending::Code(3)) };
            assert_eq!(watch(), Ok(ended));
            assert_eq!(watch(), Ok(ended));
            assert_eq!(peek(), Ok(Some(ended)));
            assert!(group_lives(pid));
            assert_eq!(reap(pid), Ok(Some(Ending::Code(3))));
            assert!(!group_lives(pid));
            assert_eq!(peek(), Err(Errno::ECHILD));
        });
    }

    #[test]
    fn a_stop_and_a_continue_are_told_once_each() {
        in_own_process(module_path!(), "a_stop_and_a_continue_are_told_once_each", || {
            let pid = shell("kill -STOP $$; sleep 600");
            let stopped = ChildChange::Stopped(Signal::from_number(libc::SIGSTOP).unwrap());
            assert_eq!(watch(), Ok(Child { pid, change: stopped }));
            assert_eq!(reap(pid), Ok(None));
            consume_job_change(pid).unwrap();
            assert_eq!(peek(), Ok(None));
            send(pid, Signal::CONT).unwrap();
            assert_eq!(watch(), Ok(Child { pid, change: ChildChange::Continued }));
            consume_job_change(pid).unwrap();
            send_group(pid, Signal::KILL).unwrap();
            assert_eq!(testing::reap(pid), Ending::Signal(Signal::KILL));
        });
    }

    #[test]
    fn a_group_lives_on_in_an_orphan_of_ours() {
        in_own_process(module_path!(), "a_group_lives_on_in_an_orphan_of_ours", || {
            set_child_subreaper().unwrap();
            let leader = shell("sleep 600 & exit 0");
            assert_eq!(process_group(leader), Some(leader));
            assert_eq!(testing::reap(leader), Ending::Code(0));
            assert!(group_lives(leader));
            send_group(leader, Signal::TERM).unwrap();
            let orphan = watch().unwrap();
            assert_eq!(orphan.change, ChildChange::Exited(Ending::Signal(Signal::TERM)));
            assert_eq!(process_group(orphan.pid), Some(leader));
            reap(orphan.pid).unwrap();
            assert!(wait_until(LIMIT, || !group_lives(leader)));
        });
    }
}
