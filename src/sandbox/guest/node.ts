import type { Runtime } from "node:inspector";
import type { Frame, Order } from "../process/wire.ts";
import { guestJson, type Write } from "./guest-json.ts";

type Done = Extract<Frame, { type: "done" }>;
type End = Pick<Done, "status" | "error" | "note"> & { readonly resultJson?: string };

/**
 * What the machine's own Node, or that of a container, runs: `node -e PROGRAM`, with the descriptors of wire.ts, and with what would be
 * stderr of its processes (2) led where the code's stderr goes (5). It takes orders until the control pipe ends.
 */
export const nodeProgram = `(${nodeGuest.toString()})((${guestJson.toString()})(), (name, options) => import(name, options));`;

/** Its source text is evaluated inside, so it refers to nothing outside of itself. What it needs is taken before any code of the guest. */
function nodeGuest(write: Write, load: (specifier: string, options?: ImportCallOptions) => Promise<unknown>): void {
  const fs = process.getBuiltinModule("node:fs");
  const paths = process.getBuiltinModule("node:path");
  const { Session } = process.getBuiltinModule("node:inspector");
  const { createRequire, stripTypeScriptTypes } = process.getBuiltinModule("node:module");
  const { Writable } = process.getBuiltinModule("node:stream");
  const { Script } = process.getBuiltinModule("node:vm");
  const { readSync, writeSync, openSync, closeSync, fstatSync, readFileSync, readdirSync } = fs;
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = fs.constants;
  const { parse, stringify } = JSON;
  const { keys } = Object;
  const [inFolder, outFolder] = ["/in", "/out"];
  /** Of the code of each order in turn: a trace tells by which call of a session a function was made. */
  let file = "main.js";
  const pipes = { stdout: 1, control: 3, answers: 4, stderr: 5 };
  const limits = { entries: 1_000, depth: 16, callBytes: 1024 * 1024, errorLength: 8_000 };
  const printed = { [pipes.stdout]: 0, [pipes.stderr]: 0 };
  let orders = 0;
  const exit: () => never = Reflect.get(process, "reallyExit").bind(process, 0);
  let order: Order | undefined;
  let finish: (end: End) => void = () => undefined;

  const writeAll = (fd: number, bytes: Uint8Array): void => {
    for (let at = 0; at < bytes.length;) at += writeSync(fd, bytes, at);
  };
  /** Part by part: as a whole, a frame would be asked for the `toJSON` that code can give to every object. */
  const say = (frame: Frame): void => {
    const parts: Readonly<Record<string, unknown>> = frame;
    const names = keys(parts);
    let line = "{";
    for (let at = 0; at < names.length; at += 1) {
      const name = names[at] ?? "";
      if (parts[name] !== undefined) line += `${at === 0 ? "" : ","}${stringify(name)}:${stringify(parts[name])}`;
    }
    writeAll(pipes.control, Buffer.from(`${line}}\n`));
  };
  const read = (into: Buffer, at = 0): number => readSync(pipes.control, into, at, into.length - at, null) || exit();
  /** What came behind a line. */
  let unread = Buffer.alloc(0);
  const readLine = (): string => {
    let line = unread;
    for (let end = line.indexOf(10); ; end = line.indexOf(10)) {
      unread = line.subarray(end + 1);
      if (end >= 0) return line.toString("utf8", 0, end);
      const chunk = Buffer.allocUnsafe(65_536);
      line = Buffer.concat([line, chunk.subarray(0, read(chunk))]);
    }
  };
  const readBytes = (length: number): Buffer => {
    const bytes = Buffer.allocUnsafeSlow(length);
    const known = unread.copy(bytes);
    unread = unread.subarray(known);
    for (let at = known; at < length;) at += read(bytes, at);
    return bytes;
  };

  // The pipes block, so what is printed is out when the call is back; Node's own streams of them would keep it.
  for (const name of ["stdout", "stderr"] as const) {
    const fd = pipes[name];
    const stream = new Writable({
      write(chunk: Buffer, _encoding, done) {
        writeAll(fd, chunk);
        printed[fd] = (printed[fd] ?? 0) + chunk.length;
        done();
      },
    });
    Object.defineProperty(process, name, { value: Object.assign(stream, { fd }), configurable: true });
  }

  class ToolError extends Error {
    readonly code: string;
    constructor(code: string, message: string) {
      super(`${code}: ${message}`);
      this.code = code;
    }
  }
  Object.defineProperty(ToolError.prototype, "name", { value: "ToolError", configurable: true, writable: true });
  /** What comes of a call that an earlier order left. Where nobody handles it, that is no failure of the order that runs by then. */
  const callIsOver = Object.freeze(new ToolError("tool.cancelled", "The run that made this call has ended."));

  /** JSON text of a value, or undefined where it is too large, and what it lost. */
  const encode = (value: unknown, room: number): { readonly json?: string; readonly notes: string } => {
    let json = "";
    const { tooLarge, notes } = write(value, (piece) => ((json += piece), true), room);
    return tooLarge ? { notes } : { json, notes };
  };

  type Answer = { readonly id: number; readonly value?: unknown; readonly error?: { code: string; message: string } };
  const waiting: Record<number, { resolve(value: unknown): void; reject(reason: unknown): void }> = Object.create(null);
  let [waitingCalls, lastId, lastIdBefore] = [0, 0, 0];
  let rest = Buffer.alloc(0);
  const readAnswers = (): void => {
    const chunk = Buffer.allocUnsafe(65_536);
    fs.read(pipes.answers, chunk, 0, chunk.length, null, (failure, bytes) => {
      if (failure !== null || bytes === 0) exit();
      const lines = Buffer.concat([rest, chunk.subarray(0, bytes)]);
      let start = 0;
      for (let end = lines.indexOf(10); end >= 0; end = lines.indexOf(10, start)) {
        const { id, value, error }: Answer = parse(lines.toString("utf8", start, end));
        start = end + 1;
        const call = waiting[id];
        delete waiting[id];
        waitingCalls -= 1;
        if (error === undefined) call?.resolve(value);
        else call?.reject(id <= lastIdBefore ? callIsOver : new ToolError(error.code, error.message));
      }
      rest = lines.subarray(start);
      if (waitingCalls > 0) readAnswers();
    });
  };
  const call = (name: unknown, args: unknown = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const refuse = (code: string, message: string) => reject(new ToolError(code, message));
      if (order?.tools !== true) return refuse("permission.no_right", "This code may not call tools.");
      if (typeof name !== "string")
        return refuse("tool.bad_arguments", "A tool is called by its name: tools.call(name, args).");
      const { json, notes } = encode(args, limits.callBytes);
      if (json === undefined)
        return refuse("tool.bad_arguments", `The arguments have more than ${limits.callBytes} bytes.`);
      if (notes !== "") return refuse("tool.bad_arguments", `The arguments must be JSON, but ${notes}.`);
      lastId += 1;
      waiting[lastId] = { resolve, reject };
      waitingCalls += 1;
      say({ type: "call", nonce: order.nonce, id: lastId, name: name.slice(0, 256), argsJson: json, blocking: false });
      if (waitingCalls === 1) readAnswers();
    });
  // Any name is a tool until the host says otherwise. `then` is none: a promise would call it.
  const tools = new Proxy(Object.freeze(Object.create(null)), {
    get: (_target, name) =>
      typeof name !== "string" || name === "then"
        ? undefined
        : name === "call"
          ? call
          : (args: unknown) => call(name, args),
  });

  /** Absolute path of a file that the code wrote or was given. */
  const find = (path: string): string =>
    fs.existsSync(`${outFolder}/${path}`) ? `${outFolder}/${path}` : `${inFolder}/${path}`;
  const list = (folder: string): readonly string[] =>
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => `${entry.parentPath}/${entry.name}`.slice(folder.length + 1));
  const files = Object.freeze({
    list: () => [...new Set([...list(inFolder), ...list(outFolder)])].toSorted(),
    read: (path: string) => readFileSync(find(path), "utf8"),
    readBytes: (path: string) => new Uint8Array(readFileSync(find(path))),
    write(path: string, data: string | NodeJS.ArrayBufferView) {
      fs.mkdirSync(paths.dirname(`${outFolder}/${path}`), { recursive: true });
      fs.writeFileSync(`${outFolder}/${path}`, data);
    },
  });
  const inspector = new Session();
  inspector.connect();
  const require = createRequire(`${outFolder}/${file}`);
  for (const [name, value] of Object.entries({ tools, ToolError, files, require })) {
    Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
  }
  // A formatter of traces would hand the functions on the stack, ours among them, to the guest's code.
  Object.defineProperty(Error, "prepareStackTrace", { value: undefined, writable: true });

  const isError: (value: unknown) => value is Error = Reflect.get(Error, "isError");
  /** What was thrown, as text in terms of the code: what stands behind its last line in a trace is ours. */
  const describe = (thrown: unknown): string => {
    try {
      if (!isError(thrown)) return `thrown: ${encode(thrown, limits.errorLength).json ?? "a large value"}`;
      const { name, message, stack } = thrown;
      const hint = /import statement outside a module/.test(message) ? ". Put imports before all other statements" : "";
      const frames = typeof stack === "string" ? stack.split("\n").filter((line) => /^ {4}at /.test(line)) : [];
      const own = frames.slice(0, frames.findLastIndex((line) => /\bmain(?:-\d+)?\.js:/.test(line)) + 1);
      return [`${name}: ${message}${hint}`.slice(0, limits.errorLength), ...own.slice(0, 50)].join("\n");
    } catch {
      return "An error, whose text failed.";
    }
  };

  /** What stands in the place of `import`, which code that is evaluated at a prompt does not have. */
  const importer = "__import";
  Object.defineProperty(globalThis, importer, {
    value: (specifier: unknown, options?: ImportCallOptions): Promise<unknown> => {
      const name = String(specifier);
      return load(/^\.{0,2}\//.test(name) ? new URL(name, `file://${outFolder}/`).href : name, options);
    },
  });
  /** What says nothing, piece by piece: as one pattern it would try each way to divide it. */
  const nothing = /[\s;]+|\/\/.*|\/\*[^]*?\*\//y;
  /** One of the statements that code begins with, if it imports: before others, nothing else can look like one. */
  const importStatement = new RegExp(
    String.raw`import\b\s*` +
      String.raw`(?:(?:([\w$]+)\s*,?\s*)?(?:\*\s*as\s+([\w$]+)|\{([^}]*)\})?\s*from\b\s*)?` +
      String.raw`("[^"\n]*"|'[^'\n]*')(?:\s*with\s*(\{[^}]*\}))?`,
    "y",
  );
  const withImports = (source: string): string => {
    let [head, end] = ["", 0];
    const take = (pattern: RegExp): RegExpExecArray | undefined => {
      pattern.lastIndex = end;
      const found = pattern.exec(source) ?? undefined;
      end += found?.[0].length ?? 0;
      return found;
    };
    for (;;) {
      for (let found = take(nothing); found !== undefined; found = take(nothing)) head += found[0];
      const found = take(importStatement);
      if (found === undefined) break;
      const [, one, all, some = "", from = "", how] = found;
      const names = `{ ${one === undefined ? "" : `default: ${one}, `}${some.replaceAll(/\sas\s/g, ": ")} }`;
      const bound = all === undefined ? names : `${all} = await ${importer}(${from}), ${names}`;
      head += `const ${bound} = await ${importer}(${from}${how === undefined ? "" : `, { with: ${how} }`});`;
    }
    // As a call a reserved word is an error; in a text, in a comment and as a name it is none. So V8 tells which of them is a call.
    const isCall = (whole: string, at: number): boolean =>
      !isScript(`${whole.slice(0, at)}enum${whole.slice(at + "import".length)}`);
    return (head + source.slice(end)).replaceAll(/\bimport(?=\s*\()/g, (word, at: number, whole: string) =>
      isCall(whole, at) ? importer : word,
    );
  };
  const isScript = (source: string): boolean => {
    try {
      return new Script(`(async () => {\n${source}\n})`) instanceof Script;
    } catch {
      return false;
    }
  };

  /** The value of the last expression, as at a prompt: `await` is possible at the top. Answers through V8, which knows how. */
  const evaluate = (source: string): Promise<unknown> =>
    new Promise((resolve, reject) => {
      const expression = `${source}\n//# sourceURL=${file}`;
      const options = { expression, replMode: true, awaitPromise: true, objectGroup: "run" };
      inspector.post("Runtime.evaluate", options, (failure: Error | null, answer: Runtime.EvaluateReturnType) => {
        if (failure !== null) return reject(failure);
        const { objectId, value, unserializableValue } = answer.exceptionDetails?.exception ?? answer.result;
        const settle = answer.exceptionDetails === undefined ? resolve : reject;
        if (unserializableValue !== undefined) return settle(toNumber(unserializableValue));
        if (objectId === undefined) return settle(value);
        take = settle;
        inspector.post("Runtime.callFunctionOn", { functionDeclaration: handOver, objectId, arguments: [taker] });
      });
    });
  /** V8 answers objects by number. This hands one over, through a function of ours that has a number too. */
  const handOver = 'function handOver(take) { "use strict"; take(this); }';
  let take: (value: unknown) => void = () => undefined;
  let taker: { readonly objectId?: string } = {};
  const toNumber = (text: string): number | bigint => (text.endsWith("n") ? BigInt(text.slice(0, -1)) : Number(text));

  /** A parser that failed instead of refusing stays broken for the life of its thread: from then on, each code gets a thread. */
  let strip: (code: string) => string | Promise<string> = (code) => stripTypeScriptTypes(code);
  const stripElsewhere = (code: string): Promise<string> =>
    new Promise((resolve, reject) => {
      const { Worker } = process.getBuiltinModule("node:worker_threads");
      const program = `const { parentPort, workerData } = require("node:worker_threads");
        try { parentPort.postMessage({ text: require("node:module").stripTypeScriptTypes(workerData) }) } catch (error) {
          if (!(error instanceof SyntaxError)) throw error;
          parentPort.postMessage({ refusal: error.message });
        }`;
      new Worker(program, { eval: true, workerData: code })
        .once("error", reject)
        .once("message", (answer: { readonly text: string } | { readonly refusal: string }) =>
          "text" in answer ? resolve(answer.text) : reject(new SyntaxError(answer.refusal)),
        );
    });
  const withoutTypes = async (code: string): Promise<string> => {
    try {
      return await strip(code);
    } catch (thrown) {
      if (thrown instanceof SyntaxError) throw thrown;
      strip = stripElsewhere;
      throw new SyntaxError("The parser of TypeScript failed on this code. Nest it less deeply.", { cause: thrown });
    }
  };

  const putFiles = (folder: string, given: Order["files"], contents: Buffer[], mode: number): void => {
    for (let at = 0; at < given.length; at += 1) {
      const target = `${folder}/${given[at]?.path}`;
      fs.mkdirSync(paths.dirname(target), { recursive: true });
      fs.rmSync(target, { force: true });
      fs.writeFileSync(target, contents.shift() ?? "", { mode });
    }
  };

  /** Sends the regular files of the output folder, none followed, within the limits; answers a note on what stayed. */
  const sendFiles = ({ nonce, artifactBytes, artifacts }: Order): string | undefined => {
    let [room, count, entries, left] = [artifactBytes, artifacts, 0, 0];
    const sendFile = (path: string): boolean => {
      // Opening a pipe without a writer would wait for one.
      const fd = openSync(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      try {
        const found = fstatSync(fd);
        if (!found.isFile() || found.size > room || count === 0) return false;
        const bytes = Buffer.alloc(found.size);
        const data = bytes.subarray(0, readSync(fd, bytes, 0, bytes.length, 0)).toString("base64");
        say({ type: "artifact", nonce, path: path.slice(outFolder.length + 1), data });
        room -= bytes.length;
        count -= 1;
        return true;
      } finally {
        closeSync(fd);
      }
    };
    const walk = (folder: string, depth: number): void => {
      for (const entry of readdirSync(folder, { withFileTypes: true })) {
        entries += 1;
        try {
          if (entries <= limits.entries && entry.isDirectory() && depth < limits.depth)
            walk(`${folder}/${entry.name}`, depth + 1);
          else if (entries > limits.entries || !sendFile(`${folder}/${entry.name}`)) left += 1;
        } catch {
          left += 1;
        }
      }
    };
    try {
      walk(outFolder, 0);
    } catch {
      return "/out could not be read to its end";
    }
    return left === 0 ? undefined : `${left} of /out stayed there: more than the limits, or no regular files`;
  };

  /** Takes one order after the other; in between, and after the last, this thread stands still. */
  const serve = async (): Promise<void> => {
    const now: Order = parse(readLine());
    const contents = [...now.files, ...now.outFiles].map(({ bytes }) => readBytes(bytes));
    order = now;
    orders += 1;
    lastIdBefore = lastId;
    file = orders === 1 ? "main.js" : `main-${orders}.js`;
    finish = (end) => {
      finish = () => undefined;
      const left = sendFiles(now);
      const note = end.note === undefined ? left : left === undefined ? end.note : `${end.note}; ${left}`;
      const { status, error, resultJson = "null" } = end;
      const counts = { stdoutBytes: printed[pipes.stdout] ?? 0, stderrBytes: printed[pipes.stderr] ?? 0 };
      const artifactsCut = left !== undefined || undefined;
      const texts = { resultJson, note: note?.slice(0, 4_096), error };
      say({ type: "done", nonce: now.nonce, status, ...texts, artifactsCut, ...counts });
      inspector.post("Runtime.releaseObjectGroup", { objectGroup: "run" });
      void serve();
    };
    try {
      putFiles(inFolder, now.files, contents, 0o444);
      putFiles(outFolder, now.outFiles, contents, 0o644);
      process.chdir(outFolder);
      const value = await evaluate(
        withImports(now.language === "typescript" ? await withoutTypes(now.code) : now.code),
      );
      const { json, notes } = encode(value, now.resultBytes);
      if (json !== undefined)
        finish({ status: "ok", resultJson: json, ...(notes === "" ? {} : { note: notes.slice(0, 4_096) }) });
      else {
        const error = `The result has more than ${now.resultBytes} bytes as JSON. Give less, or write it with files.write.`;
        finish({ status: "output", error });
      }
    } catch (thrown) {
      finish({ status: "error", error: describe(thrown) });
    }
  };

  process.on("uncaughtException", (thrown) => finish({ status: "error", error: describe(thrown) }));
  process.on("unhandledRejection", (reason) => {
    if (reason === callIsOver) return;
    finish({ status: "error", error: `Nothing handled the rejection of a promise. ${describe(reason)}` });
  });
  // Node leaves when nothing can happen any more.
  process.on("beforeExit", () =>
    finish({ status: "error", error: "The code stalled: it awaits a promise that nothing can settle." }),
  );
  const begin = async (): Promise<void> => {
    // A rehearsal: what it compiles, the run in waiting need not.
    await evaluate("({})");
    say({ type: "ready" });
    await serve();
  };
  Object.defineProperty(globalThis, "taker", { value: (value: unknown) => take(value), configurable: true });
  inspector.post(
    "Runtime.evaluate",
    { expression: "taker" },
    (_failure: Error | null, { result }: Runtime.EvaluateReturnType) => {
      taker = { objectId: result.objectId ?? "" };
      Reflect.deleteProperty(globalThis, "taker");
      void begin();
    },
  );
}
