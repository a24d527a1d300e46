import type { Write, Written } from "../guest/guest-json.ts";

/**
 * What the worker offers the code below, and nothing else of it. Arguments and answers are strings, numbers, booleans and bytes. The
 * worker takes every argument for hostile: that these functions are not in the guest's reach is not what its limits rest on.
 */
export interface GuestHost {
  /** False: the output limit is reached. */
  readonly write: (stream: 1 | 2, text: string) => boolean;
  /** Takes a piece of the result. False: it is too large. */
  readonly emit: (piece: string) => boolean;
  /** Sends a call. Its answer comes through `settle`; a text: why it was refused at once. */
  readonly call: (id: number, name: string, args: string) => string | undefined;
  /** Calls `fire` with the id in so many milliseconds. False: there are too many timers. */
  readonly arm: (id: number, delayMs: number) => boolean;
  readonly disarm: (id: number) => void;
  /** The paths of all files, as JSON text. */
  readonly list: () => string;
  /** Missing file: undefined. No room for it in the guest: null. */
  readonly readText: (path: string) => string | undefined | null;
  readonly readBytes: (path: string) => Uint8Array | undefined | null;
  /** A text: why it was refused. */
  readonly save: (path: string, data: string | ArrayBufferView) => string | undefined;
  readonly limits: {
    readonly outputBytes: number;
    readonly resultBytes: number;
    readonly artifactBytes: number;
    readonly callBytes: number;
  };
}

/** What the worker calls in the guest. None of these throws for what the guest's code does. */
export interface GuestApi {
  /** Readies the world for another run of the same session. */
  readonly begin: () => void;
  /** Writes the result through `emit`; gives the notes on what JSON could not hold, or undefined when it is too large. */
  readonly finish: (value: unknown) => string | undefined;
  /** A thrown value as text: its name, message and trace. */
  readonly describe: (thrown: unknown) => string;
  readonly settle: (id: number, ok: boolean, text: string) => void;
  /** Runs a timer's callback; a text: what it threw. */
  readonly fire: (id: number) => string | undefined;
}

/**
 * Sets up the guest's world: console, timers, `files` and `tools`. As with guestJson, its source is evaluated in the guest before any
 * other code, refers to nothing outside itself, takes now every function that it uses later, and joins texts with `+` only.
 */
export function guest(host: GuestHost, write: Write): GuestApi {
  const { apply, get } = Reflect;
  const { create, defineProperty, freeze, setPrototypeOf } = Object;
  const { parse } = JSON;
  const isView = get(ArrayBuffer, "isView");
  const isError: (value: unknown) => value is Error = get(Error, "isError");
  const slice = get(String.prototype, "slice");
  const indexOf = get(String.prototype, "indexOf");
  const { floor } = Math;
  const { limits } = host;
  const NewPromise = Promise;
  const NewError = Error;
  const NewTypeError = TypeError;
  const NewRangeError = RangeError;
  const NewProxy = Proxy;
  const maxTextLength = 8_000;

  // A formatter of traces would hand the functions on the stack, ours among them, to the guest.
  defineProperty(Error, "prepareStackTrace", { value: undefined });

  const cut = (text: string, length: number): string => apply(slice, text, [0, length]);
  const attempt = <T>(run: () => T, otherwise: T): T => {
    try {
      return run();
    } catch {
      return otherwise;
    }
  };
  const define = (target: object, name: string, value: unknown): void => {
    defineProperty(target, name, { __proto__: null, value, writable: true, configurable: true } as PropertyDescriptor);
  };

  function toText(value: unknown): string {
    switch (typeof value) {
      case "string":
        return value;
      case "function":
        return "[function]";
      case "undefined":
        return "undefined";
      case "bigint":
        return "" + value + "n";
      case "number":
        return "" + value;
      default:
        return isError(value) ? describe(value) : toJsonText(value, limits.outputBytes).text;
    }
  }

  function toJsonText(value: unknown, room: number): Written & { readonly text: string } {
    let text = "";
    const { tooLarge, notes } = write(
      value,
      (piece) => {
        text += piece;
        return true;
      },
      room,
    );
    return { text: tooLarge ? text + "…" : text, tooLarge, notes };
  }

  function describe(thrown: unknown): string {
    if (!isError(thrown))
      return (
        "thrown: " +
        cut(
          attempt(() => toText(thrown), "a value without text"),
          maxTextLength,
        )
      );
    const part = (name: "name" | "message" | "stack"): string =>
      attempt(() => {
        const value: unknown = thrown[name];
        return typeof value === "string" ? cut(value, maxTextLength) : "";
      }, "");
    const message = part("message");
    const trace = part("stack");
    const stack = trace[trace.length - 1] === "\n" ? cut(trace, trace.length - 1) : trace;
    return (part("name") || "Error") + (message === "" ? "" : ": " + message) + (stack === "" ? "" : "\n" + stack);
  }

  let isOpen = true;
  const print = (stream: 1 | 2, items: readonly unknown[]): void => {
    if (!isOpen) return;
    let text = "";
    for (let index = 0; index < items.length && text.length <= limits.outputBytes; index += 1) {
      const item = attempt(() => toText(items[index]), "[a value without text]");
      text += (index === 0 ? "" : " ") + cut(item, limits.outputBytes);
    }
    isOpen = host.write(stream, text + "\n");
  };
  const out = (...items: readonly unknown[]): void => print(1, items);
  const err = (...items: readonly unknown[]): void => print(2, items);
  define(globalThis, "console", { log: out, info: out, debug: out, warn: err, error: err, trace: err });

  interface Timer {
    readonly run: Function;
    readonly args: readonly unknown[];
    readonly everyMs: number | undefined;
  }
  const timers: Record<number, Timer | undefined> = create(null);
  let lastId = 0;
  const start = (repeats: boolean, run: unknown, delay: unknown, args: readonly unknown[]): number => {
    if (typeof run !== "function") throw new NewTypeError("A timer needs a function to call.");
    const asked = typeof delay === "number" && delay >= 1 ? floor(delay) : 1;
    const delayMs = asked > 0x7fffffff ? 1 : asked;
    const id = (lastId += 1);
    if (!host.arm(id, delayMs)) throw new NewRangeError("Too many timers are waiting. Clear some first.");
    timers[id] = { run, args, everyMs: repeats ? delayMs : undefined };
    return id;
  };
  const clear = (id: unknown): void => {
    if (typeof id !== "number" || timers[id] === undefined) return;
    delete timers[id];
    host.disarm(id);
  };
  define(globalThis, "setTimeout", (run: unknown, delay: unknown, ...args: readonly unknown[]) =>
    start(false, run, delay, args),
  );
  define(globalThis, "setInterval", (run: unknown, delay: unknown, ...args: readonly unknown[]) =>
    start(true, run, delay, args),
  );
  define(globalThis, "clearTimeout", clear);
  define(globalThis, "clearInterval", clear);

  const toPath = (path: unknown): string => {
    if (typeof path !== "string") throw new NewTypeError("The path of a file must be a text.");
    return path;
  };
  const found = <T>(path: string, content: T | undefined | null): T => {
    if (content === undefined)
      throw new NewError("There is no file " + cut(path, 200) + ". files.list() says which there are.");
    if (content === null)
      throw new NewRangeError("The file " + cut(path, 200) + " is larger than the memory that is left.");
    return content;
  };
  const files = {
    list: (): unknown => parse(host.list()),
    read: (path: unknown): string => found(toPath(path), host.readText(toPath(path))),
    readBytes: (path: unknown): Uint8Array => found(toPath(path), host.readBytes(toPath(path))),
    write: (path: unknown, data: unknown): void => {
      const isText = typeof data === "string";
      if (!isText && !isView(data)) throw new NewTypeError("A file is written from a text or from a Uint8Array.");
      const isHuge = isText && data.length > limits.artifactBytes;
      const refused = isHuge ? "it is larger than all files may be" : host.save(toPath(path), data);
      if (refused !== undefined)
        throw new NewError("files.write(" + toJsonText(cut(toPath(path), 200), 1_000).text + "): " + refused + ".");
    },
  };
  define(globalThis, "files", freeze(files));

  interface Waiting {
    readonly resolve: (value: unknown) => void;
    readonly reject: (reason: unknown) => void;
  }
  const waiting: Record<number, Waiting | undefined> = create(null);
  /** What a call throws that failed or was refused. `code` says why in one word, the message in a sentence behind it. */
  class ToolError extends NewError {}
  const toolError = ToolError.prototype;
  define(toolError, "name", "ToolError");
  define(globalThis, "ToolError", ToolError);
  const refusal = (text: string): Error => {
    const error: Error = setPrototypeOf(new NewError(text), toolError);
    define(error, "code", cut(text, apply(indexOf, text, [": "])));
    return error;
  };
  const callTool = (name: unknown, args: unknown): Promise<unknown> =>
    new NewPromise((resolve, reject) => {
      if (typeof name !== "string")
        return reject(refusal("tool.bad_arguments: A tool is called by its name: tools.call(name, args)."));
      const { text, tooLarge, notes } = toJsonText(args === undefined ? create(null) : args, limits.callBytes);
      if (tooLarge)
        return reject(refusal("tool.bad_arguments: The arguments have more than " + limits.callBytes + " bytes."));
      if (notes !== "") return reject(refusal("tool.bad_arguments: The arguments must be JSON, but " + notes + "."));
      const id = (lastId += 1);
      waiting[id] = { resolve, reject };
      const refused = host.call(id, name, text);
      if (refused === undefined) return;
      delete waiting[id];
      reject(refusal(refused));
    });
  // Any name is a tool until the host says otherwise, also those that objects inherit. `then` is none: a promise would call it.
  const nothing: object = freeze(create(null));
  const tools = new NewProxy(nothing, {
    __proto__: null,
    get: (_target: object, name: string | symbol): unknown => {
      if (typeof name !== "string" || name === "then") return undefined;
      return name === "call" ? callTool : (args: unknown) => callTool(name, args);
    },
  } as ProxyHandler<object>);
  define(globalThis, "tools", tools);

  return {
    begin: () => {
      isOpen = true;
    },
    finish: (value) => {
      const { tooLarge, notes } = write(value, host.emit, limits.resultBytes);
      return tooLarge ? undefined : notes;
    },
    describe,
    settle: (id, ok, text) => {
      const call = waiting[id];
      delete waiting[id];
      if (ok) call?.resolve(parse(text));
      else call?.reject(refusal(text));
    },
    fire: (id) => {
      const timer = timers[id];
      if (timer === undefined) return undefined;
      const { run, args, everyMs } = timer;
      if (everyMs === undefined) delete timers[id];
      else host.arm(id, everyMs);
      try {
        apply(run, undefined, args);
        return undefined;
      } catch (thrown) {
        return describe(thrown);
      }
    },
  };
}
