import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import type { Json } from "../core/json.ts";
import { canonicalJson } from "../core/json.ts";
import type { Keys } from "./keys.ts";

const cipher = "aes-256-gcm";
const nonceBytes = 12;
const tagBytes = 16;

/**
 * Seals state that a client keeps for us: it can neither read nor change it, nor use it where `bind` is another text. Sealing gives no
 * single use: what is opened twice is twice the same (approvals are used up in the ledger).
 */
export function sealState(keys: Keys, state: Json, bind: string): string {
  const nonce = randomBytes(nonceBytes);
  const sealing = createCipheriv(cipher, keys.sealingKey, nonce).setAAD(Buffer.from(bind));
  const body = Buffer.concat([sealing.update(canonicalJson(state), "utf8"), sealing.final()]);
  return Buffer.concat([nonce, body, sealing.getAuthTag()]).toString("base64url");
}

/** The state that was sealed with the same `bind` in this home. Throws `token.bad_signature` for everything else. */
export function openSealed(keys: Keys, sealed: string, bind: string): Json {
  const bytes = Buffer.from(sealed, "base64url");
  try {
    const nonce = bytes.subarray(0, nonceBytes);
    const opening = createDecipheriv(cipher, keys.sealingKey, nonce, { authTagLength: tagBytes })
      .setAAD(Buffer.from(bind))
      .setAuthTag(bytes.subarray(-tagBytes));
    const body = Buffer.concat([opening.update(bytes.subarray(nonceBytes, -tagBytes)), opening.final()]);
    return z.json().parse(JSON.parse(body.toString("utf8")));
  } catch {
    throw new CapstanError(
      "token.bad_signature",
      "The state that came back is not what was handed out for this call. Begin the call again.",
    );
  }
}
