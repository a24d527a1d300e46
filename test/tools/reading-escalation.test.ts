import { describe, expect, test } from "vitest";
import { localPrincipal } from "../../src/core/scope.ts";
import { toCapstanError } from "../../src/core/error.ts";
import type { Caller } from "../../src/tools/call.ts";
import { books, openReader } from "./readers.ts";

const bob = { org: localPrincipal.org, user: "bob" };

/** Whose page a URI is: the first pages are the operator's, the others are bob's. */
const ownBooks = () =>
  books({
    read: async (uri, { principal }) => {
      const isOwn = uri.endsWith("/1") ? principal.user === localPrincipal.user : principal.user === bob.user;
      return isOwn ? { type: "done", contents: [{ uri, text: "own" }] } : null;
    },
  });

async function openTwo() {
  const source = ownBooks();
  const reader = await openReader({ resources: [source] });
  const asBob: Partial<Caller> = { principal: bob, grant: { ...reader.grant, id: "grant_bob", principal: bob } };
  return { ...reader, source, asBob };
}

/** What an attempt answers, with its subject made unreadable, so that answers can be compared. */
async function answer(attempt: () => Promise<unknown>, subject: string): Promise<string> {
  try {
    return JSON.stringify(await attempt());
  } catch (thrown) {
    const { code, message, details } = toCapstanError(thrown);
    return `${code}: ${message.replaceAll(JSON.stringify(subject), "SUBJECT")} ${JSON.stringify(details)}`;
  }
}

describe("B17: what is not granted, is not there", () => {
  test("B17: reading: not granted, not existing and another principal's answer alike; the lawful neighbour is read", async () => {
    await using two = await openTwo();
    const uris = ["books://closed/1", "books://open/none", "books://open/2", "films://1"];
    const answers = await Promise.all(uris.map((uri) => answer(() => two.read(uri), uri)));
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain("resource.unknown");
    expect(await two.code("books://open/1")).toBe("allow");
    expect((await two.read("books://open/2", two.asBob)).outcome.type).toBe("done");
    expect(await answer(() => two.read("books://open/1", two.asBob), "books://open/1")).toBe(answers[0]);
  });

  test.each([
    "books://open/../closed/1",
    "books://open/%2e%2e/closed/1",
    "books://open/%252e%252e/closed/1",
    "books://open/..%2fclosed/1",
    "books://open\\..\\closed/1",
    "books://open/\n/../closed/1",
    "books://open@closed/1",
    "books://openclosed/1",
    "BOOKS://open/1",
    " books://open/1",
    "__proto__",
    "",
  ])("B17: reading: %j gets nowhere, and the source is not asked", async (uri) => {
    const source = books();
    await using reader = await openReader({ resources: [source] });
    expect(await reader.code(uri)).toBe("resource.unknown");
    expect(source.asked).toEqual([]);
    expect(await reader.code("books://open/1")).toBe("allow");
    expect(source.asked).toEqual(["books://open/1"]);
  });

  test("B17: prompts: not granted and not existing answer alike; the lawful neighbour is got", async () => {
    await using reader = await openReader();
    const names = ["farewell", "nothing", "__proto__", "toString", "GREETING", "greeting ", "greet", ""];
    const answers = await Promise.all(names.map((name) => answer(() => reader.get(name), name)));
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain("prompt.unknown");
    expect((await reader.get("greeting")).outcome.type).toBe("done");
  });

  test("B17: completion: not granted and not existing answer alike; the lawful neighbour is completed", async () => {
    const source = books();
    await using reader = await openReader({ resources: [source] });
    const templates = ["books://closed/{page}", "books://none/{page}", "films://{page}"];
    const answers = await Promise.all(
      templates.map((uriTemplate) => answer(() => reader.complete({ uriTemplate }, "page"), uriTemplate)),
    );
    expect(new Set(answers).size).toBe(1);
    expect(answers[0]).toContain("resource.unknown");
    const names = ["farewell", "nothing"];
    const prompts = await Promise.all(names.map((prompt) => answer(() => reader.complete({ prompt }, "to"), prompt)));
    expect(new Set(prompts).size).toBe(1);
    expect(prompts[0]).toContain("prompt.unknown");
    expect(source.asked).toEqual([]);
    expect(await reader.complete({ uriTemplate: "books://open/{page}" }, "page")).toEqual(["1", "2"]);
    expect(await reader.complete({ prompt: "greeting" }, "to")).toHaveLength(2);
  });

  test("B17: a grant without rights sees no lists, and one with them sees no more than they name", async () => {
    await using none = await openReader({ rights: {} });
    expect([await none.uris(), await none.templates(), await none.prompts()]).toEqual([[], [], []]);
    await using some = await openReader();
    expect([await some.uris(), await some.prompts()]).toEqual([["books://open/1", "books://open/2"], ["greeting"]]);
  });

  test("B17: a grant of another principal, scope or run is refused before any source is asked", async () => {
    await using two = await openTwo();
    const elsewhere: Partial<Caller>[] = [
      { principal: bob },
      { scope: { org: "org2", project: "p" } },
      { grant: { ...two.grant, run: "run1" } },
    ];
    for (const by of elsewhere) {
      expect(await answer(() => two.read("books://open/1", by), "books://open/1")).toMatch(/token\.other_(scope|run)/);
    }
    expect((await two.read("books://open/1")).outcome.type).toBe("done");
  });
});
