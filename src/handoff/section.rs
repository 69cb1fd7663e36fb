//! How our part is written and read. The types stand in `ours`.
//!
//! A field without a default has been there since format 1; one that is added gets a default, so that every document ever
//! written loads for ever (the golden files hold that). What is unknown is not looked at: a field that a reader must not
//! overlook raises `NEEDS`.

use crate::handoff::error::Fault;
use crate::handoff::field::Field;
use crate::handoff::ours::{
    Admittance, Backoff, Birth, CommandLine, Configuration, Connection, Counters, File, Format, HeldFile, Identity,
    Limit, Listener, Manner, OldImage, Peer, Place, Pool, Preparing, Release, Remnant, Role, Section, Settings,
    Stopping, Subscription, Upgrade, Word, Worker,
};
use crate::handoff::record::{Keys, Record, record, with_first, words};
use crate::handoff::{HandoffError, OURS};
use crate::pool::{ClientId, ExitReason, Signal, Told, UpgradeStyle};
use crate::yaml::Value;

/// The format of what we write.
const FORMAT: u64 = 1;

/// The least format that a reader must know not to misunderstand it.
const NEEDS: u64 = 1;

/// Our part as it stands in the document: first who may read it, then the rest.
pub(in crate::handoff) fn to_value(section: &Section) -> Value {
    let fields = with_first(Value::str("needs"), NEEDS.to_value(), section.to_value());
    with_first(Value::str("format"), FORMAT.to_value(), fields)
}

/// Whether we may.
pub(in crate::handoff) fn check_needs(section: &Value) -> Result<(), HandoffError> {
    let needs = || Record::of(section, Keys::Strings)?.or("needs", || 1);
    match needs() {
        Ok(needs) if needs > FORMAT => Err(HandoffError::TooNew { needs }),
        Ok(_) => Ok(()),
        Err(fault) => Err(fault.within(format!(":{OURS}")).into()),
    }
}

/// What the types leave open, and the pool or an index would stumble over.
pub(in crate::handoff) fn check_sense(section: &Section) -> Result<(), Fault> {
    let fault = |key: &str, cause: &str| Err(Fault::new(cause).within(key).within(format!(":{OURS}")));
    for settings in [Some(&section.settings), section.fallback_settings.as_ref()].into_iter().flatten() {
        if settings.target < 1 || settings.max_unacked < 1 || settings.max_upgrade_additional == Some(0) {
            return fault("settings", "the numbers of workers must be at least 1");
        }
        if !(settings.spacing_s.is_finite() && settings.spacing_s > 0.0) {
            return fault("settings", "spacing_s must be above 0");
        }
    }
    let count = u32::try_from(section.listeners.len()).unwrap_or(u32::MAX);
    if section.releases.iter().flat_map(|release| &release.listeners).any(|place| *place >= count) {
        return fault("releases", "a release has a listener that is not there");
    }
    Ok(())
}

record! {
    Section as Keys::Strings {
        workers = Vec::new(),
        remnants = Vec::new(),
        pool,
        settings,
        fallback_settings = None,
        command_line,
        image = None,
        configuration,
        admittance = None,
        fallback_admittance = None,
        releases = Vec::new(),
        listeners = Vec::new(),
        birth,
        connections = Vec::new(),
        next_client = ClientId(0),
        control_socket = None,
        lock = None,
        pid_file = None,
        counters = Counters::default(),
        old_image = None,
        upgrade_askers = Vec::new(),
        was_ready = false,
        upgrade_failure = None,
    }
}

record! {
    Worker as Keys::Strings {
        pid,
        spawned_at = None,
        execed = true,
        acked_at = None,
        stopped = false,
        killed = false,
        written_off = false,
        told = None,
        pinged_at = None,
        graceful = Signal::USR2,
        exec_pipe = None,
    }
}

record! {
    Told as Keys::Strings {
        signals,
        first_at,
        last_at,
        kill_at = None,
    }
}

record! {
    Remnant as Keys::Strings {
        pid,
        signal = Signal::USR2,
        graceful = Signal::USR2,
        since,
        reaped = false,
        kill_at = None,
        killed = false,
    }
}

record! {
    Pool as Keys::Strings {
        modern,
        good,
        newest,
        preparing = None,
        upgrade = None,
        stopping = None,
        launch_at_once = false,
        backoff = Backoff::default(),
        last_spinup = None,
        last_upgraded = None,
        last_style = None,
        last_linger_note = None,
        ever_acked = false,
    }
}

record! {
    Preparing as Keys::Strings {
        version,
        style,
        asked_again = None,
    }
}

record! {
    Upgrade as Keys::Strings {
        style,
        failures = 0,
    }
}

record! {
    Stopping as Keys::Strings {
        signal = None,
        grace = None,
        reason = ExitReason::Stopped,
    }
}

record! {
    Backoff as Keys::Strings {
        unacked_deaths = 0,
        failed_launches = 0,
        last_failed_launch = None,
        early_deaths = 0,
        last_early_death = None,
    }
}

record! {
    Settings as Keys::Strings {
        target,
        ack,
        ack_timeout = None,
        spacing_s,
        max_unacked,
        max_upgrade_additional = None,
        signal_timeout = None,
        graceful = Signal::USR2,
        retries = None,
    }
}

record! {
    CommandLine as Keys::Strings {
        argv0,
        args,
        directory = None,
        place = None,
    }
}

record! {
    Place as Keys::Strings {
        device,
        inode,
    }
}

record! {
    Configuration as Keys::Strings {
        effective,
        loaded = None,
        fallback = None,
        fallback_loaded = None,
    }
}

record! {
    Admittance as Keys::Strings {
        mode,
        group = None,
        users = Vec::new(),
        groups = Vec::new(),
    }
}

record! {
    Word as Keys::Strings {
        flag,
        value = None,
        origin = String::new(),
    }
}

record! {
    Release as Keys::Strings {
        version,
        path,
        argv,
        environment,
        directory = None,
        umask = None,
        limits = Vec::new(),
        identity = None,
        nice = None,
        parent_death = None,
        socket_as_fd = false,
        listeners = Vec::new(),
    }
}

record! {
    Limit as Keys::Strings {
        resource,
        soft,
        hard,
    }
}

record! {
    Identity as Keys::Strings {
        uid,
        gid,
        groups = Vec::new(),
    }
}

record! {
    Listener as Keys::Strings {
        fd,
        bind,
        file = None,
        manner = None,
    }
}

record! {
    Manner as Keys::Strings {
        nonblock = false,
        mode,
    }
}

record! {
    File as Keys::Strings {
        path,
        device,
        inode,
    }
}

record! {
    HeldFile as Keys::Strings {
        fd,
        path,
    }
}

record! {
    Birth as Keys::Strings {
        umask,
        nofile_soft,
        nofile_hard,
        nice,
    }
}

record! {
    Connection as Keys::Strings {
        fd,
        id,
        peer,
        asked = false,
        subscription = None,
        unparsed = Vec::new(),
        unwritten = Vec::new(),
    }
}

record! {
    Peer as Keys::Strings {
        pid,
        uid,
        role = Role::Guest,
    }
}

record! {
    Subscription as Keys::Strings {
        id,
        format = Format::Yaml,
    }
}

record! {
    Counters as Keys::Strings {
        launched = 0,
        exited = 0,
        killed = 0,
        upgrades = 0,
        failed_upgrades = 0,
        dropped_lines = 0,
        strangers = 0,
    }
}

record! {
    OldImage as Keys::Strings {
        program,
    }
}

words! { UpgradeStyle { Smooth = "smooth", Fleet = "fleet" } }
words! { ExitReason { Stopped = "stopped", Quit = "quit", GaveUp = "gave_up" } }
words! { Role { Admin = "admin", Guest = "guest", Worker = "worker" } }
words! { Format { Yaml = "yaml", Json = "json" } }
