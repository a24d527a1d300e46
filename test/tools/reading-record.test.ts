import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../src/core/error.ts";
import { codeOfAsync } from "../permissions/grants.ts";
import { books, letters, openReader } from "./readers.ts";

describe("what is read, on record", () => {
  test("is one row each, refused or not, and none for a list", async () => {
    await using reader = await openReader();
    await Promise.all([reader.uris(), reader.templates(), reader.prompts()]);
    await reader.read("books://open/1");
    await reader.code("books://closed/1");
    await reader.code("books://open/none");
    await reader.get("greeting");
    await codeOfAsync(() => reader.get("farewell"));
    await reader.complete({ prompt: "greeting" }, "to");
    await codeOfAsync(() => reader.complete({ uriTemplate: "books://closed/{page}" }, "page"));
    const followed = await reader.door.subscribe({ ...reader.request(), uri: "books://open/1" }, () => {});
    await followed[Symbol.asyncDispose]();
    await codeOfAsync(() => reader.door.subscribe({ ...reader.request(), uri: "books://closed/1" }, () => {}));
    expect(await reader.rows()).toEqual([
      "resources/read books://open/1 allow",
      "resources/read books://closed/1 deny resource.unknown",
      "resources/read books://open/none deny resource.unknown",
      "prompts/get greeting allow",
      "prompts/get farewell deny prompt.unknown",
      "completion/complete greeting allow",
      "completion/complete books://closed/{page} deny resource.unknown",
      "resources/subscribe books://open/1 allow",
      "resources/subscribe books://closed/1 deny resource.unknown",
    ]);
  });

  test("was allowed where its source fails, and refused where the source takes it for unlawful", async () => {
    const gone = () => Promise.reject(new CapstanError("mcp.server_gone", "The server ended."));
    const strict = { ...letters, get: () => Promise.reject(new CapstanError("tool.bad_arguments", "to: required.")) };
    await using reader = await openReader({ resources: [books({ read: gone })], prompts: [strict] });
    expect(await reader.code("books://open/1")).toBe("mcp.server_gone");
    expect(await codeOfAsync(() => reader.get("greeting"))).toBe("tool.bad_arguments");
    expect(await reader.rows()).toEqual([
      "resources/read books://open/1 allow",
      "prompts/get greeting deny tool.bad_arguments",
    ]);
  });

  test("ends typed when it is cancelled", async () => {
    const slow = books({
      read: async (_, { signal }) => {
        await sleep(20_000, undefined, { signal });
        return null;
      },
    });
    await using reader = await openReader({ resources: [slow] });
    const signal = AbortSignal.timeout(20);
    const reading = reader.door.readResource({ ...reader.request(), signal, uri: "books://open/1" });
    await expect(reading).rejects.toMatchObject({ code: "tool.cancelled" });
    expect(reader.faults).toEqual([]);
  });
});

describe("what is read, charged", () => {
  test("is one call: a budget of two allows two readings, and a third asks no source", async () => {
    const source = books();
    await using reader = await openReader({ resources: [source], limits: { calls: 2 } });
    await reader.uris();
    await reader.complete({ prompt: "greeting" }, "to");
    await reader.code("books://closed/1");
    expect(await reader.code("books://open/1")).toBe("allow");
    expect((await reader.get("greeting")).outcome.type).toBe("done");
    expect(await reader.code("books://open/2")).toBe("budget.calls");
    expect(await codeOfAsync(() => reader.get("greeting"))).toBe("budget.calls");
    expect(source.asked).toEqual(["books://open/1"]);
    expect((await reader.rows()).at(-1)).toBe("prompts/get greeting deny budget.calls");
  });

  test("is one call too where nothing is found, so that guessing has an end", async () => {
    await using reader = await openReader({ limits: { calls: 1 } });
    expect(await reader.code("books://open/none")).toBe("resource.unknown");
    expect(await reader.code("books://open/1")).toBe("budget.calls");
  });

  test("of twenty at once no more than the budget", async () => {
    const source = books();
    await using reader = await openReader({ resources: [source], limits: { calls: 5 } });
    const codes = await Promise.all(Array.from({ length: 20 }, () => reader.code("books://open/1")));
    expect(codes.filter((code) => code === "allow")).toHaveLength(5);
    expect(source.asked).toHaveLength(5);
  });

  test("counts its bytes where they are limited", async () => {
    await using reader = await openReader({ limits: { bytes: 1_000 } });
    await using long = await openReader({
      resources: [books({ read: async (uri) => ({ type: "done", contents: [{ uri, text: "x".repeat(1_200) }] }) })],
      limits: { bytes: 1_000 },
    });
    expect([await reader.code("books://open/1"), await reader.code("books://open/2")]).toEqual(["allow", "allow"]);
    expect([await long.code("books://open/1"), await long.code("books://open/2")]).toEqual(["allow", "budget.bytes"]);
  });

  test("is once for a reading that waited for an answer", async () => {
    const asking = books({
      read: async (uri, { resumed }) =>
        resumed === undefined
          ? { type: "waiting", requests: [{ id: "roots", type: "roots" }], state: null, taint: ["mcp:x"] }
          : { type: "done", contents: [{ uri, text: "text" }] },
    });
    await using reader = await openReader({ resources: [asking], limits: { calls: 1 } });
    const request = { ...reader.request(), uri: "books://open/1" };
    const waiting = { outcome: { type: "waiting" }, taint: ["mcp:x"] };
    expect(await reader.door.readResource(request)).toMatchObject(waiting);
    const resumed = { responses: { roots: { roots: [] } }, state: null };
    expect((await reader.door.readResource({ ...request, resumed })).outcome.type).toBe("done");
    expect(await reader.code("books://open/1")).toBe("budget.calls");
  });
});

describe("a grant that has ended", () => {
  test("reads, gets, completes and lists nothing", async () => {
    await using reader = await openReader();
    expect(await reader.code("books://open/1")).toBe("allow");
    await reader.permissions.revoke(reader.grant.id, "test");
    const asks = [
      () => reader.read("books://open/1"),
      () => reader.get("greeting"),
      () => reader.complete({ prompt: "greeting" }, "to"),
      () => reader.complete({ uriTemplate: "books://open/{page}" }, "page"),
      () => reader.door.subscribe({ ...reader.request(), uri: "books://open/1" }, () => {}),
      () => reader.uris(),
      () => reader.templates(),
      () => reader.prompts(),
    ];
    for (const ask of asks) expect(await codeOfAsync(ask)).toBe("token.revoked");
    expect((await reader.rows()).filter((row) => row.endsWith("deny token.revoked"))).toHaveLength(5);
  });
});
