import childProcess from "node:child_process";
import dgram from "node:dgram";
import dns from "node:dns";
import dnsPromises from "node:dns/promises";
import { registerHooks, syncBuiltinESMExports } from "node:module";
import net from "node:net";

// Kept from before `hideNode`; see pipes.ts for why it is not imported.
const { process } = globalThis;

/** What `process` offers beyond what Node itself still needs of it. */
const lockedOfProcess = `
  binding _linkedBinding dlopen getBuiltinModule loadEnvFile kill _kill abort chdir umask setuid seteuid
  setgid setegid setgroups initgroups report execve mainModule stdin stdout stderr openStdin reallyExit exit
  _debugProcess _debugEnd _rawDebug _startProfilerIdleNotifier _stopProfilerIdleNotifier _getActiveHandles
  _getActiveRequests
`
  .trim()
  .split(/\s+/);

/**
 * Takes from this process what it needs no more, before any code of the guest. No flag of Node 24 denies the network, so where there is
 * no bubblewrap these stubs are all that does; code that breaks out of V8 passes them.
 */
export function seal(): void {
  const refuse = () => {
    throw new Error("This is not available in the sandbox.");
  };
  registerHooks({ resolve: refuse, load: refuse });
  for (const api of [net, dgram, dns, dnsPromises, childProcess]) disarm(api, refuse);
  syncBuiltinESMExports();
  for (const name of lockedOfProcess) Object.defineProperty(process, name, { configurable: false, value: undefined });
  Object.defineProperty(process, "env", { configurable: false, value: Object.create(null) });
  for (const name of ["fetch", "URL", "WorkerGlobalScope", "location"]) Reflect.deleteProperty(globalThis, name);
  // A trace would show where on this machine Capstan lies.
  Object.defineProperty(Error, "stackTraceLimit", { configurable: false, writable: false, value: 0 });
}

/** Makes every function of a module of Node, and every method of its classes, refuse. */
function disarm(api: object, refuse: () => never): void {
  for (const [name, value] of Object.entries(api)) {
    if (typeof value !== "function") continue;
    const prototype: unknown = Reflect.get(value, "prototype");
    if (typeof prototype === "object" && prototype !== null) {
      for (const [method, { value: own }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
        if (typeof own === "function")
          Reflect.defineProperty(prototype, method, { configurable: false, value: refuse });
      }
    }
    Reflect.set(api, name, refuse);
  }
}
