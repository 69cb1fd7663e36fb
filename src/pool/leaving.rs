//! When a version takes in no more connections: nothing of it is launched any more, and all its workers were told to go.

use crate::base::{Mono, Version};
use crate::pool::machine::Pool;
use crate::pool::worker::Worker;

const BEGINNING: Mono = Mono::from_nanos(0);

impl Pool {
    /// The moment at which the last worker of this version was told to go; the beginning of time, if there is no worker of it. None: one
    /// was not told, or one may be launched yet, at once or when the upgrade under way is given up.
    pub fn leaving_since(&self, version: Version) -> Option<Mono> {
        let launching = self.state.launches.iter().any(|launch| launch.version == version);
        let is_wanted = version == self.state.modern || version == self.state.good && self.state.upgrade.is_some();
        if launching || is_wanted {
            return None;
        }
        let workers = self.state.workers.iter().filter(|worker| worker.version == version);
        workers.map(told_at).collect::<Option<Vec<Mono>>>()?.into_iter().max().or(Some(BEGINNING))
    }
}

fn told_at(worker: &Worker) -> Option<Mono> {
    worker.told.as_ref().map(|told| told.first_at)
}

#[cfg(test)]
mod tests {
    use super::BEGINNING;
    use crate::base::{Pid, Slot, Version, WorkerIndex};
    use crate::pool::event::Event;
    use crate::pool::settings::Settings;
    use crate::pool::state::Launch;
    use crate::pool::testing::{FLEET, Play, SMOOTH, settings};

    const OLD: Version = Version(0);
    const NEW: Version = Version(1);

    /// Every worker of the old version is told to go, and is still there.
    fn replaced() -> Play {
        let mut play = Play::serving(settings());
        play.command(SMOOTH);
        for pid in [3, 4] {
            play.wait(5.0);
            play.tell(Event::WorkerExeced { pid: Pid(pid) });
            play.ack(pid);
        }
        assert!(play.pool.leaving_since(OLD).is_some());
        play
    }

    #[test]
    fn a_version_that_is_wanted_does_not_leave() {
        let mut play = Play::serving(settings());
        assert_eq!(play.pool.leaving_since(OLD), None);
        play.command(FLEET);
        assert_eq!((play.pool.leaving_since(OLD), play.pool.leaving_since(NEW)), (None, None));
    }

    #[test]
    fn a_version_leaves_when_the_last_of_its_workers_is_told() {
        let mut play = Play::serving(settings());
        play.command(SMOOTH);
        play.tell(Event::WorkerExeced { pid: Pid(3) });
        play.ack(3);
        let first_told = play.now;
        assert!(play.pool.workers()[0].is_told() && !play.pool.workers()[1].is_told());
        assert_eq!(play.pool.leaving_since(OLD), None, "it is what a failed upgrade goes back to");
        play.wait(5.0);
        play.tell(Event::WorkerExeced { pid: Pid(4) });
        play.ack(4);
        assert_eq!(play.pool.leaving_since(OLD), Some(play.now));
        assert_ne!(play.now, first_told);
        assert_eq!(play.pool.leaving_since(NEW), None);
        play.die(1);
        play.die(2);
        assert_eq!(play.pool.leaving_since(OLD), Some(BEGINNING), "nothing of it is left");
    }

    #[test]
    fn a_version_that_was_given_up_leaves_and_the_one_before_does_not() {
        let mut play = Play::serving(settings());
        play.next = Some(Settings { retries: Some(2), ..settings() });
        play.command(SMOOTH);
        play.die(3);
        play.wait(2.0);
        play.die(4);
        assert_eq!((play.pool.modern(), play.pool.upgrading()), (OLD, None));
        assert_eq!(play.pool.leaving_since(OLD), None);
    }

    #[test]
    fn a_good_version_is_kept_when_all_its_workers_end() {
        let mut play = Play::serving(settings());
        play.command(SMOOTH);
        play.tell(Event::WorkerExeced { pid: Pid(3) });
        play.ack(3);
        play.die(2);
        let of_old: Vec<_> = play.pool.workers().iter().filter(|worker| worker.version == OLD).collect();
        assert!(of_old.len() == 1 && of_old[0].is_told(), "{of_old:?}");
        assert_eq!(play.pool.leaving_since(OLD), None);
    }

    #[test]
    fn a_version_does_not_leave_while_one_of_its_workers_is_not_told() {
        let mut play = replaced();
        let worker = play.pool.state.workers.iter_mut().find(|worker| worker.version == OLD).unwrap();
        worker.told = None;
        assert_eq!(play.pool.leaving_since(OLD), None);
    }

    #[test]
    fn a_version_does_not_leave_while_a_launch_of_it_is_not_answered() {
        let mut play = replaced();
        let graceful = settings().graceful;
        let launch = Launch { index: WorkerIndex(9), slot: Slot(0), version: OLD, graceful, asked_at: play.now };
        play.pool.state.launches.push(launch);
        assert_eq!(play.pool.leaving_since(OLD), None);
    }
}
