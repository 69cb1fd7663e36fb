//! The kinds of bad release of `tests/bad_releases` under a real systemd: what `systemctl reload` says of each, what the service stands
//! at, and what is lost. Those that are expected to go unnoticed are left out, and one that the machine has no program for.

use std::path::Path;
use std::time::Duration;

use crate::kind::{End, Expected, KINDS, Kind, Length, Server, script};
use crate::site::{Site, WEB, address};
use crate::support::{LIMIT, Load, Pace, Report, example, holds_within};

const CLIENTS: usize = 3;
const PACE: Pace = Pace { pause: Duration::from_millis(15), limit: LIMIT };
/// A worker counts an answer a moment after its client has it.
const COUNTED_MAX: Duration = Duration::from_secs(1);

const CONFIGURATION: &str = "command = '/srv/web/current/server'\nnumber = 3\nbind = ['127.0.0.1:8080,r,n']\n\
    ack-mode = 'manual'\nack-timeout = 2\nsignal-timeout = 2\nseconds = 0.05\nearly-life = 6\n[worker]\ngraceful-signal = 'TERM'\n";

#[test]
fn bad_releases_fail_the_reload_and_the_service_stays() {
    let site = Site::new();
    // The service has a /tmp of its own.
    let worker = Path::new("/srv/web/http_worker");
    site.ok(&format!("install {} {}", site.0.copy_in(&example("http_worker")), worker.display()));
    put(&site, worker, "good", "serve");
    configure(&site, "");
    site.ok("systemctl enable --now einhyrningsins@web");
    let pid = site.main_pid();
    for (number, (kind, code, end)) in KINDS.iter().filter_map(expected).enumerate() {
        let name = format!("bad-{number}");
        let load = site.0.in_network(|| Load::start_at(address(WEB), CLIENTS, "/", PACE));
        load.wait_for_release("good", 20);
        let Some(lines) = lines(kind.server) else { continue };
        put(&site, worker, &name, lines);
        configure(&site, if let Server::Configured(more) = kind.server { more } else { "" });
        let reload = site.0.try_sh("systemctl reload einhyrningsins@web");
        assert_eq!(reload.status.code(), Some(code), "{}\n{}", kind.name, site.all_journals());
        // systemd has heard that it is over.
        site.wait_for_property("ActiveState", "active");
        site.wait_for(kind.name, || site.of("web", "StatusText").starts_with("3/3 serving"));
        let answering = if end == End::Back { "good" } else { name.as_str() };
        load.wait_for_release(answering, load.so_far().answered_by(answering) + 20);
        let report = load.stop();
        println!("| {} | {code} | {} | {} |", kind.name, report.lost_count(), site.of("web", "StatusText"));
        assert_eq!(report.lost_count(), in_hand(&site, &name, &report), "{}: {report}", kind.name);
        assert_eq!((site.main_pid(), site.of("web", "NRestarts")), (pid.clone(), "0".to_owned()), "{}", kind.name);
        if end == End::Taken {
            put(&site, worker, "good", "serve");
            site.ok("systemctl reload einhyrningsins@web");
        }
        // What a release has left behind would serve in the place of the next.
        site.ok(&format!("pkill --signal KILL --full '[-]-tally /srv/web/releases/{name}$' || [ $? -eq 1 ]"));
    }
}

/// What it is known to come to: the reload waits for the end of a trial, too.
fn expected(kind: &'static Kind) -> Option<(&'static Kind, i32, End)> {
    match kind.expected {
        _ if kind.length == Length::Long => None,
        Expected::Certain { code, end: end @ (End::Back | End::Taken), .. } => Some((kind, code, end)),
        Expected::OnTrial => Some((kind, 1, End::Back)),
        Expected::Certain { .. } | Expected::Checked | Expected::Unnoticed => None,
    }
}

/// What stands in its program; nothing where that is not text.
fn lines(server: Server) -> Option<&'static str> {
    match server {
        Server::Script(lines) | Server::Raw(lines) => Some(lines),
        Server::Configured(_) => Some("serve"),
        Server::Foreign | Server::Made(_) | Server::Sample(..) | Server::Go(_) => None,
    }
}

/// A release, and the link to it. A text with a first line of its own is a whole script.
fn put(site: &Site, worker: &Path, name: &str, lines: &str) {
    let home = format!("/srv/web/releases/{name}");
    let whole = lines.starts_with("#!");
    let text = if whole { lines.to_owned() } else { script(name, Path::new(&home), worker, lines) };
    site.0.write(&format!("{home}/new"), &text);
    site.ok(&format!("cd {home}; chmod 777 .; chmod 755 new; mv new server; ln -sfn {home} /srv/web/current"));
}

fn configure(site: &Site, more: &str) {
    site.0.write("/etc/einhyrningsins/web.toml", &format!("{CONFIGURATION}{more}"));
}

/// What the release's workers accepted and did not answer; as much as was lost, as soon as they have counted their last answers.
fn in_hand(site: &Site, name: &str, report: &Report) -> u64 {
    let size = |file: &str| {
        let path = format!("/srv/web/releases/{name}/{file}");
        site.ok(&format!("stat -c %s {path} 2>/dev/null || echo 0")).parse::<u64>().unwrap()
    };
    let count = || size("taken").saturating_sub(size("answered"));
    holds_within(COUNTED_MAX, || count() == report.lost_count());
    count()
}
