//! The main thread stands in for threads that cannot be started, and they take over from it.

use std::panic::resume_unwind;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::*;
use crate::sys::testing::{LIMIT, wait_until};
use crate::threads::handle::Pauses;
use crate::threads::spawn::shortage;

/// Notes down who has done which piece of work. A negative one fails, with a panic that nothing prints.
struct Tested {
    pieces: Receiver<i32>,
    done: Sender<(Doer, i32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doer {
    Thread,
    StandIn,
}

impl Tested {
    fn work_at(&self, piece: i32, doer: Doer) {
        if piece < 0 {
            resume_unwind(Box::new(()));
        }
        let _the_test_has_ended = self.done.send((doer, piece));
    }
}

impl Work for Tested {
    const NAME: &'static str = "tested";

    fn serve(&mut self, _never_paused: &Pauses) {
        while let Ok(piece) = self.pieces.recv() {
            self.work_at(piece, Doer::Thread);
        }
    }

    fn turn(&mut self) -> Vec<Input> {
        let Ok(piece) = self.pieces.try_recv() else { return Vec::new() };
        self.work_at(piece, Doer::StandIn);
        vec![Input::JobDone]
    }
}

struct Bench {
    pieces: Sender<i32>,
    done: Receiver<(Doer, i32)>,
    thread: Arc<ThreadHandle<Tested>>,
}

fn bench(crew: &mut Crew) -> io::Result<Bench> {
    let (pieces, given) = bounded(8);
    let (noted, done) = bounded(8);
    let thread = crew.start(Tested { pieces: given, done: noted }, Arc::default())?;
    Ok(Bench { pieces, done, thread })
}

fn later(seconds: u64) -> Mono {
    clock::now().after(Duration::from_secs(seconds))
}

#[test]
fn while_every_thread_runs_the_main_thread_has_nothing_to_do_for_them() {
    let mut crew = Crew::optional();
    let bench = bench(&mut crew).unwrap();
    assert_eq!(
        (crew.deadline(), crew.turn(later(9)).len(), bench.thread.without_thread(|_| ()).is_none()),
        (None, 0, true)
    );
    bench.pieces.send(1).unwrap();
    assert_eq!(bench.done.recv_timeout(LIMIT), Ok((Doer::Thread, 1)));
}

#[test]
fn a_master_that_is_not_complete_is_not_started_but_goes_on() {
    let mut crew = Crew::required();
    shortage::begin();
    assert_eq!(bench(&mut crew).err().unwrap().kind(), io::ErrorKind::WouldBlock);
    assert_eq!(crew.deadline(), None);
    crew.allow_missing();
    assert!(bench(&mut crew).is_ok() && crew.deadline().is_some());
}

#[test]
fn the_main_thread_stands_in_until_the_thread_takes_over_where_it_stopped() {
    shortage::begin();
    let mut crew = Crew::optional();
    let bench = bench(&mut crew).unwrap();
    (1..=4).for_each(|piece| bench.pieces.send(piece).unwrap());
    let now = clock::now();
    assert!(matches!(crew.turn(now)[..], [Input::JobDone]));
    // Not more often than it shall.
    assert_eq!((crew.deadline(), crew.turn(now).len()), (Some(now.after(TURN_PAUSE)), 0));
    assert!(matches!(crew.turn(later(9))[..], [Input::JobDone]));
    assert!(bench.thread.without_thread(|_| ()).is_some());
    shortage::end();
    assert_eq!(crew.turn(later(20)).len(), 0);
    assert_eq!((crew.deadline(), bench.thread.without_thread(|_| ()).is_none()), (None, true));
    let done: Vec<_> = (0..4).map(|_| bench.done.recv_timeout(LIMIT).unwrap()).collect();
    assert_eq!(done, [(Doer::StandIn, 1), (Doer::StandIn, 2), (Doer::Thread, 3), (Doer::Thread, 4)]);
}

#[test]
fn to_start_a_thread_is_tried_at_its_own_pace() {
    shortage::begin();
    let mut crew = Crew::optional();
    let begun = clock::now();
    let _bench = bench(&mut crew).unwrap();
    shortage::end();
    let mut now = begun;
    while crew.deadline().is_some() {
        crew.turn(now);
        now = now.after(TURN_PAUSE);
        assert!(now.since(begun) < LIMIT);
    }
    assert!(now.since(begun) >= START_PAUSE);
}

#[test]
fn work_that_fails_or_is_wanted_no_longer_does_no_harm() {
    shortage::begin();
    let mut crew = Crew::optional();
    let bench = bench(&mut crew).unwrap();
    bench.pieces.send(-1).unwrap();
    bench.pieces.send(2).unwrap();
    assert_eq!([crew.turn(later(1)).len(), crew.turn(later(2)).len()], [0, 1]);
    // What was given before is done still.
    bench.pieces.send(3).unwrap();
    let Bench { pieces, done, thread } = bench;
    drop(thread);
    crew.turn(later(3));
    assert_eq!(done.try_iter().collect::<Vec<_>>(), [(Doer::StandIn, 2), (Doer::StandIn, 3)]);
    assert_eq!(crew.deadline(), None);
    assert!(wait_until(LIMIT, || pieces.send(4).is_err()));
}
