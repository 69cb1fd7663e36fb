//! The master that all happens to, its configuration file, and what both should lead to. `settled` compares what is with what should
//! be; it must never ask for less than the configuration that was last deployed.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::log_watch::LogWatch;
use crate::support::{LIMIT, Master, Process, Setup, Target, ask, example, free_address, holds_within};

/// Between two looks at a master that has not settled yet.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// For how long a master is looked at, after the last question, until it is at rest.
const REST: Duration = Duration::from_millis(500);

/// What is told when it took longer.
const LONG: Duration = Duration::from_secs(1);

const FILE: &str = "chaos.toml";

/// What the configuration file says.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Workers, in the file.
    pub number: u64,
    pub extra: Extra,
    /// Counts the upgrades; each worker has the number of its own in its environment.
    pub deploy: u64,
    pub graceful_signal: &'static str,
    pub orphans: Orphans,
}

/// Whether there is a further address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    Absent,
    Bound,
}

/// What workers do when their master dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orphans {
    Serve,
    /// With `kill-children-on-exit`.
    Leave,
}

pub struct Site {
    pub master: Master,
    pub wanted: Wanted,
    /// Workers that there should be: by the file, or by what was said after it.
    pub number: u64,
    addresses: Addresses,
    resources: Option<Resources>,
    log: LogWatch,
    /// How long it may take to settle.
    pub limit: Duration,
}

struct Addresses {
    v4: SocketAddr,
    v6: SocketAddr,
    unix: PathBuf,
    extra: SocketAddr,
}

/// What the master holds when it is at rest, with the further address left out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resources {
    /// How many descriptors of each kind.
    descriptors: BTreeMap<String, usize>,
    threads: Option<i32>,
}

impl Resources {
    fn count(&self) -> usize {
        self.descriptors.values().sum()
    }
}

impl Site {
    /// A master whose workers serve on TCP over IPv4 and IPv6 and on a Unix socket.
    pub fn start(wanted: Wanted) -> Self {
        let setup = Setup::new("--config").word(FILE);
        let unix = setup.directory().join("web.sock");
        let addresses = Addresses { v4: free_address(), v6: free_v6_address(), unix, extra: free_address() };
        setup.write(FILE, &text(&wanted, &addresses));
        let master = setup.start();
        let (number, log) = (wanted.number, LogWatch::new(wanted.graceful_signal));
        let mut site = Self { master, wanted, number, addresses, resources: None, log, limit: LIMIT };
        site.settle().expect("the first start");
        // What the starter has left open ends with the first replacement of the program.
        site.master.reload();
        site.settle().expect("the first replacement");
        site.resources = Some(site.resources_at_rest());
        site
    }

    /// Where the workers serve, but for the further address.
    pub fn targets(&self) -> [Target; 3] {
        [self.addresses.v4.into(), self.addresses.v6.into(), self.addresses.unix.as_path().into()]
    }

    pub fn extra_target(&self) -> Target {
        self.addresses.extra.into()
    }

    /// Puts a new configuration in place for the next upgrade.
    pub fn write(&mut self, change: impl FnOnce(&mut Wanted)) {
        let before = self.wanted.number;
        self.wanted.deploy += 1;
        change(&mut self.wanted);
        if self.wanted.number != before {
            self.number = self.wanted.number;
        }
        self.master.replace(FILE, &text(&self.wanted, &self.addresses));
    }

    /// Starts another master by the same configuration.
    pub fn start_another(&self) -> Master {
        self.master.beside("--config").word(FILE).start()
    }

    /// Lets another master stand in the place of this one, which is dead.
    pub fn start_again(&mut self) {
        self.master = self.start_another();
        self.number = self.wanted.number;
        self.resources = None;
        self.log = LogWatch::new(self.wanted.graceful_signal);
        self.log.expect_warnings();
    }

    /// From now on, things happen of which a master shall warn.
    pub fn expect_warnings(&mut self) {
        self.log.expect_warnings();
    }

    /// The status document.
    pub fn status(&self) -> Value {
        let answer = self.master.control(r#"{"command":"status","format":"json"}"#);
        let document: Value = serde_json::from_str(&answer).expect("the status is JSON");
        document["status"].clone()
    }

    /// Waits until all is as the configuration says, and no more. The error says what is not; when it took long, the text says what
    /// came last.
    pub fn settle(&mut self) -> Result<Option<String>, String> {
        let began = Instant::now();
        let mut last = None;
        loop {
            match self.settled() {
                Ok(()) => {
                    self.log.check(self.master.log())?;
                    let took = began.elapsed();
                    return Ok(last
                        .filter(|_| took > LONG)
                        .map(|why| format!("settled after {took:?}; till then {why}")));
                }
                Err(why) if began.elapsed() >= self.limit => return Err(format!("after {:?} {why}", self.limit)),
                Err(why) => last = Some(why),
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// Whether the master has ended all that it was told to do, and nothing is left of it.
    fn settled(&self) -> Result<(), String> {
        if !self.master.is_running() {
            return Err("the master is gone".to_owned());
        }
        let status = self.status();
        let workers = status["workers"].as_array().cloned().unwrap_or_default();
        let is_new = |worker: &Value| worker["state"] == "acked" && worker["version"] == status["version"];
        let is_right = status["pid"] == self.master.pid()
            && ["upgrade", "trial"].iter().all(|under_way| status[under_way].is_null())
            && [&status["target"], &status["serving"]].iter().all(|count| **count == self.number)
            && workers.len() as u64 == self.number
            && workers.iter().all(is_new);
        if !is_right {
            return Err(format!("{} workers are wanted, and this is the status: {status}", self.number));
        }
        let listed: Vec<_> = workers.iter().filter_map(|worker| worker["pid"].as_i64()).collect();
        self.check_processes(listed)?;
        self.check_resources()
    }

    /// No zombie, no stranger but the relay, and each worker of the configuration that was deployed last.
    fn check_processes(&self, mut listed: Vec<i64>) -> Result<(), String> {
        let children = self.master.process().children_at_once().into_iter();
        let (relays, mut children): (Vec<_>, Vec<_>) = children.partition(|child| child.is_relay());
        if relays.len() != 1 {
            return Err(format!("the relays are {relays:?}"));
        }
        children.sort_unstable();
        listed.sort_unstable();
        if !children.iter().map(|child| i64::from(child.0)).eq(listed.iter().copied()) {
            return Err(format!("the children are {children:?} and the workers {listed:?}"));
        }
        let deploy = self.wanted.deploy.to_string();
        let old = children.iter().find(|worker| worker.environ().get("CHAOS_DEPLOY") != Some(&deploy));
        old.map_or(Ok(()), |worker| Err(format!("worker {worker} is not of deploy {deploy}")))
    }

    fn check_resources(&self) -> Result<(), String> {
        let Some(before) = &self.resources else { return Ok(()) };
        let mut now = None;
        // The connection that has just asked for the status takes a moment to go.
        let is_same = holds_within(REST, || now.insert(self.resources()) == before);
        if is_same { Ok(()) } else { Err(format!("the master holds {now:?}, and held {before:?}")) }
    }

    /// What it holds without requests: the least of what is there for a while.
    fn resources_at_rest(&self) -> Resources {
        let mut least = self.resources();
        holds_within(REST, || {
            let now = self.resources();
            if now.count() < least.count() {
                least = now;
            }
            false
        });
        least
    }

    fn resources(&self) -> Resources {
        let process = self.master.process();
        let mut descriptors = BTreeMap::<String, usize>::new();
        for target in process.descriptors().into_values() {
            let kind = target.split(":[").next().unwrap_or_default().to_owned();
            *descriptors.entry(kind).or_default() += 1;
        }
        // One for the output of each worker.
        if let Some(pipes) = descriptors.get_mut("pipe") {
            *pipes = pipes.saturating_sub(usize::try_from(self.number).unwrap_or_default());
        }
        if let (Extra::Bound, Some(sockets)) = (self.wanted.extra, descriptors.get_mut("socket")) {
            *sockets -= 1;
        }
        Resources { descriptors, threads: process.thread_count() }
    }

    /// Asks at each address, on a new connection, and sees who answers.
    pub fn ask_everywhere(&self) -> Result<(), String> {
        let workers = self.master.workers();
        let mut targets = self.targets().to_vec();
        if self.wanted.extra == Extra::Bound {
            targets.push(self.extra_target());
        }
        for target in targets {
            match ask(&target, "/?id=driver") {
                Ok(answer) if workers.contains(&Process(answer.pid)) => {}
                Ok(answer) => return Err(format!("{} answers at {target:?}, of {workers:?}", answer.pid)),
                Err((failure, why)) => return Err(format!("the driver's request to {target:?} was {failure}: {why}")),
            }
        }
        Ok(())
    }
}

fn text(wanted: &Wanted, addresses: &Addresses) -> String {
    let Addresses { v4, v6, unix, extra } = addresses;
    let mut binds = vec![format!("{v4},r"), format!("{v6},r,n"), format!("unix:{}", unix.display())];
    if wanted.extra == Extra::Bound {
        binds.push(format!("{extra},r"));
    }
    let Wanted { number, deploy, graceful_signal, orphans, .. } = wanted;
    format!(
        "command = ['{worker}', '--ack', 'manual']\nnumber = {number}\nbind = {binds:?}\nack-mode = 'manual'\n\
        seconds = 0.01\nearly-life = '200ms'\nadopt = false\nkill-children-on-exit = {leave}\nenv.set = {{ CHAOS_DEPLOY = '{deploy}' }}\n\
        worker.graceful-signal = '{graceful_signal}'\n",
        worker = example("http_worker").display(),
        leave = *orphans == Orphans::Leave,
    )
}

/// Below the ports that the kernel hands out, as those of `free_address`; there all processes share one address.
fn free_v6_address() -> SocketAddr {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 9_000).unwrap_or_default();
    loop {
        let port = 20_000 + (start + TAKEN.fetch_add(1, Ordering::Relaxed)) % 9_000;
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        if TcpStream::connect(address).is_err() {
            return address;
        }
    }
}
