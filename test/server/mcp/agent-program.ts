import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { testTool } from "../../support/door.ts";
import { openAgentServer } from "./agent-server.ts";

/** A server process of a home, whose model calls `slow` twice; what that did is in a file there. */
const [home = ""] = process.argv.slice(2);
const slow = testTool("slow", {
  effect: "idempotent",
  async run({ text }, { signal }) {
    appendFileSync(join(home, "effects"), `began ${text}\n`);
    await sleep(text === "long" ? 3_000 : 10, undefined, { signal });
    appendFileSync(join(home, "effects"), `ended ${text}\n`);
    return { type: "done", value: { text } };
  },
});
const turns = [{ calls: [["slow", { text: "short" }]] as const }, { calls: [["slow", { text: "long" }]] as const }];
await using at = await openAgentServer([slow], { first: [...turns, { text: "Both were done." }] }, { home });
const rights = { ...at.grant.rights, runs: ["create" as const] };
await at.serve(process.stdin, process.stdout, { ...at.grant, rights });
