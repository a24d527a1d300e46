import { bashModule } from "./bash.ts";
import { guestModule } from "./guest-module.ts";
import { librariesModule } from "./libraries.ts";

/**
 * What the machine's own Python, or that of a container, runs: `python3 -I -X utf8 -c PROGRAM`, with the descriptors of wire.ts. It takes
 * orders until the control pipe ends. Of an order in bash it is only the keeper.
 */
export const pythonProgram = `exec(compile(${JSON.stringify(guestModule + driver() + librariesModule + bashModule + service())}, "capstan", "exec"), {"__name__": "capstan"})`;

/** Goes on in the names of the module that runs Python, which it shares with Pyodide: `run`, `encode`, `main`. */
function driver(): string {
  return String.raw`
import _thread, errno, fcntl, io, os, resource, stat

FOLDER, MAX_ENTRIES, MAX_FOLDER_DEPTH = "/out", 1000, 16
NO_TOOLS = '{"error":{"code":"permission.no_right","message":"This code may not call tools."}}'
MISPLACED = "The files of this call can't be put where they belong: something of an earlier call stands there."
NO_ROOM = "There is no room for the files of this call. Delete what is not needed in /in and /out."
STALLED = "The code waits for something that can never happen."
THREAD_STACK = 2 << 20
# Far from the numbers that code opens and closes, and closed in every process that it starts.
CONTROL, ANSWERS = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in (3, 4))
# What processes of the code print as errors is its own; until here this descriptor was for the interpreter's complaints.
os.dup2(5, 2)
for fd in (3, 4, 5):
    os.close(fd)
_thread.stack_size(THREAD_STACK)
owner, lock, writing, hard = os.getpid(), _thread.allocate_lock(), _thread.allocate_lock(), resource.getrlimit(resource.RLIMIT_DATA)[1]
last_id, waiting, reading, loop, order, first_data, reserved, handed, unread = 0, {}, None, None, {}, None, 0, [], b""


class Counted(io.FileIO):
    printed = 0

    def write(self, data):
        written = super().write(data)
        self.printed += written or 0
        return written


def text_of(fd, **more):
    counted = Counted(fd, "w", closefd=False)
    return counted, io.TextIOWrapper(io.BufferedWriter(counted), encoding="utf-8", **more)


(stdout, OUT), (stderr, ERR) = text_of(1, errors="surrogateescape"), text_of(2, errors="backslashreplace", line_buffering=True)
sys.stdout = sys.__stdout__ = OUT
sys.stderr = sys.__stderr__ = ERR


def say(frame):
    line = memoryview((encode(frame, 1 << 62)[0] + "\n").encode())
    with writing:
        while line:
            line = line[os.write(CONTROL, line) :]


def read_line():
    global unread
    parts = []
    while True:
        line, newline, unread = (unread or os.read(CONTROL, 65536) or os._exit(0)).partition(b"\n")
        parts.append(line)
        if newline:
            return b"".join(parts).decode()


def read_bytes(size):
    global unread
    data = bytearray(size)
    known = min(size, len(unread))
    data[:known], unread = unread[:known], unread[known:]
    with memoryview(data) as room:
        while known < size:
            known += os.readv(CONTROL, [room[known:]]) or os._exit(0)
    return data


def say_call(name, args, blocking):
    global last_id
    if os.getpid() != owner:
        raise ToolError("sandbox.bad_request", "Only the process that began may call tools, not one that it forked.")
    last_id += 1
    say({"type": "call", "nonce": order["nonce"], "id": last_id, "name": name[:256], "argsJson": args, "blocking": blocking})
    return last_id


def call(name, args):
    if not order["tools"]:
        return NO_TOOLS
    with lock:
        if not handed:
            mine = '{"id":%d,' % say_call(name, args, True)
            line = read_line()
            # Who made another call may have been interrupted while it waited.
            while line.startswith('{"id":') and not line.startswith(mine):
                line = read_line()
            if line.startswith(mine):
                return line
            # A thread that called when its run had ended gets the next order in place of an answer.
            handed.append(line)
    raise ToolError("tool.cancelled", "The run that made this call has ended.")


def next_order():
    with lock:
        line = handed.pop() if handed else read_line()
        while line.startswith('{"id":'):
            line = read_line()
        given = loads(line)
        for file in given["files"] + given["outFiles"]:
            file["data"] = read_bytes(file["bytes"])
        return given


async def acall(name, args):
    global reading
    if not order["tools"]:
        return NO_TOOLS
    here = asyncio.get_running_loop()
    future = here.create_future()
    with lock:
        waiting[say_call(name, args, False)] = future
    if reading is not here:
        reading = here
        here.add_reader(ANSWERS, read_answers, here, [b""])
    return await future


def read_answers(here, rest):
    global reading
    part = os.read(ANSWERS, 65536)
    if not part:
        os._exit(0)
    *lines, rest[0] = (rest[0] + part).split(b"\n")
    for line in map(bytes.decode, lines):
        future = waiting.pop(loads(line)["id"])
        try:
            future.get_loop().call_soon_threadsafe(settle, future, line)
        except RuntimeError:
            pass  # Its loop was closed: nobody waits any more.
    if not waiting:
        here.remove_reader(ANSWERS)
        reading = None


def settle(future, line):
    if not future.done():
        future.set_result(line)


async def evaluate(code):
    # asyncio is loaded when it is needed first: that takes longer than all the rest.
    value = eval(code, main)
    return wait(value) if code.co_flags & COROUTINE else value


def wait(coroutine):
    global asyncio, loop
    import asyncio, selectors, threading

    class Selector(selectors.DefaultSelector):
        def select(self, timeout=None):
            # Its one descriptor is the loop's own, which other threads and signals use.
            if timeout is None and len(self.get_map()) == 1 and threading.active_count() == 1:
                raise RuntimeError(STALLED)
            return super().select(timeout)

    if loop is None or loop.is_closed():
        loop = asyncio.SelectorEventLoop(Selector())
    asyncio.set_event_loop(loop)
    return loop.run_until_complete(coroutine)


def run_python():
    limit_data(order["memoryBytes"])
    try:
        run(order["code"], order["resultBytes"], call, acall).send(None)
    except StopIteration as end:
        return end.value


def limit_data(more):
    """By how much memory may grow from the first order on. For good manners: what holds is outside."""
    global first_data
    try:
        if first_data is None:
            with open("/proc/self/status") as status:
                first_data = next(int(line.split()[1]) << 10 for line in status if line.startswith("VmData"))
        data = first_data + reserved + more
        resource.setrlimit(resource.RLIMIT_DATA, (data if hard < 0 else min(data, hard), hard))
    except (OSError, StopIteration, ValueError):
        pass


def lift_limit():
    """As far as the code left that possible."""
    try:
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    except (OSError, ValueError):
        pass


def put_files(folder, files, mode):
    for file in files:
        path = folder + "/" + file["path"]
        os.makedirs(os.path.dirname(path), exist_ok=True)
        if os.path.lexists(path):
            os.unlink(path)
        with open(path, "wb") as target:
            target.write(file.pop("data"))
        os.chmod(path, mode)


def send_files(room, count):
    """Sends the regular files of the folder, none followed, within the limits. How many of its entries stayed."""
    entries = left = 0

    def walk(folder, prefix, depth):
        nonlocal room, count, entries, left
        for name in sorted(os.listdir(folder)):
            entries += 1
            if entries > MAX_ENTRIES:
                left += 1
                continue
            try:
                # Opening a pipe without a writer would wait for one.
                fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            except OSError:
                left += 1
                continue
            try:
                found = os.fstat(fd)
                if stat.S_ISDIR(found.st_mode) and depth < MAX_FOLDER_DEPTH:
                    walk(fd, prefix + name + "/", depth + 1)
                elif not stat.S_ISREG(found.st_mode) or found.st_size > room or count == 0 or not fits(prefix + name):
                    left += 1
                else:
                    with open(fd, "rb", closefd=False) as file:
                        data = file.read(found.st_size)
                    room -= len(data)
                    count -= 1
                    say({"type": "artifact", "nonce": order["nonce"], "path": prefix + name, "data": b2a_base64(data, newline=False).decode()})
            finally:
                os.close(fd)

    try:
        root = os.open(FOLDER, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            walk(root, "", 0)
        finally:
            os.close(root)
    except OSError:
        return "/out could not be read to its end"
    return f"{left} of /out stayed there: more than the limits, or no regular files" if left else None


def fits(path):
    try:
        path.encode()
        return True
    except UnicodeEncodeError:
        return False


def serve(execute_order):
    try:
        put_files("/in", order["files"], 0o444)
        put_files(FOLDER, order["outFiles"], 0o644)
        os.chdir(FOLDER)
    except OSError as failure:
        status, result, note, error = "error", "null", None, NO_ROOM if failure.errno == errno.ENOSPC else MISPLACED
    else:
        status, result, note, error = execute_order()
    if os.getpid() != owner:
        os._exit(0)
    figures = save_figures(order["artifacts"])
    lift_limit()
    left = send_files(order["artifactBytes"], order["artifacts"])
    notes = [text for text in (note, figures, left) if text]
    done = {"type": "done", "nonce": order["nonce"], "status": status, "resultJson": result}
    done.update({"note": "; ".join(notes)[:4096]} if notes else {}, **({"error": error} if error else {}), **({"artifactsCut": True} if left else {}))
    say({**done, "stdoutBytes": stdout.printed, "stderrBytes": stderr.printed})


`;
}

function service(): string {
  return String.raw`
sys.argv = ["main.py"]
say({"type": "ready"})
while True:
    order = next_order()
    serve(run_bash if order["language"] == "bash" else run_python)
`;
}
