//! What a client's request leads to: events for the pool, a reply, or a line in the log. Which client may ask what is
//! decided here and in `control::access`, from what the control thread found out about the other end.

use crate::base::{ClientId, Pid, printable};
use crate::config::{Difference, LogLevel, NUMBER_MAX};
use crate::control::Then;
use crate::logging;
use crate::logging::plan::{louder, quieter};
use crate::machines::reload::{Configuration, Input};
use crate::output::sentences::{self, EINHORN_VERSION};
use crate::output::{einhorn_state, help, releases, status};
use crate::pool::{AckMode, Command, Event, UpgradeStyle};
use crate::protocol::Change as Setting;
use crate::protocol::{Asked, Asking, Format, More, Peer, Reply, Request, Role, UpgradeAsked};
use crate::supervisor::master::Supervisor;
use crate::sys::{clock, procfs};
use crate::yaml;

impl Supervisor {
    /// Answers, and says what the pool has to hear of it.
    pub(crate) fn answer(&mut self, client: ClientId, peer: &Peer, request: Request) -> Vec<Event> {
        let asking = Asking { client, id: request.id, format: request.format };
        match request.asked {
            Asked::Ack { pid } => self.ack(client, peer, pid),
            Asked::Ping { pid, request_id, is_number } => match self.speaker(peer, pid) {
                Some(pid) => vec![Event::WorkerPinged { pid, request_id, is_number }],
                None => self.turn_away(client, peer, pid),
            },
            Asked::WithoutPid { shown } => {
                self.denials.without_pid(client, peer, &shown);
                Vec::new()
            }
            asked if peer.may(request.speaker) => self.obey(asking, peer, asked),
            // The control thread has denied it, and passes nothing of the kind on.
            _ => Vec::new(),
        }
    }

    fn obey(&mut self, asking: Asking, peer: &Peer, asked: Asked) -> Vec<Event> {
        log::debug!("[client {}] uid {}, pid {} asks: {asked:?}", asking.client.0, peer.uid, peer.pid);
        match asked {
            Asked::Ehlo { user } => self.say(asking, self.welcome(&user)),
            Asked::Help => self.say(asking, help::text()),
            Asked::State => self.tell_state(asking),
            Asked::Status => self.tell_status(asking),
            Asked::History => self.tell_history(asking),
            Asked::Diff => {
                self.compare(asking);
                Vec::new()
            }
            Asked::Increment => self.change_target(asking, Change::By(1)),
            Asked::Decrement => self.change_target(asking, Change::By(-1)),
            Asked::SetWorkers(count) => self.change_target(asking, Change::To(count)),
            Asked::Quieter => self.change_verbosity(asking, quieter(self.config().log.level.verbosity())),
            Asked::Louder => self.change_verbosity(asking, louder(self.config().log.level.verbosity())),
            Asked::Upgrade(upgrade) => self.upgrade(asking, peer, upgrade),
            Asked::Pause => self.pause(asking),
            Asked::Resume => self.resume(asking),
            Asked::Abort => self.abort(asking),
            Asked::Rollback(version) => self.roll_back(asking, version),
            Asked::Reload => {
                self.reload();
                self.say(asking, "Reloading, as commanded".to_owned())
            }
            Asked::Signal(signals) => {
                let silence = vec![""; signals.len()].join("\n");
                self.say(asking, silence);
                signals.into_iter().map(|signal| Event::CommandGiven(Command::Forward(signal))).collect()
            }
            Asked::Die(signal) => {
                // The blank stands in einhorn's reply.
                self.say(asking, "Einhorn is going down! ".to_owned());
                vec![Event::CommandGiven(signal.map_or(Command::StopGracefully, Command::Stop))]
            }
            Asked::Config { changes, .. } if self.is_timeout_without_use(&changes) => {
                self.say(asking, "Refused key :ack_timeout: it is not used with a timer".to_owned())
            }
            Asked::Config { changes, shown } => {
                self.apply(changes);
                self.say(asking, format!("Successfully merged in config: {shown}"));
                let reload = &self.facts.reload;
                let known = self.pool.known_versions().into_iter();
                let settings = known.map(|version| (version, reload.of(version).settings())).collect();
                vec![Event::CommandGiven(Command::Configure(settings))]
            }
            Asked::Refused(reply) => self.say(asking, reply),
            Asked::Unknown { shown } => self.say(asking, help::unrecognized(&shown)),
            Asked::WithoutCommand => {
                self.say(asking, "No \"command\" parameter provided; not sure what you want me to do.".to_owned())
            }
            Asked::Unreadable => self.say(asking, "Could not parse command".to_owned()),
            Asked::Ack { .. } | Asked::Ping { .. } | Asked::WithoutPid { .. } => Vec::new(),
        }
    }

    /// Sends a last reply; nothing more comes of it.
    pub(crate) fn say(&self, asking: Asking, message: String) -> Vec<Event> {
        self.threads.control.reply(asking.client, Reply::last(message, asking.id), asking.format, Then::Nothing);
        Vec::new()
    }

    fn welcome(&self, user: &str) -> String {
        let name = self.config().command_name.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
        format!(
            "Welcome, {user}! You are speaking to Einhorn Master Process {}{name}.\nThis is Einhorn {EINHORN_VERSION}.\n",
            std::process::id()
        )
    }

    fn tell_state(&self, asking: Asking) -> Vec<Event> {
        let document = einhorn_state::document(self.view());
        let data = (asking.format == Format::Json).then(|| ("state", crate::protocol::to_json(&document)));
        let reply = Reply { data, ..Reply::last(yaml::write(&document), asking.id) };
        self.threads.control.reply(asking.client, reply, asking.format, Then::Nothing);
        Vec::new()
    }

    fn tell_status(&self, asking: Asking) -> Vec<Event> {
        let (view, waiting, loaders) = (self.view(), self.waits_for(), self.children.loaders.shown());
        let document = || status::document(view, waiting.as_ref(), self.lost_sockets(), &loaders);
        let data = (asking.format == Format::Json).then(|| ("status", document()));
        let reply = Reply { data, ..Reply::last(status::table(view, waiting.as_ref(), &loaders), asking.id) };
        self.threads.control.reply(asking.client, reply, asking.format, Then::Nothing);
        Vec::new()
    }

    fn tell_history(&self, asking: Asking) -> Vec<Event> {
        let history = &self.facts.history;
        let data = (asking.format == Format::Json).then(|| ("history", releases::document(history)));
        let reply = Reply { data, ..Reply::last(releases::table(history), asking.id) };
        self.threads.control.reply(asking.client, reply, asking.format, Then::Nothing);
        Vec::new()
    }

    pub(crate) fn tell_differences(&self, asking: Asking, found: Result<Vec<Difference>, Vec<String>>) {
        let (message, data) = match found {
            Err(lines) => (format!("Refused: the configuration cannot be used\n{}", lines.join("\n")), None),
            Ok(differences) if differences.is_empty() => {
                ("An upgrade would change nothing in the configuration".to_owned(), Some(differences))
            }
            Ok(differences) => {
                (differences.iter().map(sentences::difference).collect::<Vec<_>>().join("\n"), Some(differences))
            }
        };
        let data = data.and_then(|data| serde_json::to_value(data).ok()).map(|data| ("differences", data));
        let reply = Reply { data, ..Reply::last(message, asking.id) };
        self.threads.control.reply(asking.client, reply, asking.format, Then::Nothing);
    }

    /// The lines that this writes are einhorn's: without a prefix, and whatever the verbosity.
    fn change_target(&mut self, asking: Asking, change: Change) -> Vec<Event> {
        let (new, output) = self.target_after(change);
        if !output.is_empty() {
            logging::print(&output);
        }
        self.say(asking, output);
        self.set_target(new).map(Event::CommandGiven).into_iter().collect()
    }

    /// How many workers there shall be then, and what is said of it.
    pub(crate) fn target_after(&self, change: Change) -> (u32, String) {
        let old = self.pool.settings().target;
        match change {
            Change::By(1..) if old >= NUMBER_MAX => {
                (old, format!("Can't increase number of workers (already at {old})."))
            }
            Change::By(1..) => (old + 1, format!("Incrementing number of workers from {old} -> {}", old + 1)),
            Change::By(_) if old <= 1 => {
                let own_pid = std::process::id();
                let advice = format!("Run kill {own_pid} if you really want to kill einhorn.");
                (old, format!("Can't decrease number of workers (already at {old}).  {advice}"))
            }
            Change::By(_) => (old - 1, format!("Decrementing number of workers from {old} -> {}", old - 1)),
            Change::To(count) if count == old => (old, String::new()),
            Change::To(count) => {
                let how = if count > old { "spin up additional workers" } else { "gracefully terminate workers" };
                (count, format!("Altering worker count, {old} -> {count}. Will {how}."))
            }
        }
    }

    /// In the configuration; the pool has to hear the command. None: nothing changes.
    pub(crate) fn set_target(&mut self, new: u32) -> Option<Command> {
        if new == self.pool.settings().target {
            return None;
        }
        self.apply(vec![Setting::to("number", new)]);
        Some(Command::SetTarget(new))
    }

    fn change_verbosity(&mut self, asking: Asking, verbosity: u8) -> Vec<Event> {
        self.apply(vec![Setting::to("log.level", LogLevel::of_verbosity(verbosity).name())]);
        let output = format!("Verbosity set to {verbosity}");
        log::info!("{output}");
        self.say(asking, output)
    }

    /// The first reply comes before the upgrade is tried: what follows is news for clients that wait. A client without an id is of
    /// the old style, and waits for nothing.
    fn upgrade(&mut self, asking: Asking, peer: &Peer, asked: UpgradeAsked) -> Vec<Event> {
        self.record_request(peer, &asked);
        if let Some(reason) = &asked.reason {
            log::info!("An upgrade was asked for by {peer}: {}", printable::line(reason));
        }
        let message = match asked.style {
            UpgradeStyle::Smooth => "Upgrading smoothly, as commanded",
            UpgradeStyle::Fleet => "Upgrading fleet, as commanded",
        };
        let reply = Reply { more: More::Follows, ..Reply::last(message, asking.id) };
        self.threads.control.reply(asking.client, reply, asking.format, Then::Subscribe);
        self.drive_reload(Input::UpgradeAsked(asking.client));
        vec![Event::CommandGiven(Command::Upgrade { style: asked.style, terms: asked.terms })]
    }

    fn ack(&mut self, client: ClientId, peer: &Peer, pid: Pid) -> Vec<Event> {
        match self.speaker(peer, pid) {
            Some(pid) if self.is_needless_ack(peer, pid) => Vec::new(),
            Some(pid) => vec![Event::WorkerAcked { pid }],
            None => self.turn_away(client, peer, pid),
        }
    }

    fn turn_away(&mut self, client: ClientId, peer: &Peer, pid: Pid) -> Vec<Event> {
        self.denials.not_that_worker(client, peer, pid);
        Vec::new()
    }

    /// An ack that changes nothing is a line in the log, and a worker can say it without end: of others than admins one a minute
    /// is heard.
    fn is_needless_ack(&mut self, peer: &Peer, pid: Pid) -> bool {
        let is_used =
            [self.pool.settings(), self.pool.fallback()].iter().any(|settings| settings.ack == AckMode::Manual);
        let is_acked = self.pool.workers().iter().any(|worker| worker.pid == pid && worker.is_acked());
        peer.role != Role::Admin && (is_acked || !is_used) && self.denials.needless_ack.admit(clock::now()).is_none()
    }

    /// Which worker an ack or a ping is from. An admin may speak for any, as with einhorn. A pid that is no worker's may be
    /// that of a process behind a wrapper, or one from another pid namespace: then the kernel's pid tells (E23).
    fn speaker(&self, peer: &Peer, claimed: Pid) -> Option<Pid> {
        match peer.role {
            Role::Worker(worker) => Some(worker),
            Role::Admin if self.is_worker(claimed) => Some(claimed),
            Role::Admin => Some(self.worker_above(peer.pid).unwrap_or(claimed)),
            Role::Guest => self.worker_above(peer.pid).filter(|&worker| worker == claimed || !self.is_worker(claimed)),
        }
    }

    /// The worker that a process is or descends from.
    pub(crate) fn worker_above(&self, pid: Pid) -> Option<Pid> {
        procfs::lineage(pid).find(|&pid| self.is_worker(pid))
    }

    pub(crate) fn is_worker(&self, pid: Pid) -> bool {
        self.pool.workers().iter().any(|worker| worker.pid == pid)
    }
}

/// What happens to the number of workers.
#[derive(Clone, Copy)]
pub(crate) enum Change {
    By(i32),
    To(u32),
}
