import { execFileSync } from "node:child_process";
import { describe, test } from "vitest";

const works = (command: string, args: readonly string[], as: { readonly uid?: number } = {}): boolean => {
  try {
    execFileSync(command, args, { stdio: "ignore", timeout: 60_000, ...as });
    return true;
  } catch {
    return false;
  }
};

/** What a machine may lack. Each is probed once, by doing the thing. */
const probes = {
  // As nobody where the tests run as root: so the engine starts it, and what root may do, others may not.
  bubblewrap: () =>
    works("bwrap", ["--unshare-all", "--ro-bind", "/", "/", "true"], process.getuid?.() === 0 ? { uid: 65_534 } : {}),
  linux: () => process.platform === "linux",
  docker: () => process.platform === "linux" && works("docker", ["version"]),
  gvisor: () => works("sh", ["-c", "docker info --format '{{json .Runtimes}}' | grep -q '\"runsc\"'"]),
  matplotlib: () => works("/usr/bin/python3", ["-I", "-c", "import matplotlib"]),
  cc: () => works("cc", ["--version"]),
  terminal: () => works("script", ["-qec", "true", "/dev/null"]),
  chromium: () => works("chromium", ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "about:blank"]),
} as const;

const required = new Set((process.env["CAPSTAN_TEST_REQUIRE"] ?? "").split(",").filter(Boolean));
const found = new Map<string, boolean>();

/** Whether CI demands the thing: then a test that lacks it fails. */
export const isRequired = (thing: string): boolean => required.has(thing);

/** Whether this machine has the thing. Throws where it lacks what `CAPSTAN_TEST_REQUIRE=bubblewrap,linux` (set in CI) names. */
export function has(thing: keyof typeof probes): boolean {
  const isThere = found.get(thing) ?? probes[thing]();
  found.set(thing, isThere);
  if (isThere || !required.has(thing)) return isThere;
  throw new Error(`${thing} is required here (CAPSTAN_TEST_REQUIRE) and does not work.`);
}

/** `test`, or a visible skip where this machine lacks the thing; a failure where it is required. */
export const testWith = (thing: keyof typeof probes): typeof test | typeof test.skip => (has(thing) ? test : test.skip);

/** As `testWith`, for a whole group. */
export const describeWith = (thing: keyof typeof probes): typeof describe | typeof describe.skip =>
  has(thing) ? describe : describe.skip;
