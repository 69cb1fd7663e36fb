"""An ASGI application: answers with its process and the path; /slow takes a moment, so that there is something to finish."""

import asyncio
import os


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    if scope["path"] == "/slow":
        await asyncio.sleep(0.2)
    path = f"{scope['path']}?{scope['query_string'].decode()}".removesuffix("?")
    body = f"{os.getpid()} {path}\n".encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
