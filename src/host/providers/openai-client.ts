import type { OpenAI } from "openai";
import type { WireCall } from "./wire.ts";

/**
 * The official SDK for one call, with its retries off. Its own environment variables are not read: which key goes where is said in the
 * config alone, and the call's fetch sends it.
 */
export async function openaiClient({ baseUrl, fetch }: WireCall): Promise<OpenAI> {
  const sdk = await import("openai");
  return new sdk.OpenAI({
    baseURL: baseUrl,
    // The SDK insists on one.
    apiKey: "none",
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    // The call's own watch ends it.
    timeout: 2 ** 31 - 1,
    logLevel: "off",
    fetch,
  });
}

/** The key as both APIs of OpenAI want it. */
export function bearer(apiKey: string | undefined): Readonly<Record<string, string>> {
  return apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
}
