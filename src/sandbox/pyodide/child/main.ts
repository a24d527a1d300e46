/**
 * The program of one Python process: it boots Pyodide, seals itself, and runs one order after the other until it is killed. It runs from the
 * cache folder (see make.ts), so these files import nothing but Node, each other and types. The parent trusts none of what it says.
 */
import { Buffer } from "node:buffer";
import { read } from "node:fs";
import type { Answer, Frame, Order } from "../../process/wire.ts";
import { boot } from "./boot.ts";
import { capFiles, collectArtifacts } from "./files.ts";
import { exit, fds, printedBytes, readBytes, readLine, say } from "./pipes.ts";

type Done = Extract<Frame, { type: "done" }>;
// Kept from before `hideNode`; see pipes.ts for why it is not imported.
const { process } = globalThis;
const [pythonFolder = "", madeFolder = "", packages] = process.argv.slice(2);
const noTools = JSON.stringify({ error: { code: "permission.no_right", message: "This code may not call tools." } });
/** What answers are read into, by one read at a time. */
const answers = Buffer.allocUnsafeSlow(65_536);
const waiting = new Map<number, (answer: string) => void>();
let lastCallId = 0;
let isReading = false;
let rest = Buffer.alloc(0);
let isFinished = true;
/** Of the files of the order, those that are not in their place yet. */
let contents: Uint8Array[] = [];

const { files, noSpace, module, guest, seal, capMemory } = await boot(pythonFolder, madeFolder, packages);
seal();
say({ type: "ready" });
let order = readOrder();
capMemory(order.memoryBytes);
// After a trap in WebAssembly, and after os._exit, the interpreter only stops.
module.API.on_fatal = (thrown) => finish("crashed", { error: died(thrown) });
process.on("unhandledRejection", () => undefined);
process.on("uncaughtException", (thrown) => finish("crashed", { error: died(thrown) }));
// Node leaves when nothing can happen any more.
process.on("beforeExit", () => finish("error", { error: "The code waits for something that can never happen." }));
for (const folder of ["/in", "/out"]) files.mkdirTree(folder);
files.chdir("/out");
const { uncounted } = capFiles(files, noSpace);
begin();

function readOrder(): Order {
  const next: Order = JSON.parse(readLine());
  contents = [...next.files, ...next.outFiles].map(({ bytes }) => readBytes(bytes));
  isFinished = false;
  return next;
}

/** Waits for the next order and runs it. While it waits nothing in this process moves. */
function goOn(): void {
  order = readOrder();
  capMemory(order.memoryBytes);
  begin();
}

function begin(): void {
  serve().catch((thrown: unknown) => finish("crashed", { error: died(thrown) }));
}

async function serve(): Promise<void> {
  try {
    uncounted(() => {
      put("/in", order.files);
      put("/out", order.outFiles);
    });
  } catch {
    const error = "The files of this call can't be put where they belong: something of an earlier call stands there.";
    return finish("error", { error });
  }
  const mine = order;
  const outcome = await guest.run(mine.code, mine.resultBytes, call, acall);
  const [status, resultJson, note, error] = outcome.toJs();
  // Code that was given up may come to its end while a later order runs.
  if (mine === order) finish(status, { resultJson, note, error });
}

function put(folder: string, given: Order["files"]): void {
  for (const { path } of given) {
    const file = `${folder}/${path}`;
    files.mkdirTree(file.slice(0, file.lastIndexOf("/")));
    files.writeFile(file, contents.shift() ?? new Uint8Array(), { canOwn: true });
  }
}

/** A call that the interpreter stands still for, so that it is possible anywhere in Python. Answers JSON text. */
function call(name: string, argsJson: string): string {
  if (!order.tools) return noTools;
  sayCall(name, argsJson, true);
  return readLine();
}

/** A call that other tasks go on beside. */
function acall(name: string, argsJson: string): Promise<string> {
  if (!order.tools) return Promise.resolve(noTools);
  const id = sayCall(name, argsJson, false);
  return new Promise((resolve) => {
    waiting.set(id, resolve);
    if (!isReading) readAnswers();
  });
}

function sayCall(name: string, argsJson: string, blocking: boolean): number {
  lastCallId += 1;
  say({ type: "call", nonce: order.nonce, id: lastCallId, name: name.slice(0, 256), argsJson, blocking });
  return lastCallId;
}

/** Reads answers for as long as somebody waits for one. */
function readAnswers(): void {
  isReading = true;
  read(fds.answers, answers, 0, answers.length, null, (failure, bytes) => {
    if (failure !== null || bytes === 0) exit();
    const lines = Buffer.concat([rest, answers.subarray(0, bytes)]);
    let start = 0;
    for (let end = lines.indexOf(10); end >= 0; end = lines.indexOf(10, start)) {
      const line = lines.toString("utf8", start, end);
      start = end + 1;
      const { id }: Answer = JSON.parse(line);
      waiting.get(id)?.(line);
      waiting.delete(id);
    }
    rest = lines.subarray(start);
    isReading = waiting.size > 0;
    if (isReading) readAnswers();
  });
}

/** Sends what lies in /out, then the end, and goes on with the next order where the interpreter is still good. Only the first end counts. */
function finish(
  status: Done["status"],
  end: { readonly resultJson?: string; readonly note?: string | undefined; readonly error?: string | undefined },
): void {
  if (isFinished) return;
  isFinished = true;
  const left = collectArtifacts(files, order, (path, data) =>
    say({ type: "artifact", nonce: order.nonce, path, data }),
  );
  const notes = [end.note, left].filter((note) => note !== undefined);
  say({
    type: "done",
    nonce: order.nonce,
    status,
    resultJson: end.resultJson ?? "null",
    ...(notes.length === 0 ? {} : { note: notes.join("; ") }),
    ...(end.error === undefined ? {} : { error: end.error }),
    ...(left === undefined ? {} : { artifactsCut: true }),
    ...printedBytes(),
  });
  if (status === "ok" || status === "error" || status === "output") goOn();
}

function died(thrown: unknown): string {
  return `The interpreter died: ${thrown instanceof Error ? thrown.message.slice(0, 1_000) : "no reason is known"}`;
}
