import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { canonicalJson, deepFreeze, sha256 } from "../core/json.ts";
import type { Scope } from "../core/scope.ts";
import type { Store } from "../store/store.ts";
import { Grant, Rights } from "./grant.ts";
import type { Keys } from "./keys.ts";
import { isOfType, signClaims, verifyClaims } from "./token.ts";

const kind = "token-rights";

/** The longest token that holds its rights itself, in characters: a header of HTTP has room for it beside the others (16 kB in Node). */
const maxFlatLength = 8_192;

const Claims = z.strictObject({
  iss: z.string(),
  aud: z.string(),
  grant: Grant.omit({ rights: true }),
  rightsHash: z.string().regex(/^[0-9a-f]{64}$/),
});

/** The record beside the bytes of the rights; its key is their SHA-256. */
const Kept = z.strictObject({ expiresAt: z.int() });

/** Each attempt fails only when another process got through. */
const maxAttempts = 20;

/** Tokens of any grant: one that makes too long a token has its rights kept in the home. */
interface Tokens {
  /** Signs a grant. Throws `store.*`. */
  issue(grant: Grant, now: number): Promise<string>;
  /** Whether a token is one of those whose rights are kept. */
  isLarge(token: string): boolean;
  /** The grant of such a token, deep-frozen. Throws as `verifyToken` does, and `token.unreadable` where its rights are not kept any more. */
  verify(token: string): Promise<Grant>;
}

/**
 * Opens the tokens that name their rights by hash. A pin is 64 digits that can't be made fewer, so that hundreds of tools fit in no
 * header of HTTP. What is signed is the SHA-256 of the rights: they are exactly those
 * that were granted, each name with its pin, or the token is not good.
 */
export function openLargeTokens({ store, scope, keys }: { store: Store; scope: Scope; keys: Keys }): Tokens {
  /** Keeps rights until `expiresAt` at least; the same of several tokens are kept once. */
  async function keep(hash: string, bytes: Uint8Array, expiresAt: number): Promise<void> {
    for (let left = maxAttempts; ; left -= 1) {
      const record = await store.record(scope, kind, hash);
      if (record !== null && Kept.parse(record.value).expiresAt >= expiresAt) return;
      const write = { kind, key: hash, value: { expiresAt }, bytes, ifVersion: record?.version ?? 0 };
      if (await tryCommit([write], left <= 1)) return;
    }
  }

  /** Lets go of the rights of tokens that have all ended. */
  async function sweep(now: number): Promise<void> {
    for (const { key, value, version } of await store.records(scope, kind)) {
      if (Kept.parse(value).expiresAt <= now) await tryCommit([{ kind, key, ifVersion: version }], false);
    }
  }

  /** False where another process changed the record meanwhile. */
  async function tryCommit(
    records: NonNullable<Parameters<Store["commit"]>[0]["records"]>,
    isLast: boolean,
  ): Promise<boolean> {
    try {
      await store.commit({ scope, records, durability: "power" });
      return true;
    } catch (thrown) {
      if (isLast || !(thrown instanceof CapstanError && thrown.code === "store.conflict")) throw thrown;
      return false;
    }
  }

  return {
    async issue(grant, now) {
      const flat = signClaims("capstan-grant", { grant }, keys);
      if (flat.length <= maxFlatLength) return flat;
      const { rights, ...others } = grant;
      const bytes = Buffer.from(canonicalJson(rights));
      const rightsHash = sha256(bytes);
      await sweep(now);
      await keep(rightsHash, bytes, grant.expiresAt);
      return signClaims("capstan-large-grant", { grant: others, rightsHash }, keys);
    },

    isLarge: (token) => isOfType("capstan-large-grant", token, keys),

    async verify(token) {
      const { grant, rightsHash } = verifyClaims("capstan-large-grant", token, keys, Claims);
      const record = await store.record(scope, kind, rightsHash);
      const bytes = record?.blob === undefined ? null : await store.blob(record.blob);
      if (bytes === null || sha256(bytes) !== rightsHash) {
        throw new CapstanError(
          "token.unreadable",
          "The rights of this token are not kept in this home any more. Ask its issuer for a new one.",
        );
      }
      return deepFreeze({ ...grant, rights: Rights.parse(JSON.parse(Buffer.from(bytes).toString())) });
    },
  };
}
