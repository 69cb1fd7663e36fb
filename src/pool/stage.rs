//! An upgrade under way, and where in its stages it is. It decides nothing; `rollout` does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::{Mono, Stages};
use crate::pool::command::{Terms, UpgradeStyle};
use crate::pool::settings::Settings;

/// An upgrade under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    pub style: UpgradeStyle,
    /// New workers that died or missed their ack since the last that acked.
    pub failures: u32,
    #[serde(default)]
    pub stages: Stages,
    /// How long each stage but the last is watched.
    #[serde(default)]
    pub bake: Duration,
    /// When it is given up if it is not done; for how long it may take stands beside it.
    #[serde(default)]
    pub deadline: Option<(Mono, Duration)>,
    /// From 0.
    #[serde(default)]
    pub stage: u32,
    #[serde(default)]
    pub phase: Phase,
    /// A worker of the new version was launched in each slot below this one; none of them is taken from it again.
    #[serde(default)]
    pub reached: u32,
    /// Since when it is paused.
    #[serde(default)]
    pub paused: Option<Mono>,
}

/// Where in its stage an upgrade is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The slots of the stage are being filled.
    #[default]
    Filling,
    /// They are, and the check runs.
    Checking,
    /// It has passed; meanwhile a worker may have died.
    Checked,
    /// They are watched.
    Baking {
        until: Mono,
    },
    /// The watch is over, and the check runs once more.
    CheckingAgain,
    CheckedAgain,
}

impl Upgrade {
    pub(in crate::pool) fn begin(now: Mono, style: UpgradeStyle, terms: Terms, settings: &Settings) -> Self {
        Self {
            style,
            failures: 0,
            stages: terms.stages.unwrap_or(settings.stages),
            bake: terms.bake.unwrap_or(settings.bake),
            deadline: terms.deadline.map(|limit| (now.after(limit), limit)),
            stage: 0,
            phase: Phase::Filling,
            reached: 0,
            paused: None,
        }
    }

    /// One that Ruby's einhorn began: it has one stage, and no slots.
    pub fn of_ruby(style: UpgradeStyle) -> Self {
        Self::begin(Mono::from_nanos(0), style, Terms::default(), &Settings::default())
    }

    /// How many slots the stage has, of `target`.
    pub(in crate::pool) fn stage_size(&self, target: u32) -> u32 {
        let wanted = if self.paused.is_some() { 0 } else { self.stages.workers(self.stage, target) };
        wanted.max(self.reached).min(target)
    }

    pub(in crate::pool) fn end(&self) -> Option<Mono> {
        self.deadline.filter(|_| self.paused.is_none()).map(|(moment, _)| moment)
    }

    /// What was to come is put off by the pause.
    pub(in crate::pool) fn resume(&mut self, now: Mono) {
        let Some(since) = self.paused.take() else { return };
        let pause = now.since(since);
        if let Phase::Baking { until } = &mut self.phase {
            *until = until.after(pause);
        }
        if let Some((moment, _)) = &mut self.deadline {
            *moment = moment.after(pause);
        }
    }
}
