#!/usr/bin/env python3
"""Answers every GET with its path, on the first socket that einhyrningsins bound; ends gracefully at USR2.

It must lose no request when it ends: what is accepted is answered, what is not waits in the queue for another worker.
"""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Echo(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"worker {os.getpid()} was asked for {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing: on a Unix socket there is no client address to print."""


class Server(ThreadingHTTPServer):
    # The end waits for the threads that are answering.
    daemon_threads = False


def inherited_socket(index):
    family = os.environ.get(f"EINHORN_FD_FAMILY_{index}", "AF_INET")
    fd = int(os.environ[f"EINHORN_FD_{index}"])
    return socket.socket(getattr(socket, family), socket.SOCK_STREAM, fileno=fd)


def main():
    server = Server(("", 0), Echo, bind_and_activate=False)
    server.socket.close()
    server.socket = inherited_socket(0)
    # Another worker may be faster between poll and accept, and a blocking accept would then sleep through the end.
    # The flag is shared with all who hold the socket, so every program that serves on it has to be content with it.
    server.socket.setblocking(False)

    def end(*_):
        # shutdown() waits for serve_forever(), which runs in the thread that handles signals.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGUSR2, end)
    signal.signal(signal.SIGTERM, end)
    server.serve_forever(poll_interval=0.1)
    server.server_close()


if __name__ == "__main__":
    main()
