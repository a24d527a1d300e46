import { expect } from "vitest";
import type { Json } from "../../src/core/json.ts";
import { openQuickjsEngine } from "../../src/sandbox/quickjs.ts";
import { describeHostile } from "./hostile.ts";
import type { HostileCase } from "./hostile.ts";

/** A hostile case in JavaScript, unless it says TypeScript. */
export type ScriptCase = Omit<HostileCase, "language"> & { readonly language?: "typescript" };

/** Runs the cases against the JavaScript engine. */
export function describeScripts(name: string, cases: readonly ScriptCase[]): void {
  describeHostile(
    `quickjs, ${name}`,
    () => openQuickjsEngine(),
    cases.map((one) => ({ language: "javascript", ...one })),
  );
}

/** The result must be this. */
export const is =
  (expected: Json): NonNullable<HostileCase["check"]> =>
  ({ result }) =>
    expect(result).toEqual(expected);

/** The error must match this. */
export const says =
  (text: RegExp): NonNullable<HostileCase["check"]> =>
  ({ error }) =>
    expect(error).toMatch(text);

/** A host that answers each call with its arguments. */
export const echo = (_name: string, args: Json): Promise<Json> => Promise.resolve(args);
