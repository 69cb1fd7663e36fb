//! The tracer: a process of its own, this program once more, that attaches to a master by ptrace(2), counts the system calls of each of
//! its threads, and makes those fail that it was told to. strace(1) would count and fail the calls of the workers, too, and those
//! of each thread apart from the order in which they come.
//!
//! It says `attached` on standard output, then `hit` at the first fault, and at the end what it has counted. It lets go of everything
//! at SIGTERM, and must never leave anything stopped or half failed.

mod registers;
mod tracees;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Write, stdout};

use libc::c_long;
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls::{self, Manner};
use crate::fault::{At, Fault, Scope};
use crate::tracer::tracees::{AtExit, Tracee, Tracees};

/// The thread of calls that the dynamic linker and the language's runtime make before our first.
pub const LOADER: &str = "loader";

/// Threads before they have said their name.
const NAMELESS: &str = "new";

/// Traces until everything has ended or SIGTERM comes. `words`: the pid, the scope, and the fault, if there is one.
pub fn run(words: &[String]) {
    let pid = Pid::from_raw(words[0].parse().expect("a pid"));
    let scope = Scope::parse(&words[1]).expect("a scope");
    let fault = words.get(2).map(|text| Fault::parse(text).expect("a fault"));
    let heard: SigSet = [Signal::SIGCHLD, Signal::SIGTERM].into_iter().collect();
    heard.thread_block().expect("signals can be blocked");
    let _ = prctl::set_pdeathsig(Signal::SIGTERM);
    let mut tracer = Tracer { master: pid, scope, fault, images: 0, counts: BTreeMap::new(), hit: false };
    let mut tracees = Tracees::default();
    tracer.attach(&mut tracees);
    say("attached");
    let mut letting_go = false;
    loop {
        tracer.take_in_all(&mut tracees, letting_go);
        if tracees.is_empty() {
            break;
        }
        if heard.wait() == Ok(Signal::SIGTERM) && !letting_go {
            letting_go = true;
            tracees.interrupt_all();
        }
    }
    for ((thread, call), count) in &tracer.counts {
        say(&format!("count {thread} {call} {count}"));
    }
}

fn say(line: &str) {
    let _may_be_closed = writeln!(stdout(), "{line}").and_then(|()| stdout().flush());
}

struct Tracer {
    master: Pid,
    scope: Scope,
    fault: Option<Fault>,
    /// How often the master has become another program.
    images: u32,
    /// By thread and call.
    counts: BTreeMap<(String, String), u32>,
    hit: bool,
}

impl Tracer {
    /// Every thread that there is; the later ones come by themselves.
    fn attach(&mut self, tracees: &mut Tracees) {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC;
        loop {
            let fresh: Vec<Pid> = tasks(self.master).into_iter().filter(|task| !tracees.has(*task)).collect();
            if fresh.is_empty() {
                return;
            }
            for task in fresh {
                // It may have been seized with the thread that started it, or have ended.
                if ptrace::seize(task, options).is_ok() && ptrace::interrupt(task).is_ok() {
                    tracees.add(task, Tracee::thread(name(self.master, task)));
                } else if !tasks(self.master).contains(&task) {
                    continue;
                } else {
                    tracees.add(task, Tracee::thread(NAMELESS.to_owned()));
                }
            }
        }
    }

    fn take_in_all(&mut self, tracees: &mut Tracees, letting_go: bool) {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
        while let Ok(status) = waitpid(None, Some(flags)) {
            if status == WaitStatus::StillAlive {
                return;
            }
            self.take_in(status, tracees);
            let Some(pid) = status.pid().filter(|pid| tracees.has(*pid)) else { continue };
            let signal = match status {
                WaitStatus::Stopped(_, signal) => Some(signal),
                _ => None,
            };
            if letting_go && tracees.may_go(pid) {
                let _gone = ptrace::detach(pid, signal);
                tracees.remove(pid);
            } else {
                let _gone = ptrace::syscall(pid, signal);
            }
        }
    }

    /// Leaves the tracee stopped, unless it has let go of it.
    fn take_in(&mut self, status: WaitStatus, tracees: &mut Tracees) {
        match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => tracees.remove(pid),
            WaitStatus::PtraceSyscall(pid) => self.on_syscall(pid, tracees),
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_EXEC) => self.on_exec(pid, tracees),
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_STOP) if !tracees.has(pid) => self.meet(pid, tracees),
            WaitStatus::PtraceEvent(pid, _, libc::PTRACE_EVENT_STOP) => tracees.note_call(pid, registers::call(pid)),
            _ => {}
        }
    }

    /// A thread or a child of a process that we trace.
    fn meet(&self, pid: Pid, tracees: &mut Tracees) {
        if tgid(pid) == Some(self.master) {
            return tracees.add(pid, Tracee::thread(NAMELESS.to_owned()));
        }
        match self.scope {
            Scope::Child | Scope::Check if self.images == 0 => tracees.add(pid, Tracee::child()),
            Scope::Child | Scope::Check | Scope::Master { .. } => {
                let _gone = ptrace::detach(pid, None);
            }
        }
    }

    fn on_exec(&mut self, pid: Pid, tracees: &mut Tracees) {
        if pid == self.master {
            self.images += 1;
            // An exec ends all other threads.
            tracees.keep_only(pid);
            tracees.set_name(pid, LOADER.to_owned());
        } else if self.scope == Scope::Check {
            tracees.set_name(pid, LOADER.to_owned());
        } else {
            let _gone = ptrace::detach(pid, None);
            tracees.remove(pid);
        }
    }

    fn on_syscall(&mut self, pid: Pid, tracees: &mut Tracees) {
        let Ok(info) = ptrace::syscall_info(pid) else { return };
        let Some(tracee) = tracees.get_mut(pid) else { return };
        if info.op == libc::PTRACE_SYSCALL_INFO_ENTRY {
            let Ok((number, arguments)) = registers::call(pid) else { return };
            let number = if number == libc::SYS_restart_syscall { tracee.call } else { number };
            tracee.call = number;
            tracee.names_itself = number == libc::SYS_prctl && arguments[0] == libc::PR_SET_NAME;
            if tracee.name == LOADER && is_our_first(number, arguments) {
                tracee.name = if pid == self.master { "main".to_owned() } else { "check".to_owned() };
            }
            let waits = number != libc::SYS_futex || is_wait(arguments);
            self.count(pid, tracee, waits);
        } else {
            let _gone = match tracee.at_exit.take() {
                Some(AtExit::Fail(errno)) => registers::fail(pid, errno),
                Some(AtExit::Restore(argument)) => registers::restore_first_argument(pid, argument),
                None => Ok(()),
            };
            if std::mem::take(&mut tracee.names_itself) {
                tracee.name = name(self.master, pid);
            }
        }
    }

    fn count(&mut self, pid: Pid, tracee: &mut Tracee, waits: bool) {
        let in_scope = match self.scope {
            Scope::Master { images_later: 0 } => tracee.is_thread && self.images == 0,
            Scope::Master { images_later } => tracee.is_thread && self.images >= images_later,
            Scope::Child | Scope::Check => !tracee.is_thread,
        };
        if !in_scope || calls::INFALLIBLE.contains(&tracee.call) {
            return;
        }
        let Some(call) = calls::of_number(tracee.call) else {
            *self.counts.entry((tracee.name.clone(), format!("unknown:{}", tracee.call))).or_default() += 1;
            return;
        };
        if call.manner == Manner::Waits && !waits {
            return;
        }
        let count = self.counts.entry((tracee.name.clone(), call.name.to_owned())).or_default();
        *count += 1;
        let Some(fault) = &self.fault else { return };
        let strikes = match &fault.at {
            At::Always => fault.call == call.name && tracee.name != LOADER,
            At::Once { thread, number } => fault.call == call.name && *thread == tracee.name && number == count,
        };
        if strikes && strike(pid, tracee, call.manner, fault.errno).is_ok() && !std::mem::replace(&mut self.hit, true) {
            say("hit");
        }
    }
}

fn strike(pid: Pid, tracee: &mut Tracee, manner: Manner, errno: Errno) -> nix::Result<()> {
    tracee.at_exit = Some(match manner {
        Manner::MovesNothing => AtExit::Restore(registers::clear_first_argument(pid)?),
        Manner::Instead | Manner::Waits => {
            registers::skip(pid)?;
            AtExit::Fail(errno)
        }
        Manner::Besides => AtExit::Fail(errno),
    });
    Ok(())
}

/// The first thing that the master's own code calls: whether standard input is open.
fn is_our_first(number: c_long, arguments: [i32; 2]) -> bool {
    number == libc::SYS_fcntl && arguments[0] == 0 && arguments[1] == libc::F_GETFD
}

fn is_wait(arguments: [i32; 2]) -> bool {
    let operation = arguments[1] & 0x7f;
    operation == libc::FUTEX_WAIT || operation == libc::FUTEX_WAIT_BITSET
}

fn tasks(pid: Pid) -> Vec<Pid> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Pid::from_raw)).collect()
}

/// The name that a thread has given itself; the first thread has the program's.
fn name(master: Pid, thread: Pid) -> String {
    if master == thread {
        return "main".to_owned();
    }
    fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default().trim().to_owned()
}

fn tgid(pid: Pid) -> Option<Pid> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok().map(Pid::from_raw)
}
