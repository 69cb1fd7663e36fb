#!/usr/bin/env python3
"""Runs an ASGI application in uvicorn on the socket of einhyrningsins; see uvicorn.toml.

`uvicorn --fd 3` does the same in a word, but takes the socket for a Unix one, which costs kept connections 40 ms an answer,
does not ack, and at its end closes connections whose request it has not read yet.
"""

import asyncio
import os
import socket
import sys

import uvicorn


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        if self.started:
            with socket.socket(socket.AF_UNIX) as master:
                master.connect(os.environ["EINHORN_SOCK_PATH"])
                master.sendall(b'{"command":"worker:ack","pid":%d}\n' % os.getpid())

    async def shutdown(self, sockets=None):
        # Accepts no more, and reads what has been accepted, before connections that seem idle are closed.
        for server in self.servers:
            server.close()
        await asyncio.sleep(0.2)
        await super().shutdown(sockets)


Server(uvicorn.Config(sys.argv[1], log_level="warning")).run([socket.socket(fileno=int(os.environ["EINHORN_FD_0"]))])
