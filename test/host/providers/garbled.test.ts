import { array, assert, asyncProperty, jsonValue, nat, record } from "fast-check";
import { describe, expect, test } from "vitest";
import { CapstanError } from "../../../src/core/error.ts";
import { slowCases } from "../../support/cases.ts";
import { spokenWires } from "./all.ts";
import type { Ended } from "./tell.ts";
import { askOverPieces, endOf } from "./tell.ts";

const story = {
  said: [
    { type: "reasoning" as const, pieces: ["hm"] },
    { type: "text" as const, pieces: ["So", ":"] },
    { type: "call" as const, id: "a", name: "echo", pieces: ['{"te', 'xt":"1"}'] },
    { type: "call" as const, id: "b", name: "echo", pieces: ["{}"] },
  ],
  usage: { inputUncached: 7, cacheRead: 1, cacheWrite5m: 0, cacheWrite1h: 0, output: 5, reasoning: 2 },
};

/** JSON with another value at a place that the numbers pick, one for each level. */
function put(value: unknown, picks: readonly number[], other: unknown): unknown {
  const [pick = 0, ...rest] = picks;
  if (typeof value !== "object" || value === null || rest.length === 0) return other;
  const entries = Object.entries(value);
  const at = pick % Math.max(1, entries.length);
  const changed = entries.map(([key, part], place) => [key, place === at ? put(part, rest, other) : part] as const);
  return Array.isArray(value) ? changed.map(([, part]) => part) : Object.fromEntries(changed);
}

const toError = (thrown: unknown): Error => (thrown instanceof Error ? thrown : new Error(String(thrown)));

/** What is wrong with what came of an answer; undefined: nothing. */
function problemIn(came: Ended | Error): string | undefined {
  if (came instanceof CapstanError) return came.code.startsWith("provider.") ? undefined : came.code;
  if (came instanceof Error) return came.message;
  if (came.parts.some((part) => part.type === "tool_call" && (part.name === "" || part.callId === "")))
    return "no name";
  return Object.values(came.usage).every((tokens) => Number.isSafeInteger(tokens) && tokens >= 0) ? undefined : "usage";
}

describe.each(spokenWires)("an answer over $dialect.type of which a part is another", (wire) => {
  const lines = wire.encode(story).split("\n");
  const places = lines.flatMap((line, place) => (/^(?:data: )?\{/.test(line) ? [place] : []));

  test("is an answer, or fails with a code of its own", async () => {
    const picks = array(nat(20), { minLength: 2, maxLength: 6 });
    const changes = record({ at: nat(places.length - 1), picks, other: jsonValue({ maxDepth: 2 }) });
    const property = asyncProperty(changes, async ({ at, picks: path, other }) => {
      const place = places[at] ?? 0;
      const [, head = "", json = ""] = /^((?:data: )?)(.*)$/.exec(lines[place] ?? "") ?? [];
      const told = lines.with(place, head + JSON.stringify(put(JSON.parse(json), path, other))).join("\n");
      const came = await askOverPieces(wire, [Buffer.from(told)]).then(endOf, toError);
      expect(problemIn(came)).toBeUndefined();
    });
    await assert(property, { numRuns: 5 * slowCases });
  });
});
