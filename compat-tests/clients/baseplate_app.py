"""An application for baseplate, whose server finds the socket, acks, and drains at USR2 by itself."""

import os


def answer(environ, start_response):
    body = f"{os.getpid()} {environ['PATH_INFO']}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


def make_app(_config):
    open(f"workers/{os.getpid()}", "w").close()
    return answer
