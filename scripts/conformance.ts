import { parseArgs } from "node:util";
import { openBridged } from "../test/conformance/bridge.ts";
import { openServed } from "../test/conformance/served.ts";
import { type Ended, type Revision, revisions, runSuite, type Subject } from "../test/conformance/suite.ts";

/**
 * Runs the protocol's conformance suite, without a list of expected failures: `npm run conformance [-- server tasks client bridge]`.
 * Prints a table, then what failed, and exits 1 where a required scenario did not pass.
 */
const legs = { server: runServer, tasks: runTasks, client: runClient, bridge: runBridge } as const;
type Leg = keyof typeof legs;

interface Row {
  readonly leg: string;
  readonly revision: Revision;
  readonly ended: readonly Ended[];
}

const { positionals } = parseArgs({ allowPositionals: true });
const all = Object.keys(legs).filter((name): name is Leg => name in legs);
const unknown = positionals.filter((name) => !all.some((leg) => leg === name));
if (unknown.length > 0) throw new Error(`There is no leg ${unknown.join(", ")}. The legs are ${all.join(", ")}.`);

/** By revision: what the legs that ask the same server share. */
const served = new Map<Revision, Promise<readonly Ended[]>>();
const chosen = all.filter((name) => positionals.length === 0 || positionals.includes(name));
const rows: Row[] = [];
for (const leg of chosen) rows.push(...(await legs[leg]()));
print(rows);
process.exitCode = rows.some(({ ended }) => ended.some(isFailed)) ? 1 : 0;

/** The suite as a client of our server. */
async function runServer(): Promise<readonly Row[]> {
  return await inTurn("server", runServed);
}

/** What the suite checks of the extension Tasks. No revision requires it; here it is. */
async function runTasks(): Promise<readonly Row[]> {
  const [, revision] = revisions;
  const ended = (await runServed(revision)).filter(({ scenario }) => scenario.startsWith("tasks-"));
  // One of them is a placeholder, which checks nothing yet.
  const checked = ended.filter(({ isChecked }) => isChecked);
  return [{ leg: "tasks", revision, ended: checked.map(({ unscored: _reason, ...scenario }) => scenario) }];
}

/**
 * The suite's servers behind our client. The suite runs all scenarios at once, with their servers in one process that drops connections
 * where it gets no processor, so a run in which some failed is made once more, and said.
 */
async function runClient(): Promise<readonly Row[]> {
  return await inTurn("client", async (revision) => {
    const first = await runSuite({ leg: "client" }, revision);
    const failed = first.filter(isFailed);
    if (failed.length === 0) return first;
    for (const { scenario, problems } of failed)
      console.log(`once more · client ${revision} · ${scenario}: ${problems.join("; ")}`);
    return await runSuite({ leg: "client" }, revision);
  });
}

/** The suite as a client of Capstan, which is a client of the server: each revision in front, each era behind. */
async function runBridge(): Promise<readonly Row[]> {
  const found: Row[] = [];
  for (const isOld of [false, true]) {
    await using bridged = await openBridged({ isOld });
    const subject: Subject = { leg: "server", url: bridged.url };
    const leg = isOld ? "bridge, older behind" : "bridge";
    found.push(...(await inTurn(leg, (revision) => runSuite(subject, revision))));
  }
  return found;
}

function runServed(revision: Revision): Promise<readonly Ended[]> {
  const known = served.get(revision) ?? runOnce();
  served.set(revision, known);
  return known;

  async function runOnce(): Promise<readonly Ended[]> {
    await using server = await openServed({ isOld: false });
    return await runSuite({ leg: "server", url: server.url }, revision);
  }
}

async function inTurn(leg: string, run: (revision: Revision) => Promise<readonly Ended[]>): Promise<readonly Row[]> {
  const found: Row[] = [];
  for (const revision of revisions) found.push({ leg, revision, ended: await run(revision) });
  return found;
}

function isFailed({ unscored, problems }: Ended): boolean {
  return unscored === undefined && problems.length > 0;
}

function print(found: readonly Row[]): void {
  const header = ["leg", "revision", "passed", "required", "warnings", "not scored"];
  const table = found.map(({ leg, revision, ended }) => {
    const required = ended.filter(({ unscored }) => unscored === undefined);
    const beside = ended.filter(({ unscored }) => unscored !== undefined);
    const passed = beside.filter(({ problems }) => problems.length === 0);
    const counts = [required.length - required.filter(isFailed).length, required.length, warningsOf(required).length];
    return [leg, revision, ...counts.map(String), beside.length === 0 ? "" : `${passed.length} of ${beside.length}`];
  });
  const widths = header.map((_, column) => Math.max(...[header, ...table].map((row) => row[column]?.length ?? 0)));
  for (const row of [header, ...table])
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  for (const { leg, revision, ended } of found) {
    const tell = (what: string, lines: readonly string[]): void => {
      for (const line of lines) console.log(`${what} · ${leg} ${revision} · ${line}`);
    };
    tell(
      "failed",
      ended.filter(isFailed).map(({ scenario, problems }) => `${scenario}: ${problems.join("; ")}`),
    );
    tell("warned", warningsOf(ended.filter(({ unscored }) => unscored === undefined)));
    const missed = ended.filter(({ unscored, problems }) => unscored !== undefined && problems.length > 0);
    if (missed.length > 0) tell("not scored, not passed", [missed.map(({ scenario }) => scenario).join(", ")]);
  }
}

function warningsOf(ended: readonly Ended[]): readonly string[] {
  return ended.flatMap(({ scenario, warnings }) => warnings.map((id) => `${scenario}: ${id}`));
}
