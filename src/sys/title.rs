//! The title by which ps(1) shows the process: its arguments, overwritten in place. The name of the program's file stays,
//! by which killall(1) and pidof(8) know it. Never changes the environment that std::env, C and children see; where there
//! is no /proc, nothing.

use std::env;
use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use libc::c_char;

use crate::sys::prepared_exec::{assignment, c_string};
use crate::sys::procfs::field;

/// Stands in the last byte of the arguments when the title ends before it. Any byte but NUL tells the kernel to show the
/// memory up to the first NUL, instead of the NULs up to the end too.
const OVERWRITTEN: u8 = b'.';

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// The memory in which the kernel finds the arguments. It cannot go to another thread: the first one shall set the title.
#[derive(Debug)]
pub struct Title {
    start: *mut u8,
    /// Where the arguments ended, counted from `start`.
    argv_len: usize,
    /// Where the environment ended that lay behind them.
    room: usize,
}

impl Title {
    /// Makes room for a title, by moving the environment elsewhere. To be called by the only thread, when std::env::args
    /// has been read: later there is the title in it. (So it is in /proc/PID/environ.) None without /proc.
    pub fn prepare() -> Option<Self> {
        let stat = fs::read("/proc/self/stat").ok()?;
        let memory = Memory::read(&String::from_utf8_lossy(&stat))?;
        assert_eq!(memory.threads, 1, "another thread may be reading the environment");
        move_environment();
        let start = ptr::with_exposed_provenance_mut(memory.start);
        Some(Self { start, argv_len: memory.argv_len, room: memory.room })
    }

    /// Shows this title, or as much of it as there is room for (a NUL would end it, too). The kernel shows 4 KiB at most.
    pub fn set(&mut self, title: &OsStr) {
        let shown = title.as_bytes().split(|byte| *byte == 0).next().unwrap_or_default();
        self.overwrite(cut(shown, self.room - 1));
    }

    /// A process that looks at that moment may see half of it.
    fn overwrite(&mut self, title: &[u8]) {
        assert!(title.len() < self.room, "a title of {} bytes has no room", title.len());
        // SAFETY: the kernel put arguments and environment there, on the stack of the first thread, which lives as long as
        // the process. `prepare` has moved the environment, and reading the arguments now is only useless.
        unsafe { ptr::write_bytes(self.start, 0, self.room) };
        // SAFETY: as above; the title is shorter than the room, and no safe code can have borrowed it from there.
        unsafe { ptr::copy_nonoverlapping(title.as_ptr(), self.start, title.len()) };
        if title.len() + 1 < self.argv_len {
            // SAFETY: as above; `argv_len` is not 0, and no more than the room.
            let last = unsafe { self.start.add(self.argv_len - 1) };
            // SAFETY: as above. Should this be the last byte of all, then the program's path comes behind it, which the
            // kernel has put there with a NUL, so that a reader of the last argument finds an end.
            unsafe { last.write(OVERWRITTEN) };
        }
    }
}

/// Sets the name of the calling thread; that of the first thread is the process's, /proc/PID/comm. The kernel shows 15 bytes.
pub fn set_process_name(name: &OsStr) {
    let Ok(name) = c_string(name) else { return };
    // SAFETY: PR_SET_NAME reads a C string, of which it takes what there is room for.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

/// What /proc/self/stat says.
#[derive(Debug, PartialEq, Eq)]
struct Memory {
    threads: usize,
    start: usize,
    argv_len: usize,
    room: usize,
}

impl Memory {
    /// None for what is no memory: some sandboxes show zeros.
    fn read(stat: &str) -> Option<Self> {
        let field = |number| field(stat, number)?.parse::<usize>().ok();
        let (start, arg_end, env_start, env_end) = (field(48)?, field(49)?, field(50)?, field(51)?);
        let end = if env_start == arg_end { env_end.max(arg_end) } else { arg_end };
        let argv_len = arg_end.checked_sub(start).filter(|length| start > 0 && *length > 0)?;
        Some(Self { threads: field(20)?, start, argv_len, room: end - start })
    }
}

/// Copies the environment to the heap, for good, and lets C and std::env look there.
fn move_environment() {
    let copies = env::vars_os().filter_map(|(name, value)| assignment(&name, &value).ok());
    let moved: Vec<*mut c_char> = copies.map(CString::into_raw).chain([ptr::null_mut()]).collect();
    // SAFETY: there is one thread, as `prepare` has asserted; the array ends with a null pointer, and neither it nor its
    // strings are ever freed.
    unsafe { environ = Box::leak(moved.into_boxed_slice()).as_mut_ptr() };
}

/// At most so many bytes, and no half of a character: /proc/PID/stat would not be text any more.
fn cut(text: &[u8], max: usize) -> &[u8] {
    let continues = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let end = (0..=max).rev().find(|at| !continues(*at)).unwrap_or(0);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sys::testing::{in_own_process, on_first_thread};

    /// What others see.
    fn shown() -> String {
        fs::read_to_string("/proc/self/cmdline").unwrap()
    }

    fn children_environment() -> Vec<u8> {
        Command::new("env").output().unwrap().stdout
    }

    #[test]
    fn a_title_may_be_short_then_long_then_short_again() {
        on_first_thread(module_path!(), "a_title_may_be_short_then_long_then_short_again", || {
            let mut title = Title::prepare().unwrap();
            let before = (env::vars_os().collect::<Vec<_>>(), children_environment());
            let long = format!("einhorn: {}", "long ".repeat(title.argv_len / 5));
            let fitting = "x".repeat(title.argv_len - 1);
            for text in ["einhorn: web", &long, "einhorn", &fitting, &fitting[1..], "", "einhorn: web"] {
                title.set(OsStr::new(text));
                assert_eq!(shown(), format!("{text}\0"));
                assert_eq!((env::vars_os().collect::<Vec<_>>(), children_environment()), before);
            }
        });
    }

    #[test]
    fn ps_shows_the_title() {
        on_first_thread(module_path!(), "ps_shows_the_title", || {
            let name = fs::read_to_string("/proc/self/comm").unwrap();
            Title::prepare().unwrap().set(OsStr::new("einhorn: web (pool 3)"));
            let pid = std::process::id().to_string();
            let output = Command::new("ps").args(["-o", "args=", "-o", "comm=", "-p", &pid]).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(said, format!("einhorn: web (pool 3) {}", name.trim_end()));
        });
    }

    #[test]
    fn a_title_that_is_too_long_is_cut() {
        on_first_thread(module_path!(), "a_title_that_is_too_long_is_cut", || {
            let mut title = Title::prepare().unwrap();
            title.set(OsStr::new(&"y".repeat(title.room + 10)));
            assert_eq!(shown().trim_end_matches('\0'), "y".repeat((title.room - 1).min(4096)));
            title.set(OsStr::new("before\0behind"));
            assert_eq!(shown(), "before\0");
        });
    }

    #[test]
    fn the_environment_can_still_be_changed() {
        on_first_thread(module_path!(), "the_environment_can_still_be_changed", || {
            // SAFETY: there is one thread.
            unsafe { env::set_var("EINHORN_BEFORE", "1") };
            let mut title = Title::prepare().unwrap();
            title.set(OsStr::new(&"z".repeat(title.room)));
            // SAFETY: as above.
            unsafe { env::set_var("EINHORN_AFTER", "2") };
            // SAFETY: as above.
            unsafe { env::remove_var("EINHORN_BEFORE") };
            let environment = String::from_utf8(children_environment()).unwrap();
            assert!(environment.lines().any(|line| line == "EINHORN_AFTER=2"), "{environment}");
            assert!(!environment.contains("EINHORN_BEFORE") && environment.contains("PATH="), "{environment}");
        });
    }

    #[test]
    fn a_second_thread_is_our_mistake() {
        in_own_process(module_path!(), "a_second_thread_is_our_mistake", || {
            assert!(std::panic::catch_unwind(Title::prepare).is_err());
        });
    }

    #[test]
    fn memory_is_read_with_care() {
        let stat = |numbers: [usize; 4]| {
            let before = "0 ".repeat(16) + "1 " + &"0 ".repeat(27);
            format!("7 (a) b) S {before}{} {} {} {} 0", numbers[0], numbers[1], numbers[2], numbers[3])
        };
        let memory = |argv_len, room| Some(Memory { threads: 1, start: 1000, argv_len, room });
        assert_eq!(Memory::read(&stat([1000, 1030, 1030, 1100])), memory(30, 100));
        assert_eq!(Memory::read(&stat([1000, 1030, 1040, 1100])), memory(30, 30));
        assert_eq!(Memory::read(&stat([1000, 1030, 1030, 0])), memory(30, 30));
        for nothing in [[0, 0, 0, 0], [1000, 1000, 1000, 1100], [1000, 900, 900, 1100], [0, 10, 10, 20]] {
            assert_eq!(Memory::read(&stat(nothing)), None);
        }
        assert_eq!(Memory::read("7 (a) S 1 2"), None);
        assert_eq!(Memory::read(""), None);
    }

    #[test]
    fn no_half_of_a_character_is_left() {
        assert_eq!(cut("abc".as_bytes(), 5), b"abc");
        assert_eq!(cut("abc".as_bytes(), 2), b"ab");
        assert_eq!(cut("aü".as_bytes(), 2), b"a");
        assert_eq!(cut("aü".as_bytes(), 3), "aü".as_bytes());
        assert_eq!(cut("€".as_bytes(), 2), b"");
    }
}
