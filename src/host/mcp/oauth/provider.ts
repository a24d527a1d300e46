import type {
  OAuthClientProvider,
  OAuthDiscoveryState,
  StoredOAuthClientInformation,
} from "@modelcontextprotocol/client";
import { CapstanError } from "../../../core/error.ts";
import type { ServerAuth } from "../config.ts";
import type { CredentialKey, Credential, Credentials } from "./credentials.ts";
import { signInNeeded } from "./failure.ts";
import { demandSafeUrls, isSameIssuer, parseSignInUrl, toIssuer } from "./issuer.ts";

/** The ways to sign in that are OAuth. */
export type SignInAuth = Exclude<ServerAuth, { type: "bearer" }>;

/** At which server, for whom and how. */
export interface SignInTarget {
  readonly key: CredentialKey;
  readonly auth: SignInAuth;
  readonly isPrivate: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly credentials: Credentials;
}

/** What a person brings to an attempt: a way back, and the right to accept an authorization server that was not known before. */
export interface PersonsPart {
  readonly redirectUrl: string;
  readonly state: string;
}

/** One attempt to get a token, as the SDK's `auth()` takes it. */
export interface Attempt {
  readonly provider: OAuthClientProvider;
  /** Where the browser is to go, once `auth()` has answered REDIRECT. */
  readonly authorizationUrl: () => URL | undefined;
  /** Who was asked for the token. */
  readonly issuer: () => string | undefined;
}

/**
 * One attempt to get a token. With `person`, by authorization code; the client and its tokens are kept together when it succeeds, so
 * that an attempt that is given up spoils nothing. Without, by what is there: client credentials or the refresh token. `mayTrust` lets
 * an authorization server take the place of the one that was used before.
 *
 * Its functions throw `mcp.sign_in_needed` where a person is needed, `mcp.sign_in_failed` for an issuer other than the config's,
 * `config.*`, and a TypeError for a URL that is refused.
 */
export function openAttempt(target: SignInTarget, person: PersonsPart | undefined, mayTrust: boolean): Attempt {
  const { key, auth, isPrivate, credentials } = target;
  let issuer: string | undefined;
  let discovery: OAuthDiscoveryState | undefined;
  let registered: Credential["client"];
  let verifier = "";
  let authorizationUrl: URL | undefined;

  const known = async (): Promise<Credential | undefined> =>
    issuer === undefined ? undefined : (await credentials.of(key)).find((one) => one.issuer === issuer);

  /** Before anything is sent that is worth something. */
  async function saveDiscoveryState(state: OAuthDiscoveryState): Promise<void> {
    demandSafeUrls(state, isPrivate, key.server);
    const named = toIssuer(state);
    const before = auth.issuer === undefined ? (await credentials.of(key)).map((one) => one.issuer) : [auth.issuer];
    const same = before.find((one) => isSameIssuer(one, named));
    if (same === undefined && auth.issuer !== undefined) throw otherIssuer(key.server, named, auth.issuer);
    if (same === undefined && before.length > 0 && !mayTrust) {
      throw signInNeeded(
        key.server,
        `${key.server} names another authorization server than before, ${JSON.stringify(named)}`,
      );
    }
    issuer = named;
    discovery = state;
  }

  async function clientInformation(): Promise<StoredOAuthClientInformation | undefined> {
    const stamp = issuer === undefined ? {} : { issuer };
    if (auth.clientId !== undefined) return { client_id: auth.clientId, ...toSecret(target), ...stamp };
    if (registered !== undefined) return { ...registered, ...stamp };
    const client = (await known())?.client;
    // Registered for another port, it would be refused: it is registered anew.
    const fits = person === undefined || client?.redirect_uris?.includes(person.redirectUrl) === true;
    if (client !== undefined && fits) return { ...client, ...stamp };
    if (person === undefined) throw signInNeeded(key.server, `Nobody is signed in at ${key.server}`);
    return undefined;
  }

  const provider: OAuthClientProvider = {
    redirectUrl: person?.redirectUrl,
    ...("clientMetadataUrl" in auth && auth.clientMetadataUrl !== undefined
      ? { clientMetadataUrl: auth.clientMetadataUrl }
      : {}),
    clientMetadata: toClientMetadata(auth, person),
    discoveryState: () => discovery,
    saveDiscoveryState,
    clientInformation,
    saveClientInformation(client) {
      registered = client;
    },
    async tokens() {
      const tokens = (await known())?.tokens;
      return tokens === undefined || issuer === undefined ? undefined : { ...tokens, issuer };
    },
    async saveTokens(tokens) {
      if (issuer === undefined) throw new Error("tokens came before an issuer");
      const before = await known();
      const client = registered ?? before?.client;
      // An authorization server may keep the refresh token as it is (RFC 6749, section 6).
      const kept = person === undefined && before?.tokens !== undefined ? { ...before.tokens, ...tokens } : tokens;
      await credentials.save(key, issuer, { ...(client === undefined ? {} : { client }), tokens: kept });
    },
    async invalidateCredentials(what) {
      if (what === "client" || what === "all") registered = undefined;
      const before = await known();
      if (person !== undefined || before === undefined || issuer === undefined) return;
      const client = what === "tokens" ? before.client : undefined;
      await credentials.save(key, issuer, client === undefined ? {} : { client });
    },
    redirectToAuthorization(url) {
      authorizationUrl = parseSignInUrl(url.href, isPrivate, key.server);
    },
    saveCodeVerifier(text) {
      verifier = text;
    },
    codeVerifier: () => verifier,
    ...(person === undefined ? { prepareTokenRequest } : { state: () => person.state }),
  };
  return { provider, authorizationUrl: () => authorizationUrl, issuer: () => issuer };

  async function prepareTokenRequest(scope: string | undefined): Promise<URLSearchParams> {
    if (auth.type === "client_credentials") {
      const wanted = auth.scopes.length > 0 ? auth.scopes.join(" ") : scope;
      return new URLSearchParams({
        grant_type: "client_credentials",
        ...(wanted === undefined ? {} : { scope: wanted }),
      });
    }
    const refresh = (await known())?.tokens?.refresh_token;
    if (refresh === undefined) throw signInNeeded(key.server, `The sign-in at ${key.server} has ended`);
    return new URLSearchParams({ grant_type: "refresh_token", refresh_token: refresh });
  }
}

function toClientMetadata(auth: SignInAuth, person: PersonsPart | undefined): OAuthClientProvider["clientMetadata"] {
  const isMachine = auth.type === "client_credentials";
  return {
    client_name: "Capstan",
    redirect_uris: person === undefined ? [] : [person.redirectUrl],
    grant_types: isMachine ? ["client_credentials"] : ["authorization_code", "refresh_token"],
    ...(isMachine ? {} : { response_types: ["code"], token_endpoint_auth_method: "none" }),
    ...(auth.scopes.length === 0 ? {} : { scope: auth.scopes.join(" ") }),
  };
}

/** The secret of the client that the config names. Throws `config.bad_value` where its variable is not set. */
function toSecret({ auth, env, key }: SignInTarget): { client_secret?: string } {
  if (auth.clientSecretEnv === undefined) return {};
  const secret = env[auth.clientSecretEnv];
  if (secret !== undefined && secret !== "") return { client_secret: secret };
  throw new CapstanError(
    "config.bad_value",
    `mcp.servers.${key.server}.auth.clientSecretEnv names ${auth.clientSecretEnv}, which is not set. Set it, and start again.`,
  );
}

function otherIssuer(server: string, named: string, expected: string): CapstanError {
  return new CapstanError(
    "mcp.sign_in_failed",
    `${server} names the authorization server ${JSON.stringify(named)}, and its auth.issuer in the config is ${JSON.stringify(expected)}. Nothing was sent to it. Ask who runs the server; if the new one is right, change the config.`,
  );
}
