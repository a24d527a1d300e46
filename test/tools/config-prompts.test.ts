import { expect, test } from "vitest";
import { configPrompts } from "../../src/tools/config-prompts.ts";
import { newId } from "../../src/core/id.ts";
import { localPrincipal, localScope } from "../../src/core/scope.ts";
import { openTestDoor, toGrant } from "../support/door.ts";

const review = {
  title: "Review",
  description: "What to look at.",
  text: "Review {{ file }} for {{focus}}, not {{ other }}.",
  arguments: {
    file: { description: "The file", required: true, values: [] },
    focus: { description: "", required: false, values: ["Security", "speed"] },
  },
};

/** A door with the prompt, and what a caller with these prompts asks there. */
async function openPrompts(prompts: readonly string[]) {
  const opened = await openTestDoor([], undefined, { prompts: [configPrompts({ review })] });
  const base = toGrant([], opened.permissions.now(), 0);
  const grant = { ...base, rights: { ...base.rights, prompts: [...prompts] } };
  const caller = { principal: localPrincipal, scope: localScope, grant, taint: [], depth: 0 };
  const request = () => ({ caller, callId: newId("call"), signal: new AbortController().signal });
  const get = (args: Record<string, string>) => opened.door.getPrompt({ ...request(), name: "review", args });
  return { ...opened, request, get };
}

test("a prompt of the config puts its arguments in once", async () => {
  await using opened = await openPrompts(["review"]);
  const text = async (args: Record<string, string>): Promise<string> =>
    JSON.stringify((await opened.get(args)).outcome);
  expect(await text({ file: "a.ts", focus: "speed" })).toContain("Review a.ts for speed, not {{ other }}.");
  expect(await text({ file: "{{ focus }}", focus: "$&" })).toContain("Review {{ focus }} for $&, not");
  expect((await opened.door.listPrompts(opened.request())).map(({ name }) => name)).toEqual(["review"]);
});

test("a prompt of the config refuses what is missing and what it does not have", async () => {
  await using opened = await openPrompts(["review"]);
  await expect(opened.get({})).rejects.toThrow("file: required");
  await expect(opened.get({ file: "a", focu: "x" })).rejects.toThrow("focu: no such argument; did you mean focus?");
});

test("a prompt of the config takes no argument from what every object has", async () => {
  const odd = { ...review, text: "[{{ constructor }}]", arguments: { constructor: review.arguments.focus } };
  await using opened = await openTestDoor([], undefined, { prompts: [configPrompts({ odd })] });
  const base = toGrant([], opened.permissions.now(), 0);
  const grant = { ...base, rights: { ...base.rights, prompts: ["*"] } };
  const caller = { principal: localPrincipal, scope: localScope, grant, taint: [], depth: 0 };
  const request = { caller, callId: newId("call"), signal: new AbortController().signal };
  const { outcome } = await opened.door.getPrompt({ ...request, name: "odd", args: {} });
  expect(outcome).toMatchObject({ messages: [{ content: { text: "[]" } }] });
});

test("a prompt of the config completes its arguments", async () => {
  await using opened = await openPrompts(["review"]);
  const complete = (name: string, value: string) =>
    opened.door.complete({
      ...opened.request(),
      of: { prompt: "review" },
      completion: { argument: { name, value }, filled: {} },
    });
  expect(await complete("focus", "s")).toEqual(["Security", "speed"]);
  expect(await complete("focus", "sec")).toEqual(["Security"]);
  expect(await complete("file", "")).toEqual([]);
});

test("a prompt of the config is not there for a grant that does not name it (B17)", async () => {
  await using opened = await openPrompts([]);
  await expect(opened.get({ file: "a" })).rejects.toThrow('No prompt is called "review" here.');
  expect(await opened.door.listPrompts(opened.request())).toEqual([]);
});
