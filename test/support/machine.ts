import { execFileSync } from "node:child_process";
import { test } from "vitest";

const works = (command: string, args: readonly string[]): boolean => {
  try {
    execFileSync(command, args, { stdio: "ignore", timeout: 10_000 });
    return true;
  } catch {
    return false;
  }
};

/** What a machine may lack. Each is probed once, by doing the thing. */
const probes = {
  bubblewrap: () => works("bwrap", ["--unshare-all", "--ro-bind", "/", "/", "true"]),
  linux: () => process.platform === "linux",
  cc: () => works("cc", ["--version"]),
  chromium: () => works("chromium", ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "about:blank"]),
} as const;

const required = new Set((process.env["CAPSTAN_TEST_REQUIRE"] ?? "").split(",").filter(Boolean));
const found = new Map<string, boolean>();

/**
 * `test`, or a visible skip where this machine lacks the thing. `CAPSTAN_TEST_REQUIRE=bubblewrap,linux` (set in CI) turns the skip
 * into a failure.
 */
export function testWith(thing: keyof typeof probes): typeof test | typeof test.skip {
  if (!found.has(thing)) found.set(thing, probes[thing]());
  if (found.get(thing) === true) return test;
  if (required.has(thing)) throw new Error(`${thing} is required here (CAPSTAN_TEST_REQUIRE) and does not work.`);
  return test.skip;
}
