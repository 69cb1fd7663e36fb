#!/usr/bin/env bash
# Plants known faults in a copy of the pool, of the machines and of what hands them on, one at a time, and shows that the simulator finds each of them.
# Usage: tests/sim/plant.sh          (SIM_STEPS and SIM_SEED as for the simulator; PLANT_TARGET_DIR to keep the builds)
# It changes nothing in the tree it is run from. It fails when a fault cannot be planted, or is not found.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${PLANT_TARGET_DIR:-$copy/target}
# Some faults show only where an upgrade takes the place of another, a pause falls into a watch, or the target is lowered in a trial.
export SIM_STEPS=${SIM_STEPS:-10000000}
export RUST_BACKTRACE=0
missed=0

# The copies are as new as this run: builds kept from an earlier one, of a planted tree, must not pass for theirs.
mkdir "$copy/tree"
tar -C "$root" --exclude=./target --exclude=./.git -cf - . | tar -C "$copy/tree" -xmf -

run_simulator() {
    (cd "$copy/tree" && cargo test --quiet --profile sim --test sim every_invariant) >"$copy/output" 2>&1
}

# plant NAME FILE SED-EXPRESSION
plant() {
    local name=$1 file=$copy/tree/src/$2 expression=$3
    cp "$file" "$copy/sound"
    sed -i "$expression" "$file"
    if cmp -s "$file" "$copy/sound"; then
        echo "plant: cannot plant '$name': nothing in src/$2 matches" >&2
        exit 2
    fi
    if run_simulator; then
        printf '%-38s NOT FOUND in %s steps\n' "$name" "$SIM_STEPS"
        missed=$((missed + 1))
    elif grep -q '^sim: seed ' "$copy/output"; then
        printf '%-38s %s\n' "$name" "$(grep -m1 '^sim: seed ' "$copy/output" | cut -c6-170)"
    else
        echo "plant: cannot run the simulator with '$name':" >&2
        tail -n 30 "$copy/output" >&2
        exit 2
    fi
    cp "$copy/sound" "$file"
}

if ! run_simulator; then
    echo "plant: the simulator fails without any planted fault" >&2
    tail -n 30 "$copy/output" >&2
    exit 2
fi
printf '%-38s nothing found in %s steps\n' 'no fault' "$SIM_STEPS"

plant 'cull without waiting for the ack' pool/cull.rs \
    's/count(&self.state.workers, |worker| worker.version == self.state.modern \&\& worker.serves());/count(\&self.state.workers, |worker| worker.version == self.state.modern);/; s/self.state.upgrade.is_none() \&\& modern >= self.state.settings.target/modern >= self.state.settings.target/'
plant 'never-acked counted as serving' pool/cull.rs \
    's/=> self.serving_count(),/=> count(\&self.state.workers, |worker| !worker.is_told()),/'
plant 'signal to a pid already let go' pool/exit.rs \
    's/^        actions.push(Action::ReapWorker { pid });/&\n        actions.push(Action::SignalWorker { pid, signal: Signal::USR2 });/'
plant 'one spawn too many' pool/slots.rs \
    's/^        stage.saturating_sub(modern/        (stage + 1).saturating_sub(modern/; s/slots_without(0..self.stage_size(), filled)/slots_without(0..self.stage_size() + 1, filled)/'
plant 'forgotten deadline' pool/machine.rs \
    '/^            self.patience_deadline(),$/d'
plant 'version not raised' pool/upgrade.rs \
    '/^        self.state.modern = version;$/d'
plant 'a field forgotten in the handoff' pool/worker.rs \
    's/^    pub excluded_from_target: bool,$/    #[serde(skip)]\n&/'
plant 'a field of the pool forgotten in the handoff' pool/state.rs \
    's/^    pub backoff: Backoff,$/    #[serde(skip)]\n&/'
plant 'nothing prepared anew after a re-exec' pool/machine.rs \
    's/^            actions.push(Action::PrepareRelease { version });$/            let _ = version;/'
plant 'a re-exec that oversleeps' pool/machine.rs \
    's/^            Event::Resumed => self.send_again(actions),$/            Event::Resumed => return self.send_again(actions),/'

plant 'the graceful signal of today' pool/tell.rs \
    's/stop_signal.signal(worker.graceful)/stop_signal.signal(self.state.settings.graceful)/'
plant 'the graceful signal at the answer' pool/replenish.rs \
    's/Worker::new(pid, index, version, graceful, now)/Worker::new(pid, index, version, self.state.settings.graceful, now)/'
plant 'USR2 to what a dead worker left' pool/worker.rs \
    's/unwrap_or(graceful)/unwrap_or(Signal::USR2)/'
plant 'a graceful TERM as urgent as TERM' pool/shutdown.rs \
    's/StopSignal::Signal(_) | StopSignal::Graceful => timeout,/StopSignal::Graceful if self.state.settings.graceful == Signal::TERM => Some(timeout.unwrap_or(TERM_GRACE)),\n            &/'
plant 'settings kept after giving up' pool/trial.rs \
    '/^        state.settings = state.fallback;$/d'
plant 'back to what started over' pool/upgrade.rs \
    's/^        if self.state.upgrade.is_none() {$/        if true {/'
plant 'a target that giving up undoes' pool/machine.rs \
    's/self.each_settings(|_, settings| settings.target = target);/self.state.settings.target = target;/'
plant 'the old judged by the new settings' pool/ack.rs \
    's/if worker.version == self.state.modern { &self.state.settings } else { &self.state.fallback }/let _ = worker;\n        \&self.state.settings/'
plant 'a given-up version judged at all' pool/ack.rs \
    's/^        wanted \&\& /        (wanted || true) \&\& /'
plant 'an answer older than the request' pool/upgrade.rs \
    's/ asked_again: true, dropped: false, \.\.\*preparing/ dropped: false, ..*preparing/'
plant 'a request forgotten in the answer' pool/upgrade.rs \
    '/^            return self.prepare_again(version, actions);$/s/self.prepare_again(version, actions)//'
plant 'what was found in vain is kept' pool/upgrade.rs \
    's/^            if !self.is_over() {$/            if false {/'

plant 'a stage that is not watched' pool/rollout.rs \
    's/if until > now => return,/if until > now \&\& false => return,/'
plant 'a stage larger than allowed' pool/stage.rs \
    's/self.stages.workers(self.stage, target)/self.stages.workers(self.stage + 1, target)/'
plant 'a pause that does not hold' pool/stage.rs \
    's/let wanted = if self.paused.is_some() { 0 }/let wanted = if false { 0 }/'
plant 'a pause that takes time away' pool/stage.rs \
    's/let pause = now.since(since);/let pause = now.since(since.max(now));/'
plant 'the answer for another version' pool/rollout.rs \
    's/as_mut().filter(|_| version == self.state.modern)/as_mut().filter(|_| version >= Version(0))/'
plant 'a stage that ends without its check' pool/rollout.rs \
    's/Phase::Filling if self.state.settings.has_check =>/Phase::Filling if false =>/'
plant 'a watch that ends without its check' pool/rollout.rs \
    's/Phase::Baking { .. } if self.state.settings.has_check =>/Phase::Baking { .. } if false =>/'
plant 'a trial that counts nothing' pool/trial.rs \
    's/trial.failures.saturating_add(1)/trial.failures.saturating_add(0)/'
plant 'a trial that passes too early' pool/trial.rs \
    's/of_age.get(self.state.settings.target as usize - 1)/of_age.first()/'
plant 'no launch on the way back' pool/trial.rs \
    's/(state.launch_at_once, state.returning) = (true, true);/(state.launch_at_once, state.returning) = (false, false);/'
plant 'given up while it serves in full' pool/trial.rs \
    's/trial.failures > self.state.settings.max_failures \&\& !self.serves_in_full() {$/trial.failures > self.state.settings.max_failures {/'
plant 'given up for a single death' pool/trial.rs \
    's/^const ACCIDENTS: u32 = 1;$/const ACCIDENTS: u32 = 0;/'
plant 'failures of a trial that acks forgive' pool/ack.rs \
    's/^        self.note_ack_in_slot(/        self.state.trial.iter_mut().for_each(|trial| trial.failures = 0);\n&/'
plant 'back to a bad version for good' pool/trial.rs \
    's/(earlier.version, earlier.settings, !earlier.proven);/(earlier.version, earlier.settings, false);\n                state.trial = None;/'
plant 'a slot that is never filled again' pool/slot_deaths.rs \
    's/self.last_launch.after((interval + jitter).min(longest))/self.last_launch.after((interval + jitter).min(longest) * if self.unacked + self.early > 1 { 1_000_000 } else { 1 })/'
plant 'an abort that forgets the way back' pool/trial.rs \
    's/self.go_back(UpgradeFailure::Aborted, actions);/self.state.upgrade = None;\n            self.state.trial = None;/'
plant 'a rollback that stays' pool/trial.rs \
    's/let version = std::mem::replace(&mut state.modern, state.good);/let version = if reason == UpgradeFailure::RolledBack { state.modern } else { std::mem::replace(\&mut state.modern, state.good) };/'
plant 'a stopped worker that a timer acks' pool/trial.rs \
    's/if acked_at.is_none_or(|acked_at|/if acked_at.is_none() \&\& acked_at.is_none_or(|acked_at|/'
plant 'a dark upgrade on trial kept' pool/trial.rs \
    's/trial.failures > ACCIDENTS \&\& self.serving_count() == 0/trial.failures > ACCIDENTS + 1_000 \&\& self.serving_count() == 0/'
plant 'two workers in one slot' pool/slots.rs \
    's/untold.into_iter().map(|worker| worker.slot).chain(launched.map(|launch| launch.slot));/untold.into_iter().map(|worker| worker.slot).chain(launched.map(|launch| launch.slot).take(0));/'
plant 'a back-off that an ack ends' pool/slots.rs \
    's/^            deaths.unacked = 0;$/            (deaths.unacked, deaths.early) = (0, 0);/'
plant 'a command lost by an earlier version' pool/machine.rs \
    '/^        self.state.earlier.iter_mut().for_each(|earlier| change/d'
plant 'back to a version on trial as if good' pool/trial.rs \
    's/^        if std::mem::take(&mut state.good_is_on_trial) {$/        if false {/'
plant 'a slot of a later stage emptied' pool/cull.rs \
    's/let later = self.stage_size()\.\./let later = self.state.settings.target../'
plant 'a surge above its limit' pool/replenish.rs \
    's/of_all.min(of_surge.unwrap_or(u32::MAX))/of_all.min(of_surge.unwrap_or(u32::MAX).max(1))/'
plant 'fewer serve than may' pool/cull.rs \
    's/target.saturating_sub(settings.unavailable()),$/target.saturating_sub(settings.unavailable() + 1),/'
plant 'fewer serve in a pause' pool/cull.rs \
    's/Some(upgrade) if upgrade.paused.is_none() =>/Some(_) =>/; s/Some(_) | None => target,/None => target,/'
plant 'a slot above the target kept' pool/cull.rs \
    's/worker.slot.0 >= target;/worker.slot.0 > target;/'
plant 'an aborted upgrade that begins' pool/upgrade.rs \
    's/^        found.filter(|preparing| !preparing.dropped)$/        found/'
plant 'an upgrade that outlives its deadline' pool/rollout.rs \
    's/upgrade.deadline.filter(|(moment, _)| \*moment <= now)/upgrade.deadline.filter(|_| false)/'
plant 'a check forgotten by a re-exec' pool/rollout.rs \
    's/if self.waits_for_check_of(self.state.modern) {/if false \&\& self.waits_for_check_of(self.state.modern) {/'

plant 'a check that may hang for ever' machines/reexec.rs \
    's/^                if deadline.take_if(|due| \*due <= now).is_some() {$/                if false {/'
plant 'an exec while the master stops' machines/reexec.rs \
    's/^            Drain::Done => outputs.push(Output::Exec),$/            Drain::Done | Drain::Stopping => outputs.push(Output::Exec),/; /^            Drain::Stopping => {$/,/^            }$/d'
plant 'threads left stopped' machines/reexec.rs \
    '/^            Input::ExecFailed(failure) => {$/,/^                match failure {$/{/Output::Thaw/d}'
plant 'an upgrade forgotten with its re-exec' machines/reexec.rs \
    's/Output::GiveUp { failure, version: self.version }/Output::GiveUp { failure, version: None }/'
plant 'an image that replaces itself again' machines/reexec.rs \
    's/^            (Origin::Upgrade, _) | (Origin::Elsewhere, NextProgram::Unknown) => {$/            (Origin::Elsewhere, NextProgram::Unknown) => {/; s/^            (Origin::Elsewhere, NextProgram::Known) => {$/            (Origin::Elsewhere | Origin::Upgrade, _) => {/'

plant 'a command lost by an upgrade' machines/reload.rs \
    's/self.coming.insert(read.in_place_of(&self.in_force))/self.coming.insert(read)/'
plant 'a command undone by giving up' machines/reload.rs \
    's/std::iter::once(&mut self.in_force).chain(self.others.iter_mut().map(|(_, of)| of))/std::iter::once(\&mut self.in_force)/'
plant 'a configuration that started over' machines/reload.rs \
    's/^        self.others.extend(after.map(.*$/&\n        if let (None, Some((_, last))) = (after, self.others.last_mut()) {\n            *last = before.clone();\n        }/'
plant 'a client that hears of another upgrade' machines/reload.rs \
    's/Hearers::AllBut(self.askers.clone())/Hearers::AllBut(Vec::new())/'
plant 'a re-exec that forgets a job' machines/reload.rs \
    's/^        !self.jobs.is_empty()$/        false/'
plant 'a slow job told of once' machines/reload.rs \
    's/^            self.note_due = Some(now.after(JOB_NOTE));$//'
plant 'configurations forgotten in the handoff' machines/reload.rs \
    's/^    others: Vec<(Version, C)>,$/    #[serde(skip)]\n&/'
plant 'an earlier configuration dropped' machines/reload.rs \
    's/retain(|(version, _)| versions.contains(version))/retain(|(version, _)| versions.last() == Some(version))/'

if [ "$missed" -gt 0 ]; then
    echo "plant: $missed planted faults were not found" >&2
    exit 1
fi
