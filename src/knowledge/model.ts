import { z } from "zod";
import type { Taint } from "../core/taint.ts";
import { maxNameLength } from "./names.ts";

/** What one call may add. A batch is one transaction, which other writers wait for. */
const maxBatch = 500;
/** How many entities an answer shows. */
export const entitiesShown = 50;

const Name = z.string().min(1).max(maxNameLength);

/** A day, a month, a year or a moment, ISO 8601. Without an offset it is UTC. */
export const When = z
  .string()
  .regex(
    /^\d{4}(-\d\d(-\d\d(T\d\d:\d\d(:\d\d(\.\d{1,3})?)?(Z|[+-]\d\d:\d\d))?)?)?$/,
    "expected a date or time like 2026, 2026-03, 2026-03-31 or 2026-03-31T09:30:00Z",
  )
  .refine((text) => isDay(text.slice(0, 10)) && Number.isFinite(Date.parse(text)), "expected a date that exists");

export const EntityInput = z.strictObject({
  name: Name,
  type: Name.optional().describe("For example person, place or project. Tells apart entities of one name."),
  aliases: z.array(Name).max(20).optional(),
  summary: z.string().min(1).max(2_000).optional().describe("What it is, in a sentence. It can be set once."),
});
export type EntityInput = Readonly<z.infer<typeof EntityInput>>;

export const RelationInput = z.strictObject({
  name: Name,
  functional: z
    .boolean()
    .optional()
    .describe("true: an entity has one value at a time, so a new value ends the old (for example lives_in)."),
  inverse: Name.optional(),
});
export type RelationInput = Readonly<z.infer<typeof RelationInput>>;

export const FactInput = z
  .strictObject({
    subject: Name.describe("The name, an alias or the id of an entity. A new name makes a new entity."),
    relation: Name.describe("For example works_at."),
    object: Name.optional().describe("Another entity. Either object or value."),
    value: z.string().min(1).max(4_000).optional().describe("Plain text instead of an entity."),
    validFrom: When.optional().describe(
      "Since when it is true. Without it: unknown, or now where it replaces a value.",
    ),
    validTo: When.optional().describe("Until when it was true."),
    confidence: z.number().min(0).max(1).default(1),
    text: z.string().min(1).max(2_000).optional().describe("The fact as a sentence, as found."),
  })
  .refine(({ object, value }) => (object === undefined) !== (value === undefined), "give either object or value");
export type FactInput = Readonly<z.infer<typeof FactInput>>;

/** What is added in one transaction. Entities come first, so that facts find them by name. */
export const Additions = z.strictObject({
  entities: z.array(EntityInput).max(maxBatch).default([]),
  relations: z.array(RelationInput).max(maxBatch).default([]),
  facts: z.array(FactInput).max(maxBatch).default([]),
});
export type Additions = Readonly<z.infer<typeof Additions>>;

/** Where facts come from: the same source said again is the same source. `taint` is what its writer had seen. */
export interface Source {
  /** What kind of thing it is: `user`, `document`, `call`, … */
  readonly kind: string;
  readonly uri?: string;
  readonly title?: string;
  /** Which part of it, in its own terms: a page, lines. */
  readonly span?: string;
  /** Ms since the epoch. */
  readonly observedAt?: number;
  readonly actor?: string;
  readonly taint: Taint;
}

/** An entity that an addition found or made. */
export const NamedEntity = z.strictObject({
  id: z.string(),
  name: z.string(),
  type: z.string(),
  created: z.boolean(),
});
export type NamedEntity = Readonly<z.infer<typeof NamedEntity>>;

/** What an addition changed. */
export const Added = z.strictObject({
  added: z.int().describe("Facts that were new."),
  confirmed: z.int().describe("Facts that were known."),
  refined: z.int().describe("Facts whose times are known better now."),
  ended: z.int().describe("Facts that a new value of a functional relation ended."),
  entitiesCreated: z.int(),
  entities: z
    .array(NamedEntity)
    .describe("The first entities that were found or made, so that the next call can name them."),
});
export type Added = Readonly<z.infer<typeof Added>>;

/** A parsed `When` in ms since the epoch: the first moment of a day, a month or a year. */
export const toMs = (when: string): number => Date.parse(when);

/** Date.parse takes the 31st of February for the 3rd of March. */
function isDay(day: string): boolean {
  const ms = Date.parse(day);
  return Number.isFinite(ms) && new Date(ms).toISOString().startsWith(day);
}
