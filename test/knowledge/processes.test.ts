import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { openGraph, rowsOf } from "./open-graph.ts";

async function writeFacts(path: string, name: string, count: number): Promise<void> {
  const script = fileURLToPath(new URL("./write-facts.ts", import.meta.url));
  const child = spawn(process.execPath, [script, path, name, String(count)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  const [code] = await once(child, "exit");
  if (code !== 0) throw new Error(`The process of ${name} ended with ${code}.`);
}

test("four processes that write one graph lose nothing and make no twins", async () => {
  await using graph = await openGraph();
  const count = 60;
  await Promise.all(["a", "b", "c", "d"].map((name) => writeFacts(graph.path, name, count)));
  expect(rowsOf(graph.db, "entity")).toBe(count + 1);
  // One fact that all tell, with four sources, and one of each teller's own.
  expect(rowsOf(graph.db, "fact")).toBe(count + 4 * count);
  expect(rowsOf(graph.db, "fact_source")).toBe(4 * count + 4 * count);
  expect(rowsOf(graph.db, "source")).toBe(4);
});

test("a hundred additions at once are all on disk", async () => {
  await using graph = await openGraph();
  const adding = Array.from({ length: 100 }, (_, n) =>
    graph.add({ facts: [{ subject: `thing ${n}`, relation: "is", value: `${n}` }] }),
  );
  const additions = await Promise.all(adding);
  expect(additions.every(({ added }) => added.added === 1)).toBe(true);
  expect(rowsOf(graph.db, "fact")).toBe(100);
});

test("an addition waits for another process that writes, and the event loop goes on", async () => {
  await using graph = await openGraph();
  graph.db.exec("begin immediate");
  let ticks = 0;
  const ticking = setInterval(() => (ticks += 1), 5);
  const adding = graph.add({ facts: [{ subject: "Ada", relation: "is", value: "patient" }] });
  setTimeout(() => graph.db.exec("commit"), 500);
  expect((await adding).added.added).toBe(1);
  clearInterval(ticking);
  expect(ticks).toBeGreaterThan(3);
});

test("a search reads beside a process that writes", async () => {
  await using graph = await openGraph();
  await graph.add({ facts: [{ subject: "Ada", relation: "is", value: "here" }] });
  graph.db.exec("begin immediate; delete from alias");
  expect((await graph.search("Ada")).page.results).toHaveLength(1);
  graph.db.exec("rollback");
});
