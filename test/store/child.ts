import { writeSync } from "node:fs";
import { account, all, auditEntry, codesOf, oneCall, said, scope, stores } from "./stores.ts";

// A process that uses a store: `node child.ts ENGINE FOLDER JOB NAME COUNT`. What is acknowledged goes to stdout, a line each.
const [engine, folder = "", job = "", name = "", count = "0"] = process.argv.slice(2);
const say = (line: string): void => void writeSync(1, `${line}\n`);

const opener = stores.find((each) => each.name === engine);
if (opener === undefined) throw new Error(`No store is called ${engine}.`);
await using store = await opener.open(folder);

/** One commit with an event, a charge and an audit row: all three or none must survive. */
async function step(runId: string, seq: number): Promise<void> {
  const callId = `${runId} ${seq}`;
  await store.commit({
    scope,
    runId,
    afterSeq: seq - 1,
    events: [said(callId)],
    charges: [oneCall(callId, account("root"), account(runId))],
    audit: [auditEntry(callId)],
  });
}

const jobs: Record<string, () => Promise<void>> = {
  async steps() {
    for (let seq = 1; seq <= Number(count); seq += 1) await step(name, seq);
  },

  async "steps for ever"() {
    const goOn = async (runId: string): Promise<never> => {
      for (let seq = (await all(store.events(scope, runId))).length + 1; ; seq += 1) {
        await step(runId, seq);
        say(`${runId} ${seq}`);
      }
    };
    await Promise.all(["a", "b", "c"].map(goOn));
  },

  async charges() {
    const ends = Array.from({ length: Number(count) }, (_, index) =>
      store.commit({ scope, charges: [oneCall(`${name} ${index}`, account("shared", 50))] }),
    );
    say(String((await codesOf(ends))["done"] ?? 0));
  },

  async "reserve and hang"() {
    await store.commit({ scope, charges: [oneCall(name, account("g", 2))] });
    say("reserved");
    setInterval(() => {}, 1_000);
    await new Promise(() => {});
  },
};

await jobs[job]?.();
