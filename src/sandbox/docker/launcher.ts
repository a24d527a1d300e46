/**
 * The first process of a container, once in Python and once in JavaScript, since an image may hold one of them only. It starts a runner
 * (guest/) with the descriptors of process/wire.ts and carries what goes through them over the container's standard input and output,
 * in frames of one byte for the descriptor, three of nothing, and four for the length: one stream is all that every Docker socket gives,
 * a remote one too. It trusts nobody and nobody trusts it: code that took it over can say no more than code that took over the runner.
 *
 * At the end of its input, which comes when Capstan is gone, and at the end of the runner, it leaves, and the kernel kills what is left
 * in the container.
 */
export const launcherInPython = String.raw`
import fcntl, os, select, signal, socket, struct, sys

header = struct.Struct(">BxxxI")
stdout, stdout_inside = os.pipe()
diagnostics, diagnostics_inside = os.pipe()
stderr, stderr_inside = os.pipe()
answers_inside, answers = os.pipe()
control, control_inside = (end.detach() for end in socket.socketpair())
wake, woken = os.pipe()

runner = os.fork()
if runner == 0:
    try:
        inside = [os.open(os.devnull, os.O_RDONLY), stdout_inside, diagnostics_inside, control_inside, answers_inside, stderr_inside]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 32) for fd in inside]
        for number, fd in enumerate(high):
            os.dup2(fd, number)
        os.execvp(sys.argv[1], sys.argv[1:])
    except OSError as caught:
        os.write(2, f"{sys.argv[1]}: {caught}".encode())
    finally:
        os._exit(127)
for fd in (stdout_inside, diagnostics_inside, control_inside, answers_inside, stderr_inside):
    os.close(fd)


def reap(*_):
    global over
    try:
        while True:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            over = over or pid == runner
    except ChildProcessError:
        over = True


def send(channel, data):
    data = header.pack(channel, len(data)) + data
    while data:
        data = data[os.write(1, data) :]


def pump(fd):
    """Passes on what is there; answers whether there may be more."""
    try:
        data = os.read(fd, 65536)
    except (BlockingIOError, ConnectionResetError):
        return False
    if data and fd == control:
        drain()
    if data:
        send(outputs[fd], data)
    return bool(data)


def drain():
    """What was printed before a frame goes before it, as far as pipes can hold it."""
    for fd in open_outputs - {control}:
        for _ in range(16):
            if not pump(fd):
                break


def receive(data):
    """Puts what came for the runner into the queue of its channel. Channel 0 is for the launcher: it stops all others, or lets them go on."""
    global partial, left, queue
    while data:
        if left:
            if queue is None:
                freeze(data[0])
            else:
                queue += data[:left]
            data, left = data[left:], left - min(left, len(data))
        else:
            missing = header.size - len(partial)
            partial, data = partial + data[:missing], data[missing:]
            if len(partial) == header.size:
                channel, left = header.unpack(partial)
                queue, partial = queues.get(inputs.get(channel)), b""


def freeze(is_frozen):
    try:
        os.kill(-1, signal.SIGSTOP if is_frozen else signal.SIGCONT)
    except ProcessLookupError:
        pass


over = False
outputs = {stdout: 1, diagnostics: 2, control: 3, stderr: 5}
inputs = {3: control, 4: answers}
queues = {control: bytearray(), answers: bytearray()}
partial, left, queue = b"", 0, None
for fd in (*outputs, answers, wake, woken):
    os.set_blocking(fd, False)
signal.set_wakeup_fd(woken)
signal.signal(signal.SIGCHLD, reap)
reap()
open_outputs = set(outputs)
while not over:
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    # The runner reads orders as they come. Answers to calls it may leave for a while, and they must not hold up an order.
    if len(queues[control]) < 1 << 20:
        poll.register(0, select.POLLIN)
    for fd in open_outputs | {answers}:
        events = (select.POLLIN if fd in open_outputs else 0) | (select.POLLOUT if queues.get(fd) else 0)
        if events:
            poll.register(fd, events)
    for fd, events in poll.poll():
        if fd == wake:
            os.read(wake, 4096)
        elif fd == 0:
            data = os.read(0, 65536)
            if not data:
                os._exit(0)
            receive(data)
        elif fd in open_outputs and events & ~select.POLLOUT:
            if not pump(fd):
                open_outputs.discard(fd)
                over = over or fd == control
        else:
            try:
                del queues[fd][: os.write(fd, queues[fd][:65536])]
            except BlockingIOError:
                pass
            except BrokenPipeError:
                queues[fd].clear()
drain()
pump(control)
os._exit(0)
`;

/** As `launcherInPython`. */
export const launcherInJavaScript = String.raw`
const { spawn } = require("node:child_process");
const { writeSync } = require("node:fs");
const [, command, ...args] = process.argv;
const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", "pipe"] });
const [, , , control, answers] = child.stdio;
const inputs = { 3: control, 4: answers };

const writeAll = (bytes) => {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
};
const send = (channel, data) => {
  const header = Buffer.alloc(8);
  header.writeUInt8(channel);
  header.writeUInt32BE(data.length, 4);
  writeAll(header);
  writeAll(data);
};
for (const channel of [1, 2, 5]) {
  child.stdio[channel].on("error", () => undefined).on("data", (data) => send(channel, data));
}
// What was printed before a frame goes before it: it is read in the same turn of the event loop, or was before.
control.on("error", () => undefined).on("data", (data) => setImmediate(send, 3, data));
answers.on("error", () => undefined);

// What was printed just before the end is read first.
const leave = () => setTimeout(() => process.exit(0), 50);
child.on("exit", leave).on("error", ({ message }) => {
  send(2, Buffer.from(message));
  leave();
});
control.on("end", leave);

const freeze = (isFrozen) => {
  try {
    process.kill(-1, isFrozen ? "SIGSTOP" : "SIGCONT");
  } catch {
    // There is nobody.
  }
};
let header = Buffer.alloc(0);
let left = 0;
const receive = (data) => {
  while (data.length > 0) {
    if (left > 0) {
      const piece = data.subarray(0, left);
      left -= piece.length;
      data = data.subarray(piece.length);
      const target = inputs[header[0]];
      if (target === undefined) {
        freeze(piece[0]);
        continue;
      }
      // The runner reads orders as they come. Answers to calls it may leave for a while, and they must not hold up an order.
      if (!target.write(piece) && target === control) {
        process.stdin.pause();
        control.once("drain", () => process.stdin.resume());
      }
    } else {
      if (header.length === 8) header = Buffer.alloc(0);
      const missing = 8 - header.length;
      header = Buffer.concat([header, data.subarray(0, missing)]);
      data = data.subarray(missing);
      if (header.length === 8) left = header.readUInt32BE(4);
    }
  }
};
process.stdin.on("data", receive).on("end", () => process.exit(0));
`;
