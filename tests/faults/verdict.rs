//! Whether a master has come through: it works again, or it has ended as the manual says and has left nothing. It asks the master as a user
//! does, kills a worker of it and sends it a signal; it never looks inside.

use std::time::{Duration, Instant};

use einhyrningsins::base::exit_code::EXIT_CODES;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::ask::{ask, is_served, is_served_at, last_word, status};
use crate::phases::{Scene, Wanted};
use crate::support::{Process, holds_within};

/// A master that came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It works again; it served and answered this long after the fault had ended.
    Through(Duration),
    /// It has ended in good order with this code.
    ToAnEnd(i32),
}

/// Judges; `limit` is the ceiling of the whole. One that works holds at most so many descriptors.
pub fn judge(scene: &Scene, wanted: Wanted, descriptors_max: usize, limit: Duration) -> Result<Came, String> {
    let came = come(scene, wanted, limit)?;
    match came {
        Came::ToAnEnd(_) => Ok(came),
        Came::Through(_) => {
            let held = || scene.master.process().descriptors();
            // Those of clients, the harness among them, go a moment later.
            if holds_within(limit, || held().len() <= descriptors_max) {
                return Ok(came);
            }
            Err(format!("it has lost descriptors, {descriptors_max} are normal: {:?}", held()))
        }
    }
}

fn come(scene: &Scene, wanted: Wanted, limit: Duration) -> Result<Came, String> {
    match wanted {
        Wanted::Ends => ended(scene, limit).map(Came::ToAnEnd),
        Wanted::WorksOrEnds => match works(scene, limit, replaces_and_hears) {
            Err(_) if !scene.master.process().is_alive() => ended(scene, limit).map(Came::ToAnEnd),
            outcome => outcome.map(Came::Through),
        },
        Wanted::AdoptsOrLeaves => match works(scene, limit, can_be_upgraded) {
            Err(_) if !scene.master.process().is_alive() => left_alone(scene).map(Came::ToAnEnd),
            outcome => outcome.map(Came::Through),
        },
        Wanted::Works => works(scene, limit, replaces_and_hears).map(Came::Through),
        Wanted::CanBeUpgraded => works(scene, limit, can_be_upgraded).map(Came::Through),
    }
}

/// The time until it stood; what it does after that takes time of its own, an upgrade for example.
fn works(
    scene: &Scene,
    limit: Duration,
    goes_on: fn(&Scene, Duration) -> Result<(), String>,
) -> Result<Duration, String> {
    let began = Instant::now();
    let stands = |_: &Value| Ok(());
    until(scene, limit, "it stands", stands)?;
    let recovered = began.elapsed();
    goes_on(scene, limit.saturating_sub(began.elapsed()))?;
    until(scene, limit.saturating_sub(began.elapsed()), "nothing is left over", |status| only_these(scene, status))?;
    Ok(recovered)
}

/// A worker that is killed is replaced, and a signal is passed on. The master says so in one write; the words of its workers may mix.
fn replaces_and_hears(scene: &Scene, limit: Duration) -> Result<(), String> {
    let before = status(scene.master.socket()).map_err(|error| format!("status: {error}"))?;
    let Some(&victim) = pids(&before).first() else { return Err(format!("no workers in {before}")) };
    victim.signal(Signal::SIGKILL);
    until(scene, limit, "a killed worker is replaced", |now| {
        if pids(now).contains(&victim) { Err(format!("{victim} is still there")) } else { Ok(()) }
    })?;
    let heard = || scene.master.log().count("Sending CONT to ");
    let before = heard();
    scene.master.process().signal(Signal::SIGCONT);
    if holds_within(limit, || heard() > before) { Ok(()) } else { Err("CONT is not heard".to_owned()) }
}

/// The first attempt may be refused for what has just failed, or may be that of the phase.
fn can_be_upgraded(scene: &Scene, limit: Duration) -> Result<(), String> {
    let old = status(scene.master.socket()).map_err(|error| format!("status: {error}"))?;
    let old = pids(&old);
    let mut said = String::new();
    let done = holds_within(limit, || {
        match last_word(scene.master.socket(), "{command: upgrade, id: 1, format: json}", limit) {
            Ok(answer) => said = answer,
            Err(error) => said = error.to_string(),
        }
        said.contains("Upgrade done") || !scene.master.process().is_alive()
    });
    if !done || !said.contains("Upgrade done") {
        return Err(format!("it cannot be upgraded: {}", said.trim()));
    }
    until(scene, limit, "all workers are new", |now| {
        let left: Vec<_> = pids(now).into_iter().filter(|pid| old.contains(pid)).collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} are still there")) }
    })
}

/// Waits until the master answers, as many workers serve as are wanted, all addresses are served, and this is so.
fn until(
    scene: &Scene,
    limit: Duration,
    what: &str,
    also: impl Fn(&Value) -> Result<(), String>,
) -> Result<(), String> {
    let mut missing = String::new();
    let holds = holds_within(limit, || match stands(scene, &also) {
        Ok(()) => true,
        Err(why) => {
            missing = why;
            !scene.master.process().is_alive()
        }
    });
    if !scene.master.process().is_alive() {
        return Err(format!(
            "the master has ended, {}, with {} orphans",
            ending(scene),
            scene.master.descendants().len()
        ));
    }
    if holds { Ok(()) } else { Err(format!("not within {limit:?}: {what}; {missing}")) }
}

fn stands(scene: &Scene, also: &impl Fn(&Value) -> Result<(), String>) -> Result<(), String> {
    let status = status(scene.master.socket()).map_err(|error| format!("status: {error}"))?;
    let (target, count) = (status["target"].as_u64(), pids(&status).len() as u64);
    let at_rest = status["upgrade"].is_null() && status["stopping"] == false;
    if target.is_none() || status["serving"].as_u64() != target || Some(count) != target || !at_rest {
        return Err(format!("status: {status}"));
    }
    ask(scene.master.socket(), "{command: state}").map_err(|error| format!("state: {error}"))?;
    is_served(scene.master.addr()).map_err(|error| format!("{}: {error}", scene.master.addr()))?;
    is_served_at(&scene.unix_socket()).map_err(|error| format!("the unix socket: {error}"))?;
    also(&status)
}

fn pids(status: &Value) -> Vec<Process> {
    let workers = status["workers"].as_array().into_iter().flatten();
    workers.filter_map(|worker| Some(Process(i32::try_from(worker["pid"].as_i64()?).ok()?))).collect()
}

/// No process but the workers and the relay, and no zombie.
fn only_these(scene: &Scene, status: &Value) -> Result<(), String> {
    let listed = pids(status);
    let mut others = scene.master.descendants();
    others.extend(scene.master.process().children());
    others.retain(|process| !listed.contains(process) && !process.is_relay());
    if others.is_empty() { Ok(()) } else { Err(format!("there are other processes: {others:?}")) }
}

/// A start that was refused, and the workers that it has found.
fn left_alone(scene: &Scene) -> Result<i32, String> {
    let code = code_of(scene)?;
    is_served(scene.master.addr()).map_err(|error| format!("refused, {}: {error}", scene.master.addr()))?;
    is_served_at(&scene.unix_socket()).map_err(|error| format!("refused, the unix socket: {error}"))?;
    let gone: Vec<_> = scene.workers.iter().filter(|worker| !worker.is_alive()).collect();
    match (gone.is_empty(), scene.master.file("einhorn.lock.journal").exists()) {
        (true, true) => Ok(code),
        (false, _) => Err(format!("refused, and {gone:?} are gone")),
        (true, false) => Err("refused, and the journal is gone".to_owned()),
    }
}

fn code_of(scene: &Scene) -> Result<i32, String> {
    let code = scene.master.wait_exit().code().filter(|code| EXIT_CODES.iter().any(|known| i32::from(*known) == *code));
    code.ok_or_else(|| format!("it has ended, {}", ending(scene)))
}

/// Waits for the end, and looks at what is left.
fn ended(scene: &Scene, limit: Duration) -> Result<i32, String> {
    if !holds_within(limit, || !scene.master.process().is_alive()) {
        return Err(format!("it has not ended within {limit:?}"));
    }
    let code = code_of(scene)?;
    if !holds_within(limit, || scene.master.descendants().is_empty()) {
        return Err(format!("it has ended with code {code} and left {} orphans", scene.master.descendants().len()));
    }
    let left = [scene.master.socket().to_owned(), scene.master.file("einhorn.pid"), scene.unix_socket()];
    let left: Vec<_> = left.iter().filter(|path| path.exists()).collect();
    if left.is_empty() { Ok(code) } else { Err(format!("it has ended with code {code} and left {left:?}")) }
}

fn ending(scene: &Scene) -> String {
    scene.master.wait_exit().to_string()
}
