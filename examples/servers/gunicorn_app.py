"""A WSGI application: answers with its process and the path; /slow takes a moment, so that there is something to finish."""

import os
import time


def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.2)
    path = environ["RAW_URI"]
    body = f"{os.getpid()} {path}\n".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
