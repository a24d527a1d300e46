/**
 * The part of the Python program (python.ts) that keeps a script of bash. Its folder holds the script, a socket through which the command
 * `tools NAME '{"argument": 1}'` reaches the keeper, and what the variable `result` was when the script ended.
 */
export const bashModule = String.raw`
SHELL_FOLDER = "/tmp/.capstan"
SCRIPT, SETUP, CLIENT, SOCKET, RESULT = (SHELL_FOLDER + "/" + name for name in ("main.sh", "setup", "client", "socket", "result"))
CLIENT_TEXT = f'''
import json, socket, sys

if len(sys.argv) not in (2, 3):
    sys.exit("Usage: tools NAME [JSON of the arguments]")
with socket.socket(socket.AF_UNIX) as link:
    link.connect("{SOCKET}")
    link.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    answer = json.loads(b"".join(iter(lambda: link.recv(65536), b"")))
if "error" in answer:
    sys.exit(answer["error"]["code"] + ": " + answer["error"]["message"])
value = answer.get("value")
print(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
'''
# Read by the shell before the script. A script with a trap of its own for EXIT has no result.
SETUP_TEXT = f'''unset BASH_ENV
tools() {{ "{sys.executable}" -I -S {CLIENT} "$@"; }}
export -f tools
trap 'printf %s "${"$"}{{result-}}" >{RESULT}' EXIT
'''
is_listening = False


def run_bash():
    import subprocess

    try:
        prepare_shell()
        code = subprocess.Popen(["bash", SCRIPT], env={**os.environ, "BASH_ENV": SETUP}).wait()
    except OSError as failure:
        return "error", "null", None, f"The script can't be started: {failure}. What earlier calls left in /tmp or running may be in its way."
    if code:
        return "error", "null", None, f"The script ended with exit status {code}." if code > 0 else f"The script was ended by signal {-code}."
    limit = order["resultBytes"]
    data = shell_result(limit)
    try:
        if len(data) > limit:
            raise TooLarge
        text = data.decode("utf-8", "replace")
        result, notes = encode(value_of(text), limit)
        if text.encode() != data:
            notes.append("bytes that are no UTF-8 were replaced")
        return "ok", result, "; ".join(notes) or None, None
    except TooLarge:
        return "output", "null", None, f"The result is larger than {limit} bytes as JSON. Return less of it, or write it to /out."


def prepare_shell():
    global is_listening
    os.makedirs(SHELL_FOLDER, exist_ok=True)
    for path, text in ((SCRIPT, order["code"]), (SETUP, SETUP_TEXT), (CLIENT, CLIENT_TEXT), (RESULT, "")):
        with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    if not is_listening:
        import socket

        listener = socket.socket(socket.AF_UNIX)
        listener.bind(SOCKET)
        listener.listen(16)
        is_listening = True
        _thread.start_new_thread(listen, (listener,))
        _thread.start_new_thread(take_answers, ())


def listen(listener):
    while True:
        _thread.start_new_thread(answer_client, (listener.accept()[0],))


def answer_client(link):
    try:
        with link, link.makefile("rb") as lines:
            name, args = (*loads(lines.readline(1 << 22)), "{}")[:2]
            link.sendall(call_from_shell(name, args).encode())
    except (OSError, ValueError):
        pass  # It gave up, or was no client of ours.


def call_from_shell(name, args):
    if not order["tools"]:
        return NO_TOOLS
    answer, gate = [], _thread.allocate_lock()
    gate.acquire()
    with lock:
        waiting[say_call(name, args, False)] = answer, gate
    gate.acquire()
    return answer[0]


def take_answers():
    with open(ANSWERS, "r", encoding="utf-8") as lines:
        for line in lines:
            with lock:
                answer, gate = waiting.pop(loads(line)["id"])
            answer.append(line)
            gate.release()
    os._exit(0)


def shell_result(limit):
    try:
        fd = os.open(RESULT, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            return file.read(limit + 1) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    except OSError:
        return b""


def value_of(text):
    """JSON where it is JSON, else the text itself."""
    try:
        return loads(text) if text else None
    except (ValueError, RecursionError):
        return text
`;
