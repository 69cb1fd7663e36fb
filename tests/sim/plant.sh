#!/usr/bin/env bash
# Plants known faults in a copy of the pool, of the machines and of what hands them on, one at a time, and shows that the simulator finds each of them.
# Usage: tests/sim/plant.sh          (SIM_STEPS and SIM_SEED as for the simulator; PLANT_TARGET_DIR to keep the builds)
# It changes nothing in the tree it is run from. It fails when a fault cannot be planted, or is not found.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR=${PLANT_TARGET_DIR:-$copy/target}
export SIM_STEPS=${SIM_STEPS:-2000000}
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
plant 'one spawn too many' pool/replenish.rs \
    's/self.state.settings.target.saturating_sub(modern + self.launching())/(self.state.settings.target + 1).saturating_sub(modern + self.launching())/'
plant 'forgotten deadline' pool/machine.rs \
    's/self.patience_deadline(), //'
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
plant 'settings kept after giving up' pool/upgrade.rs \
    '/^        self.state.settings = self.state.fallback;$/d'
plant 'back to what started over' pool/upgrade.rs \
    's/^        if self.state.upgrade.is_none() {$/        if true {/'
plant 'a target that giving up undoes' pool/machine.rs \
    '/^                self.state.fallback.target = target;$/d'
plant 'the old judged by the new settings' pool/ack.rs \
    's/if worker.version == self.state.modern { &self.state.settings } else { &self.state.fallback }/let _ = worker;\n        \&self.state.settings/'
plant 'a given-up version judged at all' pool/ack.rs \
    's/^        wanted \&\& /        (wanted || true) \&\& /'
plant 'an answer older than the request' pool/upgrade.rs \
    '/^            preparing.asked_again = true;$/d'
plant 'a request forgotten in the answer' pool/upgrade.rs \
    '/^            return self.prepare_again(version, actions);$/s/self.prepare_again(version, actions)//'
plant 'what was found in vain is kept' pool/upgrade.rs \
    '/^            self.forget_releases(actions);$/d'

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
    's/\[Some(&mut self.in_force), self.fallback.as_mut()\]/[Some(\&mut self.in_force), None]/'
plant 'a configuration that started over' machines/reload.rs \
    's/self.fallback.get_or_insert_with(|| before.clone());/self.fallback = Some(before.clone());/'
plant 'a client that hears of another upgrade' machines/reload.rs \
    's/Hearers::AllBut(self.askers.clone())/Hearers::AllBut(Vec::new())/'
plant 'a re-exec that forgets a job' machines/reload.rs \
    's/^        !self.jobs.is_empty()$/        false/'
plant 'a slow job told of once' machines/reload.rs \
    's/^            self.note_due = Some(now.after(JOB_NOTE));$//'
plant 'a fallback forgotten in the handoff' machines/reload.rs \
    's/^    fallback: Option<C>,$/    #[serde(skip)]\n&/'

if [ "$missed" -gt 0 ]; then
    echo "plant: $missed planted faults were not found" >&2
    exit 1
fi
