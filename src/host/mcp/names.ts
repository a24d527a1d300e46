import { sha256 } from "../../core/json.ts";

const maxLength = 64;
const hashLength = 8;

/** What ends like a hash gets one too: so no name that stays as it is can be what another one becomes. */
const looksHashed = /_[0-9a-f]{8}$/;

/**
 * The name under which a server's tool or prompt is published: `server__tool`; 1 to 64 characters of `A-Z a-z 0-9 _ -`. Where a name had
 * to be changed (empty, other characters, too long, or ending as a changed one does) it ends in `_` and 8 hex digits of the SHA-256 of
 * server and own name, always, so that what one name becomes never depends on another. Two servers never share a name, since a
 * server's own holds no `_`.
 */
export function toPublishedName(server: string, name: string): string {
  const plain = `${server}__${name}`;
  const isLawful = /^[A-Za-z0-9_-]+$/.test(name) && plain.length <= maxLength;
  if (isLawful && !looksHashed.test(name)) return plain;
  const room = maxLength - hashLength - 1;
  const kept = plain.slice(0, room).replaceAll(/[^A-Za-z0-9_-]/g, "_");
  // As JSON, half a surrogate pair is told from another one.
  return `${kept}_${sha256(JSON.stringify([server, name])).slice(0, hashLength)}`;
}
