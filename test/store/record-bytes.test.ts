import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, expect, test } from "vitest";
import { sha256 } from "../../src/core/json.ts";
import type { RecordWrite } from "../../src/store/store.ts";
import { tempFolder } from "../support/temp.ts";
import { codeOf, otherScope, scope, stores } from "./stores.ts";

const bytes = Buffer.from("the bytes of a record");
const hash = sha256(bytes);
const put = (key: string, over: Partial<RecordWrite> = {}): RecordWrite => ({
  kind: "k",
  key,
  value: 1,
  bytes,
  ...over,
});
const remove = (key: string): RecordWrite => ({ kind: "k", key });

describe.each(stores)("bytes of records in $name", ({ open }) => {
  test("come back by the hash that the record tells, and go with the last record that has them", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    await store.commit({ scope, records: [put("a"), put("b")] });
    await store.commit({ scope: otherScope, records: [put("a")] });
    expect(await store.record(scope, "k", "a")).toMatchObject({ blob: hash });
    expect(await store.records(scope, "k")).toMatchObject([{ blob: hash }, { blob: hash }]);
    await store.commit({ scope, records: [remove("a"), remove("b")] });
    expect(await store.blob(hash)).toEqual(new Uint8Array(bytes));
    await store.commit({ scope: otherScope, records: [remove("a")] });
    expect(await store.blob(hash)).toBeNull();
  });

  test("go when the record gets others or none, and stay when it is written with the same", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const other = Buffer.from("other bytes");
    await store.commit({ scope, records: [put("a")] });
    await store.commit({ scope, records: [put("a", { value: 2 })] });
    expect(await store.blob(hash)).not.toBeNull();
    await store.commit({ scope, records: [put("a", { bytes: other })] });
    expect(await store.blob(hash)).toBeNull();
    expect(await store.blob(sha256(other))).toEqual(new Uint8Array(other));
    await store.commit({ scope, records: [{ kind: "k", key: "a", value: 3 }] });
    expect(await store.blob(sha256(other))).toBeNull();
    expect(await store.record(scope, "k", "a")).not.toHaveProperty("blob");
  });

  test("stay where they were also stored for good, before or after", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    const later = Buffer.from("later");
    await store.putBlob(bytes);
    await store.commit({ scope, records: [put("a"), put("b", { bytes: later })] });
    await store.putBlob(later);
    await store.commit({ scope, records: [remove("a"), remove("b")] });
    expect(await store.blob(hash)).not.toBeNull();
    expect(await store.blob(sha256(later))).not.toBeNull();
  });

  test("are there after a batch that moves them, and not after one that was refused", async () => {
    await using folder = await tempFolder();
    await using store = await open(folder.path);
    expect(await codeOf(store.commit({ scope, records: [put("a"), put("b", { ifVersion: 7 })] }))).toBe(
      "store.conflict",
    );
    expect(await store.blob(hash)).toBeNull();
    await store.commit({ scope, records: [put("a")] });
    await store.commit({ scope, records: [remove("a"), put("b")] });
    expect(await store.blob(hash)).not.toBeNull();
    // Removed and put by two writers at once: whoever comes second, the record that is left has its bytes.
    await Promise.all([
      store.commit({ scope, records: [remove("b")] }),
      store.commit({ scope, records: [put("c")] }),
      store.commit({ scope, records: [put("d"), remove("d")] }),
    ]);
    expect(await store.blob(hash)).not.toBeNull();
  });
});

describe("a store of the first version", () => {
  test("is brought up to date with all that it holds", async () => {
    await using folder = await tempFolder();
    const [{ open }] = stores;
    {
      await using store = await open(folder.path);
      await store.putBlob(bytes);
      await store.commit({ scope, records: [{ kind: "k", key: "old", value: 1 }] });
    }
    {
      using db = new DatabaseSync(join(folder.path, "state.db"));
      db.exec(`drop trigger record_deleted; drop trigger record_changed; drop index records_by_blob;
        alter table records drop column blob; alter table blobs drop column kept;
        alter table events drop column hash; alter table events drop column large; pragma user_version = 1`);
    }
    await using store = await open(folder.path);
    expect(await store.record(scope, "k", "old")).toMatchObject({ value: 1, version: 1 });
    await store.commit({ scope, records: [put("new")] });
    await store.commit({ scope, records: [remove("new")] });
    expect(await store.blob(hash)).toEqual(new Uint8Array(bytes));
  });
});
