import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { systemClock } from "../src/core/clock.ts";
import { openKnowledge } from "../src/knowledge/knowledge.ts";
import { Additions } from "../src/knowledge/model.ts";
import type { Source } from "../src/knowledge/model.ts";
import { SearchQuery } from "../src/knowledge/query.ts";
import { tempFolder } from "./home.ts";
import type { Figure } from "./measure.ts";
import { cpuMicros, measure } from "./measure.ts";

const entities = 10_000;
const facts = 100_000;
const perBatch = 500;
const searches = 20;
const source: Source = { kind: "note", taint: [] };

/** A graph whose facts gather at hubs, in batches: the nth fact is about the nth entity and one that is the rarer the later it is named. */
export async function* benchKnowledge(): AsyncGenerator<Figure> {
  await using folder = await tempFolder();
  await using knowledge = await openKnowledge({ path: join(folder.path, "graph.db"), clock: systemClock });
  using bare = openBareFacts(join(folder.path, "bare.db"));
  let made = 0;
  const next = (): readonly Fact[] => Array.from({ length: perBatch }, () => toFact((made += 1)));
  const add = async (batch: readonly Fact[]): Promise<void> =>
    void (await knowledge.addFacts(Additions.parse({ facts: batch }), source));
  for (let batch = 0; batch < facts / perBatch; batch += 1) {
    const given = next();
    await add(given);
    bare.add(given);
  }

  const about = { bench: "knowledge", unit: "ms CPU" };
  yield await measure({
    ...about,
    figure: `a batch of ${perBatch} facts, where ${facts} are`,
    ours: () => cpuMs(1, () => add(next())),
    peerName: "bare node:sqlite transaction: the same names and facts inserted, the names indexed for search",
    peer: () => cpuMs(1, async () => bare.add(next())),
  });
  let asked = 0;
  const nextName = (): string => toName((asked += 7) % entities);
  yield await measure({
    ...about,
    figure: `a search for a name among ${entities} entities`,
    ours: () => cpuMs(searches, async () => void (await knowledge.search(SearchQuery.parse({ query: nextName() })))),
    peerName: "bare FTS5 of the same names, ten best by either word, without their facts",
    peer: () => cpuMs(searches, async () => bare.search(nextName())),
  });
}

interface Fact {
  readonly subject: string;
  readonly relation: string;
  readonly object: string;
}

const cpuMs = async (count: number, act: () => Promise<void>): Promise<number> =>
  (await cpuMicros(count, async () => {
    for (let made = 0; made < count; made += 1) await act();
  })) / 1_000;

const syllables = ["ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu"];

/** Two words for each number below 10,000. */
function toName(index: number): string {
  const [a = "", b = "", c = "", d = ""] = Array.from(
    String(index).padStart(4, "0"),
    (digit) => syllables[Number(digit)],
  );
  return `${a}${b}n ${c}${d}r`;
}

function toFact(index: number): Fact {
  const rank = Math.floor(entities ** (((index * 7919) % 10_007) / 10_007));
  return {
    subject: toName(index % entities),
    relation: `knows of ${Math.floor(index / entities)}`,
    object: toName(rank % entities),
  };
}

function openBareFacts(path: string): Disposable & {
  add(batch: readonly Fact[]): void;
  search(name: string): void;
} {
  const db = new DatabaseSync(path);
  db.exec("pragma journal_mode = wal; pragma synchronous = normal");
  db.exec("create table entity (id integer primary key, name text unique) strict");
  db.exec("create table fact (subject integer, relation text, object integer) strict");
  db.exec("create virtual table words using fts5 (name)");
  const insert = db.prepare("insert into entity (name) values (?) on conflict do nothing");
  const index = db.prepare("insert into words (rowid, name) values (?, ?)");
  const find = db.prepare("select id from entity where name = ?");
  const record = db.prepare("insert into fact values (?, ?, ?)");
  const search = db.prepare("select rowid from words where words match ? order by rank limit 10");
  const toId = (name: string): number => {
    const { changes, lastInsertRowid } = insert.run(name);
    if (changes === 1) index.run(lastInsertRowid, name);
    return Number(find.get(name)?.["id"]);
  };
  return {
    add(batch) {
      db.exec("begin immediate");
      for (const { subject, relation, object } of batch) record.run(toId(subject), relation, toId(object));
      db.exec("commit");
    },
    search(name) {
      if (search.all(name.replace(" ", " OR ")).length === 0) throw new Error(`FTS5 finds no ${name}.`);
    },
    [Symbol.dispose]: () => db.close(),
  };
}
