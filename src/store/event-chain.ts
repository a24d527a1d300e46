import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { sha256 } from "../core/json.ts";
import type { Scope } from "../core/scope.ts";
import { scopeKey } from "./sql.ts";
import type { EventRow } from "./store.ts";

/** What the first event of a run follows that goes on from no other. */
export const noEventHash = "0".repeat(64);

/** Texts from this length are kept once, apart from the events that hold them. */
const largeChars = 8_192;

const Places = z.array(z.tuple([z.int().min(1), z.string()]));

/**
 * The hash of an event: SHA-256, in hexadecimal, over that of the event before it and all that is stored of this one. The first of a run
 * follows `noEventHash`, or the event of the run that it goes on from.
 */
export function hashEvent(
  previousHash: string,
  { scope, runId }: { readonly scope: Scope; readonly runId: string },
  { seq, at, body, large }: Omit<EventRow, "hash">,
): string {
  return sha256(`${JSON.stringify([previousHash, 1, scopeKey(scope), runId, seq, at, large])}\n${body}`);
}

/** An event as it is stored: its JSON, and where large texts are missing in it, their hashes by their places. */
export interface PackedBody {
  readonly body: string;
  readonly large: string | null;
  /** The texts that are kept apart, by their SHA-256. */
  readonly texts: ReadonlyMap<string, Uint8Array>;
}

const noTexts: ReadonlyMap<string, Uint8Array> = new Map();

/**
 * An event's body for the store. A large text leaves "" in its place; the place is its number among all texts of the body, in the order
 * of the JSON, and stands beside the body and not in it: whatever a text says, it is never taken for a reference.
 */
export function packBody(value: unknown): PackedBody {
  const whole = JSON.stringify(value);
  if (whole.length < largeChars) return { body: whole, large: null, texts: noTexts };
  const texts = new Map<string, Uint8Array>();
  const places: [place: number, hash: string][] = [];
  let place = 0;
  const body = JSON.stringify(value, (_, item: unknown) => {
    if (typeof item !== "string") return item;
    place += 1;
    // What UTF-8 can't say would come back as something else.
    if (item.length < largeChars || !item.isWellFormed()) return item;
    const bytes = Buffer.from(item);
    const textHash = sha256(bytes);
    texts.set(textHash, bytes);
    places.push([place, textHash]);
    return "";
  });
  return places.length === 0
    ? { body: whole, large: null, texts: noTexts }
    : { body, large: JSON.stringify(places), texts };
}

/** The value that was packed. Throws `store.corrupt` where `textOf` gives null, and for a list of places that is none. */
export function unpackBody(
  { body, large }: Pick<EventRow, "body" | "large">,
  textOf: (textHash: string) => Uint8Array | null,
): unknown {
  if (large === null) return parse(body);
  const hashes = readPlaces(large);
  let place = 0;
  let filled = 0;
  const value = parse(body, (_, item) => {
    if (typeof item !== "string") return item;
    place += 1;
    const textHash = hashes.get(place);
    if (textHash === undefined) return item;
    const bytes = textOf(textHash);
    if (bytes === null || item !== "") throw corrupt(`the text ${textHash} is missing`);
    filled += 1;
    return Buffer.from(bytes).toString();
  });
  if (filled < hashes.size) throw corrupt("it has fewer texts than places for them");
  return value;
}

/** The hashes of the texts that are kept apart, by their places. Throws `store.corrupt`. */
export function readPlaces(large: string): ReadonlyMap<number, string> {
  const places = Places.safeParse(parse(large));
  if (places.success) return new Map(places.data);
  throw corrupt("the list of its large texts is none");
}

function parse(text: string, revive?: (key: string, item: unknown) => unknown): unknown {
  try {
    return JSON.parse(text, revive);
  } catch (thrown) {
    throw thrown instanceof SyntaxError ? corrupt("it is no JSON") : thrown;
  }
}

function corrupt(why: string): CapstanError {
  return new CapstanError("store.corrupt", `An event can't be read: ${why}. Restore the store from a backup.`);
}
