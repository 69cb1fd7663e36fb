//! The re-exec: between two events the master becomes its next image, and the pool goes there as text, through the real
//! handoff. For a while the pool that stayed is kept beside the one that went, is told the same, and must ask for the same,
//! action by action (I13). What comes back out of the text must be what went in (I12).

use einhyrningsins::handoff::einhorn::{Descriptors, State as EinhornState};
use einhyrningsins::handoff::{Document, Ours};
use einhyrningsins::pool::{Action, Event, Pool, State};

use crate::hold;
use crate::rollout::Rollout;
use crate::run::Run;

/// For how many events after the last re-exec the pool that stayed is listened to.
const WINDOW: u32 = 200;

/// How long an exec takes.
const EXEC_NS: [u64; 5] = [0, 0, 1_000, 20_000_000, 3_000_000_000];

/// The pool that stayed.
pub struct Shadow {
    pool: Pool,
    actions: Vec<Action>,
    left: u32,
}

impl Run {
    /// Nothing is lost of the pool. What the old image had sent for, it waits for in vain, and the next must send again.
    pub fn reexec(&mut self) {
        let state = self.pool.to_hand_on();
        let read = handed_on(state);
        hold!("I12", read.as_ref() == Ok(state), "{state:?} comes out as {read:?}");
        let restored = Pool::restore(read.expect("it is what went in"));
        hold!("I12", restored == self.pool, "{:?} is restored as {restored:?}", self.pool);
        let stayed = std::mem::replace(&mut self.pool, restored);
        self.shadow.get_or_insert(Shadow { pool: stayed, actions: Vec::new(), left: 0 }).left = WINDOW;
        self.coverage.reexecs += 1;
        self.coverage.prepared_anew += u64::from(self.ledger.outstanding.take().is_some());
        let later = self.rng.pick(&EXEC_NS);
        self.now = self.moment(later);
        self.resume();
    }

    /// To the pool that stayed it is an event like any other.
    fn resume(&mut self) {
        self.trace.line(|| format!("{:>8} at {} ns: re-exec", self.step_count + 1, self.now.as_nanos()));
        self.coverage.events.count(&Event::Resumed);
        self.begin(&Event::Resumed);
        self.tell_shadow(&Event::DeadlinePassed);
        self.record_state();
        let mut actions = Vec::new();
        let is_checked = self.ledger.rollout.as_ref().is_some_and(Rollout::is_checked);
        let sent_again = usize::from(self.pool.state().preparing.is_some()) + usize::from(is_checked);
        self.trace.tell(&mut self.pool, self.now, Event::Resumed, &mut actions);
        hold!("I13", actions.len() >= sent_again, "{actions:?} after a re-exec, {sent_again} are to be sent again");
        self.compare_with_shadow(&actions[sent_again..]);
        self.finish(&actions, actions.len() - sent_again);
    }

    pub fn tell_shadow(&mut self, event: &Event) {
        if let Some(shadow) = &mut self.shadow {
            shadow.actions.clear();
            shadow.pool.handle(self.now, event.clone(), &mut shadow.actions);
        }
    }

    pub fn compare_with_shadow(&mut self, actions: &[Action]) {
        let Some(shadow) = &mut self.shadow else { return };
        hold!("I13", shadow.actions == actions, "{actions:?} after a re-exec, {:?} without", shadow.actions);
        let (went, stayed) = (self.pool.deadline(), shadow.pool.deadline());
        hold!("I13", went == stayed, "the deadline is {went:?} after a re-exec, {stayed:?} without");
        self.coverage.compared += 1;
        shadow.left -= 1;
        if shadow.left == 0 {
            self.shadow = None;
        }
    }
}

pub fn handed_on(pool: &State) -> Result<State, String> {
    let document =
        Document { state: EinhornState::default(), descriptors: Descriptors::default(), ours: Some(Ours::of(pool)?) };
    let read = Document::from_yaml(&document.to_yaml()).map_err(|error| error.to_string())?;
    let state: State = read.ours.ok_or("our part is gone")?.read().map_err(|error| error.to_string())?;
    state.check()?;
    Ok(state)
}
