//! The pool as a picture that can be handed on: out of one image of the master, into the next. It holds all that decisions
//! rest on, and says nothing of how it is written (`handoff` does). Taking it changes nothing, and a pool that is made of it
//! asks for nothing before it is resumed.

use crate::pool::{
    Action, Backoff, Mono, Pool, Preparing, Remnant, Settings, Stopping, Upgrade, UpgradeStyle, Version, Worker,
};

/// Everything that a pool holds between two events, under the pool's names for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub settings: Settings,
    /// What a failed upgrade goes back to. The same as `settings` while none is under way.
    pub fallback: Settings,
    /// In the order of their launch.
    pub workers: Vec<Worker>,
    pub remnants: Vec<Remnant>,
    pub launch_at_once: bool,
    pub modern: Version,
    pub good: Version,
    pub newest: Version,
    pub preparing: Option<Preparing>,
    pub upgrade: Option<Upgrade>,
    pub stopping: Option<Stopping>,
    pub backoff: Backoff,
    pub last_spinup: Option<Mono>,
    pub last_upgraded: Option<Mono>,
    pub last_style: Option<UpgradeStyle>,
    pub last_linger_note: Option<Mono>,
    pub ever_acked: bool,
}

impl Pool {
    /// What this pool is. Asserts that the moment is one between two events of a master that goes on: every launch is
    /// answered before the next event, and after `Exit` there is no next image.
    pub fn snapshot(&self) -> Snapshot {
        assert!(!self.is_over(), "a master that ends hands nothing on");
        // Without `..`: a new field does not compile until somebody has decided whether it is handed on.
        let Self {
            settings,
            fallback,
            workers,
            remnants,
            launches,
            launch_at_once,
            modern,
            good,
            newest,
            preparing,
            upgrade,
            stopping,
            backoff,
            last_spinup,
            last_upgraded,
            last_style,
            last_linger_note,
            blocked: _,
            ever_acked,
        } = self;
        assert!(launches.is_empty(), "a launch is answered before anything else happens");
        Snapshot {
            settings: *settings,
            fallback: *fallback,
            workers: workers.clone(),
            remnants: remnants.clone(),
            launch_at_once: *launch_at_once,
            modern: *modern,
            good: *good,
            newest: *newest,
            preparing: *preparing,
            upgrade: *upgrade,
            stopping: *stopping,
            backoff: backoff.clone(),
            last_spinup: *last_spinup,
            last_upgraded: *last_upgraded,
            last_style: *last_style,
            last_linger_note: *last_linger_note,
            ever_acked: *ever_acked,
        }
    }

    /// The pool of which this is the picture. What blocks a launch is looked at anew: it follows from the rest, and was
    /// told already.
    pub fn restore(snapshot: Snapshot) -> Self {
        let Snapshot {
            settings,
            fallback,
            workers,
            remnants,
            launch_at_once,
            modern,
            good,
            newest,
            preparing,
            upgrade,
            stopping,
            backoff,
            last_spinup,
            last_upgraded,
            last_style,
            last_linger_note,
            ever_acked,
        } = snapshot;
        assert!(settings.target >= 1 && fallback.target >= 1, "a pool has at least one worker");
        let mut pool = Self {
            settings,
            fallback,
            workers,
            remnants,
            launches: Vec::new(),
            launch_at_once,
            modern,
            good,
            newest,
            preparing,
            upgrade,
            stopping,
            backoff,
            last_spinup,
            last_upgraded,
            last_style,
            last_linger_note,
            blocked: None,
            ever_acked,
        };
        pool.blocked = pool.what_blocks();
        pool
    }

    /// Goes on in a new image: asks again for what was being prepared, since the errand for it went with the old image, and
    /// sees to what fell due meanwhile. If somebody had asked again already, it is looked for once more after that; better
    /// than to start by what the first look found.
    pub fn resume(&mut self, now: Mono, actions: &mut Vec<Action>) {
        if let Some(Preparing { version, .. }) = self.preparing {
            actions.push(Action::PrepareRelease { version });
        }
        self.settle(now, actions);
    }
}
