import {
  CLIENT_CAPABILITIES_META_KEY,
  type ClientCapabilities,
  PROTOCOL_VERSION_META_KEY,
  UnsupportedProtocolVersionError,
} from "@modelcontextprotocol/server";
import { z } from "zod";

/** The one revision of the modern era that is spoken here. */
const modernRevision = "2026-07-28";

/** What we read of a request's envelope (2026-07-28, basic, `_meta`); the SDK has checked that it is there and well-formed. */
const Envelope = z
  .object({
    [PROTOCOL_VERSION_META_KEY]: z.string(),
    [CLIENT_CAPABILITIES_META_KEY]: z
      .object({ elicitation: z.object({ form: z.unknown(), url: z.unknown() }).partial() })
      .partial(),
  })
  .partial();

/** Throws -32022 for a request of a revision that we don't speak: the SDK looks only at the first request of a connection. */
export function demandRevision(envelope: unknown): void {
  if (envelope === undefined) return;
  const requested = Envelope.safeParse(envelope).data?.[PROTOCOL_VERSION_META_KEY] ?? modernRevision;
  if (requested !== modernRevision)
    throw new UnsupportedProtocolVersionError({ supported: [modernRevision], requested });
}

/**
 * Whether a client can show a form: it says so in the envelope of each request (2026-07-28) or said so when it connected (older). An
 * empty declaration means forms (2025-11-25, client/elicitation, Capabilities).
 */
export function canShowForms(envelope: unknown, connected: ClientCapabilities | undefined): boolean {
  const perRequest = Envelope.safeParse(envelope).data?.[CLIENT_CAPABILITIES_META_KEY];
  const { elicitation } = perRequest ?? connected ?? {};
  return elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined);
}
