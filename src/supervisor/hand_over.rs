//! The supervisor as a document of the handoff: einhorn's part, which Ruby's einhorn reads too, and ours, which only one of us
//! gets. Both are of the same moment. Takes nothing apart and closes nothing: if there is no next image, all is as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::base::Version;
use crate::control::handover::{Carried, Clients, ControlState};
use crate::handoff::einhorn::{AckTimer, Connection, Descriptors, Received, Subscriptions};
use crate::handoff::{Document, Fd, Ours};
use crate::handover::held::{
    Facts, Held, NamedFile, Open, OpenControl, OpenFile, OpenListener, OpenRelease, UPGRADE, number,
};
use crate::handover::preflight::ImageKind;
use crate::logging;
use crate::output::calendar::Calendar;
use crate::output::einhorn_state;
use crate::release::exec_spec::Release;
use crate::release::listeners::Listener;
use crate::supervisor::master::Supervisor;

impl Supervisor {
    /// All of it. Without `control`, what the control thread has is missing: good enough to be checked.
    ///
    /// # Errors
    /// Something of it cannot be written: a mistake in this program.
    pub(crate) fn document(&self, control: Option<&ControlState>, kind: ImageKind) -> Result<Document, String> {
        let calendar = Calendar::now();
        let ours = match kind {
            ImageKind::Ours => Some(Ours::of(&self.held(control))?),
            ImageKind::Einhorn => None,
        };
        let timers = AckTimer::all(self.pool.state(), |moment| calendar.wall(moment));
        Ok(Document {
            state: einhorn_state::to_hand_on(self.view(), &calendar),
            descriptors: descriptors(timers, control),
            ours,
        })
    }

    fn held(&self, control: Option<&ControlState>) -> Held {
        let unanswered =
            self.pool.state().launches.iter().filter(|launch| !self.children.loaders.is_awaited(launch.version));
        assert!(unanswered.count() == 0, "what no loader is to fork is answered before anything else happens");
        Held {
            pool: self.pool.to_hand_on().clone(),
            facts: Facts { lost_trace_lines: self.trace.missing(), ..self.facts.clone() },
            service: self.service_manager.remembered().clone(),
            image: self.reexec.image().map(|image| image.path().to_owned()),
            generation: self.reexec.generation().saturating_add(1),
            lost_lines: logging::lost_lines(),
            open: self.open(control),
            check: self.children.check.as_ref().map(|check| check.pid),
        }
    }

    fn open(&self, control: Option<&ControlState>) -> Open {
        let (lock, pid_file) = (self.files.lock(), self.files.pid_file());
        Open {
            listeners: self.sockets.listeners.iter().map(|listener| open_listener(listener)).collect(),
            releases: self
                .sockets
                .releases
                .iter()
                .map(|(version, release)| self.open_release(*version, release))
                .collect(),
            loaders: self.children.loaders.described(),
            left: self.places(&self.sockets.left),
            exec_pipes: self.children.exec_pipes.iter().map(|(pid, pipe)| (*pid, number(pipe))).collect(),
            control: control.map(|control| OpenControl {
                listener: Fd(control.listener),
                file: NamedFile { path: self.files.socket_path().to_owned(), id: control.file },
                clients: clients(control),
            }),
            lock: lock.map(|lock| OpenFile { fd: number(lock), path: lock.path().to_owned() }),
            pid_file: pid_file.map(|file| OpenFile { fd: number(file), path: file.path().to_owned() }),
            output: self.threads.output.described(self.children.relay.pid, number),
            old_image: self.reexec.image().map(number),
        }
    }

    fn open_release(&self, version: Version, release: &Release) -> OpenRelease {
        OpenRelease { version, exec_spec: release.exec_spec.clone(), listeners: self.places(&release.listeners) }
    }

    /// Where these stand among all.
    fn places(&self, listeners: &[Arc<Listener>]) -> Vec<usize> {
        let known: BTreeMap<*const Listener, usize> = self.sockets.listeners.iter().map(Arc::as_ptr).zip(0..).collect();
        listeners.iter().filter_map(|listener| known.get(&Arc::as_ptr(listener)).copied()).collect()
    }
}

fn open_listener(listener: &Listener) -> OpenListener {
    OpenListener {
        fd: number(&listener.fd),
        bind: listener.bind.clone(),
        file: listener.file().map(NamedFile::from),
        options: Some(listener.options()),
        closed: listener.closed(),
    }
}

fn clients(control: &ControlState) -> Clients<Fd> {
    let Clients { connections, next_client } = control.clients.clone();
    let connections = connections.into_iter().filter_map(|carried| carried.with_fd(|fd| Some(Fd(fd))));
    Clients { connections: connections.collect(), next_client }
}

fn descriptors(ack_timers: Vec<AckTimer>, control: Option<&ControlState>) -> Descriptors {
    let connections = control.into_iter().flat_map(|control| &control.clients.connections);
    Descriptors {
        command_server: control.map(|control| Fd(control.listener)),
        connections: connections.map(einhorn_connection).collect(),
        ack_timers,
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
