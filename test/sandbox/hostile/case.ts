import { expect } from "vitest";
import type { Json } from "../../../src/core/json.ts";
import type { Engine, ExecLimits, ExecRequest, ExecResult, ExecStatus, Language } from "../../../src/sandbox/engine.ts";
import type { Canaries } from "./canaries.ts";

/** Hostile code; with the canaries where it reaches for them. */
export type Code = string | ((canaries: Canaries) => string);
/** What else must hold of a run; `next` is the one after it, in a case that has one, and `copy` the number of a copy. */
export type Check = (result: ExecResult, next: ExecResult | undefined, copy: number) => void;

/** What must come of a run, and under which limits. */
export interface Expectation {
  /** Which statuses are right; missing: `error`. */
  readonly status?: ExecStatus | readonly ExecStatus[];
  readonly check?: Check;
  readonly limits?: Partial<ExecLimits>;
  readonly request?: Partial<Pick<ExecRequest, "files" | "onCall">>;
  /** Who answers its calls, where that needs the engine that it runs in. */
  readonly host?: (engine: Engine) => NonNullable<ExecRequest["onCall"]>;
  /** The code of a second run, right after the first; it must end well. */
  readonly next?: string;
  /** How many copies run at once, each with its number in the place of COPY; missing: one. */
  readonly copies?: number;
}

/** The attack in one language. */
export interface Variant extends Expectation {
  readonly code: Code;
  /**
   * What differs where the machine's own interpreter runs, inside walls of the operating system: there an interpreter's objects are no
   * wall, so many an attack may end well, as long as it reaches nothing. `null`: it is about the interpreter in WebAssembly alone.
   */
  readonly native?: Partial<Variant> | null;
}

/**
 * One attack and what must come of it, each language with its own code. What the case says holds for every language that does not say
 * otherwise. Every case also demands what matrix.ts checks after each run.
 */
export interface HostileCase extends Expectation {
  /** Class and number: `A1`, `A1b`. */
  readonly id: string;
  readonly title: string;
  readonly in: Partial<Record<Language, Variant | Code>>;
}

/** Of an attack that may end well or not, where all that counts is what it reached. */
export const either = { status: ["ok", "error", "output"], check: () => undefined } as const satisfies Expectation;

/** The result must be this. */
export const is =
  (expected: Json): Check =>
  ({ result }) =>
    expect(result).toEqual(expected);

/** The error must match this. */
export const says =
  (text: RegExp): Check =>
  ({ error }) =>
    expect(error).toMatch(text);

/** A host that answers each call with its arguments. */
export const echo = (_name: string, args: Json): Promise<Json> => Promise.resolve(args);
