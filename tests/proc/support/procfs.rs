//! What /proc says about a process. It reads anew at each call, and a process that is gone reads as empty, for in a
//! test one may go at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A process by its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Process(pub i32);

impl Process {
    pub fn this() -> Self {
        Self(nix::unistd::getpid().as_raw())
    }

    /// Every process that can be seen.
    pub fn all() -> Vec<Self> {
        let entries = fs::read_dir("/proc").unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Self)).collect()
    }

    /// The children, zombies too, in the order of their ids.
    pub fn children(self) -> Vec<Self> {
        let mut found: Vec<_> = Self::all().into_iter().filter(|process| process.parent() == Some(self)).collect();
        found.sort_unstable();
        found
    }

    /// All whose environment, as it was at their exec, speaks of this directory, and all that are in it: a master's title
    /// stands where its environment was.
    pub fn all_of_directory(directory: &Path) -> Vec<Self> {
        let needle = directory.as_os_str().as_encoded_bytes();
        let speaks = |process: &Self| process.bytes("environ").windows(needle.len()).any(|window| window == needle);
        let belongs =
            |process: &Self| process.directory().is_some_and(|cwd| cwd.starts_with(directory)) || speaks(process);
        Self::all().into_iter().filter(|process| *process != Self::this()).filter(belongs).collect()
    }

    /// The children of the first thread, zombies too, by one look: fast enough to be taken all the time.
    pub fn children_at_once(self) -> Vec<Self> {
        let pids = self.text(&format!("task/{self}/children"));
        pids.split_whitespace().filter_map(|pid| pid.parse().ok().map(Self)).collect()
    }

    /// Sends a signal; false when there is no such process.
    pub fn signal(self, signal: Signal) -> bool {
        kill(Pid::from_raw(self.0), signal).is_ok()
    }

    /// The bytes of `/proc/PID/NAME`.
    pub fn bytes(self, name: &str) -> Vec<u8> {
        fs::read(format!("/proc/{self}/{name}")).unwrap_or_default()
    }

    pub fn text(self, name: &str) -> String {
        String::from_utf8_lossy(&self.bytes(name)).into_owned()
    }

    /// A field of `/proc/PID/status`, for instance `SigBlk`.
    pub fn status(self, field: &str) -> Option<String> {
        let status = self.text("status");
        status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).map(|value| value.trim().to_owned())
    }

    fn number(self, field: &str) -> Option<i32> {
        self.status(field)?.split_whitespace().next()?.parse().ok()
    }

    /// `R`, `S`, `T`, `Z` and so on; nothing when it is gone.
    pub fn state(self) -> Option<char> {
        self.status("State")?.chars().next()
    }

    pub fn is_zombie(self) -> bool {
        self.state() == Some('Z')
    }

    /// There, and no zombie.
    pub fn is_alive(self) -> bool {
        self.state().is_some_and(|state| state != 'Z' && state != 'X')
    }

    /// Stopped by a signal in every one of its threads: the first may be some moments before the others.
    pub fn is_stopped(self) -> bool {
        self.all_threads_are('T')
    }

    /// Every one of its threads waits in a system call.
    pub fn is_waiting(self) -> bool {
        self.all_threads_are('S')
    }

    fn all_threads_are(self, wanted: char) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{self}/task")) else { return false };
        let names = threads.flatten().map(|thread| thread.file_name());
        let states: Vec<_> = names.map(|name| Self(name.to_string_lossy().parse().unwrap()).state()).collect();
        !states.is_empty() && states.iter().all(|state| *state == Some(wanted))
    }

    pub fn parent(self) -> Option<Self> {
        self.number("PPid").map(Self)
    }

    /// Its thread of this name, as something that can be traced.
    pub fn thread(self, name: &str) -> Option<Self> {
        let entries = fs::read_dir(format!("/proc/{self}/task")).ok()?.flatten();
        let mut threads = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok().map(Self));
        threads.find(|thread| self.text(&format!("task/{thread}/comm")).trim() == name)
    }

    /// The process group, as seen from the process's own namespace.
    pub fn group(self) -> Option<i32> {
        self.status("NSpgid")?.split_whitespace().last()?.parse().ok()
    }

    pub fn thread_count(self) -> Option<i32> {
        self.number("Threads")
    }

    pub fn blocked(self) -> SignalSet {
        self.signals("SigBlk")
    }

    pub fn ignored(self) -> SignalSet {
        self.signals("SigIgn")
    }

    pub fn caught(self) -> SignalSet {
        self.signals("SigCgt")
    }

    fn signals(self, field: &str) -> SignalSet {
        SignalSet(self.status(field).and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(0))
    }

    /// In octal, as `/proc` shows it: `0022`.
    pub fn umask(self) -> Option<String> {
        self.status("Umask")
    }

    pub fn nice(self) -> Option<i32> {
        self.stat_field(19)?.parse().ok()
    }

    /// User and system time so far, in clock ticks.
    pub fn cpu_ticks(self) -> Option<u64> {
        Some(self.stat_field(14)?.parse::<u64>().ok()? + self.stat_field(15)?.parse::<u64>().ok()?)
    }

    /// Memory of its own that is resident, in KiB: what it has allocated and touched.
    pub fn anonymous_kib(self) -> Option<i32> {
        self.number("RssAnon")
    }

    /// A field of `/proc/PID/stat` by its number in proc(5), which counts from 1; the name may hold blanks.
    fn stat_field(self, number: usize) -> Option<String> {
        let stat = self.text("stat");
        let (_, after_name) = stat.rsplit_once(')')?;
        after_name.split_whitespace().nth(number.checked_sub(3)?).map(str::to_owned)
    }

    pub fn command_line(self) -> Vec<String> {
        words(&self.bytes("cmdline"))
    }

    /// Whether it is a process of ours that holds the pipes of a master's workers.
    pub fn is_holder(self) -> bool {
        self.command_line().get(1).is_some_and(|word| word == "--holder")
    }

    pub fn is_relay(self) -> bool {
        self.command_line().get(1).is_some_and(|word| word == "--relay")
    }

    /// The environment as it was at exec, `NAME=VALUE` in its order, with all that stands there twice.
    pub fn assignments(self) -> Vec<String> {
        words(&self.bytes("environ"))
    }

    /// The environment as it was at exec; a variable that stands there twice keeps its last value.
    pub fn environ(self) -> BTreeMap<String, String> {
        let pairs = words(&self.bytes("environ"));
        pairs.iter().filter_map(|pair| pair.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    pub fn directory(self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{self}/cwd")).ok()
    }

    /// The program it runs, by its path.
    pub fn program(self) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{self}/exe")).ok()
    }

    /// Descriptor numbers and what they are open on.
    pub fn descriptors(self) -> BTreeMap<i32, String> {
        let Ok(entries) = fs::read_dir(format!("/proc/{self}/fd")) else { return BTreeMap::new() };
        let read = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        };
        entries.flatten().filter_map(read).collect()
    }

    /// Name of the limit -> soft and hard value, in the words of `/proc/PID/limits`.
    pub fn limits(self) -> BTreeMap<String, (String, String)> {
        let text = self.text("limits");
        let row = |line: &str| {
            let (name, values) = (line.get(..26)?.trim().to_owned(), line.get(26..)?);
            let mut values = values.split_whitespace().map(str::to_owned);
            Some((name, (values.next()?, values.next()?)))
        };
        text.lines().skip(1).filter_map(row).collect()
    }

    /// The TCP address that a `socket:[INODE]` listens on.
    pub fn socket_address(self, socket: &str) -> Option<SocketAddr> {
        let (v4, v6) = (self.text("net/tcp"), self.text("net/tcp6"));
        let mut rows = v4.lines().skip(1).chain(v6.lines().skip(1)).filter_map(|line| row(line, LISTENING));
        rows.find(|(_, inode)| inode == socket).map(|(address, _)| address)
    }

    /// The TCP addresses on which this process holds listening sockets.
    pub fn listening_on(self) -> BTreeSet<SocketAddr> {
        let open: BTreeSet<_> = self.descriptors().into_values().collect();
        let (v4, v6) = (self.text("net/tcp"), self.text("net/tcp6"));
        let rows = v4.lines().skip(1).chain(v6.lines().skip(1));
        let rows = rows.filter_map(|line| row(line, LISTENING));
        rows.filter(|(_, inode)| open.contains(inode)).map(|(address, _)| address).collect()
    }

    /// The far ends of the TCP connections that this process has accepted or made.
    pub fn peers(self) -> BTreeSet<SocketAddr> {
        let open: BTreeSet<_> = self.descriptors().into_values().collect();
        let (v4, v6) = (self.text("net/tcp"), self.text("net/tcp6"));
        let rows = v4.lines().skip(1).chain(v6.lines().skip(1)).filter_map(|line| row(line, CONNECTED));
        rows.filter(|(_, inode)| open.contains(inode)).map(|(address, _)| address).collect()
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A mask of signals as `/proc/PID/status` shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignalSet(pub u64);

impl SignalSet {
    pub const EMPTY: Self = Self(0);

    pub fn contains(self, signal: Signal) -> bool {
        self.0 & (1 << (signal as i32 - 1)) != 0
    }
}

impl fmt::Debug for SignalSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Signal::iterator().filter(|&signal| self.contains(signal))).finish()
    }
}

fn words(bytes: &[u8]) -> Vec<String> {
    let mut words: Vec<_> =
        bytes.split(|&byte| byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    // Each word ends with a NUL, so that there is one piece too many.
    words.pop();
    words
}

/// Rows of `/proc/net/tcp` by their state, and the field of such a row that matters: the near end, or the far one.
type Rows = (&'static [&'static str], usize);
const LISTENING: Rows = (&["0A"], 1);
/// Established, or ended by the far end alone.
const CONNECTED: Rows = (&["01", "08"], 2);

/// The address and `socket:[INODE]` of a row of `/proc/net/tcp`, if it is one of these.
fn row(line: &str, (states, field): Rows) -> Option<(SocketAddr, String)> {
    let fields: Vec<_> = line.split_whitespace().collect();
    let (address, port) = fields.get(field)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let words: Option<Vec<u32>> =
        address.as_bytes().chunks(8).map(|hex| u32::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()).collect();
    // Each word stands in the byte order of the machine.
    let bytes: Vec<u8> = words?.into_iter().flat_map(u32::to_ne_bytes).collect();
    let ip = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(four) => Ipv4Addr::from(four).into(),
        Err(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?).into(),
    };
    states.contains(fields.get(3)?).then(|| (SocketAddr::new(ip, port), format!("socket:[{}]", fields[9])))
}
