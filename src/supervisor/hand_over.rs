//! The supervisor as a document of the handoff: einhorn's part, which Ruby's einhorn reads too, and ours, which only one of us
//! gets. Both are of the same moment. Takes nothing apart and closes nothing: if there is no next image, all is as it was.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;

use crate::config::{self, Bind, Config, Word};
use crate::handoff::einhorn::{
    Bind as EinhornBind, Children, Config as EinhornConfig, Connection, Descriptors, Nice, Received, State,
    Subscriptions,
};
use crate::handoff::{Document, EinhornPart, Fd, OurPart, ours};
use crate::pool::{Snapshot, Version};
use crate::supervisor::Supervisor;
use crate::supervisor::admittance::Admittance;
use crate::supervisor::calendar::Calendar;
use crate::supervisor::listeners::{Listener, Manner};
use crate::supervisor::preflight::Successor;
use crate::supervisor::prepare::{self, Call};
use crate::supervisor::release::{Recipe, Release};
use crate::supervisor::service_stand::Readiness;
use crate::sys::birth::Birth;
use crate::sys::identity::Identity;
use crate::sys::place::FileId;
use crate::sys::resource_limit::ResourceLimit;
use crate::threads::admission::{Peer, Role};
use crate::threads::control_handover::{Carried, Frozen, Stand, Subscription};
use crate::yaml::Value;

/// The event of an upgrade, which clients wait for.
const UPGRADE: &str = "upgrade";

impl Supervisor {
    /// All of it. Without `stand`, what the control thread has is missing: good enough to be checked.
    pub(in crate::supervisor) fn document(&self, stand: Option<&Stand>, successor: Successor) -> Document {
        let snapshot = self.pool.snapshot();
        let calendar = Calendar::now();
        let part = EinhornPart::of(&snapshot, |moment| calendar.wall(moment));
        Document {
            descriptors: descriptors(&part, stand),
            state: self.einhorn_state(part),
            ours: match successor {
                Successor::Ours => Some(self.section(&snapshot, stand)),
                Successor::Einhorn => None,
            },
        }
    }

    /// What the document speaks of, to be kept over the exec. Ruby's einhorn gets what its part speaks of: it would pass all
    /// the rest on to its workers.
    pub(in crate::supervisor) fn kept_descriptors<'a>(
        &'a self,
        frozen: &'a Frozen,
        successor: Successor,
    ) -> Vec<BorrowedFd<'a>> {
        let control = frozen.descriptors().into_iter();
        match successor {
            Successor::Einhorn => {
                control.chain(self.modern_listeners().iter().map(|listener| listener.fd.as_fd())).collect()
            }
            Successor::Ours => {
                let listeners = self.listeners.iter().map(|listener| listener.fd.as_fd());
                let pipes = self.exec_pipes.iter().map(|(_, pipe)| pipe.as_fd());
                let lock = self.files.lock().map(AsFd::as_fd);
                let pid_file = self.files.pid_file().map(AsFd::as_fd);
                let image = self.reexec.image().map(AsFd::as_fd);
                control.chain(listeners).chain(pipes).chain(lock).chain(pid_file).chain(image).collect()
            }
        }
    }

    fn einhorn_state(&self, part: EinhornPart) -> State {
        let config = &self.config;
        let listeners = self.modern_listeners();
        State {
            children: Children { workers: part.workers, state_passers: Vec::new() },
            config: EinhornConfig {
                number: part.number,
                backlog: config.backlog,
                seconds: part.seconds,
                // einhorn's own default is the number of processors, too.
                max_unacked: config.max_unacked,
                max_upgrade_additional: part.max_upgrade_additional,
                gc_before_fork: config.gc_before_fork,
                others: Vec::new(),
            },
            versions: Value::Map(Vec::new()),
            version: part.version,
            sockets: Value::Map(Vec::new()),
            orig_cmd: config.program.clone(),
            bind: config.binds.iter().map(einhorn_bind).collect(),
            bind_fds: listeners.iter().map(|listener| number(&listener.fd)).collect(),
            bound_ports: listeners.iter().map(|listener| listener.port()).collect(),
            cmd: config.program.clone(),
            script_name: None,
            respawn: part.respawn,
            upgrading: part.upgrading,
            smooth_upgrade: part.smooth_upgrade,
            reloading_for_upgrade: part.reloading_for_upgrade,
            path: config.preload.clone(),
            cmd_name: config.command_name.as_ref().map(OsString::from),
            verbosity: u32::from(config.log.level.verbosity()),
            generation: self.reexec.generation().saturating_add(1),
            last_spinup: part.last_spinup,
            ack_mode: part.ack_mode,
            kill_children_on_exit: config.kill_children_on_exit,
            command_socket_as_fd: config.socket_as_fd,
            socket_path: config.socket_path.clone(),
            pidfile: config.pidfile.clone(),
            lockfile: config.lockfile.clone(),
            consecutive_deaths_before_ack: part.consecutive_deaths_before_ack,
            last_upgraded: part.last_upgraded,
            nice: nice(config),
            reexec_commandline: config.reexec_as.as_ref().map(|words| words.iter().map(OsString::from).collect()),
            drop_environment_variables: config.drop_env_vars.clone(),
            signal_timeout: part.signal_timeout,
            preloaded: false,
            others: Vec::new(),
        }
    }

    fn section(&self, snapshot: &Snapshot, stand: Option<&Stand>) -> ours::Section {
        let OurPart { mut workers, remnants, pool, settings, fallback_settings } = OurPart::of(snapshot);
        for worker in &mut workers {
            let pipe = self.exec_pipes.iter().find(|(pid, _)| *pid == worker.pid);
            worker.exec_pipe = pipe.map(|(_, pipe)| number(pipe));
        }
        let fallback = self.fallback.as_ref();
        ours::Section {
            workers,
            remnants,
            pool,
            settings,
            fallback_settings,
            command_line: command_line(&self.call),
            image: self.reexec.image().map(|image| image.path().to_owned()),
            configuration: self.configuration(),
            admittance: Some(admittance(&self.admittance)),
            fallback_admittance: fallback.map(|before| admittance(&before.admittance)),
            releases: self.releases.iter().map(|(version, release)| self.carried_release(*version, release)).collect(),
            listeners: self.listeners.iter().map(|listener| carried_listener(listener)).collect(),
            birth: birth(self.birth),
            connections: stand
                .map_or_else(Vec::new, |stand| stand.clients.connections.iter().map(connection).collect()),
            next_client: stand.map_or(crate::pool::ClientId(1), |stand| stand.clients.next_client),
            control_socket: stand.map(|stand| file(self.files.socket_path(), stand.file)),
            lock: self.files.lock().map(|lock| ours::HeldFile { fd: number(lock), path: lock.path().to_owned() }),
            pid_file: self
                .files
                .pid_file()
                .map(|held| ours::HeldFile { fd: number(held), path: held.path().to_owned() }),
            counters: self.counters.carried(self.strangers),
            old_image: self.reexec.image().map(|image| ours::OldImage { program: number(image) }),
            upgrade_askers: self.upgrade_askers.clone(),
            was_ready: self.service_manager.remembered().readiness == Readiness::Reached,
            upgrade_failure: self.service_manager.remembered().failure.clone(),
        }
    }

    fn configuration(&self) -> ours::Configuration {
        let fallback = self.fallback.as_ref();
        ours::Configuration {
            effective: words(&self.config),
            loaded: (self.loaded != self.config).then(|| words(&self.loaded)),
            fallback: fallback.map(|before| words(&before.effective)),
            fallback_loaded: fallback
                .filter(|before| before.loaded != before.effective)
                .map(|before| words(&before.loaded)),
        }
    }

    fn carried_release(&self, version: Version, release: &Release) -> ours::Release {
        let known: BTreeMap<*const Listener, u32> = self.listeners.iter().map(Arc::as_ptr).zip(0..).collect();
        let places = release.listeners.iter().filter_map(|listener| known.get(&Arc::as_ptr(listener)).copied());
        let Recipe { path, argv, environment, directory, umask, limits, identity, nice, parent_death, socket_as_fd } =
            release.recipe.clone();
        ours::Release {
            version,
            path,
            argv,
            environment,
            directory,
            umask,
            limits: limits.iter().map(limit).collect(),
            identity: identity.map(|Identity { uid, gid, groups }| ours::Identity { uid, gid, groups }),
            nice,
            parent_death,
            socket_as_fd,
            listeners: places.collect(),
        }
    }
}

fn descriptors(part: &EinhornPart, stand: Option<&Stand>) -> Descriptors {
    Descriptors {
        command_server: stand.map(|stand| Fd(stand.listener)),
        connections: stand
            .map_or_else(Vec::new, |stand| stand.clients.connections.iter().map(einhorn_connection).collect()),
        ack_timers: part.ack_timers.clone(),
    }
}

fn command_line(call: &Call) -> ours::CommandLine {
    // The environment comes by itself.
    let Call { argv0, args, environ: _, directory } = call.clone();
    ours::CommandLine { argv0, args, directory, place: prepare::place() }
}

fn number(of: &impl AsFd) -> Fd {
    Fd(of.as_fd().as_raw_fd())
}

fn words(config: &Config) -> Vec<ours::Word> {
    let carry = |Word { flag, origin, value }: Word| ours::Word { flag, value, origin: origin.to_text() };
    config::to_words(config).into_iter().map(carry).collect()
}

fn einhorn_bind(bind: &Bind) -> EinhornBind {
    let (host, port) = match bind {
        Bind::Tcp { host, port, .. } => (host.into(), *port),
        Bind::Unix { path, .. } => ([OsString::from("unix:"), path.into()].into_iter().collect(), 0),
    };
    EinhornBind { host, port, flags: bind.flags().words().to_vec() }
}

fn nice(config: &Config) -> Nice {
    Nice {
        master: config.nice.master,
        worker: config.nice.worker,
        renice_cmd: Some(config.nice.renice_cmd.as_ref().map_or_else(|| "/usr/bin/renice".into(), OsString::from)),
    }
}

fn einhorn_connection(carried: &Carried<i32>) -> Connection {
    let subscription = carried.subscription.iter().map(|subscription| (UPGRADE.to_owned(), subscription.id.clone()));
    Connection {
        socket: Fd(carried.fd),
        subscriptions: Subscriptions(subscription.collect()),
        read_buffer: Received(carried.unparsed.clone()),
        write_buffer: carried.unwritten.clone(),
    }
}

fn admittance(admittance: &Admittance) -> ours::Admittance {
    let Admittance { access, users, groups } = admittance;
    ours::Admittance { mode: access.mode, group: access.group, users: users.clone(), groups: groups.clone() }
}

fn carried_listener(listener: &Listener) -> ours::Listener {
    let Manner { nonblock, mode } = listener.manner();
    ours::Listener {
        fd: number(&listener.fd),
        bind: listener.bind.to_word(),
        file: listener.file().map(|(path, id)| file(path, *id)),
        manner: Some(ours::Manner { nonblock, mode }),
    }
}

fn limit(limit: &ResourceLimit) -> ours::Limit {
    let ResourceLimit { resource, soft, hard } = limit;
    ours::Limit { resource: resource.to_string(), soft: *soft, hard: *hard }
}

fn birth(birth: Birth) -> ours::Birth {
    let Birth { umask, nofile_soft, nofile_hard, nice } = birth;
    ours::Birth { umask, nofile_soft, nofile_hard, nice }
}

fn file(path: &std::path::Path, id: FileId) -> ours::File {
    ours::File { path: path.to_owned(), device: id.device, inode: id.inode }
}

fn connection(carried: &Carried<i32>) -> ours::Connection {
    let Carried { fd, id, peer, asked, subscription, unparsed, unwritten } = carried;
    let Peer { pid, uid, role } = *peer;
    let (pid, role) = match role {
        Role::Admin => (pid, ours::Role::Admin),
        Role::Guest => (pid, ours::Role::Guest),
        Role::Worker(worker) => (worker, ours::Role::Worker),
    };
    let subscription = subscription.as_ref().map(|Subscription { id, format }| ours::Subscription {
        id: id.clone(),
        format: match format {
            crate::protocol::Format::Yaml => ours::Format::Yaml,
            crate::protocol::Format::Json => ours::Format::Json,
        },
    });
    ours::Connection {
        fd: Fd(*fd),
        id: *id,
        peer: ours::Peer { pid: pid.0, uid, role },
        asked: *asked,
        subscription,
        unparsed: unparsed.clone(),
        unwritten: unwritten.clone(),
    }
}
