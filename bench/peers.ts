import { execFileSync } from "node:child_process";
import type { KeyObject } from "node:crypto";
import { statSync } from "node:fs";
import { join } from "node:path";

/** What the benches use of `jose`. */
interface Jose {
  jwtVerify(
    token: string,
    key: KeyObject,
    options: { algorithms: string[]; typ: string; audience: string },
  ): Promise<{ readonly payload: object }>;
}

/** What the benches use of `@sebastianwessel/quickjs`. */
interface SandboxedQuickjs {
  loadQuickJs(this: void, variant: unknown): Promise<{ readonly runSandboxed: RunSandboxed }>;
}

type RunSandboxed = (
  run: (sandbox: { evalCode(this: void, code: string): Promise<Evaluated> }) => Promise<Evaluated>,
  options: object,
) => Promise<Evaluated>;

interface Evaluated {
  readonly ok: boolean;
  readonly data?: unknown;
}

/** What the benches use of `@anthropic-ai/sandbox-runtime`. */
interface SandboxRuntime {
  readonly SandboxManager: {
    checkDependencies(): { readonly errors: readonly string[] };
    initialize(config: {
      network: { allowedDomains: string[]; deniedDomains: string[] };
      filesystem: { denyRead: string[]; allowWrite: string[]; denyWrite: string[] };
    }): Promise<void>;
    wrapWithSandbox(command: string): Promise<string>;
    reset(): Promise<void>;
  };
}

/** Installs the peers that bench/package.json names, where they are missing or others are; npm's own lines go to stderr. */
export function installPeers(): void {
  const folder = import.meta.dirname;
  const changedAt = (path: string): number => statSync(join(folder, path), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  if (changedAt("node_modules/.package-lock.json") > changedAt("package-lock.json")) return;
  process.stderr.write("Installing the peers of the benches, once: npm ci in bench/\n");
  execFileSync("npm", ["ci", "--no-progress", "--ignore-scripts"], { cwd: folder, stdio: ["ignore", 2, 2] });
}

export const importJose = (): Promise<Jose> => importPeer<Jose>("jose");
export const importSandboxRuntime = (): Promise<SandboxRuntime> =>
  importPeer<SandboxRuntime>("@anthropic-ai/sandbox-runtime");

/** @sebastianwessel/quickjs with the WebAssembly that its documentation recommends, loaded once for all runs. */
export async function importQuickjs(): Promise<{ readonly runSandboxed: RunSandboxed }> {
  const { loadQuickJs } = await importPeer<SandboxedQuickjs>("@sebastianwessel/quickjs");
  const variant = await importPeer<{ readonly default: unknown }>("@jitl/quickjs-ng-wasmfile-release-sync");
  return await loadQuickJs(variant.default);
}

/** Peers may not be installed when types are checked, so that the shapes above stand for their own. */
async function importPeer<T>(name: string): Promise<T> {
  const peer: T = await import(name);
  return peer;
}
