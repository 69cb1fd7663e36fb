//! The commands that hold an upgrade, go on with it and take it back. Each is refused with the reason where it would do nothing.

use crate::base::Version;
use crate::pool::{Command, Event};
use crate::protocol::Asking;
use crate::supervisor::master::Supervisor;

const NONE_UNDER_WAY: &str = "Refused: no upgrade is under way";

impl Supervisor {
    pub(crate) fn pause(&self, asking: Asking) -> Vec<Event> {
        let refusal = match (self.pool.upgrading(), self.pool.is_paused()) {
            (None, _) => Some(NONE_UNDER_WAY),
            (Some(_), true) => Some("Refused: the upgrade is paused already"),
            (Some(_), false) => None,
        };
        self.do_or_refuse(asking, refusal, "Pausing the upgrade, as commanded", Command::Pause)
    }

    pub(crate) fn resume(&self, asking: Asking) -> Vec<Event> {
        let refusal = (!self.pool.is_paused()).then_some("Refused: no upgrade is paused");
        self.do_or_refuse(asking, refusal, "Going on with the upgrade, as commanded", Command::Resume)
    }

    pub(crate) fn abort(&self, asking: Asking) -> Vec<Event> {
        let has_any = self.pool.is_preparing() || self.pool.is_on_trial() && self.pool.good() != self.pool.modern();
        let refusal = "Refused: no upgrade is under way and no version on trial; rollback undoes one that is done";
        self.do_or_refuse(asking, (!has_any).then_some(refusal), "Aborting, as commanded", Command::Abort)
    }

    pub(crate) fn roll_back(&self, asking: Asking, wanted: Option<Version>) -> Vec<Event> {
        match self.return_version(wanted) {
            Ok(version) => {
                let reply = format!("Going back to version {version}, as commanded");
                self.do_or_refuse(asking, None, &reply, Command::RollBack(Some(version)))
            }
            Err(why) => self.say(asking, format!("Refused: {why}")),
        }
    }

    /// # Errors
    /// Why it cannot be gone back there.
    fn return_version(&self, wanted: Option<Version>) -> Result<Version, String> {
        let is_known = |version: &Version| self.pool.adopted() != Some(*version);
        let last = wanted.or_else(|| self.pool.return_target(None));
        if let Some(version) = last.filter(|version| !is_known(version) && *version != self.pool.modern()) {
            let hint = if self.pool.upgrading().is_some() { "; abort ends the upgrade under way" } else { "" };
            return Err(format!(
                "version {version} ran under a master that was killed, and what it ran is not kept: upgrade to it \
                 instead{hint}"
            ));
        }
        let kept: Vec<String> =
            self.pool.return_targets().filter(is_known).map(|version| version.to_string()).collect();
        let Some(version) = self.pool.return_target(wanted) else {
            return Err(match (wanted, kept.is_empty()) {
                (_, true) => "there is no version to go back to".to_owned(),
                (Some(wanted), false) => format!("version {wanted} is not kept, only {}", kept.join(", ")),
                (None, false) => "the master is going down".to_owned(),
            });
        };
        let Some(release) = self.sockets.releases.get(&version) else {
            return Err(format!("an address of version {version} was closed since, upgrade to it instead"));
        };
        let spec = &release.exec_spec;
        let gone = |path: &std::path::Path| format!("{} of version {version} is gone", path.display());
        for path in spec.directory.as_deref().into_iter().chain([spec.path.as_path()]) {
            std::fs::metadata(path).map_err(|_| gone(path))?;
        }
        Ok(version)
    }

    fn do_or_refuse(&self, asking: Asking, refusal: Option<&str>, reply: &str, command: Command) -> Vec<Event> {
        self.say(asking, refusal.unwrap_or(reply).to_owned());
        if refusal.is_some() { Vec::new() } else { vec![Event::CommandGiven(command)] }
    }
}
