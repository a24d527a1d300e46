import { z } from "zod";
import { systemClock } from "../../src/core/clock.ts";
import { CapstanError, toText } from "../../src/core/error.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { isJsonObject } from "../../src/core/json.ts";
import { localPrincipal } from "../../src/core/scope.ts";
import type { HttpServer, ServerAuth } from "../../src/host/mcp/config.ts";
import { McpConfig } from "../../src/host/mcp/config.ts";
import { openConnection } from "../../src/host/mcp/connection/connect.ts";
import type { Connection, ServerMethod, WireTool } from "../../src/host/mcp/connection/connection.ts";
import { toInputRequest } from "../../src/host/mcp/connection/questions.ts";
import { guardedFetch } from "../../src/host/mcp/guarded-fetch.ts";
import { openSignIn } from "../../src/host/mcp/oauth/sign-in.ts";
import type { InputRequest } from "../../src/tools/tool.ts";
import { tempFolder } from "../support/temp.ts";

/**
 * The client that the conformance suite starts with the URL of a server: it uses all that the server lists, by Capstan's own connection,
 * with a person there who answers every question and signs in wherever a browser is opened.
 */
const name = "conformance";
const deadline = AbortSignal.timeout(120_000);

/** A value for each type of argument. */
const samples: Readonly<Record<string, Json>> = { string: "text", number: 1.5, integer: 1, boolean: true, array: [] };

/** What a scenario tells the client beside the URL. */
const Context = z
  .looseObject({
    client_id: z.string(),
    client_secret: z.string(),
    toolCalls: z.array(z.object({ name: z.string(), arguments: z.custom<JsonObject>(isJsonObject) })),
  })
  .partial();
const context = Context.parse(JSON.parse(process.env["MCP_CONFORMANCE_CONTEXT"] ?? "{}"));
const scenario = process.env["MCP_CONFORMANCE_SCENARIO"] ?? "";
const env = { ...process.env, CONFORMANCE_SECRET: context.client_secret };

await using home = await tempFolder();
const config = toConfig(process.argv.at(-1) ?? "");
const log = (line: string): void => void process.stderr.write(`${line}\n`);
await using connection = openConnection({
  ...{ name, config, env, home: home.path, version: "0.0.0-test", clock: systemClock, log },
  openBrowser: visit,
});

try {
  await signedIn(() => useAll(connection));
} catch (thrown) {
  if (!(thrown instanceof CapstanError)) throw thrown;
  log(toText(thrown));
  process.exitCode = 1;
}

/** What the operator would write for the server. */
function toConfig(url: string): HttpServer {
  const { client_id: clientId, client_secret: secret } = context;
  const client = { ...(clientId && { clientId }), ...(secret && { clientSecretEnv: "CONFORMANCE_SECRET" }) };
  const auth = scenario.startsWith("auth/client-credentials")
    ? { type: "client_credentials", ...client }
    : {
        type: "authorization_code",
        ...client,
        clientMetadataUrl: "https://conformance-test.local/client-metadata.json",
      };
  const { servers } = McpConfig.parse({ servers: { [name]: { url, private: true, auth, startTimeoutMs: 100_000 } } });
  const found = servers[name];
  if (found === undefined || !("url" in found)) throw new Error("The config is not that of a server at a URL.");
  return found;
}

/** Where the connection says that only the operator can sign in, the operator does, once: `capstan mcp login`. */
async function signedIn(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (thrown) {
    if (!(thrown instanceof CapstanError) || thrown.code !== "mcp.sign_in_needed") throw thrown;
    const signIn = openSignIn({
      ...{ server: name, url: config.url, auth: toOAuth(config.auth), isPrivate: true, home: home.path, env, log },
      user: localPrincipal.user,
      fetch: guardedFetch(true),
      openBrowser: visit,
    });
    await signIn.renew(deadline);
    await work();
  }
}

function toOAuth(auth: ServerAuth | undefined): Exclude<ServerAuth, { type: "bearer" }> | undefined {
  return auth?.type === "bearer" ? undefined : auth;
}

/** A person whose browser follows every redirect and who always agrees. */
async function visit(url: string): Promise<void> {
  await (await fetch(url, { signal: deadline })).text();
}

async function useAll(server: Connection): Promise<void> {
  const tools = await server.listTools(deadline);
  const calls = context.toolCalls ?? tools.map((tool) => ({ name: tool.name, arguments: toArguments(tool, tools) }));
  for (const call of calls) await ask("tools/call", call);
  for (const { uri } of await server.listResources(deadline)) await ask("resources/read", { uri });
  for (const prompt of await server.listPrompts(deadline)) await ask("prompts/get", { name: prompt.name });
}

/** Sends a request, and again with the answers to what a modern server asks first. */
async function ask(method: ServerMethod, params: JsonObject): Promise<JsonObject> {
  const result = await connection.request(method, params, {
    signal: deadline,
    ask: async (requests) => answerAll(requests),
    clientCapabilities: { elicitation: { form: {} } },
  });
  if (result["resultType"] !== "input_required") return result;
  const { inputRequests, requestState } = result;
  const requests = Object.entries(isJsonObject(inputRequests) ? inputRequests : {}).flatMap(([id, asked]) => {
    const { method: kind, params: about } = isJsonObject(asked) ? asked : {};
    const isAsked = typeof kind === "string" && isJsonObject(about);
    return (isAsked ? toInputRequest(id, { method: kind, params: about }) : undefined) ?? [];
  });
  const answered = { ...params, inputResponses: answerAll(requests) };
  return await ask(method, requestState === undefined ? answered : { ...answered, requestState });
}

/** Agrees to every form, and fills in nothing. */
function answerAll(requests: readonly InputRequest[]): JsonObject {
  return Object.fromEntries(requests.map(({ id }) => [id, { action: "accept", content: {} }]));
}

/** A value for each argument that the schema names; for an object the first tool's schema, as one scenario wants it back. */
function toArguments({ inputSchema }: WireTool, [first]: readonly WireTool[]): JsonObject {
  const properties = isJsonObject(inputSchema["properties"]) ? inputSchema["properties"] : {};
  return Object.fromEntries(
    Object.entries(properties).map(([key, schema]) => {
      const type = isJsonObject(schema) ? schema["type"] : undefined;
      return [key, typeof type === "string" ? (samples[type] ?? first?.inputSchema ?? {}) : {}];
    }),
  );
}
