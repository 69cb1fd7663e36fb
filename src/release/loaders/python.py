# Loads a Python program once, and forks workers from it. The master runs this; doc/preloading.md tells what is said.
import array
import gc
import importlib
import importlib.util
import os
import socket
import sys
import threading
import traceback

BYTES_MAX = 1 << 20
REASON_MAX = 10_000


def links():
    found = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            found[fd] = os.readlink(f"/proc/self/fd/{fd}")
        except OSError:
            pass
    return found


class Loader:
    def __init__(self, number):
        self.control = socket.socket(fileno=number)
        self.control.set_inheritable(False)
        self.own = links()

    def tell(self, *fields):
        # The master may end this process for what it is told, and no worker shall write the same again.
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (AttributeError, OSError, ValueError):
                pass
        try:
            self.control.send(b"".join(str(field).encode(errors="surrogateescape") + b"\0" for field in fields))
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)

    def receive(self):
        room = socket.CMSG_SPACE(8 * array.array("i").itemsize)
        try:
            message, controls, _, _ = self.control.recvmsg(BYTES_MAX, room)
        except ConnectionResetError:
            os._exit(0)
        if not message:
            os._exit(0)
        descriptors = array.array("i")
        for level, kind, data in controls:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
        fields = message.split(b"\0")[:-1]
        return list(zip(fields[::2], fields[1::2])), list(descriptors)

    def doubts(self):
        """What a fork does not keep: other threads, and connections that two processes would use at once."""
        sockets = [fd for fd, link in links().items() if link.startswith("socket:") and self.own.get(fd) != link]
        return threading.active_count() - 1, len(sockets)

    def load(self, path, main):
        try:
            if path.endswith(".py") or os.path.exists(path):
                name = os.path.splitext(os.path.basename(path))[0]
                spec = importlib.util.spec_from_file_location(name, path)
                module = importlib.util.module_from_spec(spec)
                sys.modules[name] = module
                spec.loader.exec_module(module)
            else:
                module = importlib.import_module(path)
        except BaseException as error:  # an exit, too
            reason = f"{error} ({type(error).__name__})\n{traceback.format_exc()}"
            self.tell("failed", reason[:REASON_MAX])
            return None
        found = getattr(module, main, None)
        if not callable(found):
            self.tell("without", main)
            return None
        return found

    def launch(self, request, descriptors, main):
        """The process between ends at once, so that the worker becomes a child of the master."""
        reader, writer = os.pipe()
        try:
            between = os.fork()
            if between == 0:
                answer = self.fork_worker(request, descriptors, main)
                os.write(writer, answer)
                os._exit(0)
            os.close(writer)
            writer = None
            answer = os.read(reader, 64)
            os.waitpid(between, 0)
            return answer.decode()
        except OSError as error:
            return f"-{error.errno}"
        finally:
            os.close(reader)
            if writer is not None:
                os.close(writer)

    def fork_worker(self, request, descriptors, main):
        try:
            worker = os.fork()
        except OSError as error:
            return f"-{error.errno}".encode()
        if worker == 0:
            # What was loaded must find neither this frame's handlers nor the process between.
            raise Become(request, descriptors, main)
        return str(worker).encode()


class Become(BaseException):
    """Unwinds to the outermost frame, in the worker."""


def become_worker(control, request, descriptors):
    control.close()
    os.setpgid(0, 0)
    one = dict(request)
    line = descriptors.pop(0)
    # The master says so once it knows of this worker. If it is gone, or another, there is none to work for.
    if os.read(line, 1) != b"g" or str(os.getppid()).encode() != one[b"parent"]:
        os._exit(1)
    for key, value in request:
        if key == b"output":
            output = descriptors.pop(0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            os.close(output)
        elif key == b"connection":
            connection = descriptors.pop(0)
            os.set_inheritable(connection, True)
            os.environb[value] = str(connection).encode()
        elif key == b"env":
            name, _, text = value.partition(b"=")
            os.environb[name] = text
        elif key == b"pid":
            os.environb[value] = str(os.getpid()).encode()
    sys.argv = [os.fsdecode(value) for key, value in request if key == b"arg"]
    if "random" in sys.modules:
        sys.modules["random"].seed()
    if b"signal" in one:
        import ctypes

        ctypes.CDLL(None).prctl(1, int(one[b"signal"]), 0, 0, 0)  # PR_SET_PDEATHSIG
        if str(os.getppid()).encode() != one[b"parent"]:
            os._exit(1)
    os.close(line)


def run(path, main, title, collects, *arguments):
    loader = Loader(int(os.environ.pop("EINHYRNINGSINS_LOADER_FD")))
    # The file of this script, which is read by now.
    os.close(int(os.path.basename(sys.argv[0])))
    sys.argv = list(arguments)
    # As if the program had been started.
    sys.path[0] = os.path.dirname(os.path.abspath(path)) if os.path.exists(path) else os.getcwd()
    found = loader.load(path, main)
    if found is None:
        os._exit(1)
    if collects == "collect":
        gc.collect()
    gc.freeze()
    threads, sockets = loader.doubts()
    loader.tell("loaded", "", "threads", threads, "sockets", sockets)
    while True:
        request, descriptors = loader.receive()
        one = dict(request)
        if b"launch" in one:
            try:
                answer = loader.launch(request, descriptors, found)
            except Become:
                become_worker(loader.control, request, descriptors)
                return found
            key = "error" if answer.startswith("-") else "pid"
            loader.tell("launch", one[b"launch"].decode(), key, answer.lstrip("-"))
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    main = run(*sys.argv[1:])
    sys.exit(main())
