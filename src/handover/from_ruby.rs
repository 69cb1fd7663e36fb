//! What Ruby's einhorn wrote, as what a master of ours needs to go on. Ruby's is gone by then and cannot be gone back to, so that
//! nothing here is a reason to stop: what we do not take is left out and said.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::base::ClientId;
use crate::config::{self, Bind, BindFlags, Config, Directory, Origin, Word};
use crate::control::access::{Policy, authenticate};
use crate::control::handover::{Carried, Clients, Subscription};
use crate::handoff::einhorn::{AckMode, Bind as RubyBind, Connection, State};
use crate::handoff::{Document, Fd, Number};
use crate::handover::held::{Facts, Held, NamedFile, Open, OpenControl, OpenListener, OpenRelease, UPGRADE};
use crate::output::systemd::Remembered;
use crate::pool::State as PoolState;
use crate::protocol::Format;
use crate::release::access_control::AccessControl;
use crate::release::call::Call;
use crate::release::directory::directory_of;
use crate::release::exec_spec::{self, ExecSpec};
use crate::release::prepare::{self, AppliedConfig};
use crate::sys::birth::Birth;
use crate::sys::errno::words;
use crate::sys::fd::look_at;
use crate::sys::file_id::FileId;
use crate::sys::socket::{self, LocalAddress};

/// What is to be logged once there is a log.
type Notes = Vec<String>;

/// # Errors
/// The master has no descriptor left to look at another with.
pub(crate) fn plan(document: &Document, pool: PoolState) -> Result<(Held, Notes), String> {
    let state = &document.state;
    let mut notes = Notes::new();
    let call = Call::of_this_process();
    let (config, args) = configuration(state, &mut notes);
    let call = Call { argv0: config.argv0.clone(), args, ..call };
    let (exec_spec, access_control) = worked_out(&config, &call, &mut notes);
    let listeners = listeners(state, &mut notes);
    let places: Vec<usize> = (0..listeners.len()).collect();
    let release = |version| OpenRelease { version, exec_spec: exec_spec.clone(), listeners: places.clone() };
    let versions = BTreeSet::from([pool.modern, pool.good]);
    let releases = versions.into_iter().map(release).collect();
    let control = control(document, &config, &call, &access_control, &mut notes);
    let settled = AppliedConfig::new(config, access_control);
    let held = Held {
        pool,
        facts: Facts::new(settled, call, Birth::record().map_err(words)?),
        service: Remembered::default(),
        image: None,
        generation: state.generation,
        lost_lines: 0,
        open: Open { listeners, releases, control, ..Open::default() },
        check: None,
    };
    Ok((held, notes))
}

/// The configuration, and the command line that says the same: it is read again with the next upgrade.
fn configuration(state: &State, notes: &mut Notes) -> (Config, Vec<OsString>) {
    let said = words_of(state);
    let argv0 = OsStr::new("einhorn");
    let (config, remarks) = config::from_foreign_words(argv0, said);
    notes.extend(remarks.iter().map(|remark| format!("einhorn's state: {remark}")));
    let args = config::to_args(&config);
    (config, args)
}

/// Each option as it would have to be given to us. What einhorn has by default is not, but for the backlog: ours is another.
fn words_of(state: &State) -> Vec<Word> {
    let mut words = Vec::new();
    let mut say = |flag: &str, value: OsString| {
        let origin = Origin::CommandLine(if flag == "command" {
            "cannot run the program".to_owned()
        } else {
            format!("--{flag}")
        });
        words.push(Word { flag: flag.to_owned(), origin, value: Some(value) });
    };
    let path = |path: &Option<PathBuf>| path.clone().map(PathBuf::into_os_string);
    say("number", state.config.number.to_string().into());
    say("backlog", state.config.backlog.to_string().into());
    if let Number::Float(seconds) = state.config.seconds {
        say("seconds", seconds.to_string().into());
    }
    match state.ack_mode {
        AckMode::Manual => say("ack-mode", "manual".into()),
        AckMode::Timer(Number::Float(seconds)) => say("ack-mode", seconds.to_string().into()),
        AckMode::Timer(Number::Int(1)) => {}
        AckMode::Timer(Number::Int(seconds)) => say("ack-mode", seconds.to_string().into()),
    }
    let numbers =
        [("max-unacked", state.config.max_unacked), ("max-upgrade-additional", state.config.max_upgrade_additional)];
    for (flag, number) in numbers {
        number.into_iter().for_each(|number| say(flag, number.to_string().into()));
    }
    match state.signal_timeout {
        Some(Number::Int(seconds)) => say("signal-timeout", seconds.to_string().into()),
        Some(Number::Float(seconds)) => say("signal-timeout", seconds.ceil().to_string().into()),
        None => {}
    }
    let switches = [
        ("gc-before-fork", state.config.gc_before_fork),
        ("kill-children-on-exit", state.kill_children_on_exit),
        ("command-socket-as-fd", state.command_socket_as_fd),
        ("verbose", state.verbosity == 0),
        ("quiet", state.verbosity > 1),
    ];
    switches.iter().filter(|(_, on)| *on).for_each(|(flag, _)| say(flag, "true".into()));
    let texts = [
        ("preload", path(&state.path)),
        ("command-name", state.cmd_name.clone()),
        ("socket-path", path(&state.socket_path)),
        ("pidfile", path(&state.pidfile)),
        ("lockfile", path(&state.lockfile)),
        ("nice", nice(state)),
        ("reexec-as", reexec_as(state)),
    ];
    texts.into_iter().for_each(|(flag, text)| text.into_iter().for_each(|text| say(flag, text)));
    state.drop_environment_variables.iter().for_each(|name| say("drop-env-var", name.clone()));
    binds(state).iter().for_each(|(bind, _)| say("bind", word_of(bind, |_| true)));
    program(state).iter().for_each(|word| say("command", word.clone()));
    words
}

/// Those of `-b`, and of 0.8.2 those of words of the program, each with its socket.
fn binds(state: &State) -> Vec<(RubyBind, Fd)> {
    let named = state.bind.iter().cloned().zip(state.bind_fds.iter().copied());
    let of_words = state.sockets.as_map().unwrap_or_default().iter().filter_map(|(address, fd)| {
        let [host, port] = address.as_seq()? else { return None };
        let (port, fd) = (u16::try_from(port.as_int()?).ok()?, i32::try_from(fd.as_int()?).ok()?);
        Some((RubyBind { host: host.as_str()?.into(), port, flags: Vec::new() }, Fd::try_from(fd).ok()?))
    });
    named.chain(of_words).collect()
}

/// As it is run, but for the numbers of descriptors: they are ours to give.
fn program(state: &State) -> Vec<OsString> {
    let (Some(name), Some((_, rest))) = (state.cmd.first(), state.orig_cmd.split_first()) else {
        return state.cmd.clone();
    };
    let is_srv = |word: &OsString| word.as_bytes().windows(4).any(|part| part == b"srv:");
    let (has_srv, is_replaced) = (rest.iter().any(is_srv), rest != &state.cmd[1..]);
    if has_srv && is_replaced { [std::slice::from_ref(name), rest].concat() } else { state.cmd.clone() }
}

/// Flags that mean nothing are left out: einhorn takes any, and we do not.
fn bind_word(bind: &RubyBind) -> OsString {
    word_of(bind, |flag| {
        let flags = BindFlags::from_words(vec![flag.to_owned()]);
        flags.reuse_addr() || flags.nonblock()
    })
}

fn word_of(bind: &RubyBind, has: fn(&str) -> bool) -> OsString {
    let mut word = bind.host.clone();
    if !bind.host.as_bytes().starts_with(b"unix:") {
        word.push(format!(":{}", bind.port));
    }
    for flag in bind.flags.iter().filter(|flag| has(flag)) {
        word.push(",");
        word.push(flag);
    }
    word
}

fn nice(state: &State) -> Option<OsString> {
    match (state.nice.master, state.nice.worker) {
        (None, None) => None,
        (Some(master), None) => Some(master.to_string().into()),
        (master, Some(worker)) => Some(format!("{}:{worker}", master.unwrap_or(0)).into()),
    }
}

/// As a shell would have to be told.
fn reexec_as(state: &State) -> Option<OsString> {
    let quoted = |word: &OsString| format!("'{}'", word.to_string_lossy().replace('\'', "'\\''"));
    let words = state.reexec_commandline.as_ref()?;
    Some(words.iter().map(quoted).collect::<Vec<_>>().join(" ").into())
}

/// As far as it can be found out. A program that cannot be found now may be there when a worker is launched.
fn worked_out(config: &Config, call: &Call, notes: &mut Notes) -> (ExecSpec, AccessControl) {
    prepare::work_out(config, call, &[]).unwrap_or_else(|problems| {
        notes.extend(problems.into_iter().map(|problem| problem.message));
        (exec_spec::as_it_stands(config, call), AccessControl::closed())
    })
}

/// Those that are open. An address that we cannot read as it was given is what its socket is bound to.
fn listeners(state: &State, notes: &mut Notes) -> Vec<OpenListener> {
    let mut found = Vec::new();
    for (bind, fd) in &binds(state) {
        match look_at(fd.0, socket::local_address) {
            Ok(Ok(address)) => found.push(listener(bind, *fd, &address)),
            Err(errno) | Ok(Err(errno @ Errno::ENOTSOCK)) => {
                notes.push(format!("the socket of {} is lost: {}", bind.host.to_string_lossy(), words(errno)))
            }
            // It is a socket, and serves; only its address is not to be had now.
            Ok(Err(_)) => found.push(listener(bind, *fd, &LocalAddress::Other)),
        }
    }
    found
}

fn listener(bind: &RubyBind, fd: Fd, address: &LocalAddress) -> OpenListener {
    let flags = BindFlags::from_words(bind.flags.clone());
    let as_given = Bind::read(&bind_word(bind)).ok();
    let bind = as_given.unwrap_or_else(|| match address {
        LocalAddress::Inet(SocketAddr::V4(at)) => Bind::Tcp { host: at.ip().to_string(), port: at.port(), flags },
        LocalAddress::Inet(SocketAddr::V6(at)) => Bind::Tcp { host: at.ip().to_string(), port: at.port(), flags },
        LocalAddress::Unix(path) => Bind::Unix { path: path.clone(), mode: None, user: None, group: None, flags },
        LocalAddress::Other => Bind::Tcp { host: "0.0.0.0".to_owned(), port: bind.port, flags },
    });
    let file = match &bind {
        Bind::Unix { path, .. } => {
            fs::symlink_metadata(path).ok().map(|meta| NamedFile { path: path.clone(), id: FileId::of(&meta) })
        }
        Bind::Tcp { .. } => None,
    };
    OpenListener { fd, bind, file, options: None, closed: None }
}

fn control(
    document: &Document,
    config: &Config,
    call: &Call,
    access_control: &AccessControl,
    notes: &mut Notes,
) -> Option<OpenControl> {
    let listener = document.descriptors.command_server?;
    let directory = directory_of(config, &call.environ).unwrap_or_else(|_| Directory::Shared(PathBuf::new()));
    let path = config::socket_path(config, &directory);
    let policy = access_control.policy();
    let connections = document.descriptors.connections.iter().zip(1..);
    let connections: Vec<_> =
        connections.filter_map(|(connection, id)| client(connection, ClientId(id), &policy, notes)).collect();
    let next_client = ClientId(u64::try_from(document.descriptors.connections.len()).unwrap_or(0) + 1);
    Some(OpenControl {
        listener,
        file: NamedFile { id: file_at(&path), path },
        clients: Clients { connections, next_client },
    })
}

/// If it is not there, the control thread finds out, and makes it anew.
fn file_at(path: &Path) -> FileId {
    fs::symlink_metadata(path).map_or(FileId { device: 0, inode: 0 }, |meta| FileId::of(&meta))
}

fn client(connection: &Connection, id: ClientId, policy: &Policy, notes: &mut Notes) -> Option<Carried<Fd>> {
    let authenticated = look_at(connection.socket.0, |socket| authenticate(socket, policy)).and_then(|peer| peer);
    let peer = match authenticated {
        Ok(peer) => peer,
        Err(errno) => {
            notes.push(format!("[client {}] lost: {}", id.0, words(errno)));
            return None;
        }
    };
    let waits = connection.subscriptions.0.iter().find(|(event, _)| event == UPGRADE);
    Some(Carried {
        fd: connection.socket,
        id,
        peer,
        asked: false,
        subscription: waits.map(|(_, id)| Subscription { id: id.clone(), format: Format::Yaml }),
        unparsed: connection.read_buffer.0.clone(),
        unwritten: connection.write_buffer.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::AckMode as Ack;
    use crate::base::{Pid, Version};
    use crate::handover::plan::Plan;

    const BUSY: &str = include_str!("../../tests/golden/handoff/einhorn-1.1.1-busy.yaml");
    const TIMERS: &str = include_str!("../../tests/golden/handoff/einhorn-1.1.1-timers.yaml");
    const OLD: &str = include_str!("../../tests/golden/handoff/einhorn-0.8.2-derived.yaml");

    fn plan_of(text: &str) -> Result<Plan, String> {
        Plan::of(&Document::from_yaml(text).map_err(|error| error.to_string())?)
    }

    #[test]
    fn what_ruby_was_told_is_a_command_line_of_ours() {
        let plan = plan_of(BUSY).unwrap();
        let config = plan.held.facts.config();
        assert_eq!((config.number.of(0), config.backlog, config.seconds, config.ack), (1, 100, 0.1, Ack::Manual));
        assert_eq!((config.signal_timeout, config.kill_children_on_exit, config.socket_as_fd), (Some(30), true, true));
        let args: Vec<String> =
            plan.held.facts.call.args.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        let expected = [
            "--number=1",
            "--backlog=100",
            "--seconds=0.1",
            "--ack-mode=manual",
            "--signal-timeout=30",
            "--kill-children-on-exit",
            "--command-socket-as-fd",
            "--reexec-as='./dumper.sh'",
            "--drop-env-var=X",
            "--bind=127.0.0.1:0",
            "--",
            "./worker",
        ];
        assert_eq!(args, expected);
        assert_eq!(plan.held.open.releases.iter().map(|release| release.version).collect::<Vec<_>>(), [Version(0)]);
    }

    #[test]
    fn timers_are_given_only_where_they_are_not_rubys_own() {
        assert_eq!(plan_of(TIMERS).unwrap().held.facts.config().ack, Ack::Timer(std::time::Duration::from_secs(500)));
        let by_default = plan_of(&TIMERS.replace(":timeout: 500.0", ":timeout: 1")).unwrap();
        assert!(!by_default.held.facts.config().is_ack_given());
    }

    #[test]
    fn words_of_the_old_kind_are_taken_over_with_their_sockets() {
        let plan = plan_of(OLD).unwrap();
        assert_eq!(plan.held.pool.workers.iter().map(|worker| worker.pid).collect::<Vec<_>>(), [Pid(4711), Pid(4712)]);
        let config = plan.held.facts.config();
        assert_eq!(config.binds.iter().map(Bind::to_word).collect::<Vec<_>>(), ["127.0.0.1:0"]);
        let program = config.program_with(|place| Some(place as i32));
        assert_eq!(program[3..], ["x", "0", "--x=0"]);
        assert_eq!(config.program[4], "srv:127.0.0.1:0,r");
    }

    /// What was meant is lost, but nothing panics.
    #[test]
    fn a_document_with_a_wrong_byte_is_planned_or_refused() {
        for text in [BUSY, TIMERS] {
            for place in 0..text.len() {
                let mut bytes = text.as_bytes().to_vec();
                bytes[place] ^= 1;
                let _planned_or_refused = String::from_utf8(bytes).map(|damaged| plan_of(&damaged).map(drop));
            }
        }
    }
}
