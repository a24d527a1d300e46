import type { ServerCapabilities } from "@modelcontextprotocol/client";
import {
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  PROTOCOL_VERSION_META_KEY,
  SUPPORTED_PROTOCOL_VERSIONS,
} from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import { isJsonObject, type JsonObject } from "../../../core/json.ts";
import { valueInWords } from "../../../core/value-in-words.ts";
import type { Era } from "./connection.ts";
import { broken, type Peer } from "./peer.ts";
import { legacyCapabilities } from "./questions.ts";

const modernRevision = "2026-07-28";
const legacyRevision = "2025-11-25";
/** UnsupportedProtocolVersionError (2026-07-28, basic). */
const unsupportedVersion = -32_022;
/** A server on stdio that is silent for so long after a probe is an old one, most likely (stdio, Backward Compatibility). */
const maxProbeMs = 10_000;

/** What an opening exchange found. */
export interface Negotiated {
  readonly era: Era;
  readonly version: string;
  readonly capabilities: ServerCapabilities;
}

/** The `_meta` of a request of revision 2026-07-28 (basic, `_meta`). */
export function toEnvelope(version: string, clientCapabilities: JsonObject): JsonObject {
  return {
    [PROTOCOL_VERSION_META_KEY]: modernRevision,
    [CLIENT_INFO_META_KEY]: { name: "capstan", title: "Capstan", version },
    [CLIENT_CAPABILITIES_META_KEY]: clientCapabilities,
  };
}

interface NegotiateOptions {
  readonly server: string;
  /** Capstan's. */
  readonly version: string;
  readonly isStdio: boolean;
  /** False goes straight to `initialize`. */
  readonly isProbed: boolean;
  readonly startTimeoutMs: number;
  readonly setVersion: (version: string) => void;
  readonly signal: AbortSignal;
}

/**
 * The opening exchange: `server/discover` first, and `initialize` where the answer, or on stdio the lack of one, says that the server
 * is of the legacy era. Throws `mcp.*`.
 */
export async function negotiate(peer: Peer, options: NegotiateOptions): Promise<Negotiated> {
  const { version, isStdio, isProbed, startTimeoutMs, signal } = options;
  if (!isProbed) return await initialize(peer, options);
  const probe = discover(peer, version, signal);
  // Half of the time is left for `initialize`.
  const early = await (isStdio ? beforeSilence(probe, Math.min(maxProbeMs, startTimeoutMs / 2)) : probe);
  if (early !== undefined) return early;
  try {
    return await initialize(peer, options);
  } catch (thrown) {
    // It was only slow to start: its answer to the probe comes yet.
    const late = await probe.catch(() => undefined);
    if (late === undefined) throw thrown;
    return late;
  }
}

async function beforeSilence(probe: Promise<Negotiated | undefined>, ms: number): Promise<Negotiated | undefined> {
  const { promise: silence, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  try {
    return await Promise.race([probe, silence.then(() => undefined)]);
  } finally {
    clearTimeout(timer);
    probe.catch(() => {});
  }
}

/**
 * Undefined for a server of the legacy era: any error of JSON-RPC, and any status of HTTP that tells the request was not understood.
 * What says nothing of the era rejects: no sign-in, no server, a fault of it.
 */
async function discover(peer: Peer, version: string, signal: AbortSignal): Promise<Negotiated | undefined> {
  const params = { _meta: toEnvelope(version, {}) };
  const ask = async (): Promise<JsonObject> =>
    await peer.request("server/discover", params, { signal, tellsCancel: false });
  try {
    return toDiscovered(await ask().catch((thrown: unknown) => (namesOurs(thrown) ? ask() : Promise.reject(thrown))));
  } catch (thrown) {
    if (isLegacySign(thrown)) return undefined;
    throw thrown;
  }
}

/** Whether a server that refused the revision says that it speaks it: then it is asked once more (basic, Protocol Version Negotiation). */
function namesOurs(thrown: unknown): boolean {
  if (!(thrown instanceof CapstanError) || thrown.details["code"] !== unsupportedVersion) return false;
  const { data } = thrown.details;
  return isJsonObject(data) && Array.isArray(data["supported"]) && data["supported"].includes(modernRevision);
}

function toDiscovered({ supportedVersions, capabilities }: JsonObject): Negotiated | undefined {
  const isOurs = Array.isArray(supportedVersions) && supportedVersions.includes(modernRevision);
  if (!isOurs || !isJsonObject(capabilities)) return undefined;
  return { era: "modern", version: modernRevision, capabilities: toCapabilities(capabilities) };
}

/** Whether a failure of a request says that it was not understood, rather than that the server is down or wants a sign-in. */
export function isLegacySign(thrown: unknown): boolean {
  if (!(thrown instanceof CapstanError)) return false;
  const { status } = thrown.details;
  if (typeof status === "number") return status >= 400 && status < 500 && ![401, 403, 407, 408, 429].includes(status);
  return thrown.code === "mcp.server_error" || thrown.code === "mcp.protocol";
}

/** `initialize` and `initialized`. Throws `mcp.protocol` for a revision that Capstan does not speak. */
async function initialize(peer: Peer, { server, version, setVersion, signal }: NegotiateOptions): Promise<Negotiated> {
  const params = {
    protocolVersion: legacyRevision,
    capabilities: legacyCapabilities,
    clientInfo: { name: "capstan", title: "Capstan", version },
  };
  const result = await peer.request("initialize", params, { signal, tellsCancel: false });
  const { protocolVersion, capabilities } = result;
  if (typeof protocolVersion !== "string" || !SUPPORTED_PROTOCOL_VERSIONS.includes(protocolVersion)) {
    const spoken = `Capstan speaks ${modernRevision}, ${SUPPORTED_PROTOCOL_VERSIONS.join(", ")}`;
    throw broken(server, `wants revision ${valueInWords(protocolVersion)} of MCP, and ${spoken}`);
  }
  setVersion(protocolVersion);
  await peer.notify("notifications/initialized");
  return {
    era: "legacy",
    version: protocolVersion,
    capabilities: toCapabilities(isJsonObject(capabilities) ? capabilities : {}),
  };
}

/** Only what is an object is kept: so much is what anybody relies on. */
function toCapabilities(given: JsonObject): ServerCapabilities {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => isJsonObject(value)));
}
