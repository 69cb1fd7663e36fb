//! The golden document of ours, which must load for ever; and what no master can hold.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use serde_json::Value as Json;

use super::*;
use crate::base::Signal;
use crate::handoff::Document;
use crate::output::systemd_status::Readiness;
use crate::pool::{AckMode, StopSignal, UpgradeStyle};
use crate::protocol::{Format, Role};

const GOLDEN: &str = include_str!("../../tests/golden/handoff/ours-2.yaml");

fn golden() -> Held {
    let ours = Document::from_yaml(GOLDEN).unwrap().ours.unwrap();
    Held::read(&ours).unwrap_or_else(|error| panic!("{error}"))
}

fn json(held: &Held) -> Json {
    serde_json::to_value(held).unwrap()
}

/// One that reads what is written as JSON.
fn read(json: &Json) -> Result<Held, String> {
    Held::read(&Ours::of(json).unwrap())
}

/// What may be changed only by a new format: each of these has been written.
#[test]
fn a_document_of_ours_means_what_it_meant() {
    let Held { pool, facts, service, image, generation, lost_lines, open, check } = golden();
    assert_eq!(check, None);
    let [one, other] = pool.workers.as_slice() else { panic!("{:?}", pool.workers) };
    assert_eq!(one.told.as_ref().unwrap().signals, [Signal::USR2, Signal::TERM]);
    assert_eq!((one.ping.as_ref().unwrap().request_id.as_str(), one.graceful), ("req-1", Signal::QUIT));
    assert_eq!(other.graceful, Signal::from_number(40).unwrap());
    let stopping = pool.stopping.unwrap();
    assert_eq!(
        (stopping.grace, stopping.stop_signal),
        (Some(Duration::from_secs(90)), StopSignal::Signal(Signal::TERM))
    );
    assert_eq!((pool.settings.ack, pool.fallback.ack), (AckMode::Timer(Duration::from_millis(2500)), AckMode::Manual));
    assert_eq!((pool.settings.spacing_s, pool.fallback.spacing_s), (0.1, 0.1 + 0.2));
    assert_eq!(
        (pool.preparing.unwrap().style, pool.upgrade.unwrap().style),
        (UpgradeStyle::Smooth, UpgradeStyle::Fleet)
    );
    let config = facts.config();
    assert_eq!(
        (
            config.number.of(0),
            facts.reload.in_force().loaded.number.of(0),
            facts.reload.of(pool.good).effective.number.of(0)
        ),
        (2, 3, 1)
    );
    assert_eq!(
        (config.argv0.as_bytes(), config.program[1].as_bytes()),
        (b"einhyrn\xff".as_slice(), b"\xffar\xff".as_slice())
    );
    assert_eq!(config.env.from_files, [("LANG".into(), OsStr::from_bytes(b"\xff").to_owned())]);
    let access_control = &facts.reload.in_force().access_control;
    assert_eq!((access_control.access.mode, &access_control.groups), (0o660, &vec![33, 34]));
    assert_eq!(facts.call.args[4].as_bytes(), b"\xffar\xff");
    assert_eq!(facts.call.directory.unwrap().as_os_str().as_bytes(), b"/srv/curr\xff");
    assert_eq!((service.readiness, service.failure.as_deref()), (Readiness::Reached, Some("Upgrade failed: no")));
    assert_eq!(
        (image.unwrap().as_os_str().as_bytes(), generation, lost_lines),
        (b"/usr/bin/einhyrn\xff".as_slice(), 6, 7)
    );
    let exec_spec = &open.releases[0].exec_spec;
    assert_eq!((exec_spec.limits[0].hard, exec_spec.limits[0].resource.to_string().as_str()), (u64::MAX, "nofile"));
    assert_eq!(
        (exec_spec.path.as_os_str().as_bytes(), exec_spec.parent_death),
        (b"/srv/\xff/worker".as_slice(), Some(Signal::USR2))
    );
    assert!(open.listeners[0].options.unwrap().nonblock && open.listeners[1].options.is_none());
    let clients = open.control.unwrap().clients.connections;
    assert_eq!(clients[0].unwritten, "---%0Amessage: é%0A\n".as_bytes());
    assert_eq!(
        (clients[0].subscription.as_ref().unwrap().format, clients[1].peer.role),
        (Format::Json, Role::Worker(Pid(4712)))
    );
    assert_eq!(open.old_image, Some(Fd(17)));
}

/// Nothing that stood there is lost on the way; what a later version has beside it has a default.
#[test]
fn a_document_of_ours_is_written_as_it_was() {
    let text = GOLDEN.split_once(":einhyrningsins: |-\n").unwrap().1;
    let mut was: Json = serde_json::from_str(text).unwrap();
    // The one configuration that could be gone back to; there may be several now.
    let fallback = was["held"]["facts"].as_object_mut().unwrap().remove("fallback").unwrap();
    was["held"]["facts"]["others"] = serde_json::json!([[was["held"]["pool"]["good"], fallback]]);
    // How a pool waits is known for each slot now.
    for gone in ["early_deaths", "last_early_death"] {
        assert!(was["held"]["pool"]["backoff"].as_object_mut().unwrap().remove(gone).is_some());
    }
    let is = json(&golden());
    assert!(contains(&is, &was["held"]), "{is:#}\nis not\n{:#}", was["held"]);
    assert!(!contains(&is, &Json::from(1)) && !contains(&was["held"], &is["pool"]), "it fails at all");
}

/// Whether all that is in `part` is in `whole`, in its order, with more keys and items beside it perhaps.
fn contains(whole: &Json, part: &Json) -> bool {
    match (whole, part) {
        (Json::Object(whole), Json::Object(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| contains(whole, part)))
        }
        (Json::Array(whole), Json::Array(part)) => {
            let mut whole = whole.iter();
            part.iter().all(|part| whole.any(|whole| contains(whole, part)))
        }
        (whole, part) => whole == part,
    }
}

#[test]
fn fields_of_a_later_version_are_ignored() {
    let mut changed = json(&golden());
    for pointer in
        ["", "/pool", "/pool/workers/0", "/facts", "/facts/in_force/effective", "/open", "/open/releases/0/exec_spec"]
    {
        changed.pointer_mut(pointer).unwrap()["from_the_future"] = Json::from(1);
    }
    assert_eq!(json(&read(&changed).unwrap()), json(&golden()));
}

/// The golden document names no option that has its default. So does, one day, any document of today: of options to come.
#[test]
fn an_option_that_is_not_named_has_its_default() {
    let held = golden();
    let config = held.facts.config();
    assert!(!GOLDEN.contains("\"backlog\"") && !GOLDEN.contains("graceful-signal"));
    assert_eq!((config.backlog, config.number.of(0), config.worker.graceful_signal), (1024, 2, Signal::USR2));
}

/// What is put where in a document of ours, and the refusal after "cannot read the handoff: ".
#[rustfmt::skip]
const WRONG: [(&str, &str, &str); 16] = [
    ("/pool/settings/target", "0", "pool: settings: the numbers of workers must be at least 1"),
    ("/pool/fallback/spacing_s", "0.0", "pool: fallback: spacing_s must be above 0"),
    ("/pool/good", "5", "pool: good: need a version up to 4, found 5"),
    ("/pool/workers/1/pid", "4711", "pool: workers: process 4711 stands there twice"),
    ("/pool/workers/1/pid", "0", "pool: workers: need a process id above 1, found 0"),
    ("/pool/preparing/style", "\"rough\"", "unknown variant `rough`, expected `smooth` or `fleet`"),
    ("/pool/workers/0/graceful", "\"POET\"", "need a signal, found \"POET\""),
    ("/open/lock/fd", "13", "lock: descriptor 13 stands under connections already"),
    ("/open/lock/fd", "2", "need a descriptor from 3 on, found 2"),
    ("/open/exec_pipes/0/1", "7", "exec_pipes: descriptor 7 stands under listeners already"),
    ("/open/control/listener", "8", "control: descriptor 8 stands under listeners already"),
    ("/open/control/clients/connections/1/id", "40", "connections: client 40 stands under connections already"),
    ("/open/releases/1/version", "3", "releases: version 3 stands under releases already"),
    ("/open/releases/1/listeners/1", "2", "releases: a release has a listener that is not there"),
    ("/open/listeners/0/bind", "\"nowhere\"", "the handoff has an unknown bind \"nowhere\": need ADDR:PORT"),
    ("/open/releases/0/exec_spec/limits/0/resource", "\"wit\"", "the handoff has an unknown limit \"wit\""),
];

#[test]
fn what_no_master_can_hold_is_refused() {
    for (pointer, to, message) in WRONG {
        let mut changed = json(&golden());
        *changed.pointer_mut(pointer).unwrap() = serde_json::from_str(to).unwrap();
        let error = read(&changed).expect_err(message);
        assert!(
            error.starts_with("cannot read the handoff: ") && error.contains(message),
            "{error}\nis not\n{message}"
        );
    }
    let mut without = json(&golden());
    without["facts"]["call"].as_object_mut().unwrap().remove("argv0");
    assert!(read(&without).unwrap_err().contains("missing field `argv0`"));
    let mut changed = json(&golden());
    changed["facts"]["in_force"]["effective"]["words"][0]["flag"] = Json::from("nonsense");
    let error = read(&changed).unwrap_err();
    assert!(error.contains("cannot use the configuration in the handoff: "), "{error}");
}
