import { parseArgs } from "node:util";
import { openBridged } from "../test/conformance/bridge.ts";
import { openServed } from "../test/conformance/served.ts";
import { type Report, revisions, runSuite } from "../test/conformance/suite.ts";

/**
 * Runs the protocol's conformance suite, without a list of expected failures: `npm run conformance [-- server client bridge]`. Prints a
 * table, then what failed, and exits 1 where a required scenario did not pass.
 */
const legs = { server: runServer, client: runClient, bridge: runBridge } as const;
type Leg = keyof typeof legs;

interface Row extends Report {
  readonly leg: string;
  readonly revision: string;
}

const { positionals } = parseArgs({ allowPositionals: true });
const all = Object.keys(legs).filter((name): name is Leg => name in legs);
const unknown = positionals.filter((name) => !all.some((leg) => leg === name));
if (unknown.length > 0) throw new Error(`There is no leg ${unknown.join(", ")}. The legs are ${all.join(", ")}.`);

const rows: Row[] = [];
for (const leg of all.filter((name) => positionals.length === 0 || positionals.includes(name))) {
  rows.push(...(await legs[leg]()));
}
print(rows);
process.exitCode = rows.some(({ failures }) => failures.length > 0) ? 1 : 0;

/** The suite as a client of our server. */
async function runServer(): Promise<readonly Row[]> {
  await using served = await openServed({ isOld: false });
  return await runBoth("server", served.url);
}

/** The suite's servers behind our client. */
async function runClient(): Promise<readonly Row[]> {
  const reports: Row[] = [];
  for (const revision of revisions)
    reports.push({ leg: "client", revision, ...(await runSuite({ leg: "client" }, revision)) });
  return reports;
}

/** The suite as a client of Capstan, which is a client of the server: each revision in front, each era behind. */
async function runBridge(): Promise<readonly Row[]> {
  const reports: Row[] = [];
  for (const isOld of [false, true]) {
    await using bridged = await openBridged({ isOld });
    reports.push(...(await runBoth(isOld ? "bridge, older behind" : "bridge", bridged.url)));
  }
  return reports;
}

async function runBoth(leg: string, url: string): Promise<readonly Row[]> {
  const reports: Row[] = [];
  for (const revision of revisions)
    reports.push({ leg, revision, ...(await runSuite({ leg: "server", url }, revision)) });
  return reports;
}

function print(reports: readonly Row[]): void {
  const header = ["leg", "revision", "passed", "required", "warnings", "not scored"];
  const table = reports.map(({ leg, revision, passed, required, warnings, unscored, misses }) => [
    ...[leg, revision, String(passed), String(required), String(warnings.length)],
    `${unscored - misses.length} of ${unscored}`,
  ]);
  const widths = header.map((_, column) => Math.max(...[header, ...table].map((row) => row[column]?.length ?? 0)));
  for (const row of [header, ...table])
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
  for (const [what, of] of [
    ["failed", ({ failures }: Row) => failures],
    ["warned", ({ warnings }: Row) => warnings],
    ["not scored, not passed", ({ misses }: Row) => misses],
  ] as const) {
    for (const row of reports)
      for (const line of of(row)) console.log(`${what} · ${row.leg} ${row.revision} · ${line}`);
  }
}
