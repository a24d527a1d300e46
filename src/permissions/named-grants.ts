import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { canonicalJson, deepFreeze } from "../core/json.ts";
import type { Scope } from "../core/scope.ts";
import type { Store, StoredRecord } from "../store/store.ts";
import { Grant } from "./grant.ts";
import type { Keys } from "./keys.ts";
import type { NamedGrant, Permissions } from "./permissions.ts";

const kind = "named-grant";
const purpose = "named grant";

/** `tag` is the home's MAC over name and grant: whoever writes in the store's file gains nothing by it. */
const Saved = z.strictObject({ grant: Grant, tag: z.string() });

/** The grants that clients name instead of presenting a token. `demandLive` decides whether one is still good. */
export function openNamedGrants(parts: {
  store: Store;
  scope: Scope;
  keys: Keys;
  demandLive: (grant: Grant) => void;
}): Permissions["named"] {
  const { store, scope, keys, demandLive } = parts;

  return {
    async save(name, grant) {
      demandName(name);
      const taken = await store.record(scope, kind, name);
      if (taken !== null && isLive(toNamed(taken, keys).grant)) throw nameTaken(name);
      const value = z.json().parse({ grant, tag: keys.mac(purpose, canonicalJson([name, grant])) });
      const ifVersion = taken?.version ?? 0;
      await store.commit({ scope, records: [{ kind, key: name, value, ifVersion }], durability: "power" });
    },
    async get(name) {
      const record = await store.record(scope, kind, name);
      if (record === null) throw await unknownName(name);
      const { grant } = toNamed(record, keys);
      demandLive(grant);
      return grant;
    },
    async list() {
      return (await store.records(scope, kind)).map((record) => toNamed(record, keys));
    },
  };

  function isLive(grant: Grant): boolean {
    try {
      demandLive(grant);
      return true;
    } catch (thrown) {
      if (thrown instanceof CapstanError && (thrown.code === "token.revoked" || thrown.code === "token.expired"))
        return false;
      throw thrown;
    }
  }

  async function unknownName(name: string): Promise<CapstanError> {
    const names = (await store.records(scope, kind, { limit: 50 })).map(({ key }) => key);
    return new CapstanError(
      "token.unknown_name",
      `No grant is saved as ${JSON.stringify(name.slice(0, 64))}. There are: ${names.join(", ") || "none"}. \`capstan grant create --name NAME …\` saves one.`,
    );
  }
}

function toNamed({ key: name, value }: StoredRecord, keys: Keys): NamedGrant {
  const saved = Saved.safeParse(value);
  if (saved.success && keys.isMac(purpose, canonicalJson([name, saved.data.grant]), saved.data.tag)) {
    return { name, grant: deepFreeze(saved.data.grant) };
  }
  throw new CapstanError(
    "token.bad_signature",
    `The saved grant ${name} was not saved by this home. Save it again under another name.`,
  );
}

function demandName(name: string): void {
  if (/^[a-z0-9][a-z0-9_-]{0,63}$/.test(name)) return;
  throw new CapstanError(
    "usage.bad_option",
    `A name of a grant is 1 to 64 small letters, digits, "-" or "_", and begins with a letter or digit, not ${JSON.stringify(name.slice(0, 80))}.`,
  );
}

function nameTaken(name: string): CapstanError {
  return new CapstanError(
    "store.conflict",
    `A grant named ${name} is in use. Choose another name, or end it with: capstan grant revoke ${name}`,
  );
}
