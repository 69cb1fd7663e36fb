//! The load: many clients in a few threads, in groups that can be led to other addresses or away from all. It counts what became of
//! each request in the phase that the driver has told it of.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollTimeout, poll};

use crate::client::{Client, Mood};
use crate::support::{LIMIT, Target, wait_until};
use crate::tally::{Phase, Tally};

/// Two, since the machine that is spoken of in `doc/reliability.md` has two processors.
const THREADS: usize = 2;
/// The longest that a thread sleeps: it looks then for clients that pause, for moods, and for what has waited too long.
const LOOK_EVERY_MS: u16 = 2;
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// Clients that go to the same addresses.
#[derive(Default)]
pub struct Group {
    targets: Mutex<Arc<[Target]>>,
    /// Those that have a connection.
    busy: AtomicUsize,
}

/// What driver and threads tell each other.
#[derive(Default)]
pub struct Shared {
    phase: AtomicUsize,
    in_flight: AtomicU64,
    ended: AtomicBool,
}

/// A running load.
pub struct Load {
    shared: Arc<Shared>,
    groups: Vec<Arc<Group>>,
    tallies: Vec<Arc<Mutex<Tally>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    /// So many clients in each group, none of which goes anywhere yet. The seed says what they ask.
    pub fn start(sizes: &[usize], seed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let groups: Vec<_> = sizes.iter().map(|_| Arc::new(Group::default())).collect();
        let members = sizes.iter().zip(&groups).flat_map(|(size, group)| (0..*size).map(move |_| Arc::clone(group)));
        let mut shares: Vec<Vec<_>> = (0..THREADS).map(|_| Vec::new()).collect();
        for (name, group) in members.enumerate() {
            shares[name % THREADS].push((group, Client::new(name, seed)));
        }
        let tallies: Vec<_> = (0..THREADS).map(|_| Arc::<Mutex<Tally>>::default()).collect();
        let start = |(clients, tally): (Vec<_>, &Arc<Mutex<Tally>>)| {
            let (shared, tally) = (Arc::clone(&shared), Arc::clone(tally));
            thread::spawn(move || run(clients, &shared, &tally))
        };
        let threads = shares.into_iter().zip(&tallies).map(start).collect();
        Self { shared, groups, tallies, threads }
    }

    /// Leads a group to these addresses, each client to any of them with each connection.
    pub fn lead(&self, group: usize, targets: &[Target]) {
        *self.groups[group].targets() = targets.into();
    }

    /// Leads a group away from all addresses, and waits until its clients have their answers.
    #[track_caller]
    pub fn lead_away(&self, group: usize) {
        self.lead(group, &[]);
        wait_until("the clients have their answers", LIMIT * 2, || {
            self.groups[group].busy.load(Ordering::SeqCst) == 0 || self.has_failed()
        });
    }

    /// What comes to an end from now on counts as of this phase.
    pub fn enter(&self, phase: Phase) {
        self.shared.phase.store(phase, Ordering::SeqCst);
    }

    /// Requests sent and not answered yet.
    pub fn in_flight(&self) -> u64 {
        self.shared.in_flight.load(Ordering::SeqCst)
    }

    /// What happened until now.
    pub fn so_far(&self) -> Tally {
        let mut sum = Tally::default();
        for tally in &self.tallies {
            sum.add(&tally.lock().expect("a client thread panicked"));
        }
        sum
    }

    /// Lets every client finish, and counts.
    #[track_caller]
    pub fn stop(mut self) -> Tally {
        (0..self.groups.len()).for_each(|group| self.lead_away(group));
        self.shared.ended.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| thread.join().expect("a client thread panicked"));
        self.so_far()
    }

    fn has_failed(&self) -> bool {
        self.threads.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // Without waiting: a run that fails shall end.
        self.shared.ended.store(true, Ordering::SeqCst);
    }
}

impl Group {
    fn targets(&self) -> MutexGuard<'_, Arc<[Target]>> {
        self.targets.lock().expect("a client thread panicked")
    }
}

impl Shared {
    pub fn phase(&self) -> Phase {
        self.phase.load(Ordering::SeqCst)
    }

    pub fn sent(&self, count: u64) {
        self.in_flight.fetch_add(count, Ordering::SeqCst);
    }

    pub fn came_to_an_end(&self, count: u64) {
        self.in_flight.fetch_sub(count, Ordering::SeqCst);
    }
}

fn run(mut clients: Vec<(Arc<Group>, Client)>, shared: &Shared, tally: &Mutex<Tally>) {
    let mut looked = Instant::now();
    while !shared.ended.load(Ordering::SeqCst) {
        let ready = wait(&clients);
        let mut tally = tally.lock().expect("the driver panicked");
        for (at, (group, client)) in clients.iter_mut().enumerate() {
            let was_idle = client.is_idle();
            if ready[at] {
                let mood = if group.targets().is_empty() { Mood::Leaving } else { Mood::Going };
                client.proceed(mood, shared, &mut tally);
            }
            // Counted before the targets are read, so that `lead` sees each client that had still read the old ones.
            if was_idle {
                group.busy.fetch_add(1, Ordering::SeqCst);
            }
            let targets = Arc::clone(&group.targets());
            client.begin(&targets, shared, &mut tally);
            if client.is_idle() {
                group.busy.fetch_sub(1, Ordering::SeqCst);
            }
        }
        if looked.elapsed() > EXPIRE_EVERY {
            clients.iter_mut().for_each(|(_, client)| client.expire(shared, &mut tally));
            looked = Instant::now();
        }
    }
}

/// Waits until one of them can go on, and says for each whether it can.
fn wait(clients: &[(Arc<Group>, Client)]) -> Vec<bool> {
    let mut places = Vec::new();
    let mut polled = Vec::new();
    for (at, (_, client)) in clients.iter().enumerate() {
        if let Some((socket, flags)) = client.interest() {
            places.push(at);
            polled.push(PollFd::new(socket, flags));
        }
    }
    let mut ready = vec![false; clients.len()];
    // An interruption is as good as the end of the time.
    let _ = poll(&mut polled, PollTimeout::from(LOOK_EVERY_MS));
    for (at, polled) in places.into_iter().zip(polled) {
        ready[at] = polled.any().unwrap_or(true);
    }
    ready
}
