//! The files beside the control socket's that something may delete or change while the master runs: those of bound unix sockets, and the
//! pid file. The control thread watches them, and says when to look.
//!
//! A socket whose file is gone cannot be given another: a new one is needed, and workers that accept on it, which only an upgrade brings.
//! None is begun here, for it would start what may be half deployed.

use std::io;
use std::path::{Path, PathBuf};

use log::Level;

use crate::config::Bind;
use crate::files::pidfile::Restored;
use crate::files::unix_socket::new_file_owner;
use crate::output::complaints::Aspect;
use crate::pool::Manner;
use crate::release::listeners::Listener;
use crate::supervisor::master::Supervisor;
use crate::supervisor::process::own_pid;
use crate::sys::account::own_gid;
use crate::sys::file_id::FileId;

impl Supervisor {
    /// Has those watched that there are now.
    pub(crate) fn watch_files(&mut self) {
        let of_sockets = self.modern_listeners().iter().filter_map(|listener| listener.file());
        let of_sockets = of_sockets.map(|(path, id)| (path.clone(), Some(*id)));
        let files: Vec<(PathBuf, Option<FileId>)> =
            of_sockets.chain(self.pid_path().map(|path| (path, None))).collect();
        if files != self.watched {
            let paths: Vec<PathBuf> = files.iter().map(|(path, _)| path.clone()).collect();
            self.watched = files;
            self.facts.complaints.keep(&paths);
            self.threads.control.watch(paths);
        }
    }

    fn pid_path(&self) -> Option<PathBuf> {
        self.files.pid_file().map(|file| file.path().to_owned())
    }

    /// Something may have happened to one of them.
    pub(crate) fn look_at_files(&mut self) {
        if self.pool.is_stopping() {
            return;
        }
        let binds: Vec<Bind> = self.config().binds.clone();
        for (at, bind) in binds.iter().enumerate() {
            self.look_at_socket(at, bind);
        }
        self.look_at_pid_file();
    }

    fn look_at_socket(&mut self, at: usize, bind: &Bind) {
        let Some(listener) = self.modern_listeners().get(at).cloned() else { return };
        let Some((path, _)) = listener.file() else { return };
        let Some(rights) = listener.file_rights() else {
            let complaint = format!(
                "the file of {bind} was removed: no client can connect to it any more; an upgrade makes it anew, with workers that \
                 accept there"
            );
            return self.facts.complaints.complain(Level::Error, path, Aspect::Presence, complaint);
        };
        self.facts.complaints.settle(path, Aspect::Presence);
        let (options, natural) = (listener.options(), new_file_owner(path));
        let mut look = |aspect, word: &'static str, rule: Rule, found: u32, show: fn(u32) -> String| {
            self.look_at_right(bind, path, &Right { aspect, word, rule, found, show }, &listener);
        };
        // Where no mode is configured, a script that starts the service may have set it; and so with the owner.
        let mode = match bind {
            Bind::Unix { mode: Some(_), .. } => Rule::Configured(options.mode),
            Bind::Unix { mode: None, .. } | Bind::Tcp { .. } => Rule::Natural(options.mode),
        };
        look(Aspect::Mode, "mode", mode, rights.mode, |mode| format!("0{mode:o}"));
        // Its directory may have got another group since, and gives that to new files.
        let own_group = if rights.group == own_gid() { own_gid() } else { natural.1 };
        let group = options.owner.group.map_or(Rule::Natural(own_group), Rule::Configured);
        look(Aspect::Group, "group", group, rights.group, |gid| gid.to_string());
        // The last: it takes more than CAP_CHOWN to change what belongs to another user.
        let user = options.owner.user.map_or(Rule::Natural(natural.0), Rule::Configured);
        look(Aspect::User, "user", user, rights.user, |uid| uid.to_string());
    }

    fn look_at_right(&mut self, bind: &Bind, path: &Path, right: &Right, listener: &Listener) {
        let Right { aspect, word, rule, found, show } = *right;
        let (wanted, is_configured) = match rule {
            Rule::Configured(wanted) => (wanted, true),
            Rule::Natural(wanted) => (wanted, false),
        };
        if found == wanted {
            return self.facts.complaints.settle(path, aspect);
        }
        let (before, after) = (show(wanted), show(found));
        let changed = format!("the {word} of {bind} was changed from {before} to {after}");
        let complaint = match is_configured.then(|| restore(listener, aspect)) {
            Some(Ok(())) => {
                self.facts.complaints.settle(path, aspect);
                return log::warn!("{changed}, set it back");
            }
            None => format!("{changed}; ,{word}={after} makes it last"),
            Some(Err(error)) => format!("{changed}: {error}"),
        };
        self.facts.complaints.complain(Level::Warn, path, aspect, complaint);
    }

    fn look_at_pid_file(&mut self) {
        let Some(path) = self.pid_path() else { return };
        // einhorn leaves it as it is, and scripts may count on that.
        match self.pool.settings().manner {
            Manner::Own => self.restore_pid_file(&path),
            Manner::Einhorn if self.files.pid_file().is_some_and(|file| !file.is_intact(own_pid())) => {
                let complaint = format!("the pid file {} was removed or changed", path.display());
                self.facts.complaints.complain(Level::Warn, &path, Aspect::Presence, complaint);
            }
            Manner::Einhorn => self.facts.complaints.settle(&path, Aspect::Presence),
        }
    }

    fn restore_pid_file(&mut self, path: &Path) {
        match self.files.restore_pid_file(own_pid()) {
            Ok(Restored::Intact) => self.facts.complaints.settle(path, Aspect::Presence),
            Ok(Restored::Written) => {
                log::warn!("the pid file {} was removed or changed, wrote it anew", path.display());
                // It may be another file now.
                self.watched.clear();
            }
            Err(error) => {
                let complaint = format!("the pid file was removed or changed: {error}");
                self.facts.complaints.complain(Level::Error, path, Aspect::Presence, complaint);
            }
        }
    }

    /// The binds whose files are gone, so that no client can connect.
    pub(crate) fn lost_sockets(&self) -> Vec<String> {
        let lost = self.modern_listeners().iter().filter(|it| it.file().is_some() && it.file_rights().is_none());
        lost.map(|listener| listener.bind.to_string()).collect()
    }
}

/// What an attribute of a socket's file should be.
#[derive(Clone, Copy)]
enum Rule {
    /// It is set back.
    Configured(u32),
    /// What a new file has.
    Natural(u32),
}

struct Right {
    aspect: Aspect,
    /// As it is called in a bind, too.
    word: &'static str,
    rule: Rule,
    found: u32,
    show: fn(u32) -> String,
}

fn restore(listener: &Listener, aspect: Aspect) -> io::Result<()> {
    match aspect {
        Aspect::Mode => listener.restore_mode(),
        Aspect::User | Aspect::Group => listener.restore_owner(),
        Aspect::Presence => Ok(()),
    }
}
