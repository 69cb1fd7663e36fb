#!/usr/bin/env python3
"""Draws doc/upgrade.svg from a real run: one upgrade under load, what each worker did when, and who answered.

It starts einhyrningsins in a directory of its own, asks its workers steadily, watches them over the control socket,
puts a new release and a new einhyrningsins in place, upgrades once, and ends everything gracefully. Every number in the
picture is counted. It must never draw over a picture when a request was lost, and never leave a process behind.

`make picture` calls it. It ends with 0 when it has drawn, 1 when requests were lost, and 2 when the run failed.
"""

import argparse
import itertools
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

# So that no compiled module is left in the source tree.
sys.dont_write_bytecode = True

from picture_svg import draw, headline  # noqa: E402

RELEASES = ("one", "two")
WORKER_COUNT = 4
# A worker serves so long after its launch, as a program does that has something to load first.
START_UP_S = 0.45
# A request is due so often; one in LONG_EACH takes longer, so that a worker that is told to go has something to finish.
INTERVAL_S = 1 / 250
SHORT_MS, LONG_MS, LONG_EACH = 10, 300, 5
CLIENTS = 40
# How long the load runs before the upgrade is asked for, and after the last old worker has gone.
BEFORE_S, AFTER_S = 1.0, 1.1
WATCH_EACH_S = 0.005
# No request, no step of the run takes longer than that.
LIMIT_S = 20
LOST_TOLD_MAX = 8


class RunFailed(Exception):
    """The run came to no end that could be drawn."""


@dataclass
class Request:
    """One request; without a release that answered it was lost."""

    number: int
    ended: float = math.inf
    release: str | None = None
    reason: str = "no answer came"


@dataclass
class Worker:
    """What was seen of a worker, and when: it is launched, acks, is told to go, and has gone."""

    pid: int
    version: int
    launched: float
    acked: float = math.inf
    told: float = math.inf
    gone: float = math.inf


@dataclass
class Run:
    """All that the picture shows. Times are in seconds since the upgrade was asked for."""

    # Of the load, which outlives the upgrade.
    began: float
    ended: float
    done: float
    requests: list
    workers: list
    serving_least: int
    master: int
    replaced: float | None
    releases: tuple = RELEASES
    worker_count: int = WORKER_COUNT
    rate: int = round(1 / INTERVAL_S)

    def served_by(self, release):
        return sum(request.release == release for request in self.requests)

    def lost(self):
        return [request for request in self.requests if request.release is None]

    def last(self):
        """When the last answer had come."""
        return max(request.ended for request in self.requests)


class Load:
    """Asks steadily, in many threads: each takes the next request, waits until it is due, and sends it."""

    def __init__(self, address):
        self.address = address
        self.numbers = itertools.count()
        self.requests = []
        self.ending = threading.Event()
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self):
        while not self.ending.is_set():
            number = next(self.numbers)
            due = self.began + number * INTERVAL_S
            if self.ending.wait(max(0, due - time.monotonic())):
                return
            request = Request(number)
            self.requests.append(request)
            try:
                request.release = ask(self.address, number)
            except (OSError, ValueError) as error:
                request.reason = str(error)
            request.ended = time.monotonic()

    def stop(self):
        self.ending.set()
        for thread in self.threads:
            thread.join()
        return self.requests


def ask(address, number):
    """Asks once, on a new connection; the release that answered. A ValueError says what is wrong with the answer."""
    path = f"/slow?ms={SHORT_MS if number % LONG_EACH else LONG_MS}&id={number}"
    with socket.create_connection(address, LIMIT_S) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: picture\r\nConnection: close\r\n\r\n".encode())
        with connection.makefile("r", encoding="utf-8", newline="") as stream:
            head, _, body = stream.read().partition("\r\n\r\n")
    if not head.startswith("HTTP/1.1 200 ") or f"Content-Length: {len(body)}" not in head.split("\r\n"):
        raise ValueError(f"no whole answer: {head!r}")
    fields = dict(line.split(" ", 1) for line in body.splitlines() if " " in line)
    if fields.get("path") != path or fields.get("version") not in RELEASES:
        raise ValueError(f"not the answer to {path}: {body!r}")
    return fields["version"]


def connect(control):
    """A connection to the master's control socket: it is there a moment before it can be connected to."""
    def try_to():
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(LIMIT_S)
        try:
            connection.connect(str(control))
        except ConnectionRefusedError:
            connection.close()
            return None
        return connection

    return wait_until("the control socket listens", try_to)


class Watch:
    """Looks at the master again and again, over one connection to its control socket that outlives its re-exec."""

    def __init__(self, master, control):
        self.pid = master.pid
        self.program = Path(f"/proc/{master.pid}/exe")
        wait_until("the control socket is there", lambda: control.exists() or master.poll() is not None)
        connection = connect(control)
        self.stream = connection.makefile("rw", encoding="utf-8")
        self.first_program = self.program.stat().st_ino
        self.replaced = self.error = None
        self.workers = {}
        self.serving = []
        self.ending = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.ending.wait(WATCH_EACH_S):
                self.look()
        except (OSError, ValueError, KeyError) as error:
            self.error = error

    def look(self):
        self.stream.write('{"id":1,"command":"status","args":[],"format":"json"}\n')
        self.stream.flush()
        status = json.loads(self.stream.readline())["status"]
        now = time.monotonic()
        if status["pid"] != self.pid:
            raise ValueError(f"the master was {self.pid}, and is {status['pid']}")
        if self.replaced is None and self.program.stat().st_ino != self.first_program:
            self.replaced = now
        self.note(now, status["workers"])

    def note(self, now, seen):
        for worker in seen:
            ours = self.workers.setdefault(worker["pid"], Worker(worker["pid"], worker["version"], now))
            if worker["state"] == "acked":
                ours.acked = min(ours.acked, now)
            if worker["state"] == "stopping":
                ours.told = min(ours.told, now)
        for pid in self.workers.keys() - {worker["pid"] for worker in seen}:
            self.workers[pid].gone = min(self.workers[pid].gone, now)
        self.serving.append((now, sum(worker["state"] == "acked" for worker in seen)))

    def until(self, what, holds):
        """Waits for that, unless there is nothing to be seen any more."""
        wait_until(what, lambda: self.error or holds())
        if self.error:
            raise RunFailed(f"cannot watch the master: {self.error}")

    def stop(self):
        self.ending.set()
        self.thread.join()
        self.until("it has stopped", lambda: True)


def wait_until(what, holds):
    deadline = time.monotonic() + LIMIT_S
    while not (held := holds()):
        if time.monotonic() > deadline:
            raise RunFailed(f"waited {LIMIT_S} s in vain until {what}")
        time.sleep(WATCH_EACH_S)
    return held


def free_address():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()


def put(program, place):
    """As a package manager does it: the new file takes the name of the old one, which may be running."""
    new = place.with_suffix(".new")
    shutil.copy(program, new)
    new.rename(place)


def run(programs, worker, directory):
    """The whole run, from the first worker to the last."""
    address = free_address()
    (directory / "WORKER_VERSION").write_text(RELEASES[0])
    put(programs / "einhyrningsins", directory / "einhyrningsins")
    master = start(worker, address, directory)
    try:
        watch = Watch(master, directory / "einhorn.sock")
        watch.until("all workers serve", lambda: watch.serving and watch.serving[-1][1] == WORKER_COUNT)
        load = Load(address)
        time.sleep(BEFORE_S)
        (directory / "WORKER_VERSION").write_text(RELEASES[1])
        put(programs / "einhyrningsins", directory / "einhyrningsins")
        ctl = [programs / "einhyrningsinsctl", "-d", directory / "einhorn.sock"]
        asked, done = command([*ctl, "upgrade"])
        old = [worker for worker in list(watch.workers.values()) if worker.version == 0]
        watch.until("the old workers have gone", lambda: all(worker.gone < math.inf for worker in old))
        time.sleep(AFTER_S)
        ended = time.monotonic()
        requests = load.stop()
        watch.stop()
        command([*ctl, "die"])
        if master.wait(LIMIT_S) != 0:
            raise RunFailed(f"the master ended with {master.returncode}")
    except (OSError, RunFailed, subprocess.SubprocessError) as error:
        raise RunFailed(f"{error}\n{(directory / 'log').read_text(errors='replace')}") from error
    finally:
        end(master)
    return since(asked, load.began, ended, done, requests, watch)


def start(worker, address, directory):
    # One new worker at a time, so that the picture shows each step.
    options = ["-n", str(WORKER_COUNT), "-m", "manual", "--max-unacked", "1", "-s", "0.01", "-k"]
    bound = ["-b", f"{address[0]}:{address[1]},r"]
    slow = ["/bin/sh", "-c", f'sleep {START_UP_S}; exec "$0" "$@"', *worker]
    words = [directory / "einhyrningsins", *options, *bound, "--", *slow]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "TMPDIR": str(directory)}
    with open(directory / "log", "wb") as log:
        return subprocess.Popen(
            words, cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )


def command(words):
    """Runs it; when it began and when it was done."""
    began = time.monotonic()
    told = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    if told.returncode != 0:
        raise RunFailed(f"{words[-1]} failed: {told.stdout}{told.stderr}")
    return began, time.monotonic()


def end(master):
    """Ends it in any case, and its workers with it: each signal is harder than the one before."""
    for word in (signal.SIGTERM, signal.SIGQUIT, signal.SIGKILL):
        if master.poll() is None:
            master.send_signal(word)
            try:
                master.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                continue


def since(asked, began, ended, done, requests, watch):
    """The run, with its times counted from when the upgrade was asked for."""
    least = min(count for when, count in watch.serving if began <= when <= ended)
    for request in requests:
        request.ended -= asked
    for worker in watch.workers.values():
        for name in ("launched", "acked", "told", "gone"):
            setattr(worker, name, getattr(worker, name) - asked)
    replaced = None if watch.replaced is None else watch.replaced - asked
    workers = list(watch.workers.values())
    return Run(began - asked, ended - asked, done - asked, requests, workers, least, watch.pid, replaced)


def parse_arguments():
    parser = argparse.ArgumentParser(description="Draws an upgrade under load, from a real run.")
    parser.add_argument("--programs", metavar="DIR", default="target/debug", help="where cargo has put the programs")
    parser.add_argument("--out", metavar="FILE", default="doc/upgrade.svg", help="what to draw, if nothing was lost")
    parser.add_argument("--lost", metavar="FILE", help="what to draw if something was lost (default: nothing)")
    parser.add_argument("worker", nargs="*", help="what to run as a worker (default: the example http_worker)")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    programs = Path(arguments.programs).resolve()
    worker = arguments.worker or [programs / "examples/http_worker", "--ack", "manual"]
    # So that what has been started is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))
    try:
        with tempfile.TemporaryDirectory(prefix="einhyrningsins-picture-") as directory:
            seen = run(programs, worker, Path(directory))
    except (OSError, RunFailed) as error:
        print(f"cannot draw an upgrade: {error}", file=sys.stderr)
        return 2
    lost = seen.lost()
    if not lost:
        Path(arguments.out).write_text(draw(seen), encoding="utf-8")
        print(f"{arguments.out}: {headline(seen)}")
        return 0
    if arguments.lost:
        Path(arguments.lost).write_text(draw(seen), encoding="utf-8")
    for request in lost[:LOST_TOLD_MAX]:
        print(f"request {request.number} was lost: {request.reason}", file=sys.stderr)
    print(f"{arguments.out} stays as it was: {len(lost)} of {len(seen.requests)} requests were lost", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
