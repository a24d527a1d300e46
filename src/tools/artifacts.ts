import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { CapstanError } from "../core/error.ts";
import { openHourly } from "../core/hourly.ts";
import { newId } from "../core/id.ts";
import type { Principal, Scope } from "../core/scope.ts";
import type { Taint } from "../core/taint.ts";
import type { Grant } from "../permissions/grant.ts";
import { lineageOf, maySee } from "../permissions/lineage.ts";
import type { RecordWrite, Store } from "../store/store.ts";

/** What artifacts of one principal in one scope may take, and for how long they are kept. */
export interface ArtifactLimits {
  readonly lifetimeMs: number;
  readonly count: number;
  /** Of all of them together. */
  readonly bytes: number;
}

/** Where artifacts stand among the resources. */
export const artifactPrefix = "capstan://artifacts/";

/** Whose artifacts: those of a principal in a scope, as far as the grant reaches. */
export interface ArtifactOwner {
  readonly scope: Scope;
  readonly principal: Principal;
  readonly grant: Grant;
}

export interface NewArtifact extends ArtifactOwner {
  /** For people; it need not be unique. */
  readonly name: string;
  readonly mimeType: string;
  readonly bytes: Uint8Array;
  /** Where what is in it came from; it comes back with it. */
  readonly taint: Taint;
  /** The call that made it. */
  readonly callId: string;
}

/** An artifact without what is in it. `bytes` is its size. */
export interface Artifact {
  readonly id: string;
  readonly uri: string;
  readonly name: string;
  readonly mimeType: string;
  readonly bytes: number;
}

/**
 * What tools made and what was too large for an answer, kept for a while. An artifact belongs to its principal and has a random id; the
 * hash of its bytes is no address.
 * Of one principal, a grant sees what `maySee` says.
 */
export interface Artifacts {
  /**
   * Keeps bytes. Where they don't fit beside the others of the principal, the oldest of those make room; expired ones go too. Throws
   * `tool.too_large` for more than all of them may have together.
   */
  save(artifact: NewArtifact): Promise<Artifact>;
  /** null for an id that there is not, that is expired, another principal's or beyond the grant: there is no telling which. */
  read(owner: ArtifactOwner, id: string): Promise<(Omit<Artifact, "bytes"> & Content) | null>;
  /** Drops what is expired, whoever's it is. Saving does it too, once an hour. */
  sweep(scope: Scope): Promise<void>;
  /** The newest first; `after` is the id behind which to go on. */
  list(owner: ArtifactOwner, page: { readonly after?: string; readonly limit: number }): Promise<readonly Artifact[]>;
}

interface Content {
  readonly bytes: Uint8Array;
  readonly taint: Taint;
}

/** The record of an artifact; its bytes belong to it. `grantIds`: the lineage that it was saved under. */
const Saved = z.strictObject({
  name: z.string(),
  mimeType: z.string(),
  bytes: z.int(),
  taint: z.array(z.string()),
  callId: z.string(),
  grantIds: z.array(z.string()),
  expiresAt: z.int(),
});
type Saved = z.infer<typeof Saved>;

/** What a principal has. Every change of its artifacts changes this too, at its version, so that the sums are right. */
const Sums = z.strictObject({ count: z.int(), bytes: z.int() });
type Sums = z.infer<typeof Sums>;
const none: Sums = { count: 0, bytes: 0 };

/** Keys begin with the owner; ids begin with the time, so that the oldest come first. */
const kind = "artifact";
const sumsKind = "artifact-sums";
const isId = (id: string): boolean => /^artifact_[0-9a-f]{32}$/.test(id);
const toKey = ({ org, user }: Principal, id = ""): string => `${org}/${user}/${id}`;
const toUri = (id: string): string => `${artifactPrefix}${id}`;

const pageSize = 32;
/** Each attempt fails only when another process got through. */
const maxAttempts = 20;

/** Opens the artifacts of a store. All state is there, so several may be open at once. */
export function openArtifacts({
  store,
  clock,
  limits,
}: {
  readonly store: Store;
  readonly clock: Clock;
  readonly limits: ArtifactLimits;
}): Artifacts {
  /** One save at a time in this process: they would only refuse each other. */
  let last: Promise<unknown> = Promise.resolve();

  const sweeps = openHourly(clock, async (scope) => {
    for (const { key } of await store.records(scope, sumsKind)) await change(scope, key, none, []);
  });

  async function saveNow(artifact: NewArtifact): Promise<Artifact> {
    const { scope, principal, grant, name, mimeType, bytes, taint, callId } = artifact;
    const id = newId("artifact");
    const now = clock();
    const value: Saved = {
      name,
      mimeType,
      bytes: bytes.length,
      taint: [...taint],
      callId,
      grantIds: lineageOf(grant),
      expiresAt: now + limits.lifetimeMs,
    };
    await sweeps.due(scope);
    const record = { kind, key: toKey(principal, id), value, bytes, ifVersion: 0 };
    await change(scope, toKey(principal), { count: 1, bytes: bytes.length }, [record]);
    return { id, uri: toUri(id), name, mimeType, bytes: bytes.length };
  }

  /** Adds records of one owner, with what makes room for them and what is expired dropped in the same commit. */
  async function change(scope: Scope, owner: string, added: Sums, records: readonly RecordWrite[]): Promise<void> {
    const now = clock();
    for (let left = maxAttempts; ; left -= 1) {
      const record = await store.record(scope, sumsKind, owner);
      const sums = record === null ? none : Sums.parse(record.value);
      const { gone, kept } = await makeRoom(scope, owner, added, { sums, now });
      if (gone.length + records.length === 0) return;
      const next = { count: kept.count + added.count, bytes: kept.bytes + added.bytes };
      const changed: RecordWrite[] = [
        { kind: sumsKind, key: owner, value: next, ifVersion: record?.version ?? 0 },
        ...gone.map((key) => ({ kind, key })),
        ...records,
      ];
      try {
        return await store.commit({ scope, records: changed });
      } catch (thrown) {
        if (left <= 1 || !(thrown instanceof CapstanError && thrown.code === "store.conflict")) throw thrown;
      }
    }
  }

  /** Which artifacts of an owner go, oldest first: what is expired, and as many as it takes. */
  async function makeRoom(scope: Scope, prefix: string, added: Sums, { sums, now }: { sums: Sums; now: number }) {
    const gone: string[] = [];
    let kept = sums;
    let after: string | undefined;
    for (;;) {
      const page = await store.records(scope, kind, {
        prefix,
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      for (const { key, value } of page) {
        const old = Saved.parse(value);
        const fits = kept.count + added.count <= limits.count && kept.bytes + added.bytes <= limits.bytes;
        if (fits && old.expiresAt > now) return { gone, kept };
        gone.push(key);
        kept = { count: kept.count - 1, bytes: kept.bytes - old.bytes };
        after = key;
      }
      if (page.length < pageSize) return { gone, kept };
    }
  }

  return {
    async save(artifact) {
      const { length } = artifact.bytes;
      if (length > limits.bytes) {
        throw new CapstanError(
          "tool.too_large",
          `${length} bytes can't be kept: all artifacts together have ${limits.bytes}. Make less at a time.`,
        );
      }
      const saving = last.then(() => saveNow(artifact));
      last = saving.catch(() => {});
      return await saving;
    },

    async sweep(scope) {
      const sweeping = last.then(() => sweeps.now(scope));
      last = sweeping.catch(() => {});
      await sweeping;
    },

    async read({ scope, principal, grant }, id) {
      const record = isId(id) ? await store.record(scope, kind, toKey(principal, id)) : null;
      if (record?.blob === undefined) return null;
      const { name, mimeType, taint, ...saved } = Saved.parse(record.value);
      const isHere = maySee(grant, saved.grantIds) && saved.expiresAt > clock();
      const bytes = isHere ? await store.blob(record.blob) : null;
      return bytes === null ? null : { id, uri: toUri(id), name, mimeType, bytes, taint };
    },

    async list({ scope, principal, grant }, { after, limit }) {
      const prefix = toKey(principal);
      const now = clock();
      const found = (await store.records(scope, kind, { prefix })).toReversed().flatMap(({ key, value }) => {
        const { name, mimeType, bytes, grantIds, expiresAt } = Saved.parse(value);
        const id = key.slice(prefix.length);
        const isWanted = (after === undefined || id < after) && expiresAt > now && maySee(grant, grantIds);
        return isWanted ? [{ id, uri: toUri(id), name, mimeType, bytes }] : [];
      });
      return found.slice(0, limit);
    },
  };
}
