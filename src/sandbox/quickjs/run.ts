import { stripTypeScriptTypes } from "node:module";
import { EvalFlags, JSException } from "quickjs-wasi";
import type { JSValueHandle, QuickJS } from "quickjs-wasi";
import type { ExecStatus } from "../engine.ts";
import { openApi } from "./api.ts";
import type { Api, Prelude } from "./api.ts";
import type { Instances } from "./instance.ts";
import type { AnswerMessage, DoneMessage, FromWorker, RunMessage } from "./protocol.ts";
import { openWorld } from "./world.ts";
import type { World } from "./world.ts";

/** An instance that grew beyond this takes its worker with it: the collector may let go of its memory much later. */
const reusableBytes = 16 * 1024 * 1024;
const maxRejections = 100;
const maxErrorLength = 16_000;
const pending = 0;
const noPromise = -1;

/** How the guest's code ended. `isBroken`: something failed outside the guest, so its worker is not used again. */
interface End {
  readonly status: ExecStatus;
  readonly result?: string;
  readonly resultNote?: string;
  readonly error?: string;
  readonly isBroken?: true;
}

/** What wakes a waiting guest. */
type Event = AnswerMessage | { readonly type: "timer"; readonly id: number };

/** What a worker keeps from one run to the next; none of it was ever in the reach of a guest. */
export interface Parts {
  readonly prelude: Prelude;
  readonly instances: Instances;
}

/** A guest whose code was started. */
export interface Running {
  /** How it ended, and the guest itself, of which a session runs more. Never rejects. */
  readonly done: Promise<{ readonly message: DoneMessage; readonly guest?: Guest }>;
  readonly answer: (message: AnswerMessage) => void;
}

/** An interpreter with the world that our code in it has set up. */
export interface Guest {
  readonly vm: QuickJS;
  readonly memoryBytes: () => number;
  readonly api: Api;
  readonly world: World;
  readonly inbox: Inbox;
  readonly rejections: Map<number, JSValueHandle>;
  /** How many there were with the one that it runs now: traces tell by which of them a function was made. */
  readonly runs: number;
}

interface Inbox {
  readonly put: (event: Event) => void;
  readonly take: () => Promise<Event | undefined>;
  readonly isEmpty: () => boolean;
  readonly clear: () => void;
}

/**
 * Starts one run, in an interpreter of its own or in that of the session which was `kept`. Nothing here watches the time: the main thread
 * does, and it ends this thread.
 */
export function startGuest(
  request: RunMessage,
  parts: Parts,
  send: (message: FromWorker) => void,
  kept: Guest | undefined,
): Running {
  const inbox = kept?.inbox ?? openInbox();
  const guest = kept === undefined ? openGuest(request, parts, send, inbox) : goOn(kept, request);
  return { done: run(request, guest), answer: inbox.put };
}

function openInbox(): Inbox {
  const events: Event[] = [];
  let wake = (): void => {};
  return {
    put(event) {
      events.push(event);
      wake();
    },
    async take() {
      if (events.length === 0) await new Promise<void>((resolve) => (wake = resolve));
      return events.shift();
    },
    isEmpty: () => events.length === 0,
    clear: () => void (events.length = 0),
  };
}

async function openGuest(
  request: RunMessage,
  { prelude, instances }: Parts,
  send: (message: FromWorker) => void,
  inbox: Inbox,
): Promise<Guest> {
  const rejections = new Map<number, JSValueHandle>();
  const instance = await instances.open(request, (promise, reason, isHandled) => {
    if (isHandled) rejections.delete(promise.identity);
    else if (rejections.size < maxRejections) rejections.set(promise.identity, reason.dup());
  });
  const { vm, memoryBytes, growInSteps } = instance;
  const world = openWorld(vm, request, send, (id) => inbox.put({ type: "timer", id }));
  const api = openApi(vm, prelude, world.host, () => memoryBytes() > 0.9 * request.maxBytes);
  growInSteps();
  return { vm, memoryBytes, api, world, inbox, rejections, runs: 1 };
}

async function goOn(guest: Guest, request: RunMessage): Promise<Guest> {
  const { api, world, inbox, rejections } = guest;
  inbox.clear();
  for (const reason of rejections.values()) reason.dispose();
  rejections.clear();
  world.begin(request);
  api.begin();
  return { ...guest, runs: guest.runs + 1 };
}

async function run(request: RunMessage, opening: Promise<Guest>): Running["done"] {
  const cpuBefore = process.threadCpuUsage();
  let guest: Guest | undefined;
  let end: End;
  try {
    guest = await opening;
    end = await evaluate(guest, request);
  } catch (thrown) {
    end = toEnd(thrown);
  }
  guest?.world.close();
  const memoryBytes = guest?.memoryBytes() ?? 0;
  const { user, system } = process.threadCpuUsage(cpuBefore);
  const { result = "null", isBroken, ...rest } = request.isSession ? withHint(end) : end;
  const isSound = isBroken !== true && rest.status !== "memory";
  const message: DoneMessage = {
    type: "done",
    run: request.run,
    ...rest,
    result,
    artifacts: [...(guest?.world.written ?? [])].map(([path, bytes]) => ({ path, bytes })),
    cpuMs: (user + system) / 1_000,
    memoryBytes,
    isReusable: isSound && (request.isSession || memoryBytes <= reusableBytes),
  };
  return guest === undefined ? { message } : { message, guest };
}

/** What scripts declare stays declared, as in the language's own rules for one script after the other. */
function withHint(end: End): End {
  if (!/^(?:SyntaxError: redeclaration of |ReferenceError: \S+ is not initialized)/.test(end.error ?? "")) return end;
  const hint =
    "In a session let, const and class declare a name once. Assign to it; where its first value failed, use another name. " +
    "What is to be declared again, declare with var.";
  return { ...end, error: `${end.error}\n${hint}` };
}

/** Runs the code to its end: the value of its last expression, awaited as long as it is a promise. */
async function evaluate(guest: Guest, { language, code, limits }: RunMessage): Promise<End> {
  const { vm, api, world, rejections, runs } = guest;
  let text = code;
  try {
    if (language === "typescript") text = stripTypeScriptTypes(code);
  } catch (thrown) {
    return toSyntaxEnd(thrown);
  }
  let value: JSValueHandle;
  try {
    value = vm.evalCode(text, runs === 1 ? "main.js" : `main-${runs}.js`, EvalFlags.ASYNC);
  } catch (thrown) {
    if (thrown instanceof JSException) return api.toFailure(thrown.handle);
    throw thrown;
  }
  for (let isCode = true; value.promiseState !== noPromise; isCode = false) {
    vm.markPromiseHandled(value);
    const failed = await settle(guest, value);
    if (failed !== undefined) return failed;
    const settled = await vm.resolvePromise(value);
    if ("error" in settled) return api.toFailure(settled.error);
    // The code as a whole gives an object around the value of its last expression.
    value = isCode ? settled.value.getProp("value") : settled.value;
  }
  for (const reason of rejections.values()) {
    const { status, error } = api.toFailure(reason);
    return { status, error: `Nothing handled the rejection of a promise. ${error}` };
  }
  const notes = api.finish(value);
  if (notes === undefined) {
    const error = `The result has more than ${limits.resultBytes} bytes as JSON. Give less, or write it with files.write.`;
    return { status: "output", error };
  }
  return { status: "ok", result: world.pieces.join(""), ...(notes === "" ? {} : { resultNote: notes }) };
}

/** Lets the guest run until the promise is settled; gives an end where it comes to none. */
async function settle({ vm, api, world, inbox }: Guest, promise: JSValueHandle): Promise<End | undefined> {
  for (;;) {
    vm.executePendingJobs();
    if (promise.promiseState !== pending) return undefined;
    if (inbox.isEmpty() && !world.mayWake()) {
      const error =
        "The code stalled: it awaits a promise that nothing can settle, for no timer and no call is pending.";
      return { status: "error", error };
    }
    const event = await inbox.take();
    if (event?.type === "answer") {
      world.answered(event);
      api.settle(event);
    } else if (event?.type === "timer") {
      const thrown = api.fire(event.id);
      if (thrown !== undefined) return thrown;
    }
  }
}

/** The end of code whose types can't be left out. A parser that failed instead of refusing stays broken for the life of its worker. */
function toSyntaxEnd(thrown: unknown): End {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  if (code === "ERR_INVALID_TYPESCRIPT_SYNTAX" || code === "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX") {
    return {
      status: "error",
      error: `SyntaxError: ${thrown instanceof Error ? thrown.message : ""}`.slice(0, maxErrorLength),
    };
  }
  return {
    status: "error",
    error: "SyntaxError: The parser of TypeScript failed on this code. Nest it less deeply.",
    isBroken: true,
  };
}

/** The end of a guest whose interpreter itself failed. */
function toEnd(thrown: unknown): End {
  const text = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : "";
  if (/out of memory|no memory left|wasm_malloc failed/i.test(text)) {
    return { status: "memory", error: "The code used up its memory.", isBroken: true };
  }
  if (thrown instanceof RangeError || thrown instanceof JSException || text.startsWith("Error: Job execution error")) {
    return { status: "error", error: text.slice(0, maxErrorLength), isBroken: true };
  }
  return { status: "crashed", error: "The interpreter failed and was ended.", isBroken: true };
}
