import {
  CLIENT_CAPABILITIES_META_KEY,
  type ClientCapabilities,
  PROTOCOL_VERSION_META_KEY,
  UnsupportedProtocolVersionError,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import { questionsInWords } from "../../tools/result.ts";
import type { Answerer, InputRequest } from "../../tools/tool.ts";

/** The one revision of the modern era that is spoken here. */
export const modernRevision = "2026-07-28";

const Capabilities = z
  .object({
    elicitation: z.object({ form: z.unknown(), url: z.unknown() }).partial(),
    sampling: z.unknown(),
    roots: z.unknown(),
  })
  .partial();

/** What we read of a request's envelope (2026-07-28, basic, `_meta`); the SDK has checked that it is there and well-formed. */
const Envelope = z
  .object({ [PROTOCOL_VERSION_META_KEY]: z.string(), [CLIENT_CAPABILITIES_META_KEY]: Capabilities })
  .partial();

/** Throws -32022 for a request of a revision that we don't speak: the SDK looks only at the first request of a connection. */
export function demandRevision(envelope: unknown): void {
  if (envelope === undefined) return;
  const requested = Envelope.safeParse(envelope).data?.[PROTOCOL_VERSION_META_KEY] ?? modernRevision;
  if (requested !== modernRevision)
    throw new UnsupportedProtocolVersionError({ supported: [modernRevision], requested });
}

/** Which questions a client can answer. */
export type CanAnswer = Answerer["can"];

/**
 * Which questions a client can answer: it says so in the envelope of each request (2026-07-28) or said so when it connected (older). An
 * empty elicitation means forms (2025-11-25, client/elicitation, Capabilities).
 */
export function toCanAnswer(envelope: unknown, connected: ClientCapabilities | undefined): CanAnswer {
  const perRequest = Envelope.safeParse(envelope).data?.[CLIENT_CAPABILITIES_META_KEY];
  const { elicitation, sampling, roots } = perRequest ?? Capabilities.safeParse(connected ?? {}).data ?? {};
  return {
    form: elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined),
    url: elicitation?.url !== undefined,
    sampling: sampling !== undefined,
    roots: roots !== undefined,
  };
}

/** Throws `tool.input_needed` for a question that the client can't answer. */
export function demandAnswerable(requests: readonly InputRequest[], can: CanAnswer): void {
  const beyond = requests.filter(({ type }) => !can[type]);
  if (beyond.length === 0) return;
  const kinds = [...new Set(beyond.map(({ type }) => type))].join(", ");
  throw new CapstanError(
    "tool.input_needed",
    `The call waits for answers that this client does not offer to give (${kinds}): ${questionsInWords(beyond)}`,
  );
}
