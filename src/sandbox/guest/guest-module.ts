/**
 * The Python side of a run: in Pyodide a module of the standard library, elsewhere the beginning of the program of python.ts. It keeps its
 * own copy of the builtins and of every function it needs, so that code which replaces `len` or `json.dumps` changes its own world only.
 * The result becomes JSON here: nothing of the guest is ever unpickled, and what JSON can't hold is told in a note.
 */
export const guestModule = String.raw`
import ast, builtins, linecache, sys, traceback
import __main__
from binascii import b2a_base64
from json import loads
from json.encoder import encode_basestring_ascii as quote

# The functions below look their builtins up here.
__builtins__ = dict(vars(builtins))

# Of the code of each run in turn: a trace tells by which call of a session a function was made.
files = []
AWAIT = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
# inspect.CO_COROUTINE; the module itself takes long to load.
COROUTINE = 128
MAX_DEPTH = 100
MAX_REPR = 2000
MAX_TRACE = 8000
OUT, ERR = sys.stdout, sys.stderr
Trace = traceback.TracebackException
parse, compile_, Expr, Expression = ast.parse, compile, ast.Expr, ast.Expression
walk_tree, Load, Del = ast.walk, ast.Load, ast.Del
cache, main = linecache.cache, __main__.__dict__


class ToolError(Exception):
    """A tool call failed. code says why in one word, the text in a sentence."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Tools:
    """tools.NAME(argument=...) waits for the answer; await tools.acall("NAME", argument=...) lets other tasks run meanwhile."""

    def __init__(self, call, acall):
        self.__call, self.__acall = call, acall

    def call(self, name, args=None, /, **more):
        return answered(self.__call(named(name), arguments(args, more)))

    async def acall(self, name, args=None, /, **more):
        return answered(await self.__acall(named(name), arguments(args, more)))

    def __getattr__(self, name):
        # Names like this are Python's own questions to an object. A tool that has one is called by tools["NAME"].
        if name.startswith("__"):
            raise AttributeError(name)
        return self[name]

    def __getitem__(self, name):
        return lambda args=None, /, **more: self.call(name, args, **more)


def named(name):
    if not isinstance(name, str):
        raise TypeError('A tool is called by its name: tools.call("NAME", argument=...).')
    return str.__str__(name)


def arguments(args, more):
    if args is not None and not isinstance(args, dict):
        raise TypeError("A tool takes keyword arguments, or one dictionary of them.")
    text, notes = encode({**(args or {}), **more}, 1 << 20)
    if notes:
        raise TypeError("The arguments of a tool must be JSON: " + "; ".join(notes) + ".")
    return text


def answered(text):
    answer = loads(text)
    if "error" in answer:
        raise ToolError(answer["error"]["code"], answer["error"]["message"])
    return answer.get("value")


class TooLarge(Exception):
    pass


def encode(value, limit):
    """JSON text of a value, at most limit characters, and what it lost, as sentences."""
    parts, path, notes, size = [], set(), {}, 0

    def put(text):
        nonlocal size
        size += len(text)
        if size > limit:
            raise TooLarge
        parts.append(text)

    def lossy(text, note):
        notes[note] = True
        put(quote(text))

    def string(text):
        if len(text) > limit:
            raise TooLarge
        put(quote(text))

    def items(open_, close, values, each):
        put(open_)
        for index, item in enumerate(values):
            if index:
                put(",")
            each(item)
        put(close)

    def pair(item):
        key, held = item
        if isinstance(key, str):
            string(str.__str__(key))
        else:
            lossy(shown(key), "keys became text")
        put(":")
        walk(held)

    def walk(item):
        if item is None or item is True or item is False:
            put("null" if item is None else "true" if item else "false")
        elif isinstance(item, str):
            string(str.__str__(item))
        elif isinstance(item, int):
            if -(2**53) < item < 2**53:
                put(int.__repr__(item))
            else:
                lossy(shown(item), "integers beyond 2**53 became text")
        elif isinstance(item, float):
            if item - item == 0:
                put(float.__repr__(item))
            else:
                lossy(float.__repr__(item), "NaN and infinite numbers became text")
        elif isinstance(item, (list, tuple, dict, set, frozenset)):
            if id(item) in path:
                lossy("<cycle>", "a value that holds itself was cut")
            elif len(path) >= MAX_DEPTH:
                lossy("<deeper>", f"what nests deeper than {MAX_DEPTH} was cut")
            else:
                path.add(id(item))
                if isinstance(item, dict):
                    if dict.__len__(item) > limit:
                        raise TooLarge
                    names = {str.__str__(key) if isinstance(key, str) else shown(key) for key in dict.keys(item)}
                    if len(names) < dict.__len__(item):
                        notes["of keys that became the same text the last one is there"] = True
                    items("{", "}", list(dict.items(item)), pair)
                elif isinstance(item, list):
                    items("[", "]", list.__iter__(item), walk)
                elif isinstance(item, tuple):
                    items("[", "]", tuple.__iter__(item), walk)
                else:
                    notes["sets became lists"] = True
                    items("[", "]", list(item), walk)
                path.discard(id(item))
        elif isinstance(item, (bytes, bytearray)):
            if len(item) > limit:
                raise TooLarge
            lossy(b2a_base64(item, newline=False).decode(), "bytes became base64")
        elif type(item).__module__ == "datetime" and hasattr(item, "isoformat"):
            lossy(item.isoformat(), "dates became ISO 8601 text")
        elif type(item).__module__ == "decimal":
            lossy(str(item), "decimals became text")
        else:
            lossy(shown(item), "objects became their repr")

    walk(value)
    return "".join(parts), list(notes)


def shown(value):
    try:
        return cut(repr(value), MAX_REPR)
    except MemoryError:
        raise
    except Exception:
        return f"<{type(value).__name__}, whose repr failed>"


def cut(text, limit):
    return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"


async def evaluate(code):
    value = eval(code, main)
    return await value if code.co_flags & COROUTINE else value


async def execute(source):
    file = f"main-{len(files) + 1}.py" if files else "main.py"
    files.append(file)
    cache[file] = (len(source), None, source.splitlines(True), file)
    was_there = "result" in main
    tree = parse(source, file)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], Expr) else None
    await evaluate(compile_(tree, file, "exec", AWAIT, True))
    value = None if last is None else await evaluate(compile_(Expression(last.value), file, "eval", AWAIT, True))
    if value is None and (not was_there or assigns_result(tree)):
        return main.get("result")
    return value


def assigns_result(tree):
    """Whether this code sets the variable: else it is that of an earlier run of the session."""
    named = (node for node in walk_tree(tree) if getattr(node, "id", getattr(node, "name", None)) == "result")
    return any(not isinstance(getattr(node, "ctx", None), (Load, Del)) for node in named)


def trace(error):
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename not in files:
        frames = frames.tb_next
    try:
        return cut("".join(Trace(type(error), error, frames).format()), MAX_TRACE).rstrip()
    except Exception:
        return f"{type(error).__name__}, whose text failed"


async def run(source, limit, call, acall):
    """Runs the code. Answers (status, result as JSON, note, error); it does not raise."""
    if "/in" not in sys.path:
        sys.path.append("/in")
    main.update(__name__="__main__", __builtins__=builtins, tools=Tools(call, acall), ToolError=ToolError)
    status, result, note, error = "ok", "null", None, None
    try:
        value = await execute(source)
        try:
            result, notes = encode(value, limit)
            note = "; ".join(notes) or None
        except TooLarge:
            status, error = "output", f"The result is larger than {limit} bytes as JSON. Return less of it, or write it to /out."
    except MemoryError as caught:
        status, error = "memory", trace(caught)
    except SystemExit as caught:
        status, error = "crashed", f"The code left by SystemExit({shown(caught.code)}) before it had a result."
    except BaseException as caught:
        status, error = "error", trace(caught)
    try:
        OUT.flush()
        ERR.flush()
    except BaseException:
        pass
    return status, result, note, error
`;
