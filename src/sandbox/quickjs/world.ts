import type { JSValueHandle, QuickJS } from "quickjs-wasi";
import { maxCallBytes, maxParallelCalls } from "../answer-call.ts";
import { wrongWithPath } from "../guest-path.ts";
import type { GuestHost } from "./guest.ts";
import { appendOutput } from "./output.ts";
import type { AnswerMessage, CallMessage, RunMessage } from "./protocol.ts";

const maxTimers = 1_000;

/** What the guest asked for and what came of it: the worker's side of GuestHost. */
export interface World {
  readonly host: JSValueHandle;
  readonly pieces: readonly string[];
  readonly written: ReadonlyMap<string, Uint8Array>;
  /** Whether a timer or a call may still wake the guest. */
  readonly mayWake: () => boolean;
  readonly answered: (answer: AnswerMessage) => void;
  /** Counts anew, for another run in the same interpreter; files stay. */
  readonly begin: (request: RunMessage) => void;
  /** Stops the timers, and forgets the calls. */
  readonly close: () => void;
}

/**
 * Builds the object that the guest's world is made of. The guest is taken for hostile: each argument is checked here, each limit is
 * counted here, and what goes wrong reaches the guest as a sentence, never as an error of this process.
 */
export function openWorld(
  vm: QuickJS,
  first: RunMessage,
  send: (message: CallMessage) => void,
  onTimer: (id: number) => void,
): World {
  let request = first;
  const host = vm.newObject();
  const pieces: string[] = [];
  const files = new Map<string, Uint8Array>();
  const written = new Map<string, Uint8Array>();
  const timers = new Map<number, NodeJS.Timeout>();
  const queued: CallMessage[] = [];
  const inFlight = new Set<number>();
  let resultBytes = 0;
  let calls = 0;
  let lastAnswer: JSValueHandle | undefined;

  const offer = (name: keyof GuestHost, answer: (...args: readonly (JSValueHandle | undefined)[]) => JSValueHandle) => {
    using callback = vm.newFunction(name, (...args) => {
      try {
        // The library copies an answer after this returns, so the copy before can go now.
        lastAnswer?.dispose();
        return (lastAnswer = answer(...args));
      } catch {
        throw withoutStack("The sandbox has no room left for this.");
      }
    });
    host.setProp(name, callback);
  };
  const toBoolean = (value: boolean): JSValueHandle => (value ? vm.true : vm.false);
  const toReason = (reason: string | undefined): JSValueHandle =>
    reason === undefined ? vm.undefined : vm.newString(reason);
  const find = (path: string): Uint8Array | undefined => written.get(path) ?? files.get(path);
  const begin = (next: RunMessage): void => {
    request = next;
    pieces.length = 0;
    resultBytes = 0;
    calls = 0;
    for (const { path, bytes } of request.files) {
      files.set(path, bytes);
      // What a call brings is newer than what one before it wrote.
      written.delete(path);
    }
    for (const { path, bytes } of request.outFiles) written.set(path, bytes);
  };
  begin(first);

  offer("write", (stream, text) =>
    toBoolean(appendOutput(request.output, toNumber(stream) === 2 ? 2 : 1, toText(text))),
  );
  offer("emit", (piece) => {
    const text = toText(piece);
    resultBytes += Buffer.byteLength(text);
    if (resultBytes > request.limits.resultBytes) return vm.false;
    pieces.push(text);
    return vm.true;
  });

  offer("call", (id, name, args) => {
    const { run, limits } = request;
    const message: CallMessage = { type: "call", run, id: toNumber(id), name: toText(name), args: toText(args) };
    if (!request.mayCall) return toReason("permission.no_right: This code may not call tools.");
    if (Buffer.byteLength(message.args) > maxCallBytes || message.name.length > 1_000) {
      return toReason(`tool.bad_arguments: The arguments of a call may have ${maxCallBytes} bytes at most.`);
    }
    if (calls >= limits.calls) return toReason(`budget.calls: One run of code may make ${limits.calls} calls.`);
    calls += 1;
    if (inFlight.size < maxParallelCalls) start(message);
    else queued.push(message);
    return vm.undefined;
  });
  const start = (message: CallMessage): void => {
    inFlight.add(message.id);
    send(message);
  };

  offer("arm", (id, delayMs) => {
    if (timers.size >= maxTimers) return vm.false;
    const key = toNumber(id);
    const fire = (): void => {
      timers.delete(key);
      onTimer(key);
    };
    timers.set(key, setTimeout(fire, toNumber(delayMs)));
    return vm.true;
  });
  offer("disarm", (id) => {
    clearTimeout(timers.get(toNumber(id)));
    timers.delete(toNumber(id));
    return vm.undefined;
  });

  offer("list", () => vm.newString(JSON.stringify([...new Set([...files.keys(), ...written.keys()])].sort())));
  const read = (path: JSValueHandle | undefined, toHandle: (bytes: Uint8Array) => JSValueHandle): JSValueHandle => {
    const bytes = find(toText(path));
    if (bytes === undefined) return vm.undefined;
    return bytes.length > request.limits.memoryBytes ? vm.null : toHandle(bytes);
  };
  offer("readText", (path) => read(path, (bytes) => vm.newString(new TextDecoder().decode(bytes))));
  offer("readBytes", (path) => read(path, (bytes) => vm.newUint8Array(bytes)));
  offer("save", (path, data) => {
    const bytes = data?.isString === true ? new TextEncoder().encode(toText(data)) : data?.toUint8Array();
    return toReason(bytes === undefined ? "there is nothing to write" : save(toText(path), bytes));
  });
  const save = (path: string, bytes: Uint8Array): string | undefined => {
    const { limits } = request;
    const wrong = wrongWithPath(path);
    if (wrong !== undefined) return wrong;
    if (!written.has(path) && written.size >= limits.artifacts)
      return `at most ${limits.artifacts} files may be written`;
    const others = [...written].reduce((sum, [name, { length }]) => (name === path ? sum : sum + length), 0);
    if (others + bytes.length > limits.artifactBytes) {
      return `all written files together may have ${limits.artifactBytes} bytes`;
    }
    written.set(path, bytes);
    return undefined;
  };

  const { limits } = first;
  using known = vm.hostToHandle({
    outputBytes: limits.outputBytes,
    resultBytes: limits.resultBytes,
    artifactBytes: limits.artifactBytes,
    callBytes: maxCallBytes,
  });
  host.setProp("limits", known);

  return {
    host,
    pieces,
    written,
    mayWake: () => timers.size > 0 || inFlight.size > 0,
    answered: ({ id }) => {
      inFlight.delete(id);
      const next = queued.shift();
      if (next !== undefined) start(next);
    },
    begin,
    close: () => {
      for (const timer of timers.values()) clearTimeout(timer);
      timers.clear();
      inFlight.clear();
      queued.length = 0;
    },
  };
}

/** What the library puts in the place of a text for which the guest's memory has no room. */
const noRoom = "<null>";

/** The text of a handle. Never converts, which would run the guest's code. */
export function toText(handle: JSValueHandle | undefined): string {
  if (handle?.isString !== true) throw withoutStack("A text was expected.");
  const text = handle.toString();
  if (text === noRoom) throw withoutStack("There is no memory left.");
  return text;
}

function toNumber(handle: JSValueHandle | undefined): number {
  if (handle?.isNumber !== true) throw withoutStack("A number was expected.");
  return handle.toNumber();
}

/** The library copies the stack of what a callback throws into the guest, where paths of this machine have no business. */
function withoutStack(text: string): Error {
  const error = new Error(text);
  error.stack = "";
  return error;
}
