//! What the pool has to say: facts, not sentences. `supervisor::report` words them for the log and for subscribers.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Ending, Mono, Pid, Signal, Slot, Version, WorkerIndex};
use crate::pool::command::UpgradeStyle;
use crate::pool::wait::Wait;
use crate::pool::worker::Elsewhere;

/// One thing worth telling.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    LaunchingMany {
        count: u32,
    },
    Launched {
        pid: Pid,
        index: WorkerIndex,
    },
    Relaunching {
        since: Duration,
        interval_s: f64,
        deaths: u32,
    },
    LaunchBlocked(Blocked),
    /// The upgrade to this version has waited for long by now.
    UpgradeWaits {
        version: Version,
        wait: Wait,
        at: Mono,
    },
    ExecStuck {
        pid: Pid,
        after: Duration,
    },
    AckReceived {
        pid: Pid,
    },
    AckIgnored {
        pid: Pid,
        reason: AckIgnored,
    },
    TimerPassed {
        pid: Pid,
        after: Duration,
    },
    UpTo {
        acked: u32,
        target: u32,
        broken_streak: u32,
    },
    AckMissed {
        pid: Pid,
        after: Duration,
    },
    /// A worker on trial was stopped by a signal for so long.
    StoppedTooLong {
        pid: Pid,
        after: Duration,
    },
    Exited {
        pid: Pid,
        ending: Ending,
        acked: Acked,
        asked: Asked,
    },
    GroupHasSurvivors {
        pid: Pid,
    },
    /// What a worker has left in another group is told to go.
    LeftElsewhere {
        group: Pid,
        signal: Signal,
        elsewhere: Elsewhere,
    },
    /// A worker has ended at once, without an error, and left this program behind: it has gone to the background. Told once for each version.
    Daemonized {
        pid: Pid,
        program: String,
    },
    Sending {
        signal: Signal,
        pids: Vec<Pid>,
    },
    Resending {
        signal: Signal,
        pid: Pid,
    },
    SentAll {
        signal: Signal,
        pids: Vec<Pid>,
    },
    KillingLate {
        pid: Pid,
        after: Duration,
    },
    Lingering {
        pids: Vec<Pid>,
        longest: Duration,
    },
    CullingOld {
        count: u32,
    },
    CullingGradually {
        count: u32,
    },
    CullingStale {
        count: u32,
    },
    CullingSurplus {
        count: u32,
    },
    UpgradeStarted {
        style: UpgradeStyle,
        from: Version,
    },
    UpgradeStartedOver {
        acked: u32,
        target: u32,
    },
    /// The slots of a stage serve, and are watched for so long.
    StageServes {
        slots: u32,
        target: u32,
        bake: Duration,
    },
    Paused {
        version: Version,
        slots: u32,
        target: u32,
    },
    Resumed {
        version: Version,
    },
    Upgraded {
        version: Version,
    },
    TrialPassed {
        version: Version,
    },
    UpgradeFailed {
        version: Version,
        back_to: Version,
        reason: UpgradeFailure,
    },
    UpgradeRefused {
        reason: String,
    },
    NotUpgradingWhileStopping,
    GaveUp {
        deaths: u32,
    },
    /// So many workers of the slot died young in a row; the next one comes after `wait`.
    SlotWaits {
        slot: Slot,
        deaths: u32,
        wait: Duration,
    },
    NothingServes,
    /// The workers serve so long before they are told to go.
    StopDelayed {
        delay: Duration,
    },
    /// No worker of the first start has lived for long, and one ended with a code that no restart mends.
    StartIsVain {
        pid: Pid,
        code: i32,
    },
    /// The last worker of the slot ended with such a code.
    SlotStaysDown {
        slot: Slot,
        pid: Pid,
        code: i32,
    },
}

/// What keeps a missing worker from being launched now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocked {
    Unacked { unacked: u32, max: u32 },
    Capacity { over: u32, modern: u32, total: u32 },
}

/// Why an ack or a ping meant nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AckIgnored {
    NotManual,
    Unknown,
    Repeated,
}

/// Whether a worker had said that it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Acked {
    Yes,
    Never,
}

/// Whether a worker had been told to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Asked {
    Yes,
    No,
}

/// Why an upgrade was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpgradeFailure {
    /// So many new workers in a row died or missed their ack.
    Failures(u32),
    /// The master was told to stop.
    Stopping,
    /// So many failures in its trial.
    TooMany(u32),
    /// Its last worker that served does not any more.
    NothingServes,
    /// What the check said.
    CheckFailed(String),
    /// What was seen of it.
    Unfit(String),
    /// It was not done in this time.
    DeadlinePassed(Duration),
    Aborted,
    RolledBack,
    /// A worker ended with this code, which no restart mends.
    Final(i32),
}
