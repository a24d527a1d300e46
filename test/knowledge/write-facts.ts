import { systemClock } from "../../src/core/clock.ts";
import { openKnowledge } from "../../src/knowledge/knowledge.ts";
import { note, toGraph } from "./open-graph.ts";

/** A process that adds facts to a graph that others write too: `node write-facts.ts PATH NAME COUNT`. */
const [path = "", name = "", count = "0"] = process.argv.slice(2);
await using knowledge = await openKnowledge({ path, clock: systemClock });
const graph = toGraph(knowledge);
for (let n = 0; n < Number(count); n += 1) {
  await graph.add(
    {
      facts: [
        { subject: `shared ${n}`, relation: "seen_by", object: "everyone" },
        { subject: `shared ${n}`, relation: "told_by", value: `${name} ${n}` },
      ],
    },
    { ...note, actor: name },
  );
}
