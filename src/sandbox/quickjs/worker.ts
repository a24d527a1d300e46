import { parentPort } from "node:worker_threads";
import { openPrelude } from "./api.ts";
import { openInstances } from "./instance.ts";
import type { DoneMessage, FromWorker, ToWorker } from "./protocol.ts";
import { startGuest } from "./run.ts";
import type { Running } from "./run.ts";

/** The file that a worker of the JavaScript engine runs: one guest after the other, each in a new interpreter. */
const port = parentPort;
if (port === null) throw new TypeError("This file runs in a worker only.");

const send = (message: FromWorker): void => port.postMessage(message);
const instances = openInstances();
const parts = { prelude: openPrelude(), instances };
let running: Running | undefined;
let run = 0;

port.on("message", (message: ToWorker) => {
  if (message.type === "run") {
    ({ run } = message);
    running = startGuest(message, parts, send);
    running.done.then(finish, () => process.exit(1));
  } else if (message.run === run) {
    running?.answer(message);
  }
});

function finish(message: DoneMessage): void {
  send(message);
  // By then the message is under way, and this thread is idle.
  if (message.isReusable) setImmediate(instances.prepare);
}

// Tells the pool that this worker can take a run.
port.postMessage(null);
