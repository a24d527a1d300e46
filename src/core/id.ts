import { randomBytes, randomUUID } from "node:crypto";

/** A new id with a readable prefix, 128 random bits in hexadecimal: `run_3f…`. Not sortable, not guessable. */
export function newId(prefix: string): string {
  return `${prefix}_${randomBytes(16).toString("hex")}`;
}

/** An RFC 9562 version 4 UUID. */
export const newUuid = (): string => randomUUID();
