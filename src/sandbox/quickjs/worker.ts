import { parentPort } from "node:worker_threads";
import { openPrelude } from "./api.ts";
import { openInstances } from "./instance.ts";
import type { FromWorker, RunMessage, ToWorker } from "./protocol.ts";
import { startGuest } from "./run.ts";
import type { Guest, Running } from "./run.ts";

/** The file that a worker of the JavaScript engine runs: one guest after the other, each in a new interpreter, or those of one session. */
const port = parentPort;
if (port === null) throw new TypeError("This file runs in a worker only.");

const send = (message: FromWorker): void => port.postMessage(message);
const instances = openInstances();
const parts = { prelude: openPrelude(), instances };
let running: Running | undefined;
/** That of the session, between its runs. */
let kept: Guest | undefined;
let run = 0;

port.on("message", (message: ToWorker) => {
  if (message.type === "module") {
    instances.add(message);
  } else if (message.type === "run") {
    ({ run } = message);
    running = startGuest(message, parts, send, kept);
    running.done.then(
      (ended) => finish(message, ended),
      () => process.exit(1),
    );
  } else if (message.run === run) {
    running?.answer(message);
  }
});

function finish({ isSession }: RunMessage, { message, guest }: Awaited<Running["done"]>): void {
  kept = isSession ? guest : undefined;
  // Its interpreter may be collected while this worker waits.
  running = undefined;
  send(message);
  // By then the message is under way, and this thread is idle.
  if (message.isReusable && !isSession) setImmediate(instances.prepare);
}

// Tells the pool that this worker can take a run.
port.postMessage(null);
