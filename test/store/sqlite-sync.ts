import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { openSqliteStore } from "../../src/store/sqlite.ts";
import { codeOf, scope } from "./stores.ts";

// Writes to a store while fsync fails (`FAIL_SYNC=FLAG node sqlite-sync.ts FOLDER`) and says on stdout what became of it.
const path = join(process.argv[2] ?? "", "state.db");
const flag = process.env["FAIL_SYNC"] ?? "";
const put = (key: string) => ({ scope, records: [{ kind: "k", key, value: 1 }] });

const facts: Record<string, unknown> = {};
{
  await using store = await openSqliteStore({ path, clock: systemClock });
  facts["power"] = await codeOf(store.commit({ ...put("a"), durability: "power" }));
  writeFileSync(flag, "");
  facts["processWhileFailing"] = await codeOf(store.commit(put("b")));
  facts["powerWhileFailing"] = await codeOf(store.commit({ ...put("c"), durability: "power" }));
  rmSync(flag);
  facts["processAfterwards"] = await codeOf(store.commit(put("d")));
  facts["powerAfterwards"] = await codeOf(store.commit({ ...put("e"), durability: "power" }));
  facts["readable"] = (await store.records(scope, "k")).map(({ key }) => key);
}
await using store = await openSqliteStore({ path, clock: systemClock });
facts["openedAnew"] = await codeOf(store.commit({ ...put("f"), durability: "power" }));
facts["kept"] = (await store.records(scope, "k")).map(({ key }) => key);
process.stdout.write(JSON.stringify(facts));
