#!/usr/bin/env python3
"""Python's own HTTP server on the first socket. It knows nothing of acks: the master waits a second, and takes it for well."""

import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"{os.getpid()} {self.path}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


def main():
    open(f"workers/{os.getpid()}", "w").close()
    server = HTTPServer(("127.0.0.1", 0), Answer, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.fromfd(int(os.environ["EINHORN_FD_0"]), socket.AF_INET, socket.SOCK_STREAM)
    # Another worker may be faster between poll and accept.
    server.socket.setblocking(False)
    # shutdown() waits for serve_forever(), which runs in the thread that handles signals.
    signal.signal(signal.SIGUSR2, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
