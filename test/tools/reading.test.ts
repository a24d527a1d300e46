import { describe, expect, test } from "vitest";
import type { Constraint } from "../../src/permissions/grant.ts";
import { books, letters, openReader, openShelf, silentLetters } from "./readers.ts";

const broken = () => Promise.reject(new Error("the server behind is gone"));
const any: Constraint = { type: "any" };

describe("resources at the door", () => {
  test("are listed where they may be read, and read where they are listed", async () => {
    await using reader = await openReader();
    const uris = await reader.uris();
    expect(uris).toEqual(["books://open/1", "books://open/2"]);
    for (const uri of uris) {
      expect(await reader.read(uri)).toEqual({
        outcome: { type: "done", contents: [{ uri, text: `text of ${uri}` }], taint: ["web"] },
        taint: ["web"],
      });
    }
    expect(await reader.code("books://closed/1")).toBe("resource.unknown");
  });

  test("belong to the first source that has their URI: what another one lists under it is not shown", async () => {
    const second = books({ list: async () => [{ uri: "books://open/2", name: "forged" }] });
    await using reader = await openReader({ resources: [books(), second] });
    const listed = await reader.door.listResources(reader.request());
    expect(listed.map(({ name }) => name)).toEqual(["open/1", "open/2"]);
    await reader.read("books://open/2");
    expect(second.asked).toEqual([]);
  });

  test("of a source that fails are missing alone, and the fault is told to the operator", async () => {
    const failing = books({ owns: (uri) => uri.startsWith("x:"), list: broken, templates: broken });
    await using reader = await openReader({ resources: [failing, books()], rights: { resources: [any] } });
    expect(await reader.uris()).toHaveLength(3);
    expect(await reader.templates()).toHaveLength(3);
    expect(reader.faults).toEqual([new Error("the server behind is gone"), new Error("the server behind is gone")]);
    expect(await reader.code("books://open/1")).toBe("allow");
  });

  test("that fail while they are read answer as a fault, without its text", async () => {
    await using reader = await openReader({ resources: [books({ read: broken })] });
    await expect(reader.read("books://open/1")).rejects.toMatchObject({
      code: "core.internal",
      message: expect.not.stringContaining("gone"),
    });
    expect(reader.faults).toHaveLength(1);
  });

  test.each<[string, Constraint[], string[]]>([
    ["nothing", [], []],
    ["any", [any], ["books://open/{page}", "books://closed/{page}", "books://{shelf}/{page}"]],
    ["one shelf", [{ type: "uri", under: "books://open/" }], ["books://open/{page}", "books://{shelf}/{page}"]],
    ["one page", [{ type: "exact", value: "books://open/1" }], ["books://open/{page}", "books://{shelf}/{page}"]],
    ["another shelf", [{ type: "uri", under: "books://poems/" }], ["books://{shelf}/{page}"]],
    ["another server", [{ type: "uri", under: "films://" }], []],
  ])("have templates where some URI of theirs may be read: %s", async (_, resources, expected) => {
    await using reader = await openReader({ rights: { resources } });
    expect(await reader.templates()).toEqual(expected);
  });
});

describe("prompts at the door", () => {
  test("are listed where they may be had, and had where they are listed", async () => {
    await using reader = await openReader();
    expect(await reader.prompts()).toEqual(["greeting"]);
    expect((await reader.get("greeting", { to: "Ann" })).outcome).toMatchObject({
      messages: [{ content: { text: "greeting to Ann" } }],
    });
    await expect(reader.get("farewell")).rejects.toMatchObject({ code: "prompt.unknown" });
  });

  test.each([
    [["*"], ["greeting", "farewell"]],
    [["g*"], ["greeting"]],
    [["greet"], []],
  ])("of a grant to %j are %j", async (prompts, expected) => {
    await using reader = await openReader({ rights: { prompts } });
    expect(await reader.prompts()).toEqual(expected);
  });

  test("are those of the first source of their name, and of all sources that do not fail", async () => {
    const second = { ...letters, name: "more", get: broken };
    const failing = { ...letters, name: "failing", list: broken };
    await using reader = await openReader({ prompts: [failing, letters, second], rights: { prompts: ["*"] } });
    expect(await reader.prompts()).toEqual(["greeting", "farewell"]);
    expect((await reader.get("greeting")).outcome.type).toBe("done");
    expect(reader.faults.length).toBeGreaterThan(0);
  });
});

describe("completion at the door", () => {
  test("suggests for what is listed", async () => {
    await using reader = await openReader();
    expect(await reader.complete({ prompt: "greeting" }, "to")).toEqual(["Ann, greeting", "Bob, greeting"]);
    expect(await reader.complete({ uriTemplate: "books://open/{page}" }, "page")).toEqual(["1", "2"]);
  });

  test("suggests nothing that leads beyond the grant", async () => {
    const source = books();
    await using reader = await openReader({ resources: [source] });
    const uriTemplate = "books://{shelf}/{page}";
    expect(await reader.complete({ uriTemplate }, "shelf")).toEqual(["open"]);
    expect(await reader.complete({ uriTemplate }, "page", { shelf: "open" })).toEqual(["1", "2"]);
    expect(source.asked).toHaveLength(2);
    expect(await reader.complete({ uriTemplate }, "page", { shelf: "closed" })).toEqual([]);
    expect(source.asked).toHaveLength(2);
  });

  test("is cut at 100 values, and empty where a source has none to suggest", async () => {
    const many = Array.from({ length: 300 }, (_, n) => `${n}`);
    const source = books({ complete: async () => many });
    await using reader = await openReader({ resources: [source], prompts: [silentLetters], rights: openShelf });
    expect(await reader.complete({ uriTemplate: "books://open/{page}" }, "page")).toEqual(many.slice(0, 100));
    expect(await reader.complete({ prompt: "greeting" }, "to")).toEqual([]);
  });
});
