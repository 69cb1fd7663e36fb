//! A worker that says what it finds at the descriptors it was told of, and then sleeps.

use serde_json::Value;

use crate::support::master::Master;
use crate::support::wait::LIMIT;

/// For `python3 -c`: one line of JSON on stdout, see [`socket_reports`].
pub const SOCKET_REPORT: &str = r#"
import ctypes, fcntl, json, os, socket, struct, time

def report(at):
    number = int(os.environ[f"EINHORN_FD_{at}"])
    sock = socket.socket(fileno=os.dup(number))
    tcp = sock.family != socket.AF_UNIX
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104) if tcp else bytes(104)
    return {
        "fd": number,
        "family": sock.family.name,
        "told": os.environ[f"EINHORN_FD_FAMILY_{at}"],
        "stream": sock.type == socket.SOCK_STREAM,
        "listening": bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)),
        "nonblocking": bool(fcntl.fcntl(number, fcntl.F_GETFL) & os.O_NONBLOCK),
        "reuseaddr": bool(sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)),
        "v6only": sock.family == socket.AF_INET6 and bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)),
        # Of a listening socket, tcpi_sacked is the length that its queue may have.
        "backlog": struct.unpack_from("I", info, 28)[0],
        "name": sock.getsockname() if not tcp else "%s:%s" % sock.getsockname()[:2],
    }

death_signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(death_signal))
sockets = [report(at) for at in range(int(os.environ["EINHORN_FD_COUNT"]))]
line = json.dumps({"sockets": sockets, "death_signal": death_signal.value})
os.write(1, (line + "\n").encode())
time.sleep(1000)
"#;

/// Waits for the reports of so many workers.
#[track_caller]
pub fn socket_reports(master: &Master, count: usize) -> Vec<Value> {
    master.wait_until("the workers report", LIMIT, || master.stdout().matches('\n').count() >= count);
    master.stdout().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
