import { CapstanError } from "../core/error.ts";
import type { EventBody } from "../core/event.ts";
import { newId } from "../core/id.ts";
import { mergeTaint } from "../core/taint.ts";
import type { Grant } from "../permissions/grant.ts";
import { toRunGrant } from "../permissions/run-grant.ts";
import { readPlaces } from "../store/event-chain.ts";
import type { EventRow } from "../store/store.ts";
import type { HostServices } from "./host.ts";
import { lineageLinks } from "./lineage.ts";
import { toGrantRecord } from "./run-grant.ts";
import type { RunFile } from "./run-file.ts";
import { toEventLine, toHeaderLine, toTextLine } from "./run-file.ts";

/** A run as the lines of a file: a header, the events of its lineage as they are stored, and their large texts. Throws `run.not_found`. */
export async function* exportRun(runId: string, { store, scope }: HostServices): AsyncGenerator<string> {
  const links = await lineageLinks(store, scope, runId);
  const runs: { runId: string; events: number }[] = [];
  const texts = new Set<string>();
  let head = "";
  // Read twice, so that a long log is never held whole; what is written to the run meanwhile is left out.
  for (const link of links) {
    let events = 0;
    for await (const { seq, large, hash } of store.eventRows(scope, link.runId)) {
      if (seq > link.toSeq) break;
      for (const textHash of large === null ? [] : readPlaces(large).values()) texts.add(textHash);
      [events, head] = [seq, hash];
    }
    runs.push({ runId: link.runId, events });
  }
  yield toHeaderLine({ type: "capstan.run", version: 2, runId, scope, runs, texts: texts.size, head });
  for (const part of runs) {
    for await (const row of upTo(part.events, store.eventRows(scope, part.runId))) yield toEventLine(part.runId, row);
  }
  for (const textHash of texts) {
    const text = await store.blob(textHash);
    if (text === null) throw new CapstanError("store.corrupt", `A large text of ${runId} is missing, ${textHash}.`);
    yield toTextLine(textHash, text);
  }
}

async function* upTo(seq: number, rows: AsyncIterable<EventRow>): AsyncGenerator<EventRow> {
  for await (const row of rows) {
    if (row.seq > seq) return;
    yield row;
  }
}

/**
 * Takes the runs of a file into the store, all or none, under new ids, tainted whole by the file's name, each under a grant derived from the
 * importer's. Of what the file says of grants, approvals and other runs nothing counts. Returns the id of the last run.
 */
export async function importRun(
  { header, runs }: RunFile,
  name: string,
  grant: Grant,
  { store, scope, permissions, config }: HostServices,
): Promise<string> {
  const ids = new Map(runs.map(({ runId }) => [runId, newId("run")]));
  const now = permissions.now();
  const taken = runs.map(({ runId: was, events }) => {
    const runId = toNew(ids, was);
    const own = toRunGrant(grant, { id: newId("grant"), runId, now, limits: config.limits });
    const bodies = events.map(({ body }) => toImported(body, { was, name, ids, grantId: own.id }));
    return { run: { runId, events: bodies, eventsAt: events.map(({ at }) => at) }, record: toGrantRecord(own, runId) };
  });
  await store.commit({ scope, newRuns: taken.map(({ run }) => run), records: taken.map(({ record }) => record) });
  return toNew(ids, header.runId);
}

interface Origin {
  readonly was: string;
  readonly name: string;
  readonly ids: ReadonlyMap<string, string>;
  readonly grantId: string;
}

function toImported(body: EventBody, { was, name, ids, grantId }: Origin): EventBody {
  if (body.type === "run.resumed") return { ...body, grantId };
  // The run that it waited for elsewhere may have the id of one of this home, and nothing of it can be decided here.
  if (body.type === "tool.suspended")
    return { ...body, by: { runId: ids.get(body.by.runId) ?? newId("run"), pending: [] } };
  if (body.type !== "run.created") return body;
  // A run that it belonged to, and a conversation, would be those of this home.
  const { parent: _parent, conversation: _conversation, previous, taint = [], ...rest } = body;
  return {
    ...rest,
    grantId,
    taint: [...mergeTaint([`import:${name}`], taint)],
    imported: { name, runId: body.imported?.runId ?? was },
    ...(previous === undefined ? {} : { previous: { ...previous, runId: toNew(ids, previous.runId) } }),
  };
}

function toNew(ids: ReadonlyMap<string, string>, runId: string): string {
  const id = ids.get(runId);
  if (id === undefined) throw new CapstanError("run.bad_file", `${runId} is not in the file.`);
  return id;
}
