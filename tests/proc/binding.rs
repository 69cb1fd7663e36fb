//! The sockets: what `-b` binds, what is set on each, and that a start which cannot have them all leaves nothing behind.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt,
};
use serde_json::Value;

use crate::support::{
    LIMIT, Master, Process, SOCKET_REPORT, Setup, Snapshot, Target, ask, free_address, socket_reports, wait_until,
};

/// A worker that shows that it was started, which a refused start must not come to.
const WITNESS: &str = "echo >witness; exec sleep 1000";

/// The name `both.test` has addresses of both families, `four.test` and `six.test` of one; no other name can be found,
/// and no server is asked over the network.
const OWN_NAMES: &str = "mount --bind hosts /etc/hosts && mount --bind nsswitch.conf /etc/nsswitch.conf && exec \"$@\"";

fn with_own_names(options: &str) -> Setup {
    let setup = Setup::new(options);
    setup.write("hosts", "127.0.0.1 localhost both.test four.test\n::1 both.test six.test\n");
    setup.write("nsswitch.conf", "hosts: files\n");
    setup.through(&["unshare", "-m", "/bin/sh", "-c", OWN_NAMES, "sh"])
}

/// Starts a master whose worker reports its sockets, and checks what is true of each.
#[track_caller]
fn sockets(setup: Setup) -> (Master, Vec<Value>) {
    let master = setup.program(["python3", "-c", SOCKET_REPORT]).start();
    let sockets = socket_reports(&master, 1).remove(0)["sockets"].as_array().unwrap().clone();
    for (at, socket) in sockets.iter().enumerate() {
        assert_eq!(
            (&socket["fd"], &socket["stream"], &socket["listening"]),
            (&(at + 3).into(), &true.into(), &true.into())
        );
        assert_eq!(socket["family"], socket["told"]);
    }
    (master, sockets)
}

/// One field of each socket.
fn each(sockets: &[Value], field: &str) -> Vec<Value> {
    sockets.iter().map(|socket| socket[field].clone()).collect()
}

fn port(socket: &Value) -> u16 {
    socket["name"].as_str().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// Blocking unless `n` says otherwise, whatever Ruby's default of the day is.
#[test]
fn flags_are_set_where_they_are_given_and_nowhere_else() {
    let addresses: Vec<_> = (0..7).map(|_| free_address()).collect();
    let flags = ["", ",r", ",n", ",r,n", ",so_reuseaddr", ",o_nonblock", ",N,R"];
    let options: Vec<_> = addresses.iter().zip(flags).map(|(address, flags)| format!("-b {address}{flags}")).collect();
    let (_master, sockets) = sockets(Setup::new(&options.join(" ")));
    assert_eq!(each(&sockets, "reuseaddr"), [false, true, false, true, true, false, true]);
    assert_eq!(each(&sockets, "nonblocking"), [false, false, true, true, false, true, true]);
    assert_eq!(each(&sockets, "family"), ["AF_INET"; 7]);
    let names: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
    assert_eq!(each(&sockets, "name"), names);
}

/// The kernel's own limit is the master's network namespace's.
#[test]
fn the_backlog_is_1024_unless_given_and_capped_by_the_kernel() {
    let kernel: u64 = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    for (options, wanted) in [("", 1024), ("-l 7", 7), ("--backlog=100000", 100_000)] {
        let (_master, sockets) = sockets(Setup::new(options).bind("").bind(",n"));
        assert_eq!(each(&sockets, "backlog"), [wanted.min(kernel), wanted.min(kernel)], "{options}");
    }
}

#[test]
fn port_0_is_a_port_of_the_systems_choice_and_it_is_told() {
    let (master, sockets) = sockets(Setup::new("-b 127.0.0.1:0 -b 127.0.0.1:0,r"));
    let ports = [port(&sockets[0]), port(&sockets[1])];
    assert!(ports[0] != 0 && ports[1] != 0 && ports[0] != ports[1]);
    for port in ports {
        master.wait_for_log(&format!("INFO: Listening on 127.0.0.1:{port}"), 1);
        TcpStream::connect(("127.0.0.1", port)).unwrap();
    }
    let expected: Vec<_> = ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect();
    assert_eq!(master.process().listening_on(), expected.into_iter().collect());
}

// E21. A socket on [::] leaves IPv4 to others.
#[test]
fn ipv6_addresses_are_bound_and_take_no_ipv4() {
    let (master, sockets) = sockets(Setup::new("-b [::1]:0 -b [::]:0"));
    assert_eq!(each(&sockets, "family"), ["AF_INET6", "AF_INET6"]);
    assert_eq!(each(&sockets, "v6only"), [true, true]);
    TcpStream::connect(("::1", port(&sockets[0]))).unwrap();
    TcpStream::connect(("::1", port(&sockets[1]))).unwrap();
    TcpListener::bind(("0.0.0.0", port(&sockets[1]))).unwrap();
    master.wait_for_log("Listening on [::1]:", 1);
}

// Number 15 of what operators trip over.
#[test]
fn what_a_bind_leaves_out_is_told_at_the_start_and_by_a_check() {
    let v6 = "INFO: [::]:0 takes no IPv4 connections: a bind of 0.0.0.0:0 adds them";
    let name = "INFO: both.test:0 is bound at 127.0.0.1:0 alone, and not at [::1]:0: a bind for each address adds them";
    for (options, said) in [("-b [::]:0", Some(v6)), ("-b both.test:0", Some(name)), ("-4 -b both.test:0", None)] {
        let master = with_own_names(options).program(["sleep", "1000"]).start();
        master.wait_for_log("===> Launched", 1);
        assert_eq!(master.log().count("adds them"), usize::from(said.is_some()), "{options}");
        said.inspect(|said| assert_eq!(master.log().count(said), 1, "{options}"));
    }
    let refusal = with_own_names("-b both.test:80 --check-config").program(["sleep", "1000"]).refused();
    assert_eq!(refusal.code, Some(0));
    let warned = name.strip_prefix("INFO: ").unwrap().replace(":0", ":80");
    assert!(refusal.lines.len() == 1 && refusal.lines[0].ends_with(&warned), "{:?}", refusal.lines);
}

/// One `-b` is one socket: IPv4 first, as it always was for einhorn.
#[test]
fn names_are_looked_up_in_the_wanted_family() {
    for (options, families) in [
        ("-b localhost:0 -b both.test:0 -b six.test:0", &["AF_INET", "AF_INET", "AF_INET6"][..]),
        ("-4 -b both.test:0 -b 127.0.0.1:0", &["AF_INET", "AF_INET"]),
        ("-6 -b both.test:0 -b [::1]:0", &["AF_INET6", "AF_INET6"]),
    ] {
        let (_master, sockets) = sockets(with_own_names(options));
        assert_eq!(each(&sockets, "family"), families, "{options}");
    }
}

#[test]
fn a_unix_socket_has_the_mode_that_was_given_or_the_umasks() {
    for (flags, umask, mode) in
        [(",mode=0660", "077", 0o660), (",mode=0606", "000", 0o606), ("", "027", 0o750), (",n", "000", 0o777)]
    {
        let setup = Setup::new("");
        let path = setup.directory().join("web.sock");
        let setup = setup.word("-b").word(format!("unix:{}{flags}", path.display()));
        let through = ["/bin/sh", "-c", &format!("umask {umask}; exec \"$@\""), "sh"];
        let (master, sockets) = sockets(setup.through(&through));
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, mode, "{flags} under {umask}");
        assert_eq!((&sockets[0]["family"], &sockets[0]["name"]), (&"AF_UNIX".into(), &path.to_str().unwrap().into()));
        assert_eq!(sockets[0]["nonblocking"], flags == ",n");
        UnixStream::connect(&path).unwrap();
        assert_eq!(master.workers()[0].umask(), Some(format!("0{umask}")));
    }
}

#[test]
fn several_sockets_of_all_kinds_serve_and_are_gone_after_a_clean_end() {
    let setup = Setup::new("-n 2 -b [::1]:0 -b unix:web.sock,mode=0600").bind(",r").release("one");
    let master = setup.http_worker("").start();
    master.wait_for_workers(2);
    let path = master.file("web.sock");
    for target in [Target::from(master.addr()), Target::from(path.as_path())] {
        assert_eq!(ask(&target, "/").unwrap().release, "one");
    }
    let addresses = master.process().listening_on();
    assert_eq!(addresses.len(), 2);
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    assert!(!path.exists() && !master.socket().exists());
    for address in addresses {
        assert!(TcpStream::connect(address).is_err(), "{address} is still listened on");
    }
}

#[test]
fn a_stale_unix_socket_is_replaced() {
    let setup = Setup::new("-b unix:web.sock").release("one");
    let path = setup.directory().join("web.sock");
    let dead = setup.beside("-d dead.sock -e dead.pid -b unix:web.sock").program(["sleep", "1000"]).start();
    dead.wait_for_workers(1);
    dead.signal(Signal::SIGKILL);
    dead.wait_exit();
    dead.descendants().iter().for_each(|orphan| assert!(orphan.signal(Signal::SIGKILL)));
    dead.wait_until("no process holds the socket", LIMIT, || dead.descendants().is_empty());
    assert!(UnixStream::connect(&path).is_err(), "the socket is not stale");
    let master = setup.http_worker("").start();
    master.wait_for_workers(1);
    assert_eq!(ask(&path.as_path().into(), "/").unwrap().release, "one");
}

/// A start with these options and a witness of a worker, after `prepare` has had the directory.
#[track_caller]
fn refused(options: &str, prepare: impl FnOnce(&Path)) -> crate::support::Refusal {
    let setup = Setup::new(options).script(WITNESS);
    prepare(setup.directory());
    setup.refused()
}

/// The same, for this reason, where this process holds something: another test may fork one that has it, too, until it is its program.
#[track_caller]
fn refused_for(options: &str, reason: &str) {
    let mut refusal = refused(options, |_| {});
    for _ in 0..10 {
        if refusal.reason() == reason {
            break;
        }
        refusal = refused(options, |_| {});
    }
    refusal.assert(111, reason);
}

/// Puts something at a path.
type Plant = fn(&Path);

/// Binds first what it can have, so that there is something to put away.
const FIRST: &str = "-b unix:first.sock -b 127.0.0.1:0,r";

#[test]
fn other_files_at_a_unix_sockets_path_stay_and_are_reported() {
    let kinds: [(&str, Plant); 4] = [
        ("a regular file", |path| fs::write(path, "precious").unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a FIFO", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("a symbolic link", |path| std::os::unix::fs::symlink("first.sock", path).unwrap()),
    ];
    for (kind, make) in kinds {
        let refusal = refused(&format!("{FIRST} -b unix:web.sock"), |directory| make(&directory.join("web.sock")));
        refusal.assert(100, &format!("cannot bind web.sock: there is {kind}, remove it or choose another path"));
    }
}

#[test]
fn a_unix_socket_with_a_listener_is_left_alone() {
    let mut occupant = None;
    let refusal = refused(&format!("{FIRST} -b unix:web.sock"), |directory| {
        occupant = Some(UnixListener::bind(directory.join("web.sock")).unwrap());
    });
    refusal.assert(111, "cannot bind web.sock: in use by another process");
}

// E14.
#[test]
fn an_address_in_use_refuses_the_start_and_leaves_nothing() {
    let occupant = TcpListener::bind(free_address()).unwrap();
    let address = occupant.local_addr().unwrap();
    for flags in ["", ",r"] {
        let own = Process::this();
        let holder = format!("held by process {own} ({})", own.text("comm").trim());
        let reason = format!("cannot bind {address}: address already in use; {holder}");
        refused_for(&format!("{FIRST} -b {address}{flags}"), &reason);
    }
    // The same one twice, too.
    let address = free_address();
    refused(&format!("{FIRST} -b {address} -b {address}"), |_| {})
        .assert(111, &format!("cannot bind {address}: address already in use"));
    TcpListener::bind(address).unwrap();
}

/// Number 6 of "what real operators trip over".
#[test]
fn an_address_that_workers_of_a_killed_master_hold_is_refused_with_their_names() {
    let master = Setup::new("-n 1 -m manual").bind(",r").http_worker("--ack manual").release("one").start();
    master.wait_for_log("Up to 1 / 1", 1);
    let worker = master.workers()[0];
    master.signal(Signal::SIGKILL);
    master.wait_exit();
    let (address, gone) = (master.addr(), master.pid());
    let refusal = refused(&format!("-b {address},r"), |_| {});
    let advice =
        format!("workers of master {gone}, which is gone: they serve on until they are told to go (kill -USR2)");
    let why =
        format!("cannot bind {address}: address already in use; held by process {worker} (http_worker), {advice}");
    refusal.assert(111, &why);
    assert!(worker.signal(Signal::SIGUSR2));
    wait_until("the port is free", LIMIT, || TcpListener::bind(address).is_ok());
}

/// A connection whose listener, with SO_REUSEADDR or without, is closed.
fn connection_without_listener(reuse: bool) -> (SocketAddr, TcpStream, TcpStream) {
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    setsockopt(&fd, sockopt::ReuseAddr, &reuse).unwrap();
    let SocketAddr::V4(address) = free_address() else { panic!("it is of IPv4") };
    bind(fd.as_raw_fd(), &SockaddrIn::from(address)).unwrap();
    listen(&fd, Backlog::new(5).unwrap()).unwrap();
    let listener = TcpListener::from(fd);
    let client = TcpStream::connect(address).unwrap();
    let (accepted, _) = listener.accept().unwrap();
    (address.into(), client, accepted)
}

/// The states of the sockets at an address.
fn states(address: SocketAddr) -> Vec<String> {
    let SocketAddr::V4(v4) = address else { panic!("it is of IPv4") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port());
    let is_there = |fields: &Vec<&str>| fields[1] == local;
    let list = fs::read_to_string("/proc/net/tcp").unwrap();
    list.lines().map(|line| line.split_whitespace().collect()).filter(is_there).map(|row| row[3].to_owned()).collect()
}

/// Number 6: SO_REUSEADDR has to be the former listener's, too.
#[test]
fn connections_of_a_former_listener_are_in_the_way_unless_both_have_r() {
    let in_use = |address| format!("cannot bind {address}: address already in use; connections");
    let without = ": they are of a listener without ,r; if it had that, and this one has, no start need wait";
    let with = ": with ,r no start need wait for them";
    for (reuse, flags, advice) in [(false, "", without), (false, ",r", without), (true, "", with)] {
        let (address, client, accepted) = connection_without_listener(reuse);
        wait_until("nothing listens", LIMIT, || !states(address).contains(&"0A".to_owned()));
        let own = Process::this();
        let holder = format!("process {own} ({})", own.text("comm").trim());
        let held = format!("{} there are held by {holder}{advice}", in_use(address));
        refused_for(&format!("{FIRST} -b {address}{flags}"), &held);
        drop(accepted);
        drop(client);
        wait_until("it waits", LIMIT, || states(address) == ["06"]);
        let lingers = format!("{} of a former listener linger there, for a minute at most{advice}", in_use(address));
        refused(&format!("{FIRST} -b {address}{flags}"), |_| {}).assert(111, &lingers);
    }
    let (address, _client, _accepted) = connection_without_listener(true);
    let master = Setup::new(&format!("-b {address},r")).program(["sleep", "1000"]).start();
    master.wait_for_workers(1);
    TcpStream::connect(address).unwrap();
}

#[test]
fn an_address_of_another_machine_refuses_the_start_and_leaves_nothing() {
    let refusal = refused(&format!("{FIRST} -b 203.0.113.7:0"), |_| {});
    refusal.assert(111, "cannot bind 203.0.113.7:0: cannot assign requested address");
}

#[test]
fn a_name_without_an_address_refuses_the_start_and_leaves_nothing() {
    let refusal = with_own_names(&format!("{FIRST} -b no.such.test:80")).script(WITNESS).refused();
    assert_eq!(refusal.code, Some(111));
    assert!(refusal.reason().starts_with("cannot find the address of no.such.test: "), "{refusal:?}");
    refusal.assert_nothing_left();
    for (options, name) in [("-4 -b six.test:0", "six.test"), ("-6 -b four.test:0", "four.test")] {
        let refusal = with_own_names(&format!("-b unix:first.sock {options}")).script(WITNESS).refused();
        refusal.assert(111, &format!("cannot find the address of {name}: it has none of the wanted family"));
    }
}

/// The first refusal of those above once more, with a look from outside: the binds that succeeded are closed
/// although the process could have lived on.
#[test]
fn a_refused_start_keeps_no_address() {
    let (free, occupant) = (free_address(), TcpListener::bind(free_address()).unwrap());
    let refusal = refused(&format!("-b {free} -b {}", occupant.local_addr().unwrap()), |_| {});
    assert_eq!(refusal.code, Some(111));
    let listener = TcpListener::bind(free).expect("the address is still taken");
    assert!(Process::this().listening_on().contains(&listener.local_addr().unwrap()));
}

#[test]
fn a_unix_socket_that_another_process_put_there_is_not_removed() {
    let master = Setup::new("-b unix:web.sock").program(["sleep", "1000"]).start();
    master.wait_for_workers(1);
    let path = master.file("web.sock");
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    let before = Snapshot::of(master.directory());
    master.signal(Signal::SIGINT);
    assert_eq!(master.wait_exit().code(), Some(0));
    let changes = before.changes_to(&Snapshot::of(master.directory()));
    assert_eq!(changes, ["einhorn.pid is gone", "einhorn.sock is gone"]);
}

/// Shuts the shared socket down and ends; without the file `saboteur`, just sleeps.
const SABOTEUR: &str = r#"
import os, socket, time
if os.path.exists("saboteur"):
    os.remove("saboteur")
    socket.socket(fileno=int(os.environ["EINHORN_FD_0"])).shutdown(socket.SHUT_RDWR)
    os.write(1, b"shut\n")
    raise SystemExit(1)
time.sleep(1000)
"#;

/// Calls listen(2) with a queue of 5, as Erlang does, acks, and tells what the queues are from then on: that of TCP when the length is
/// another, then how many clients of the unix socket do not have to wait.
const SHORTENER: &str = r#"
import json, os, socket, struct, time
unix, tcp = [socket.socket(fileno=int(os.environ[f"EINHORN_FD_{at}"])) for at in (0, 1)]
limit = lambda: struct.unpack_from("I", tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 28)[0]
for server in (tcp, unix):
    server.listen(5)
assert limit() == 5
control = socket.socket(socket.AF_UNIX)
control.connect(os.environ["EINHORN_SOCK_PATH"])
control.sendall(json.dumps({"command": "worker:ack", "pid": os.getpid()}).encode() + b"\n")
while limit() == 5:
    time.sleep(0.01)
clients = [socket.socket(socket.AF_UNIX) for _ in range(40)]
let_in = 0
for client in clients:
    client.setblocking(False)
    let_in += client.connect_ex("web.sock") == 0
os.write(1, f"{limit()} {let_in}\n".encode())
time.sleep(1000)
"#;

// Number 7 of what operators trip over.
#[test]
fn a_queue_that_a_worker_has_shortened_is_as_long_again_after_its_ack() {
    let setup = Setup::new("-v -m manual -l 100 -b unix:web.sock").bind("");
    let master = setup.program(["python3", "-c", SHORTENER]).start();
    master.wait_until("the worker tells", LIMIT, || master.stdout().ends_with('\n'));
    assert_eq!(master.stdout(), "100 40\n");
    let said = format!("DEBUG: A worker had set the backlog of {} to 5, it is set again", master.addr());
    master.wait_for_log(&said, 1);
}

// Failure mode 22.
#[test]
fn a_socket_that_a_worker_has_shut_down_is_listened_on_again() {
    for own_port in ["-l 50", "-l 50 -b 127.0.0.1:0"] {
        // With port 0, the system would give it another port at the next listen.
        let setup = Setup::new("-n 1 -m 0 -s 0.01").options(own_port);
        let setup = if own_port.contains("-b") { setup } else { setup.bind(",r") };
        setup.write("saboteur", "");
        let master = setup.program(["python3", "-c", SABOTEUR]).start();
        let said = master.wait_for_log("ERROR: a worker had shut down the socket", 1);
        let listening = master.process().listening_on();
        let [address] = Vec::from_iter(listening)[..] else { panic!("it does not listen on one address") };
        assert!(said[0].contains("listening again") && said[0].contains(&address.to_string()), "{said:?}");
        assert_eq!(master.stdout(), "shut\n");
        if own_port.contains("-b") {
            master.wait_for_log(&format!("Listening on {address}"), 1);
        } else {
            assert_eq!(address, master.addr());
        }
        TcpStream::connect(address).unwrap();
        master.wait_for_workers(1);
        assert_eq!(master.log().count("had shut down"), 1);
    }
}
