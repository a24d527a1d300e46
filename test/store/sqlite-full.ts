import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { all, codeOf, codesOf, readChains, said, auditEntry, scope } from "./stores.ts";

// Fills the small disk that FOLDER is (`node sqlite-full.ts FOLDER`) and says on stdout what became of the store on it.
const folder = process.argv[2] ?? "";
const path = join(folder, "state.db");
const free = (): number => statfsSync(folder).bavail * statfsSync(folder).bsize;
const fill = (name: string, leave: number): void =>
  writeFileSync(join(folder, name), Buffer.alloc(Math.max(0, free() - leave)));

const facts: Record<string, unknown> = {};
{
  await using store = await openSqliteStore({ path, clock: systemClock });
  let seq = 0;
  const append = (): Promise<void> =>
    store.commit({ scope, runId: "r", afterSeq: seq, events: [said("x".repeat(1_000))], audit: [auditEntry("c")] });
  for (; seq < 20; seq += 1) await append();
  fill("filler", 100_000);
  while ((facts["code"] = await codeOf(append())) === "done") seq += 1;

  const large = [1, 2, 3].map((key) =>
    store.commit({ scope, records: [{ kind: "k", key: `${key}`, value: "y".repeat(50_000) }] }),
  );
  facts["neighbours"] = await codesOf(large);
  facts["readable"] = (await all(store.events(scope, "r"))).length === seq;
  facts["chain"] = await readChains(store).then(({ callIds, broken }) => callIds.length === seq && broken.length === 0);

  rmSync(join(folder, "filler"));
  facts["later"] = await codesOf([append(), ...[1, 2, 3].map(() => store.putBlob(Buffer.alloc(10)))]);
  facts["kept"] = (await all(store.events(scope, "r"))).length === seq + 1;
  facts["chainLater"] = (await readChains(store)).broken;
}
// A store that was closed in order has no side files, and there is no room to make them.
fill("filler", 0);
facts["opening"] = await codeOf(openSqliteStore({ path, clock: systemClock }));
process.stdout.write(JSON.stringify(facts));
