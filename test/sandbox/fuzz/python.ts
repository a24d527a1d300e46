/** Pieces of programs in Python, valid and not. */
export const tokens: readonly string[] = `
  ( ) [ ] { } : , ; . @ = == := + - * ** / // % & | ^ ~ < > -> ... \\ ' " """ f" b" r" 0 1 -1 0x 1e999 1j 10**9 2**64
  def class lambda return yield await async for while if elif else try except finally raise with as import from global nonlocal
  del pass break continue in is not and or None True False match case type print eval exec compile open getattr setattr vars
  globals __import__ __builtins__ __class__ __bases__ __subclasses__ __globals__ __code__ __dict__ object type super sys os ctypes js
  pyodide pyodide_js tools result self x y z int bytes memoryview range slice
`
  .trim()
  .split(/\s+/)
  .concat(" ", "\n", "\n    ", "\t", "\0", "\u2028", "\ud800", "\ufeff", "# coding: rot13\n");

/** The same in each of the programs below: random numbers that the seed alone decides, from functions that nothing can break any more. */
const prelude = (seed: number): string => `
import ctypes, gc, importlib, sys, types
pick = __import__("random").Random(${seed})
randrange, choice = pick.randrange, pick.choice
plain = [0, -1, 1, 255, 2**31, 2**63, -2**63, 10**30, 0.5, float("nan"), float("inf"), 1j, True, None, ..., "", "x", "__class__", "__dict__", "\\ud800", "x" * 999,
    "/etc/passwd", "/out/x", "process", "constructor", b"", b"\\xff" * 99, bytearray(9), (), [], {}, set(), range(9), slice(None), object(), type, int, str, dict]
`;

/**
 * Walks every object which it can reach, in Python and through it in the JavaScript around it, and does `steps` things to them at random:
 * reads, sets and deletes attributes and items, and calls whatever can be called.
 */
const toWalk = (seed: number, steps: number): string => `${prelude(seed)}
for name in ("_pyodide", "_pyodide_core", "_ctypes", "asyncio", "code", "faulthandler", "inspect", "io", "js", "marshal", "mmap", "os", "pickle", "pyodide", "pyodide.code", "pyodide.ffi",
             "pyodide.http", "pyodide.webloop", "pyodide_js", "pyodide_js._api", "pyodide_js._module", "resource", "select", "shutil", "signal", "socket", "ssl", "subprocess", "threading", "zipimport", "zlib"):
    try: importlib.import_module(name)
    except BaseException: pass
pool = [tools] + [module for module in list(sys.modules.values()) if module is not None]
for name in ("globalThis", "pyodide_js", "pyodide_js._api", "pyodide_js._module"):
    try: pool.append(eval(name, {"globalThis": __import__("js"), "pyodide_js": __import__("pyodide_js")}))
    except BaseException: pass
own = id(pool), id(plain)
def step():
    it = choice(pool)
    def value(): return choice(plain) if randrange(2) else choice(pool)
    kind = randrange(12)
    if kind < 4: found = getattr(it, choice(dir(it)))
    elif kind < 8: found = it(*[value() for _ in range(randrange(5))]) if callable(it) else getattr(it, choice(dir(it)))(*[value() for _ in range(randrange(4))])
    elif kind == 8: found = it[value()]
    elif kind == 9: setattr(it, choice(dir(it)), value()); return
    elif kind == 10 and randrange(9) == 0: delattr(it, choice(dir(it))); return
    else: found = next(iter(it))
    if id(found) not in own and len(pool) < 20_000: pool.append(found)
for _ in range(${steps}):
    try: step()
    except BaseException: pass
None`;

/** Functions of the standard library and of what runs the code, their bytecode changed at random and then called. */
const toBytecode = (seed: number, steps: number): string => `${prelude(seed)}
functions = [it for it in gc.get_objects() if isinstance(it, types.FunctionType)]
for _ in range(${steps}):
    try:
        it = choice(functions)
        code = bytearray(it.__code__.co_code)
        for _ in range(randrange(1, 8)): code[randrange(len(code))] = randrange(256)
        types.FunctionType(it.__code__.replace(co_code=bytes(code), co_stacksize=randrange(64)), it.__globals__)(*[choice(plain) for _ in range(it.__code__.co_argcount)])
    except BaseException: pass
None`;

/** Writes at random places into the interpreter's memory, and does a little with what is then left. */
const toPokes = (seed: number, steps: number): string => `${prelude(seed)}
import json, os
for _ in range(${steps}):
    try:
        ctypes.memset(randrange(1, 1 << 25), randrange(256), randrange(1, 16))
        json.dumps({"x": [str(n) for n in range(9)]})
        os.listdir("/out")
    except BaseException: pass
None`;

/** The programs that a seed stands for. */
export const toPrograms: readonly ((seed: number, steps: number) => string)[] = [toWalk, toWalk, toBytecode, toPokes];
