//! A document of the handoff as everything that a master needs to go on, before any of its descriptors is touched: while it is
//! read, nothing is lost, and the image before can still be gone back to. What Ruby's einhorn wrote is `plan_from_ruby`'s.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;

use crate::config::{self, Bind, Origin, Word};
use crate::handoff::{Document, Fd, Reader, ours};
use crate::pool::{ClientId, Pid, Snapshot, Version};
use crate::supervisor::admittance::Admittance;
use crate::supervisor::calendar::Calendar;
use crate::supervisor::listeners::Manner;
use crate::supervisor::plan_from_ruby;
use crate::supervisor::release::Recipe;
use crate::supervisor::reload::Settled;
use crate::supervisor::service_manager::Remembered;
use crate::supervisor::service_stand::Readiness;
use crate::supervisor::status::Counters;
use crate::sys::birth::Birth;
use crate::sys::control_socket::Access;
use crate::sys::errno::words;
use crate::sys::identity::Identity;
use crate::sys::place::FileId;
use crate::sys::resource_limit::{Resource, ResourceLimit};
use crate::sys::{fd, limits, memfd};
use crate::threads::admission::{Peer, Role};
use crate::threads::control_handover::{Carried, Clients, Subscription};

/// Everything, with descriptors by their numbers.
pub(in crate::supervisor) struct Plan {
    pub(in crate::supervisor) pool: Snapshot,
    pub(in crate::supervisor) call: Option<ours::CommandLine>,
    pub(in crate::supervisor) image: Option<PathBuf>,
    pub(in crate::supervisor) settled: Settled,
    pub(in crate::supervisor) fallback: Option<Settled>,
    pub(in crate::supervisor) birth: Birth,
    pub(in crate::supervisor) releases: BTreeMap<Version, PlannedRelease>,
    pub(in crate::supervisor) listeners: Vec<PlannedListener>,
    pub(in crate::supervisor) exec_pipes: Vec<(Pid, Fd)>,
    /// None only in a copy that is to be checked.
    pub(in crate::supervisor) control: Option<PlannedControl>,
    pub(in crate::supervisor) lock: Option<ours::HeldFile>,
    pub(in crate::supervisor) pid_file: Option<ours::HeldFile>,
    pub(in crate::supervisor) counters: Counters,
    pub(in crate::supervisor) dropped_lines: u64,
    pub(in crate::supervisor) strangers: u64,
    pub(in crate::supervisor) upgrade_askers: Vec<ClientId>,
    pub(in crate::supervisor) service: Remembered,
    pub(in crate::supervisor) generation: u64,
    pub(in crate::supervisor) old_image: Option<Fd>,
    /// What is to be said once somebody can hear it.
    pub(in crate::supervisor) notes: Vec<String>,
}

/// With the places of its sockets in [`Plan::listeners`].
pub(in crate::supervisor) struct PlannedRelease {
    pub(in crate::supervisor) recipe: Recipe,
    pub(in crate::supervisor) listeners: Vec<usize>,
}

pub(in crate::supervisor) struct PlannedListener {
    pub(in crate::supervisor) fd: Fd,
    pub(in crate::supervisor) bind: Bind,
    pub(in crate::supervisor) file: Option<(PathBuf, FileId)>,
    /// None: what the bind says.
    pub(in crate::supervisor) manner: Option<Manner>,
}

pub(in crate::supervisor) struct PlannedControl {
    pub(in crate::supervisor) listener: Fd,
    pub(in crate::supervisor) file: (PathBuf, FileId),
    pub(in crate::supervisor) clients: Clients<Fd>,
}

/// Why there is no text of a document.
pub(in crate::supervisor) struct Unreadable {
    pub(in crate::supervisor) message: String,
    /// Whether it may be read later.
    pub(in crate::supervisor) may_pass: bool,
}

impl Plan {
    /// The text that can be read from this number. The number stays open.
    pub(in crate::supervisor) fn read_text(number: i32) -> Result<String, Unreadable> {
        let said = |error: &dyn Display, may_pass| Unreadable {
            message: format!("cannot read the state from descriptor {number}: {error}"),
            may_pass,
        };
        let read = fd::look_at(number, |state| memfd::read_all(state, Document::BYTES_MAX));
        let bytes = read.map_err(|errno| said(&words(errno), false))?;
        let bytes = bytes.map_err(|error| said(&error, error.may_pass()))?;
        String::from_utf8(bytes).map_err(|_| said(&"it is no text in UTF-8", false))
    }

    /// Errors: what this version cannot take over, in a sentence.
    pub(in crate::supervisor) fn of(document: &Document) -> Result<Self, String> {
        let calendar = Calendar::now();
        let reader = Reader {
            now: calendar.moment(),
            mono: &|wall| calendar.mono(wall),
            max_unacked: u32::try_from(limits::cpu_count()).unwrap_or(u32::MAX),
        };
        let pool = document.pool(reader).map_err(|error| error.to_string())?;
        match &document.ours {
            Some(section) => of_ours(document, section, pool),
            None => plan_from_ruby::plan(document, pool),
        }
    }

    /// The numbers at which a socket must listen.
    pub(in crate::supervisor) fn sockets(&self) -> Vec<Fd> {
        let control = self.control.iter().map(|control| control.listener);
        self.listeners.iter().map(|listener| listener.fd).chain(control).collect()
    }

    /// Every number that it speaks of.
    pub(in crate::supervisor) fn descriptors(&self) -> Vec<Fd> {
        let listeners = self.listeners.iter().map(|listener| listener.fd);
        let control = self
            .control
            .iter()
            .flat_map(|control| control.clients.connections.iter().map(|carried| carried.fd).chain([control.listener]));
        let files = [&self.lock, &self.pid_file].into_iter().flatten().map(|file| file.fd);
        let pipes = self.exec_pipes.iter().map(|(_, fd)| *fd);
        listeners.chain(control).chain(files).chain(pipes).chain(self.old_image).collect()
    }
}

fn of_ours(document: &Document, section: &ours::Section, pool: Snapshot) -> Result<Plan, String> {
    let argv0 = section.command_line.argv0.as_os_str();
    let read = |words: &[ours::Word]| {
        let read = config::from_words(argv0, words.iter().map(word).collect());
        read.map_err(|problems| {
            let lines: Vec<String> = problems.0.iter().map(ToString::to_string).collect();
            format!("cannot use the configuration in the handoff: {}", lines.join("; "))
        })
    };
    let configuration = &section.configuration;
    let effective = read(&configuration.effective)?;
    let loaded = configuration.loaded.as_deref().map_or_else(|| Ok(effective.clone()), read)?;
    let admittance = section.admittance.as_ref().map(admittance).unwrap_or_else(Admittance::closed);
    let fallback = match &configuration.fallback {
        Some(words) => {
            let effective = read(words)?;
            let loaded = configuration.fallback_loaded.as_deref().map_or_else(|| Ok(effective.clone()), read)?;
            let before = section.fallback_admittance.as_ref().map_or_else(|| admittance.clone(), self::admittance);
            Some(Settled { effective, loaded, admittance: before })
        }
        None => None,
    };
    Ok(Plan {
        pool,
        call: Some(section.command_line.clone()),
        image: section.image.clone(),
        settled: Settled { effective, loaded, admittance },
        fallback,
        birth: birth(section.birth),
        releases: section
            .releases
            .iter()
            .map(|release| Ok((release.version, planned(release)?)))
            .collect::<Result<_, String>>()?,
        listeners: section.listeners.iter().map(listener).collect::<Result<_, String>>()?,
        exec_pipes: section.workers.iter().filter_map(|worker| Some((worker.pid, worker.exec_pipe?))).collect(),
        control: control(document, section),
        lock: section.lock.clone(),
        pid_file: section.pid_file.clone(),
        counters: Counters::of(&section.counters),
        dropped_lines: section.counters.dropped_lines,
        strangers: section.counters.strangers,
        upgrade_askers: section.upgrade_askers.clone(),
        service: Remembered { readiness: readiness(section.was_ready), failure: section.upgrade_failure.clone() },
        generation: document.state.generation,
        old_image: section.old_image.map(|image| image.program),
        notes: Vec::new(),
    })
}

fn readiness(was_ready: bool) -> Readiness {
    if was_ready { Readiness::Reached } else { Readiness::NotYet }
}

fn word(word: &ours::Word) -> Word {
    let ours::Word { flag, value, origin } = word;
    Word { flag: flag.clone(), origin: Origin::from_text(origin), value: value.clone() }
}

fn admittance(carried: &ours::Admittance) -> Admittance {
    let ours::Admittance { mode, group, users, groups } = carried;
    Admittance { access: Access { mode: *mode, group: *group }, users: users.clone(), groups: groups.clone() }
}

fn birth(carried: ours::Birth) -> Birth {
    let ours::Birth { umask, nofile_soft, nofile_hard, nice } = carried;
    Birth { umask, nofile_soft, nofile_hard, nice }
}

fn planned(release: &ours::Release) -> Result<PlannedRelease, String> {
    let ours::Release {
        version: _,
        path,
        argv,
        environment,
        directory,
        umask,
        limits,
        identity,
        nice,
        parent_death,
        socket_as_fd,
        listeners,
    } = release;
    let recipe = Recipe {
        path: path.clone(),
        argv: argv.clone(),
        environment: environment.clone(),
        directory: directory.clone(),
        umask: *umask,
        limits: limits.iter().map(limit).collect::<Result<_, String>>()?,
        identity: identity.as_ref().map(|ours::Identity { uid, gid, groups }| Identity {
            uid: *uid,
            gid: *gid,
            groups: groups.clone(),
        }),
        nice: *nice,
        parent_death: *parent_death,
        socket_as_fd: *socket_as_fd,
    };
    let listeners = listeners.iter().map(|place| usize::try_from(*place).unwrap_or(usize::MAX)).collect();
    Ok(PlannedRelease { recipe, listeners })
}

fn limit(carried: &ours::Limit) -> Result<ResourceLimit, String> {
    let ours::Limit { resource, soft, hard } = carried;
    let resource =
        Resource::from_name(resource).ok_or_else(|| format!("the handoff has an unknown limit {resource:?}"))?;
    Ok(ResourceLimit { resource, soft: *soft, hard: *hard })
}

fn listener(carried: &ours::Listener) -> Result<PlannedListener, String> {
    let ours::Listener { fd, bind, file, manner } = carried;
    let bind = Bind::read(bind).map_err(|need| format!("the handoff has an unknown bind {bind:?}: {need}"))?;
    let manner = manner.map(|ours::Manner { nonblock, mode }| Manner { nonblock, mode });
    Ok(PlannedListener { fd: *fd, bind, file: file.as_ref().map(self::file), manner })
}

fn file(carried: &ours::File) -> (PathBuf, FileId) {
    let ours::File { path, device, inode } = carried;
    (path.clone(), FileId { device: *device, inode: *inode })
}

fn control(document: &Document, section: &ours::Section) -> Option<PlannedControl> {
    let connections = section.connections.iter().map(connection).collect();
    Some(PlannedControl {
        listener: document.descriptors.command_server?,
        file: section.control_socket.as_ref().map(file)?,
        clients: Clients { connections, next_client: section.next_client },
    })
}

fn connection(carried: &ours::Connection) -> Carried<Fd> {
    let ours::Connection { fd, id, peer, asked, subscription, unparsed, unwritten } = carried;
    let role = match peer.role {
        ours::Role::Admin => Role::Admin,
        ours::Role::Guest => Role::Guest,
        ours::Role::Worker => Role::Worker(Pid(peer.pid)),
    };
    let subscription = subscription.as_ref().map(|ours::Subscription { id, format }| Subscription {
        id: id.clone(),
        format: match format {
            ours::Format::Yaml => crate::protocol::Format::Yaml,
            ours::Format::Json => crate::protocol::Format::Json,
        },
    });
    Carried {
        fd: *fd,
        id: *id,
        peer: Peer { pid: Pid(peer.pid), uid: peer.uid, role },
        asked: *asked,
        subscription,
        unparsed: unparsed.clone(),
        unwritten: unwritten.clone(),
    }
}
