import { z } from "zod";

/** What a sandbox's isolation is worth, by name, weakest first; docs/sandbox.md says what each level holds and what it does not. */
export const isolationLevels = [
  "wasm-in-thread",
  "wasm-in-child",
  "os-sandbox",
  "container",
  "user-space-kernel",
] as const;
export const IsolationLevel = z.enum(isolationLevels);
export type IsolationLevel = z.infer<typeof IsolationLevel>;

/** Levels as numbers: the stronger, the larger. */
export const strengthOf = (level: IsolationLevel): number => isolationLevels.indexOf(level);
