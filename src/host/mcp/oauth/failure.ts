import type { FetchLike } from "@modelcontextprotocol/client";
import { IssuerMismatchError, OAuthError, RegistrationRejectedError } from "@modelcontextprotocol/client";
import { AuthorizationServerMismatchError } from "@modelcontextprotocol/client";
import { z } from "zod";
import { CapstanError } from "../../../core/error.ts";
import { isJsonObject } from "../../../core/json.ts";
import { refusalIn } from "../guarded-fetch.ts";

/** What one needs who has not signed in, or no more. `why` is a sentence without its full stop. */
export function signInNeeded(server: string, why: string): CapstanError {
  return new CapstanError("mcp.sign_in_needed", `${why}. Sign in: capstan mcp login ${server}`);
}

/**
 * What was thrown while signing in, as `mcp.*`. Texts of the other side are left out, and causes too: they may hold what was sent.
 */
export function toSignInError(thrown: unknown, server: string): CapstanError {
  if (thrown instanceof CapstanError) return thrown;
  return (
    refusalIn(thrown) ??
    new CapstanError(
      "mcp.sign_in_failed",
      `Signing in at ${server} failed: ${reasonOf(thrown)}. Try again: capstan mcp login ${server}`,
    )
  );
}

function reasonOf(thrown: unknown): string {
  if (thrown instanceof IssuerMismatchError || thrown instanceof AuthorizationServerMismatchError) {
    return "another authorization server answered than the one that was asked, and got nothing";
  }
  if (thrown instanceof RegistrationRejectedError) {
    return `the authorization server does not register Capstan (HTTP ${thrown.status}). Register it there and set auth.clientId`;
  }
  if (thrown instanceof OAuthError)
    return `the authorization server answered ${isCode(thrown.code) ? thrown.code : "an error"}`;
  if (thrown instanceof SyntaxError || thrown instanceof z.ZodError) return "its metadata or answer can't be read";
  if (thrown instanceof DOMException) return "it took too long";
  return thrown instanceof Error ? JSON.stringify(thrown.message.slice(0, 300)) : "unknown";
}

const isCode = (code: unknown): code is string => typeof code === "string" && /^[a-z_]{1,40}$/.test(code);

/**
 * `fetch` whose answers to POST, where they are errors, hold the code alone: the SDK prints what an authorization server says of an
 * error, and that may be anything, what was sent to it included.
 */
export function withCodesOnly(fetch: FetchLike): FetchLike {
  return async (input, init) => {
    const response = await fetch(input, init);
    if (response.ok || init?.method !== "POST") return response;
    const { status } = response;
    try {
      const body: unknown = await response.json();
      if (isJsonObject(body) && isCode(body["error"])) return Response.json({ error: body["error"] }, { status });
    } catch {
      // What is no JSON has no code.
    }
    return Response.json({ error: "server_error" }, { status });
  };
}
