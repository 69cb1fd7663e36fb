//! How often each kind of event, action and notice was seen, so that the simulator cannot go blind unnoticed.

use einhyrningsins::pool::{AckIgnored, Action, Blocked, Event, ExitReason, Notice, UpgradeFailure};

use crate::deploy::{LastWord, Outcome};
use crate::release::Fault;

/// A counter for each variant of an enum; a new variant does not compile until it is listed.
macro_rules! counters {
    ($counters:ident, $kind:ident, $of:ident { $($variant:ident),+ $(,)? }) => {
        #[derive(Clone, Copy)]
        enum $kind { $($variant),+ }

        #[derive(Clone, Debug)]
        pub struct $counters([u64; [$($kind::$variant),+].len()]);

        impl Default for $counters {
            fn default() -> Self {
                Self([0; [$($kind::$variant),+].len()])
            }
        }

        impl $counters {
            const NAMES: [&str; [$($kind::$variant),+].len()] =
                [$(concat!(stringify!($of), "::", stringify!($variant))),+];

            pub fn slot(of: &$of) -> usize {
                match of { $($of::$variant { .. } => $kind::$variant as usize),+ }
            }

            pub fn count(&mut self, of: &$of) {
                self.0[Self::slot(of)] += 1;
            }

            fn add(&mut self, other: &Self) {
                self.0.iter_mut().zip(other.0).for_each(|(sum, more)| *sum += more);
            }

            fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                Self::NAMES.into_iter().zip(self.0)
            }
        }
    };
}

counters!(
    Events,
    EventKind,
    Event {
        Started,
        Resumed,
        CommandGiven,
        ReleaseReady,
        ReleaseRefused,
        CheckEnded,
        WorkerSpawned,
        SpawnFailed,
        WorkerExeced,
        WorkerAcked,
        WorkerPinged,
        WorkerStopped,
        WorkerContinued,
        VersionUnfit,
        WorkerExited,
        WorkerReaped,
        LeftoverFound,
        GroupEmptied,
        DeadlinePassed,
    }
);
counters!(
    Actions,
    ActionKind,
    Action { PrepareRelease, KeepReleases, SpawnWorker, RunCheck, SignalWorker, SignalGroup, ReapWorker, Tell, Exit }
);
counters!(
    Notices,
    NoticeKind,
    Notice {
        LaunchingMany,
        Launched,
        Relaunching,
        LaunchBlocked,
        UpgradeWaits,
        ExecStuck,
        AckReceived,
        AckIgnored,
        TimerPassed,
        UpTo,
        AckMissed,
        StoppedTooLong,
        Exited,
        GroupHasSurvivors,
        LeftElsewhere,
        Daemonized,
        Sending,
        Resending,
        SentAll,
        KillingLate,
        Lingering,
        CullingOld,
        CullingGradually,
        CullingStale,
        CullingSurplus,
        UpgradeStarted,
        UpgradeStartedOver,
        StageServes,
        Paused,
        Resumed,
        Upgraded,
        TrialPassed,
        UpgradeFailed,
        UpgradeRefused,
        NotUpgradingWhileStopping,
        GaveUp,
        SlotWaits,
        NothingServes,
        StopDelayed,
        StartIsVain,
        SlotStaysDown,
    }
);
counters!(Blocks, BlockedKind, Blocked { Unacked, Capacity });
counters!(Ignored, AckIgnoredKind, AckIgnored { NotManual, Unknown, Repeated });
counters!(
    Failures,
    UpgradeFailureKind,
    UpgradeFailure {
        Failures,
        Stopping,
        TooMany,
        NothingServes,
        CheckFailed,
        Unfit,
        DeadlinePassed,
        Aborted,
        RolledBack,
        Final,
    }
);
counters!(
    Faults,
    FaultKind,
    Fault {
        Sound,
        DiesAtLaunch,
        DiesAtAge,
        NeverAcks,
        Hangs,
        Flaps,
        DiesInSlot,
        DiesWhenFull,
        Stops,
        AcceptsNothing,
        IsMisconfigured
    }
);
counters!(
    Outcomes,
    OutcomeKind,
    Outcome {
        Passed,
        Failures,
        TooMany,
        NothingServes,
        CheckFailed,
        Unfit,
        DeadlinePassed,
        Aborted,
        RolledBack,
        Final
    }
);
counters!(
    LastWords,
    LastWordKind,
    LastWord { None, Abort, RollBack, RollBackTo, PauseResume, PauseAbort, PauseRollBack }
);
counters!(Exits, ExitReasonKind, ExitReason { Stopped, Quit, GaveUp });

/// Everything that was seen.
#[derive(Clone, Debug, Default)]
pub struct Coverage {
    pub events: Events,
    pub actions: Actions,
    pub notices: Notices,
    pub blocks: Blocks,
    pub ignored: Ignored,
    pub failures: Failures,
    pub exits: Exits,
    /// How often releases of each kind were bad, or sound.
    pub faults: Faults,
    /// How versions ended of which nothing but their own faults was to be feared, and what was commanded last there.
    pub outcomes: Outcomes,
    pub last_words: LastWords,
    /// Times in which bad releases cost strength there, and in which it came back.
    pub shortfalls: u64,
    /// Pids given to a new worker before the pool heard that the old one's group was gone.
    pub recycled_early: u64,
    /// Deaths of one instant that were tried in both orders.
    pub permuted: u64,
    /// Releases that were looked for again, since another request had come meanwhile.
    pub prepared_again: u64,
    /// Releases that were found when the pool was stopping already.
    pub found_too_late: u64,
    /// Upgrades that were given up, and other settings with them.
    pub given_back: u64,
    /// Workers that a timer acked while another way of acking was set for new ones.
    pub acked_otherwise: u64,
    /// Pools that were handed on, upgrades that were being prepared then, and steps that were compared with a pool that
    /// was not handed on.
    pub reexecs: u64,
    pub deaths: u64,
    pub deaths_in_upgrades: u64,
    pub deaths_at_stops: u64,
    pub found_unlisted: u64,
    pub prepared_anew: u64,
    pub compared: u64,
    /// Re-execs that the master has begun and given up, and upgrades that the next image went back with.
    pub reexecs_begun: u64,
    pub reexecs_given_up: u64,
    pub went_back: u64,
    /// Checks of the next program, and those that were killed.
    pub checks: u64,
    pub checks_killed: u64,
    /// Events between the stop of the threads and the exec.
    pub drained: u64,
    /// Stops in that time.
    pub stopped_late: u64,
    /// Jobs for a version to come, or for a comparison with what is in force.
    pub jobs_not_started: u64,
    pub jobs_slow: u64,
    pub comparisons: u64,
    pub comparisons_refused: u64,
    pub ends_told: u64,
    pub waited_for_jobs: u64,
    pub jobs_before_exec: u64,
    /// Runs brought to rest by the liveness phase.
    pub settled: u64,
    /// Runs that ended with `Exit`.
    pub ended: u64,
}

impl Coverage {
    pub fn action(&mut self, action: &Action) {
        self.actions.count(action);
        match action {
            Action::Tell(notice) => self.notice(notice),
            Action::Exit(reason) => self.exits.count(reason),
            _ => {}
        }
    }

    fn notice(&mut self, notice: &Notice) {
        self.notices.count(notice);
        match notice {
            Notice::LaunchBlocked(blocked) => self.blocks.count(blocked),
            Notice::AckIgnored { reason, .. } => self.ignored.count(reason),
            Notice::UpgradeFailed { reason, .. } => self.failures.count(reason),
            _ => {}
        }
    }

    pub fn add(&mut self, other: &Self) {
        self.events.add(&other.events);
        self.actions.add(&other.actions);
        self.notices.add(&other.notices);
        self.blocks.add(&other.blocks);
        self.ignored.add(&other.ignored);
        self.failures.add(&other.failures);
        self.exits.add(&other.exits);
        self.faults.add(&other.faults);
        self.outcomes.add(&other.outcomes);
        self.last_words.add(&other.last_words);
        self.shortfalls += other.shortfalls;
        self.recycled_early += other.recycled_early;
        self.permuted += other.permuted;
        self.prepared_again += other.prepared_again;
        self.found_too_late += other.found_too_late;
        self.given_back += other.given_back;
        self.acked_otherwise += other.acked_otherwise;
        self.reexecs += other.reexecs;
        self.deaths += other.deaths;
        self.deaths_in_upgrades += other.deaths_in_upgrades;
        self.deaths_at_stops += other.deaths_at_stops;
        self.found_unlisted += other.found_unlisted;
        self.prepared_anew += other.prepared_anew;
        self.compared += other.compared;
        self.reexecs_begun += other.reexecs_begun;
        self.reexecs_given_up += other.reexecs_given_up;
        self.went_back += other.went_back;
        self.checks += other.checks;
        self.checks_killed += other.checks_killed;
        self.drained += other.drained;
        self.stopped_late += other.stopped_late;
        self.jobs_not_started += other.jobs_not_started;
        self.jobs_slow += other.jobs_slow;
        self.comparisons += other.comparisons;
        self.comparisons_refused += other.comparisons_refused;
        self.ends_told += other.ends_told;
        self.waited_for_jobs += other.waited_for_jobs;
        self.jobs_before_exec += other.jobs_before_exec;
        self.settled += other.settled;
        self.ended += other.ended;
    }

    pub fn rows(&self) -> Vec<(&'static str, u64)> {
        let own = [
            ("pids recycled early", self.recycled_early),
            ("deaths permuted", self.permuted),
            ("releases prepared again", self.prepared_again),
            ("releases found too late", self.found_too_late),
            ("settings given back", self.given_back),
            ("old workers acked their own way", self.acked_otherwise),
            ("re-execs", self.reexecs),
            ("deaths of the master", self.deaths),
            ("deaths in upgrades", self.deaths_in_upgrades),
            ("deaths at stops", self.deaths_at_stops),
            ("workers found that no journal has", self.found_unlisted),
            ("releases prepared anew after one", self.prepared_anew),
            ("steps compared with no re-exec", self.compared),
            ("re-execs begun by steps", self.reexecs_begun),
            ("re-execs given up", self.reexecs_given_up),
            ("upgrades whose image went back", self.went_back),
            ("checks", self.checks),
            ("checks killed", self.checks_killed),
            ("events before an exec", self.drained),
            ("stops before an exec", self.stopped_late),
            ("jobs that could not be started", self.jobs_not_started),
            ("jobs told to take long", self.jobs_slow),
            ("comparisons told", self.comparisons),
            ("comparisons refused", self.comparisons_refused),
            ("ends of upgrades told to clients", self.ends_told),
            ("re-execs that waited for a job", self.waited_for_jobs),
            ("jobs begun before an exec", self.jobs_before_exec),
            ("times of too few workers", self.shortfalls),
            ("runs settled", self.settled),
            ("runs ended", self.ended),
        ];
        let mut rows: Vec<_> = self.events.rows().collect();
        rows.extend(self.actions.rows());
        rows.extend(self.notices.rows());
        rows.extend(self.blocks.rows());
        rows.extend(self.ignored.rows());
        rows.extend(self.failures.rows());
        rows.extend(self.exits.rows());
        rows.extend(self.faults.rows());
        rows.extend(self.outcomes.rows());
        rows.extend(self.last_words.rows());
        rows.extend(own);
        rows
    }
}
