import { createHash, randomBytes } from "node:crypto";
import { join } from "node:path";
import type { FetchLike } from "@modelcontextprotocol/client";
import { auth as authorize, computeScopeUnion, extractWWWAuthenticateParams } from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import { openCallback } from "./callback.ts";
import type { Credential } from "./credentials.ts";
import { openCredentials, openMcpFolder } from "./credentials.ts";
import { signInNeeded, toSignInError, withCodesOnly } from "./failure.ts";
import { isSameIssuer } from "./issuer.ts";
import { underLock } from "./lock.ts";
import type { Attempt, SignInAuth, SignInTarget } from "./provider.ts";
import { openAttempt } from "./provider.ts";

/** How long a person has for the browser. */
const personTimeoutMs = 300_000;
/** How long another process may take to renew the same token. */
const lockTimeoutMs = 60_000;
/** How long it is believed that no token is kept: a server that wants none would have the file looked for with each request. */
const noneMs = 1_000;

export interface SignInServices {
  /** The server's name in the config. */
  readonly server: string;
  readonly url: string;
  /** Missing: authorization code, with a client that is registered dynamically. */
  readonly auth: SignInAuth | undefined;
  readonly isPrivate: boolean;
  readonly home: string;
  readonly user: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** A `guardedFetch`: it goes where the server says. */
  readonly fetch: FetchLike;
  /** Shows a person the URL, which is checked. Missing: nobody is there. */
  readonly openBrowser?: (url: string) => Promise<void>;
  readonly log: (line: string) => void;
}

/** The sign-in of one user at one remote server. */
export interface SignIn {
  /**
   * `fetch` with the user's token, for the transport of this server. A token that the server refuses is renewed and the request sent
   * again, once, and once more where the new token's rights are too small. To another origin than the server's it sends no token. Rejects with `mcp.sign_in_needed` where a person is needed
   * and nobody is there, `mcp.sign_in_failed`, `mcp.url_refused` and `config.*`.
   */
  readonly fetch: FetchLike;
  /**
   * Signs in anew, whatever is kept, and accepts the authorization server that the server names now, within what the config says. Gives
   * that; undefined where the server asks for no sign-in. Throws as `fetch` does.
   */
  readonly renew: (signal: AbortSignal) => Promise<string | undefined>;
}

/** What a server says of the token that it wants: unchecked. */
interface Challenge {
  readonly resourceMetadataUrl?: URL;
  readonly scope?: string;
  /** The token is good, and its rights are too small. */
  readonly isStepUp: boolean;
}

/** Opens the sign-in at a server (OAuth 2.1 as MCP's authorization chapter wants it). Nothing is read or sent before it is used. */
export function openSignIn(services: SignInServices): SignIn {
  const { server, url, isPrivate, home, user, env, openBrowser, log } = services;
  const auth: SignInAuth = services.auth ?? { type: "authorization_code", scopes: [], callbackPort: 0 };
  const credentials = openCredentials(home);
  const key = { user, server, url };
  const target: SignInTarget = { key, auth, isPrivate, env, credentials };
  const { origin } = new URL(url);
  let token: string | undefined;
  let noneUntil = -Infinity;
  let renewing: Promise<void> | undefined;

  async function readToken(): Promise<string | undefined> {
    return (await readTokens())?.access_token;
  }

  async function lookForToken(): Promise<string | undefined> {
    if (performance.now() < noneUntil) return undefined;
    const found = await readToken();
    if (found === undefined) noneUntil = performance.now() + noneMs;
    return found;
  }

  async function readTokens(): Promise<Credential["tokens"]> {
    const { issuer } = auth;
    const mine = (await credentials.of(key)).filter((one) => issuer === undefined || isSameIssuer(one.issuer, issuer));
    return mine.findLast(({ tokens }) => tokens !== undefined)?.tokens;
  }

  async function signedFetch(input: string | URL, init?: RequestInit): Promise<Response> {
    if (new URL(input).origin !== origin) return await services.fetch(input, init);
    const met = new Set<boolean>();
    for (;;) {
      token ??= await lookForToken();
      const used = token;
      const response = await services.fetch(input, withToken(init, used));
      const challenge = toChallenge(response);
      if (challenge === undefined || (challenge.isStepUp && met.has(true))) return response;
      await response.body?.cancel();
      if (met.has(challenge.isStepUp)) throw refusedAtOnce();
      met.add(challenge.isStepUp);
      renewing ??= replaceToken(challenge, used).finally(() => (renewing = undefined));
      // Those who wait hear of a failure; each of them may have been aborted.
      renewing.catch(() => {});
      await within(renewing, init?.signal ?? undefined);
    }
  }

  function refusedAtOnce(): CapstanError {
    return new CapstanError(
      "mcp.sign_in_failed",
      `${server} refuses the token that its authorization server has just given. Ask who runs it.`,
    );
  }

  async function replaceToken(challenge: Challenge, used: string | undefined): Promise<void> {
    try {
      const isDone = await alone(() => (challenge.isStepUp ? widen(challenge) : refresh(challenge, used)));
      if (!isDone) await withPerson(await toUnion(challenge), AbortSignal.timeout(personTimeoutMs), false);
    } catch (thrown) {
      throw toSignInError(thrown, server);
    }
  }

  /** One at a time among all processes: a refresh token may be good for one use, and a second use may end them all. */
  async function alone<T>(work: () => Promise<T>): Promise<T> {
    const name = createHash("sha256").update(JSON.stringify(key)).digest("hex").slice(0, 16);
    const path = join(await openMcpFolder(home), `sign-in-${name}.lock`);
    return await underLock(path, AbortSignal.timeout(lockTimeoutMs), work);
  }

  /** Gets a good token from what is there. False: a person is needed, and there. */
  async function refresh(challenge: Challenge, used: string | undefined): Promise<boolean> {
    token = await readToken();
    // Another call or process was faster.
    if (token !== undefined && token !== used) return true;
    try {
      await withoutPerson(challenge, false);
      return true;
    } catch (thrown) {
      const isNeeded = thrown instanceof CapstanError && thrown.code === "mcp.sign_in_needed";
      if (!isNeeded || openBrowser === undefined) throw thrown;
      return false;
    }
  }

  /** Gets a token with more rights: a refresh can't (RFC 6749, section 6), and what the config bounds stays bounded. */
  async function widen(challenge: Challenge): Promise<boolean> {
    const isMachine = auth.type === "client_credentials";
    if (auth.scopes.length > 0 || (!isMachine && openBrowser === undefined)) throw scopeNeeded(challenge.scope);
    if (isMachine) await withoutPerson(await toUnion(challenge), false);
    return isMachine;
  }

  /** With the scopes of the present token, which would be lost else. */
  async function toUnion(challenge: Challenge): Promise<Challenge> {
    const before = challenge.isStepUp ? (await readTokens())?.scope : undefined;
    const scope = computeScopeUnion(before, challenge.scope);
    return scope === undefined ? challenge : { ...challenge, scope };
  }

  async function withoutPerson(challenge: Challenge, mayTrust: boolean): Promise<string> {
    const attempt = openAttempt(target, undefined, mayTrust);
    await authorize(attempt.provider, toOptions(challenge));
    return await finish(attempt);
  }

  async function withPerson(challenge: Challenge, signal: AbortSignal, mayTrust: boolean): Promise<string> {
    if (openBrowser === undefined) throw signInNeeded(server, `Nobody is signed in at ${server}`);
    const state = randomBytes(32).toString("base64url");
    const port = auth.type === "authorization_code" ? auth.callbackPort : 0;
    await using callback = await openCallback({ port, state, server, signal });
    const attempt = openAttempt(target, { redirectUrl: callback.redirectUrl, state }, mayTrust);
    const options = toOptions(challenge);
    await authorize(attempt.provider, { ...options, forceReauthorization: true });
    const authorizationUrl = attempt.authorizationUrl();
    if (authorizationUrl !== undefined) {
      await openBrowser(authorizationUrl.href);
      const { code, iss } = await callback.answer;
      await authorize(attempt.provider, { ...options, authorizationCode: code, ...(iss === undefined ? {} : { iss }) });
    }
    return await finish(attempt);
  }

  function toOptions({ resourceMetadataUrl, scope }: Challenge) {
    // What the operator wrote is asked for, and no more.
    const wanted = auth.scopes.length > 0 ? auth.scopes.join(" ") : scope;
    return {
      serverUrl: url,
      fetchFn: withCodesOnly(services.fetch),
      ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }),
      ...(wanted === undefined ? {} : { scope: wanted }),
    };
  }

  async function finish({ issuer }: Attempt): Promise<string> {
    token = await readToken();
    const named = issuer() ?? "";
    log(`Signed in at ${JSON.stringify(named)} for ${server}.`);
    return named;
  }

  function scopeNeeded(scope: string | undefined): CapstanError {
    const shown = scope !== undefined && /^[\x21-\x7e ]{1,200}$/.test(scope) ? JSON.stringify(scope) : "more";
    return signInNeeded(
      server,
      `${server} wants a token with the scope ${shown}. If that is right, set mcp.servers.${server}.auth.scopes`,
    );
  }

  async function renew(signal: AbortSignal): Promise<string | undefined> {
    const challenge = await probe(services.fetch, url, signal);
    if (challenge === undefined) return undefined;
    if (auth.type === "client_credentials") return await alone(() => withoutPerson(challenge, true));
    const timeout = AbortSignal.timeout(personTimeoutMs);
    return await withPerson(challenge, AbortSignal.any([signal, timeout]), true);
  }

  return {
    fetch: signedFetch,
    async renew(signal) {
      try {
        return await renew(signal);
      } catch (thrown) {
        signal.throwIfAborted();
        throw toSignInError(thrown, server);
      }
    },
  };
}

function withToken(init: RequestInit | undefined, token: string | undefined): RequestInit {
  const headers = new Headers(init?.headers);
  if (token !== undefined) headers.set("authorization", `Bearer ${token}`);
  return { ...init, headers };
}

/** What a response asks for (RFC 6750, section 3.1); undefined when it is no question of tokens. */
function toChallenge(response: Response): Challenge | undefined {
  const { resourceMetadataUrl, scope, error } = extractWWWAuthenticateParams(response);
  const isStepUp = response.status === 403 && error === "insufficient_scope";
  if (response.status !== 401 && !isStepUp) return undefined;
  return {
    isStepUp,
    ...(resourceMetadataUrl === undefined ? {} : { resourceMetadataUrl }),
    ...(scope === undefined ? {} : { scope }),
  };
}

/** Asks the server without a token, by a request that leaves nothing behind on it. */
async function probe(fetch: FetchLike, url: string, signal: AbortSignal): Promise<Challenge | undefined> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json, text/event-stream" },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "server/discover", params: {} }),
    signal,
  });
  await response.body?.cancel();
  return toChallenge(response);
}

/** Waits for work that others wait for too: an aborted wait ends, and the work goes on. */
async function within(work: Promise<void>, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return await work;
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
