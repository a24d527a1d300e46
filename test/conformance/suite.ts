import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { glob, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { finished } from "node:stream/promises";
import { parse } from "yaml";
import { z } from "zod";
import { tempFolder } from "../support/temp.ts";

const root = join(import.meta.dirname, "../..");
const suite = join(root, "node_modules/@modelcontextprotocol/conformance");
const client = join(import.meta.dirname, "client.ts");

/** What a scenario may take: the client's all run beside each other, and CI has two cores. */
const scenarioMs = 120_000;
/** What all of them may take together. */
const totalMs = 300_000;

/** The revisions whose requirements are frozen. */
export const revisions = ["2025-11-25", "2026-07-28"] as const;
export type Revision = (typeof revisions)[number];

/** What is tested: a server at a URL, or our client program. */
export type Subject = { readonly leg: "server"; readonly url: string } | { readonly leg: "client" };

/** How a scenario ended. It has passed where there are no problems. */
export interface Ended {
  readonly scenario: string;
  readonly problems: readonly string[];
  /** The ids of the checks that only warned. */
  readonly warnings: readonly string[];
  /** Whether anything was checked. */
  readonly isChecked: boolean;
  /** Why it never counts: it is of an extension, pending, or was added after the revision. Missing: the revision requires it. */
  readonly unscored?: string;
}

const Requirements = z.object({
  server: z.array(z.string()),
  client: z.array(z.string()),
  not_scored: z.array(z.object({ scenario: z.string(), leg: z.enum(["server", "client"]), reason: z.string() })),
});
const Checks = z.array(z.object({ id: z.string(), status: z.string(), errorMessage: z.string().optional() }));
type Checks = z.infer<typeof Checks>;

/**
 * Runs all that a revision requires. The suite's own verdict must agree with what is read from its checks: a scenario has passed where
 * some check succeeded and none failed. Throws where they don't agree, and where the suite did not end.
 */
export async function runSuite(subject: Subject, revision: Revision): Promise<readonly Ended[]> {
  await using results = await tempFolder();
  const { leg } = subject;
  // All scenarios of the client run at once, and their servers, in one process, must not starve until they drop connections.
  const target = leg === "server" ? ["--url", subject.url] : ["--command", `nice -n 5 ${process.execPath} ${client}`];
  const options = ["--requirements", revision, "--timeout", String(scenarioMs), "--output-dir", results.path];
  const code = await runProgram([leg, ...target, ...options], join(results.path, "output"));
  const checks = await readChecks(results.path);
  const all = Requirements.parse(parse(await readFile(join(suite, "requirements", `${revision}.yaml`), "utf8")));
  const ended = [
    ...all[leg].map((scenario) => toEnded(scenario, checks.get(scenario))),
    ...all.not_scored
      .filter((entry) => entry.leg === leg)
      .map(({ scenario, reason }) => ({ ...toEnded(scenario, checks.get(scenario)), unscored: reason })),
  ];
  const failed = ended.filter(({ problems, unscored }) => unscored === undefined && problems.length > 0);
  if (checks.size === 0 || (code === 0) !== (failed.length === 0)) {
    const output = await readFile(join(results.path, "output"), "utf8");
    throw new Error(`The suite exited with ${code}, and ${failed.length} scenarios failed.\n${output.slice(-4_000)}`);
  }
  return ended;
}

/** Runs one scenario against a server and tells whether it passed. Those of extensions belong to no revision. */
export async function runScenario(url: string, scenario: string, revision?: Revision): Promise<boolean> {
  await using results = await tempFolder();
  const options = ["--scenario", scenario, "--output-dir", results.path];
  const only = revision === undefined ? [] : ["--spec-version", revision];
  await runProgram(["server", "--url", url, ...options, ...only], join(results.path, "output"));
  return toEnded(scenario, (await readChecks(results.path)).get(scenario)).problems.length === 0;
}

async function runProgram(args: readonly string[], outputPath: string): Promise<number | null> {
  const output = createWriteStream(outputPath);
  const child = spawn(process.execPath, [join(suite, "dist/index.js"), ...args], {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    signal: AbortSignal.timeout(totalMs),
  });
  for (const stream of [child.stdout, child.stderr]) stream.pipe(output, { end: false });
  const code = await new Promise<number | null>((resolve, reject) => child.on("error", reject).on("close", resolve));
  await finished(output.end());
  return code;
}

/** The checks of each scenario that ran. */
async function readChecks(folder: string): Promise<ReadonlyMap<string, Checks>> {
  const found = new Map<string, Checks>();
  for await (const path of glob("**/checks.json", { cwd: folder })) {
    const scenario = relative(folder, join(folder, dirname(path)))
      .replace(/^server-(?=.*-\d{4}-\d\d-\d\dT)/, "")
      .replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, "");
    found.set(scenario, Checks.parse(JSON.parse(await readFile(join(folder, path), "utf8"))));
  }
  return found;
}

function toEnded(scenario: string, checks: Checks = []): Ended {
  const failed = checks.filter(({ status }) => status === "FAILURE");
  const isChecked = failed.length > 0 || checks.some(({ status }) => status === "SUCCESS");
  const failures = failed.map(({ id, errorMessage = "" }) => `${id} (${errorMessage.slice(0, 400)})`);
  return {
    scenario,
    problems: isChecked ? failures : ["nothing was checked"],
    warnings: checks.filter(({ status }) => status === "WARNING").map(({ id }) => id),
    isChecked,
  };
}
