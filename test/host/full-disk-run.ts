import { randomBytes } from "node:crypto";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toCapstanError } from "../../src/core/error.ts";
import { testTool } from "../support/door.ts";
import { openTestHost, scripted, toEvents } from "./scripted.ts";

// Runs on the small disk that FOLDER is (`node full-disk-run.ts FOLDER`), fills it at some point of each, and says on stdout what came of it.
const home = process.argv[2] ?? "";
const filler = join(home, "filler");
const free = (): number => statfsSync(home).bavail * statfsSync(home).bsize;
const { signal } = new AbortController();

/** Larger than what the write-ahead log has room for without growing. */
const large = (): string => randomBytes(400_000).toString("base64");

/** Where the disk becomes full, once: while the model speaks, or while a tool runs. */
let fillAt = "";
function fill(place: string): void {
  if (place !== fillAt) return;
  fillAt = "";
  writeFileSync(filler, Buffer.alloc(Math.max(0, free() - 20_000)));
}

const ran: string[] = [];
const tools = (["read", "once"] as const).map((effect) =>
  testTool(effect, {
    effect,
    async run() {
      ran.push(effect);
      fill(effect);
      return { type: "done", value: large() };
    },
  }),
);
const provider = scripted([], {
  async *stream({ messages }) {
    const turn = messages.filter(({ role }) => role === "assistant").length;
    if (turn === 2) fill("model");
    yield* toEvents(
      [{ calls: [["read", {}] as const] }, { calls: [["once", {}] as const] }][turn] ?? { text: large() },
    );
  },
});

const facts: Record<string, unknown> = {};
for (const place of ["read", "once", "model"]) {
  await using at = await openTestHost({ tools, provider, home });
  ran.length = 0;
  fillAt = place;
  const stopped = await at.start("go").then(() => null, toCapstanError);
  const runId = String(stopped?.details["runId"]);
  const events = await at.events(runId);
  const whole = (await at.host.verify(runId)).ok;
  const again = await at.resume(runId).then(
    ({ status }) => status,
    (thrown: unknown) => toCapstanError(thrown).code,
  );
  rmSync(filler);
  const later = await at.open().resume(runId, { grant: at.grant, signal });
  for (const { callId } of later.pending) await at.host.deny(runId, callId, "Once is enough.", at.grant);
  const end = later.status === "suspended" ? await at.resume(runId) : later;
  const kept = (await at.events(runId)).slice(0, events.length);
  facts[place] = {
    code: stopped?.code,
    says: stopped?.message.endsWith(`Then go on with: capstan runs resume ${runId}`),
    whole,
    again,
    later: later.status,
    question: later.pending.map(({ question }) => question.includes("may have taken effect")),
    end: end.status,
    ran: ran.join(" "),
    lost: JSON.stringify(kept) !== JSON.stringify(events),
    sealed: (await at.host.verify(runId)).sealed,
  };
}
process.stdout.write(JSON.stringify(facts));
