// The peer of JavaScript in execute_code: quickjs-wasi itself, a new interpreter for each message, in a thread without limits.
import { readFile } from "node:fs/promises";
import { parentPort } from "node:worker_threads";
import { QuickJS } from "quickjs-wasi";

const wasm = await WebAssembly.compile(await readFile(new URL(import.meta.resolve("quickjs-wasi/quickjs.wasm"))));
parentPort.on("message", async (code) => {
  using vm = await QuickJS.create({ wasm });
  using value = vm.evalCode(code);
  parentPort.postMessage(value.toNumber());
});
