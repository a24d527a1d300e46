import { randomUUID } from "node:crypto";

/**
 * A new id with a readable prefix: `run_019b…`, the time in 12 hexadecimal digits (ms since the epoch) and 80 random bits in 20 more.
 * Not guessable. Ids made one after another stand close together in an index, so that storing them changes few of its pages.
 */
export function newId(prefix: string): string {
  // The random parts of a UUID: Node draws those in bulk, where a system call of its own would cost 8 µs an id.
  const uuid = randomUUID();
  return `${prefix}_${Date.now().toString(16).padStart(12, "0")}${uuid.slice(24)}${uuid.slice(0, 8)}`;
}
