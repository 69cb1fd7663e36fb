//! Unit tests of the reload machine: each step, each way in which it fails, and what is in force then. What must hold of any
//! order of steps is held by `tests/sim`.

use super::*;

const VERSION: Version = Version(4);
const CLIENTS: [ClientId; 3] = [ClientId(1), ClientId(2), ClientId(3)];

/// A number of workers as the file says it, and as a command has set it since.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Target {
    read: u32,
    commanded: Option<u32>,
}

impl Configuration for Target {
    type Change = u32;

    fn set(&mut self, change: &u32) {
        self.commanded = Some(*change);
    }

    fn in_place_of(self, in_force: &Self) -> Self {
        Self { commanded: in_force.commanded, ..self }
    }

    fn settings(&self) -> Settings {
        Settings { target: self.commanded.unwrap_or(self.read), ..Settings::default() }
    }
}

fn read(target: u32) -> Target {
    Target { read: target, commanded: None }
}

/// A machine with one worker in force, and its clock.
struct Play {
    machine: Reload<Target, &'static str>,
    now: Mono,
}

/// What is gone back to.
const GOOD: Version = Version(0);
const BEGUN: Input<Target, &str> = Input::UpgradeBegun { after: Some(GOOD) };

impl Play {
    fn new() -> Self {
        Self { machine: Reload::new(read(1)), now: Mono::from_nanos(1) }
    }

    /// The outputs of this one input.
    fn tell(&mut self, input: Input<Target, &'static str>) -> Vec<Output<Target, &'static str>> {
        let mut outputs = Vec::new();
        self.machine.handle(self.now, input, &mut outputs);
        outputs
    }

    fn prepare(&mut self) {
        assert_eq!(self.tell(Input::Prepare { version: VERSION, start: Start::Done }), []);
    }

    fn compare(&mut self, asker: &'static str) {
        assert_eq!(self.tell(Input::Compare { asker, start: Start::Done }), []);
    }

    /// The number of workers that the pool hears of.
    fn find(&mut self, target: u32) -> u32 {
        self.prepare();
        assert_eq!(self.tell(Input::JobEnded), [Output::Open(VERSION)]);
        let offered = self.tell(Input::Opened { version: VERSION, result: Ok(read(target)) });
        let [Output::Ready { version: VERSION, settings }] = offered.as_slice() else { panic!("{offered:?}") };
        settings.target
    }

    fn begin(&mut self, target: u32) {
        self.find(target);
        self.tell(BEGUN);
    }

    fn ask(&mut self, client: ClientId) {
        assert_eq!(self.tell(Input::UpgradeAsked(client)), []);
    }

    /// How many workers there are to be now, and if the upgrade under way is given up.
    fn targets(&self) -> (u32, u32) {
        (self.machine.in_force().settings().target, self.machine.of(GOOD).settings().target)
    }
}

fn refused(reason: &str) -> Output<Target, &'static str> {
    Output::Refuse { version: VERSION, reason: reason.to_owned() }
}

#[test]
fn configuration_counts_from_the_begin_of_its_upgrade_on() {
    let mut play = Play::new();
    assert_eq!((play.find(2), play.targets()), (2, (1, 1)));
    assert_eq!(play.tell(BEGUN), [Output::Begin { before: read(1) }]);
    assert_eq!(play.targets(), (2, 1));
    assert_eq!(play.tell(Input::UpgradeDone), [Output::Conclude(Hearers::AllBut(vec![]))]);
    assert_eq!(play.targets(), (2, 1), "it can still be given up");
    play.tell(Input::Keep(vec![VERSION]));
    assert_eq!(play.targets(), (2, 2));
}

#[test]
fn upgrade_that_is_given_up_leaves_nothing_in_force_however_often_it_began() {
    let mut play = Play::new();
    play.begin(2);
    play.find(3);
    play.tell(Input::UpgradeBegun { after: None });
    assert_eq!(play.targets(), (3, 1));
    let given_up = play.tell(Input::UpgradeGivenUp { to: GOOD });
    assert_eq!(given_up, [Output::GoBack { before: read(3) }, Output::Conclude(Hearers::AllBut(vec![]))]);
    assert_eq!(play.targets(), (1, 1));
    assert_eq!(play.tell(Input::UpgradeGivenUp { to: GOOD }).len(), 1, "there is nothing to go back to any more");
}

#[test]
fn command_during_a_job_outlasts_the_upgrade_given_up_or_not() {
    let mut play = Play::new();
    play.prepare();
    play.tell(Input::Commanded(vec![5, 7]));
    play.tell(Input::JobEnded);
    play.tell(Input::Opened { version: VERSION, result: Ok(read(2)) });
    play.tell(BEGUN);
    assert_eq!(play.targets(), (7, 7));
    play.tell(Input::Commanded(vec![8]));
    assert_eq!(play.targets(), (8, 8));
    play.tell(Input::UpgradeGivenUp { to: GOOD });
    assert_eq!((play.targets(), play.machine.in_force().read), ((8, 8), 1));
}

#[test]
fn version_that_cannot_be_read_or_opened_is_refused_and_changes_nothing() {
    let mut play = Play::new();
    assert_eq!(play.tell(Input::Prepare { version: VERSION, start: Start::Impossible }), [refused(TOO_MUCH)]);
    assert_eq!(play.tell(Input::Compare { asker: "a", start: Start::Impossible }), [Output::RefuseComparison("a")]);
    assert!(!play.machine.is_busy() && play.machine.deadline().is_none());
    play.prepare();
    play.tell(Input::JobEnded);
    let result = Err("address already in use".to_owned());
    assert_eq!(play.tell(Input::Opened { version: VERSION, result }), [refused("address already in use")]);
    assert_eq!((play.tell(BEGUN), play.targets()), (vec![], (1, 1)));
}

#[test]
fn jobs_end_in_the_order_in_which_they_began() {
    let mut play = Play::new();
    play.compare("first");
    assert!(play.machine.is_busy() && !play.machine.is_preparing());
    play.prepare();
    play.compare("last");
    assert!(play.machine.is_preparing());
    assert_eq!(play.tell(Input::JobEnded), [Output::TellDifferences("first")]);
    assert_eq!(play.tell(Input::JobEnded), [Output::Open(VERSION)]);
    assert!(play.machine.is_busy() && !play.machine.is_preparing());
    assert_eq!(play.tell(Input::JobEnded), [Output::TellDifferences("last")]);
    assert_eq!((play.tell(Input::JobEnded), play.machine.is_busy()), (vec![], false));
}

#[test]
fn slow_job_is_told_of_every_30_s() {
    let mut play = Play::new();
    play.compare("a");
    let due = play.machine.deadline().unwrap();
    assert_eq!(due, play.now.after(JOB_NOTE));
    play.now = play.now.after(JOB_NOTE / 2);
    play.compare("b");
    assert_eq!((play.machine.deadline(), play.tell(Input::TimePassed)), (Some(due), vec![]));
    play.now = due;
    assert_eq!(play.tell(Input::TimePassed), [Output::NoteSlow]);
    assert_eq!(play.tell(Input::TimePassed), [], "it was just said");
    play.now = play.now.after(JOB_NOTE / 2);
    play.tell(Input::JobEnded);
    assert_eq!(play.machine.deadline(), Some(play.now.after(JOB_NOTE)), "the next has just begun");
    play.tell(Input::JobEnded);
    assert_eq!(play.machine.deadline(), None);
}

#[test]
fn client_hears_the_end_of_the_upgrade_that_it_asked_for() {
    let [first, second, third] = CLIENTS;
    let mut play = Play::new();
    play.ask(first);
    play.begin(2);
    play.ask(second);
    play.ask(second);
    let end = |play: &mut Play, input| play.tell(input).pop();
    let all_but = |clients: &[ClientId]| Some(Output::Conclude(Hearers::AllBut(clients.to_vec())));
    assert_eq!(end(&mut play, Input::UpgradeDone), all_but(&[second]), "it waits for the next one");
    play.ask(third);
    let refused = end(&mut play, Input::UpgradeRefused);
    assert_eq!(refused, Some(Output::Conclude(Hearers::Only(vec![second, third]))));
    play.begin(3);
    assert_eq!(end(&mut play, Input::UpgradeGivenUp { to: GOOD }), all_but(&[]));
}
