//! Our part of the document, as plain data: everything that einhorn's part cannot say. `section` holds how it is written and
//! what a field is that an older version did not write.
//!
//! Times are by CLOCK_MONOTONIC, which goes on over an exec. The types resemble those of the rooms they come from and are
//! apart from them, so that a change there cannot change what a written document means.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::handoff::Fd;
use crate::pool::{AckMode, ClientId, ExitReason, Mono, Pid, Signal, Told, UpgradeStyle, Version};
use crate::yaml::Value;

/// All of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// More about the workers of einhorn's part, by pid.
    pub workers: Vec<Worker>,
    pub remnants: Vec<Remnant>,
    pub pool: Pool,
    pub settings: Settings,
    /// What they were before the upgrade under way.
    pub fallback_settings: Option<Settings>,
    pub command_line: CommandLine,
    /// The path under which the program is looked for when it is replaced. None: nobody knows.
    pub image: Option<PathBuf>,
    pub configuration: Configuration,
    /// None: what the configuration says now.
    pub admittance: Option<Admittance>,
    /// What counted before the upgrade under way.
    pub fallback_admittance: Option<Admittance>,
    pub releases: Vec<Release>,
    /// Every open one, of all versions.
    pub listeners: Vec<Listener>,
    pub birth: Birth,
    pub connections: Vec<Connection>,
    /// The id that the next client will have.
    pub next_client: ClientId,
    pub control_socket: Option<File>,
    pub lock: Option<HeldFile>,
    pub pid_file: Option<HeldFile>,
    pub counters: Counters,
    pub old_image: Option<OldImage>,
    /// Who asked for an upgrade that has neither begun nor been refused.
    pub upgrade_askers: Vec<ClientId>,
    /// As many workers as wanted have served once, as far as a service manager asks for it.
    pub was_ready: bool,
    /// Why the last upgrade failed, in a line.
    pub upgrade_failure: Option<String>,
}

/// What einhorn does not know of a worker.
#[derive(Clone, Debug, PartialEq)]
pub struct Worker {
    pub pid: Pid,
    /// None: what einhorn's part has by the wall clock.
    pub spawned_at: Option<Mono>,
    pub execed: bool,
    pub acked_at: Option<Mono>,
    pub stopped: bool,
    pub killed: bool,
    pub written_off: bool,
    pub told: Option<Told>,
    /// When it pinged last; with which request id, einhorn's part says.
    pub pinged_at: Option<Mono>,
    /// The signal at which its program ends in peace.
    pub graceful: Signal,
    /// Our end of the pipe that tells how its exec went.
    pub exec_pipe: Option<Fd>,
}

/// What remains of a worker that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Remnant {
    pub pid: Pid,
    pub signal: Signal,
    pub graceful: Signal,
    pub since: Mono,
    pub reaped: bool,
    pub kill_at: Option<Mono>,
    pub killed: bool,
}

/// What the pool decides by, beside workers and settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    pub modern: Version,
    pub good: Version,
    pub newest: Version,
    pub preparing: Option<Preparing>,
    pub upgrade: Option<Upgrade>,
    pub stopping: Option<Stopping>,
    pub launch_at_once: bool,
    pub backoff: Backoff,
    pub last_spinup: Option<Mono>,
    pub last_upgraded: Option<Mono>,
    pub last_style: Option<UpgradeStyle>,
    pub last_linger_note: Option<Mono>,
    pub ever_acked: bool,
}

/// An upgrade that has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preparing {
    pub version: Version,
    pub style: UpgradeStyle,
    /// Somebody asked for an upgrade in this style while it was being prepared.
    pub asked_again: Option<UpgradeStyle>,
}

/// An upgrade under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upgrade {
    pub style: UpgradeStyle,
    pub failures: u32,
}

/// That the master is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// None: each worker's graceful signal.
    pub signal: Option<Signal>,
    pub grace: Option<Duration>,
    pub reason: ExitReason,
}

/// The signs of a crash loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    pub unacked_deaths: u32,
    pub failed_launches: u32,
    pub last_failed_launch: Option<Mono>,
    pub early_deaths: u32,
    pub last_early_death: Option<Mono>,
}

/// What the pool aims at.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// At least 1.
    pub target: u32,
    pub ack: AckMode,
    pub ack_timeout: Option<Duration>,
    /// Above 0, and finite.
    pub spacing_s: f64,
    /// At least 1.
    pub max_unacked: u32,
    pub max_upgrade_additional: Option<u32>,
    pub signal_timeout: Option<Duration>,
    /// What a worker that is launched now will be told to go by.
    pub graceful: Signal,
    pub retries: Option<u32>,
}

/// How the master was called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    pub argv0: OsString,
    /// Without `argv0`.
    pub args: Vec<OsString>,
    /// The name of the directory that it was started in, where links on the way may lead elsewhere by now.
    pub directory: Option<PathBuf>,
    /// Where the process is, under whatever name.
    pub place: Option<Place>,
}

/// A directory apart from its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub device: u64,
    pub inode: u64,
}

/// What was configured, word for word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// What counts.
    pub effective: Vec<Word>,
    /// As it was read last. None: the same.
    pub loaded: Option<Vec<Word>>,
    /// What counted before the upgrade under way.
    pub fallback: Option<Vec<Word>>,
    /// As it had been read then. None: the same.
    pub fallback_loaded: Option<Vec<Word>>,
}

/// Who may connect to the control socket and do everything there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admittance {
    /// Permissions of its file.
    pub mode: u32,
    pub group: Option<u32>,
    pub users: Vec<u32>,
    pub groups: Vec<u32>,
}

/// One value of one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// The option's long name, without dashes.
    pub flag: String,
    pub value: Option<OsString>,
    /// Where it was said.
    pub origin: String,
}

/// What a version runs, and what its workers are born with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub version: Version,
    pub path: PathBuf,
    pub argv: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
    pub directory: Option<PathBuf>,
    pub umask: Option<u32>,
    pub limits: Vec<Limit>,
    pub identity: Option<Identity>,
    pub nice: Option<i32>,
    pub parent_death: Option<Signal>,
    pub socket_as_fd: bool,
    /// Places in [`Section::listeners`], from 0, in the order of the `-b` options.
    pub listeners: Vec<u32>,
}

/// A resource limit; `u64::MAX` is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// `nofile`.
    pub resource: String,
    pub soft: u64,
    pub hard: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// A listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub fd: Fd,
    /// As it was asked for first.
    pub bind: OsString,
    /// A unix socket's file, to be removed at the end.
    pub file: Option<File>,
    /// What a bind has made of it since. None: what `bind` says.
    pub manner: Option<Manner>,
}

/// What a bind says of its socket beside the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    pub nonblock: bool,
    /// Permissions of a unix socket's file.
    pub mode: u32,
}

/// A file, and which one it was when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    pub path: PathBuf,
    pub device: u64,
    pub inode: u64,
}

/// A file that is held open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldFile {
    pub fd: Fd,
    pub path: PathBuf,
}

/// What the first master was born with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Birth {
    pub umask: u32,
    pub nofile_soft: u64,
    pub nofile_hard: u64,
    pub nice: i32,
}

/// A client of the control socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub fd: Fd,
    pub id: ClientId,
    pub peer: Peer,
    /// Whether a request of its is on its way.
    pub asked: bool,
    pub subscription: Option<Subscription>,
    /// What it has sent and nobody has looked at.
    pub unparsed: Vec<u8>,
    pub unwritten: Vec<u8>,
}

/// The other end, as it was judged when it connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// 0 if nobody can say; a worker's own connection has that worker's.
    pub pid: i32,
    pub uid: u32,
    pub role: Role,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Admin,
    Guest,
    /// The connection was made for the worker `Peer::pid`.
    Worker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Yaml,
    Json,
}

/// That a client waits for the end of an upgrade.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscription {
    pub id: Value,
    pub format: Format,
}

/// What has happened since the first master's start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub launched: u64,
    pub exited: u64,
    pub killed: u64,
    pub upgrades: u64,
    pub failed_upgrades: u64,
    /// Lines of the log that nobody read in time.
    pub dropped_lines: u64,
    /// Children reaped that were no workers.
    pub strangers: u64,
}

/// The way back to the program that wrote the document. Who cannot read that has its number from elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldImage {
    pub program: Fd,
}
