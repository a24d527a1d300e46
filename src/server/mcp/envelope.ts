import {
  CLIENT_CAPABILITIES_META_KEY,
  type ClientCapabilities,
  mergeCapabilities,
  MissingRequiredClientCapabilityError,
  PROTOCOL_VERSION_META_KEY,
  UnsupportedProtocolVersionError,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import { questionsInWords } from "../../tools/result.ts";
import type { Answerer, InputRequest } from "../../tools/tool.ts";
import type { Exchange } from "./exchange.ts";

/** The one revision of the modern era that is spoken here. */
export const modernRevision = "2026-07-28";

const Capabilities = z
  .object({
    elicitation: z.object({ form: z.unknown(), url: z.unknown() }).partial(),
    sampling: z.unknown(),
    roots: z.unknown(),
  })
  .partial();

/** What we read of a request's envelope (2026-07-28, basic, `_meta`). */
const Envelope = z
  .object({ [PROTOCOL_VERSION_META_KEY]: z.string(), [CLIENT_CAPABILITIES_META_KEY]: Capabilities })
  .partial();

/** Throws -32022 for a request of a revision that we don't speak. */
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

/** What a client must offer, to be asked each kind of question. */
const offers: Readonly<Record<InputRequest["type"], ClientCapabilities>> = {
  form: { elicitation: { form: {} } },
  url: { elicitation: { url: {} } },
  sampling: { sampling: {} },
  roots: { roots: {} },
};

/**
 * Throws for a question that the client can't answer: to an older client `tool.input_needed`, which its model reads; to a newer one, which
 * says with each request what it can, the error -32021 (2026-07-28, basic/patterns/mrtr, Server Validation).
 */
export function demandAnswerable(
  requests: readonly InputRequest[],
  { can, gone }: Pick<Exchange, "can" | "gone">,
): void {
  const beyond = requests.filter(({ type }) => !can[type]);
  if (beyond.length === 0) return;
  const kinds = [...new Set(beyond.map(({ type }) => type))];
  const message = `The call waits for answers that this client does not offer to give (${kinds.join(", ")}): ${questionsInWords(beyond)}`;
  if (gone !== undefined) throw new CapstanError("tool.input_needed", message);
  let requiredCapabilities: ClientCapabilities = {};
  for (const kind of kinds) requiredCapabilities = mergeCapabilities(requiredCapabilities, offers[kind]);
  throw new MissingRequiredClientCapabilityError({ requiredCapabilities }, message);
}
