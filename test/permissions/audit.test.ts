import { appendFile, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openAuditHeads, readAuditHeads } from "../../src/permissions/audit-heads.ts";
import { signHead, verifyAudit } from "../../src/permissions/audit.ts";
import { openKeys } from "../../src/permissions/keys.ts";
import type { AuditEntry, AuditHead, AuditRow } from "../../src/store/store.ts";
import { chainRow } from "../../src/store/audit-chain.ts";
import { handClock } from "../support/clock.ts";
import { tempFolder } from "../support/temp.ts";
import { codeOfAsync, minute, openTestHome, scope, start } from "./grants.ts";

const entry = (callId: string, over: Partial<AuditEntry> = {}): AuditEntry => ({
  at: start,
  scope,
  user: "ann",
  grantId: "t1",
  ancestors: ["t0"],
  callId,
  action: "tools/call",
  name: "fs/read",
  taint: [],
  decision: "allow",
  ...over,
});

/** A whole chain of a writer. */
function chain(writer: string, length: number, over: Partial<AuditEntry> = {}): AuditRow[] {
  const rows: AuditRow[] = [];
  for (let at = 1; at <= length; at++) rows.push(chainRow(rows.at(-1) ?? null, writer, entry(`c${at}`, over)));
  return rows;
}

async function* iterate(rows: readonly AuditRow[]): AsyncGenerator<AuditRow> {
  yield* rows;
}

const at = (rows: readonly AuditRow[], seq: number): AuditRow => {
  const row = rows[seq - 1];
  if (row === undefined) throw new Error(`There is no row ${seq}.`);
  return row;
};

async function openKeysAndHeads() {
  const folder = await tempFolder();
  const keys = await openKeys(folder.path);
  const rows = chain("writer_a", 10);
  const more = chain("writer_b", 3);
  const heads = [
    signHead(keys, at(rows, 4), start),
    signHead(keys, at(rows, 10), start),
    signHead(keys, at(more, 3), start),
  ];
  const verify = (found: readonly AuditRow[], signed = heads) => verifyAudit(iterate(found), signed, keys);
  return { keys, rows, more, heads, verify, [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose]() };
}

describe("verifyAudit()", () => {
  test("finds whole chains whole, of any writers, in any order among each other", async () => {
    await using home = await openKeysAndHeads();
    const { rows, more, verify } = home;
    expect(await verify([...rows, ...more])).toEqual({ ok: true, rows: 13, heads: 3 });
    expect((await verify([at(more, 1), ...rows, at(more, 2), at(more, 3)])).ok).toBe(true);
    expect(await verify([], [])).toEqual({ ok: true, rows: 0, heads: 0 });
    const longer = [...rows, chainRow(at(rows, 10), "writer_a", entry("unsigned"))];
    expect((await verify([...longer, ...more])).ok).toBe(true);
  });

  test("B43: names the first row that was changed, whatever was changed in it", async () => {
    await using home = await openKeysAndHeads();
    const { rows, more, verify } = home;
    const sixth = at(rows, 6);
    const changes: AuditRow[] = [
      { ...sixth, entry: { ...sixth.entry, decision: "deny" } },
      { ...sixth, entry: { ...sixth.entry, user: "eve" } },
      { ...sixth, entry: { ...sixth.entry, taint: ["files"] } },
      { ...sixth, entry: { ...sixth.entry, runId: "run1" } },
      { ...sixth, hash: "0".repeat(64) },
      { ...sixth, previousHash: "0".repeat(64) },
    ];
    for (const changed of changes) {
      const verdict = await verify([...rows.with(5, changed), ...more]);
      expect(verdict).toMatchObject({ ok: false, problem: expect.stringMatching(/^row 6 of writer_a was changed/) });
    }
  });

  test("B43: names the first row that is missing or moved", async () => {
    await using home = await openKeysAndHeads();
    const { rows, more, verify } = home;
    const removed = await verify([...rows.toSpliced(5, 1), ...more]);
    expect(removed.problem).toMatch(/^row 6 of writer_a is missing or out of its place/);
    const swapped = await verify([...rows.with(4, at(rows, 6)).with(5, at(rows, 5)), ...more]);
    expect(swapped.problem).toMatch(/^row 5 of writer_a is missing or out of its place/);
    const renumbered = await verify([
      ...rows.with(4, { ...at(rows, 6), seq: 5 }).with(5, { ...at(rows, 5), seq: 6 }),
      ...more,
    ]);
    expect(renumbered.problem).toMatch(/^row 5 of writer_a was changed or moved/);
    const doubled = await verify([...rows.toSpliced(5, 0, at(rows, 5)), ...more]);
    expect(doubled.problem).toMatch(/^row 6 of writer_a/);
    const beheaded = await verify([...rows.slice(1), ...more]);
    expect(beheaded.problem).toMatch(/^row 1 of writer_a/);
  });

  test("B43: catches a chain that was cut off behind a signed head, or left out whole", async () => {
    await using home = await openKeysAndHeads();
    const { rows, more, verify, heads } = home;
    expect((await verify([...rows.slice(0, -1), ...more])).problem).toMatch(/^row 10 of writer_a is missing/);
    expect((await verify(rows)).problem).toMatch(/^row 1 of writer_b is missing/);
    // Without the heads the cut can't be seen: it is they that catch it.
    expect((await verify([...rows.slice(0, -1), ...more], [])).ok).toBe(true);
    expect((await verify([...rows.slice(0, -1), ...more], heads.slice(0, 1))).ok).toBe(true);
  });

  test("B43: catches a chain that was written anew from the changed row on", async () => {
    await using home = await openKeysAndHeads();
    const { more, verify } = home;
    const anew = chain("writer_a", 10, { decision: "deny" });
    expect((await verify([...anew, ...more])).problem).toMatch(/^row 4 of writer_a is not the one that was signed/);
    expect((await verify([...anew, ...more], [])).ok).toBe(true);
  });

  test("B43: refuses heads that the home did not sign", async () => {
    await using home = await openKeysAndHeads();
    await using other = await openKeysAndHeads();
    const { rows, more, heads, verify } = home;
    const [first, ...rest] = heads;
    if (first === undefined) throw new Error("There is a first head.");
    for (const forged of [
      { ...first, seq: 3 },
      { ...first, hash: "x" },
      { ...first, writer: "w" },
      { ...first, at: 1 },
    ]) {
      const verdict = await verify([...rows, ...more], [...rest, forged]);
      expect(verdict).toMatchObject({
        ok: false,
        problem: expect.stringMatching(/^signed head 3 has a wrong signature/),
      });
    }
    expect((await verify([...rows, ...more], other.heads)).problem).toMatch(/^signed head 1/);
  });
});

describe("the signed heads of a home", () => {
  const append = async (home: Awaited<ReturnType<typeof openTestHome>>, count: number): Promise<void> => {
    const audit = Array.from({ length: count }, (_, index) => entry(`c${index}`));
    await home.store.commit({ scope, audit });
  };

  test("are written after 1,000 rows, after a minute with rows, and at the end", async () => {
    const clock = handClock(start);
    await using home = await openTestHome({ clock });
    const seqs = async (): Promise<number[]> => (await readAuditHeads(home.home)).map(({ seq }) => seq);
    {
      await using heads = openAuditHeads({ ...home, clock });
      await append(home, 999);
      await heads.sync();
      expect(await seqs()).toEqual([]);
      await append(home, 1);
      await Promise.all([heads.sync(), heads.sync()]);
      expect(await seqs()).toEqual([1000]);
      await append(home, 1);
      clock.advance(minute - 1);
      await heads.sync();
      expect(await seqs()).toEqual([1000]);
      clock.advance(1);
      await heads.sync();
      expect(await seqs()).toEqual([1000, 1001]);
      clock.advance(10 * minute);
      await heads.sync();
      expect(await seqs()).toEqual([1000, 1001]);
      await append(home, 1);
    }
    expect(await seqs()).toEqual([1000, 1001, 1002]);
    expect((await stat(join(home.home, "audit-heads.jsonl"))).mode & 0o777).toBe(0o600);
  });

  test("B43: a log whose last row was cut off is found out after a restart; the whole one is whole", async () => {
    await using folder = await tempFolder();
    let head: AuditHead | null = null;
    {
      await using home = await openTestHome({ home: folder.path });
      await append(home, 3);
      head = home.store.auditHead();
    }
    await using home = await openTestHome({ home: folder.path });
    expect(await home.permissions.verifyAudit()).toEqual({ ok: true, rows: 3, heads: 1 });
    const { keys, store } = home;
    async function* cut(): AsyncGenerator<AuditRow> {
      for await (const row of store.audit()) if (row.seq < 3) yield row;
    }
    const verdict = await verifyAudit(cut(), await readAuditHeads(folder.path), keys);
    expect(verdict).toMatchObject({
      ok: false,
      problem: `row 3 of ${head?.writer} is missing: the chain was signed up to row 3.`,
    });
  });

  test("half a line at the end is what a crash left; anything else that is no head is refused", async () => {
    await using home = await openTestHome();
    await append(home, 1);
    const path = join(home.home, "audit-heads.jsonl");
    await openAuditHeads({ ...home, clock: () => start })[Symbol.asyncDispose]();
    const whole = await readFile(path, "utf8");
    await appendFile(path, whole.slice(0, 40));
    expect(await readAuditHeads(home.home)).toHaveLength(1);
    for (const bad of ["{}\n", "\n", `${whole.slice(0, 40)}\n`, whole.replace('"v":1', '"v":2')]) {
      await writeFile(path, whole + bad);
      expect(await codeOfAsync(() => readAuditHeads(home.home))).toBe("audit.broken");
    }
    await writeFile(path, whole);
  });
});
