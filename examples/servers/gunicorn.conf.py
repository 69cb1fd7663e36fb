"""How gunicorn runs under einhyrningsins; see gunicorn.toml."""

import os
import socket

# The first socket of einhyrningsins, EINHORN_FD_0, is always descriptor 3.
bind = "fd://3"
chdir = "examples/servers"
# einhyrningsins counts gunicorns. With `number = 1` there and more workers here, one gunicorn replaces the other as a whole.
workers = 1
# A worker that is told to go may take so many seconds to finish its requests.
graceful_timeout = 30


def on_starting(server):
    """Says that the socket is another's: gunicorn would delete the file of a Unix one when it ends."""
    server.systemd = True


def post_worker_init(worker):
    """The application is loaded: the first worker acks for the gunicorn that einhyrningsins knows, which is its parent."""
    if worker.age > 1:
        return
    with socket.socket(socket.AF_UNIX) as master:
        master.connect(os.environ["EINHORN_SOCK_PATH"])
        master.sendall(b'{"command":"worker:ack","pid":%d}\n' % worker.ppid)
