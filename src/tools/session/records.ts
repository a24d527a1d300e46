import { z } from "zod";
import type { Clock } from "../../core/clock.ts";
import { CapstanError } from "../../core/error.ts";
import { sha256 } from "../../core/json.ts";
import type { Principal, Scope } from "../../core/scope.ts";
import type { Grant } from "../../permissions/grant.ts";
import { maySee } from "../../permissions/lineage.ts";
import { type ExecLimits, type ExecResult, Language, type SandboxFile } from "../../sandbox/engine.ts";
import type { RecordWrite, Store } from "../../store/store.ts";

/** Whose sessions: those of a principal in a scope, as far as the grant reaches. */
export interface SessionOwner {
  readonly scope: Scope;
  readonly principal: Principal;
  readonly grant: Grant;
}

/**
 * What stands on record of a session. `taint`: where what is in it came from. `grantIds`: the lineage that it was begun under. `holder`: the
 * process that has, or had, its variables. `gone`: why they are lost; missing: nobody has said so.
 */
const Saved = z.strictObject({
  id: z.string(),
  name: z.string(),
  language: Language,
  taint: z.array(z.string()),
  grantIds: z.array(z.string()),
  holder: z.string(),
  gone: z.string().exactOptional(),
  usedAt: z.int(),
  files: z.int(),
  bytes: z.int(),
});
export type SavedSession = z.infer<typeof Saved>;

/** A session on record, at a version. */
export interface SessionRecord {
  readonly key: string;
  readonly saved: SavedSession;
  readonly version: number;
}

/** The files of a session, by their paths: SHA-256 and size of each. */
export type KnownFiles = ReadonlyMap<string, { readonly hash: string; readonly bytes: number }>;

/** Sessions in the store. Files are kept once by content, with those of artifacts. */
export interface SessionRecords {
  read(owner: SessionOwner, name: string): Promise<SessionRecord | null>;
  /** Those that the grant sees, by their names: `maySee` says which, and its right to their names. */
  list(owner: SessionOwner): Promise<readonly SessionRecord[]>;
  files(owner: SessionOwner, id: string): Promise<readonly SandboxFile[]>;
  /**
   * Puts a session on record, at the version after `version` (0: a new one), which is answered. With `changed`, `after` are its files from
   * now on: of `files` only those are written that are not `before`. Throws `store.conflict` where somebody else was faster.
   */
  write(
    owner: SessionOwner,
    session: SessionRecord,
    changed?: { readonly files: readonly SandboxFile[]; readonly before: KnownFiles; readonly after: KnownFiles },
  ): Promise<number>;
  /** Removes it with its files, as they are by now. */
  remove(owner: SessionOwner, session: SessionRecord): Promise<void>;
  /**
   * Makes room for a new one: what is too old goes, and the longest unused where there are too many. `isWanted`: not that one. `alone` does
   * the work that it is given while nobody begins the session.
   */
  makeRoom(
    owner: SessionOwner,
    isWanted: (key: string) => boolean,
    alone: (key: string, work: () => Promise<void>) => Promise<void>,
  ): Promise<void>;
  /** Removes what is too old, whoever's it is; one that was begun anew in the meantime stays. */
  sweep(scope: Scope): Promise<void>;
}

const kind = "session";
const fileKind = "session-file";
/** Each attempt fails only when another process got through. */
const maxAttempts = 20;
/** What an output folder has room for in every engine: all of it must fit there when the session is opened again. */
const outBytes = 64 * 1024 * 1024;
const prefixOf = ({ principal: { org, user } }: SessionOwner): string => `${org}/${user}/`;
const filePrefix = (id: string): string => `${id}/`;

/**
 * Where a session of this name stands. Two grants never share one, not even one and what it was derived from: what code leaves in a session
 * runs with the next call, under that call's grant. Only the operator's own grant, which each process makes anew, is always the same.
 */
export function toSessionKey(owner: SessionOwner, name: string): string {
  const { id, ancestors } = owner.grant;
  return `${prefixOf(owner)}${ancestors.length === 0 ? "" : id}/${name}`;
}

/** Opens the sessions of a store, which keeps at most `count` for a principal, each for `lifetimeMs` after it was used last. */
export function openSessionRecords({
  store,
  clock,
  count,
  lifetimeMs,
}: {
  readonly store: Store;
  readonly clock: Clock;
  readonly count: number;
  readonly lifetimeMs: number;
}): SessionRecords {
  const isOver = ({ usedAt }: SavedSession): boolean => usedAt + lifetimeMs <= clock();

  /** Those that can be read. What another version of Capstan wrote is for that one, and keeps nobody from the others. */
  async function all(scope: Scope, prefix = ""): Promise<SessionRecord[]> {
    const found = await store.records(scope, kind, { prefix });
    return found.flatMap(({ key, value, version }) => {
      const { data } = Saved.safeParse(value);
      return data === undefined ? [] : [{ key, saved: data, version }];
    });
  }

  async function at(scope: Scope, key: string): Promise<SessionRecord | null> {
    const found = await store.record(scope, kind, key);
    if (found === null) return null;
    const { data } = Saved.safeParse(found.value);
    if (data !== undefined) return { key, saved: data, version: found.version };
    throw new CapstanError(
      "store.newer",
      "What is on record of this session can't be read: another version of Capstan wrote it. Use another name, or that version.",
    );
  }

  /** Removes it, unless it changed: then it answers false. */
  async function removeAt(scope: Scope, { key, saved, version }: SessionRecord): Promise<boolean> {
    const files = await store.records(scope, fileKind, { prefix: filePrefix(saved.id) });
    const records = [{ kind, key, ifVersion: version }, ...files.map((file) => ({ kind: fileKind, key: file.key }))];
    try {
      await store.commit({ scope, records });
      return true;
    } catch (thrown) {
      if (!isConflict(thrown)) throw thrown;
      return false;
    }
  }

  /** Removes it as it is by now: who just wrote to it would else leave files that belong to nothing. */
  async function remove({ scope }: SessionOwner, { key, saved: { id } }: SessionRecord): Promise<void> {
    for (let left = maxAttempts; left > 0; left -= 1) {
      const found = await at(scope, key);
      if (found?.saved.id !== id || (await removeAt(scope, found))) return;
    }
    throw new CapstanError(
      "session.busy",
      "Another process of Capstan uses this session without a pause. Call again, or end it there.",
    );
  }

  return {
    async read(owner, name) {
      const found = await at(owner.scope, toSessionKey(owner, name));
      return found === null || isOver(found.saved) ? null : found;
    },
    async list(owner) {
      const { sessions } = owner.grant.rights;
      return (await all(owner.scope, prefixOf(owner))).filter(
        ({ saved }) =>
          !isOver(saved) &&
          maySee(owner.grant, saved.grantIds) &&
          (sessions.includes("*") || sessions.includes(saved.name)),
      );
    },
    async files({ scope }, id) {
      const prefix = filePrefix(id);
      const records = await store.records(scope, fileKind, { prefix });
      const files: SandboxFile[] = [];
      for (const { key, blob } of records) {
        const bytes = blob === undefined ? null : await store.blob(blob);
        if (bytes !== null) files.push({ path: key.slice(prefix.length), bytes });
      }
      return files;
    },
    async write({ scope }, { key, saved, version }, changed) {
      const records: RecordWrite[] = [{ kind, key, value: saved, ifVersion: version }];
      if (changed !== undefined) {
        const toFileKey = (path: string): string => `${filePrefix(saved.id)}${path}`;
        const { files, before, after } = changed;
        for (const { path, bytes } of files) {
          if (before.get(path)?.hash === after.get(path)?.hash) continue;
          records.push({ kind: fileKind, key: toFileKey(path), value: bytes.length, bytes });
        }
        for (const path of before.keys()) {
          if (!after.has(path)) records.push({ kind: fileKind, key: toFileKey(path) });
        }
      }
      await store.commit({ scope, records });
      return version + 1;
    },
    remove,
    async makeRoom(owner, isWanted, alone) {
      const found = (await all(owner.scope, prefixOf(owner))).sort((a, b) => a.saved.usedAt - b.saved.usedAt);
      const idle = found.filter(({ key }) => !isWanted(key));
      const tooMany = found.length + 1 - count;
      const gone = idle.filter(({ saved }, index) => index < tooMany || isOver(saved));
      for (const session of gone) {
        // Who came in the meantime has it.
        if (!isWanted(session.key)) await alone(session.key, async () => void (await removeAt(owner.scope, session)));
      }
    },
    async sweep(scope) {
      for (const session of await all(scope)) {
        if (isOver(session.saved)) await removeAt(scope, session);
      }
    },
  };
}

/** Files as they are known from then on. */
export const toKnown = (files: readonly SandboxFile[]): KnownFiles =>
  new Map(files.map(({ path, bytes }) => [path, { hash: sha256(bytes), bytes: bytes.length }]));

export const bytesOf = (files: KnownFiles): number => [...files.values()].reduce((sum, { bytes }) => sum + bytes, 0);

/**
 * What a session has after a run. Where not all came out, what is on record stays beside it, since it may only have been beyond the limits;
 * at most as much again as a run may give, so that a session does not grow without end. What did not come out for the longest time goes first.
 */
export function filesAfter(
  { artifacts, artifactsCut }: Pick<ExecResult, "artifacts" | "artifactsCut">,
  before: KnownFiles,
  limits: Pick<ExecLimits, "artifacts" | "artifactBytes">,
): KnownFiles {
  const after = new Map(toKnown(artifacts));
  if (artifactsCut !== true) return after;
  let bytesLeft = Math.min(2 * limits.artifactBytes, outBytes) - bytesOf(after);
  for (const [path, file] of before) {
    if (after.has(path) || after.size >= 2 * limits.artifacts || file.bytes > bytesLeft) continue;
    after.set(path, file);
    bytesLeft -= file.bytes;
  }
  return after;
}

/** Whether somebody else changed a session in the meantime. */
export const isConflict = (thrown: unknown): boolean =>
  thrown instanceof CapstanError && thrown.code === "store.conflict";
