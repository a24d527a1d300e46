import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { canonicalJson, sha256 } from "../core/json.ts";

/** A place in the total order of a listing: the sort key and, where it is equal, the path from the listed folder, as bytes. */
export interface Position {
  readonly key: bigint;
  readonly parts: readonly Buffer[];
}

/** What a listing is of. A cursor goes on with the same one only. */
export interface Listing {
  readonly folder: string;
  readonly sort: string;
  readonly order: string;
}

const Wire = z.tuple([z.string(), z.string().regex(/^-?\d{1,40}$/)], z.string());

/**
 * A position as the text that a caller hands back to go on behind it. It needs no seal: it is compared with the names that are found
 * and never opened, so that a forged one only begins elsewhere in the same listing.
 */
export function toCursor(listing: Listing, { key, parts }: Position): string {
  const wire = [digest(listing), key.toString(), ...parts.map((part) => part.toString("base64url"))];
  return Buffer.from(JSON.stringify(wire)).toString("base64url");
}

/** The position in a cursor of this listing. Throws `tool.bad_arguments` for any other text. */
export function parseCursor(listing: Listing, cursor: string): Position {
  const wire = Wire.safeParse(parseJson(Buffer.from(cursor, "base64url").toString("utf8")));
  if (!wire.success || wire.data[0] !== digest(listing)) {
    throw new CapstanError(
      "tool.bad_arguments",
      "cursor: this is not the nextCursor of a listing of the same path, sort and order. Leave it out to begin again.",
    );
  }
  const [, key, ...parts] = wire.data;
  return { key: BigInt(key), parts: parts.map((part) => Buffer.from(part, "base64url")) };
}

const digest = (listing: Listing): string => sha256(canonicalJson(listing)).slice(0, 12);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
