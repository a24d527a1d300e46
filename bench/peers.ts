import { execFileSync } from "node:child_process";
import type { KeyObject } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";

/** What the benches use of `jose`. */
interface Jose {
  jwtVerify(
    token: string,
    key: KeyObject,
    options: { algorithms: string[]; typ: string; audience: string },
  ): Promise<{ readonly payload: object }>;
}

/** What the benches use of `quickjs-emscripten`. */
interface QuickjsEmscripten {
  newQuickJSWASMModule(this: void): Promise<{ evalCode(code: string): unknown }>;
}

/** Installs the peers that bench/package.json names, where they are missing; npm's own lines go to stderr. */
export function installPeers(): void {
  const folder = import.meta.dirname;
  if (existsSync(join(folder, "node_modules/.package-lock.json"))) return;
  process.stderr.write("Installing the peers of the benches, once: npm ci in bench/\n");
  execFileSync("npm", ["ci", "--no-progress"], { cwd: folder, stdio: ["ignore", 2, 2] });
}

export const importJose = (): Promise<Jose> => importPeer<Jose>("jose");
export const importQuickjs = (): Promise<QuickjsEmscripten> => importPeer<QuickjsEmscripten>("quickjs-emscripten");

/** Peers may not be installed when types are checked, so that the shapes above stand for their own. */
async function importPeer<T>(name: string): Promise<T> {
  const peer: T = await import(name);
  return peer;
}
