import type { Readable, Writable } from "node:stream";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { Client as ClientV1 } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport as HttpV1 } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { StdioServerTransport as PipesV1 } from "@modelcontextprotocol/sdk/server/stdio.js";
import {
  CreateMessageRequestSchema,
  ElicitRequestSchema,
  ListRootsRequestSchema,
  LoggingMessageNotificationSchema,
  PromptListChangedNotificationSchema,
  ResourceListChangedNotificationSchema,
  ResourceUpdatedNotificationSchema,
  ToolListChangedNotificationSchema,
} from "@modelcontextprotocol/sdk/types.js";
import { StdioServerTransport as Pipes } from "@modelcontextprotocol/server/stdio";
import { z } from "zod";

/** How a client in front answers. */
export interface Answering {
  /** What it says that it can answer. */
  readonly can?: Capabilities;
  /** How a person ends a form or a sign-in. */
  readonly action?: "accept" | "decline" | "cancel";
  /** What a person fills in. */
  readonly size?: number;
  /** The person thinks until this resolves. */
  readonly thinking?: Promise<void>;
}

type Empty = Record<string, never>;
interface Capabilities {
  readonly elicitation?: { readonly form?: Empty; readonly url?: Empty };
  readonly sampling?: Empty;
  readonly roots?: Empty;
}

interface CallOptions {
  readonly signal?: AbortSignal;
  readonly onprogress?: (progress: { readonly progress: number; readonly message?: string | undefined }) => void;
}

const Result = z.looseObject({
  content: z.array(z.looseObject({ type: z.string(), text: z.string().optional() })),
  isError: z.boolean().optional(),
});
const Contents = z.looseObject({ contents: z.array(z.looseObject({ uri: z.string(), text: z.string() })) });

const Messages = z.looseObject({ messages: z.array(z.looseObject({ content: z.looseObject({ text: z.string() }) })) });

/** An official client in front of Capstan, whichever it is. */
export interface Front extends AsyncDisposable {
  /** The questions that came: their methods and messages. */
  readonly asked: readonly string[];
  /** The lists that changed, and the URIs that were updated. */
  readonly heard: readonly string[];
  readonly logs: readonly unknown[];
  /** Calls a tool; gives the text of its result, `!` before it where it is an error. */
  call(name: string, args?: Record<string, unknown>, options?: CallOptions): Promise<string>;
  read(uri: string): Promise<string>;
  /** The text of a prompt's first message. */
  prompt(name: string): Promise<string>;
  tools(): Promise<readonly string[]>;
  /** Asks to hear of changed lists, where one must ask, and of a URI. */
  listen(uri: string): Promise<unknown>;
  unlisten(uri: string): Promise<unknown>;
}

/** Where a client in front reaches Capstan. */
export type Reached =
  | { readonly type: "pipes"; readonly toServer: Writable; readonly fromServer: Readable }
  | { readonly type: "http" | "sse"; readonly url: string; readonly token: string };

const identity = { name: "front", version: "1" };
const everything: Capabilities = { elicitation: { form: {}, url: {} }, sampling: {}, roots: {} };

function toAnswers({ action = "accept", size = 4, thinking = Promise.resolve() }: Answering, asked: string[]) {
  return {
    async elicit({ mode, message }: { readonly mode?: string | undefined; readonly message: string }) {
      asked.push(`${mode ?? "form"}: ${message}`);
      await thinking;
      return action === "accept" && mode !== "url" ? { action, content: { size } } : { action };
    },
    async sample() {
      asked.push("sampling");
      await thinking;
      return { role: "assistant" as const, model: "m", content: { type: "text" as const, text: "hi" } };
    },
    async roots() {
      asked.push("roots");
      return { roots: [{ uri: "file:///srv" }] };
    },
  };
}

function toText(answer: unknown): string {
  const { content, isError } = Result.parse(answer);
  return `${isError === true ? "!" : ""}${content.map(({ text = "" }) => text).join("\n")}`;
}

const toPrompt = (answer: unknown): string => Messages.parse(answer).messages[0]?.content.text ?? "";
const toRead = (answer: unknown): string =>
  Contents.parse(answer)
    .contents.map(({ text }) => text)
    .join();

/** The official client of the first SDK. */
export async function openV1(to: Reached, answering: Answering = {}): Promise<Front> {
  const { can = everything } = answering;
  const client = new ClientV1(identity, { capabilities: can });
  const asked: string[] = [];
  const heard: string[] = [];
  const logs: unknown[] = [];
  const answers = toAnswers(answering, asked);
  if (can.elicitation !== undefined)
    client.setRequestHandler(ElicitRequestSchema, ({ params }) => answers.elicit(params));
  if (can.sampling !== undefined) client.setRequestHandler(CreateMessageRequestSchema, () => answers.sample());
  if (can.roots !== undefined) client.setRequestHandler(ListRootsRequestSchema, () => answers.roots());
  client.setNotificationHandler(ToolListChangedNotificationSchema, () => void heard.push("tools"));
  client.setNotificationHandler(PromptListChangedNotificationSchema, () => void heard.push("prompts"));
  client.setNotificationHandler(ResourceListChangedNotificationSchema, () => void heard.push("resources"));
  client.setNotificationHandler(ResourceUpdatedNotificationSchema, ({ params }) => void heard.push(params.uri));
  client.setNotificationHandler(LoggingMessageNotificationSchema, ({ params }) => void logs.push(params));
  await client.connect(toTransportV1(to));
  await client.setLoggingLevel("info");
  return {
    ...{ asked, heard, logs },
    call: async (name, args = {}, options = {}) =>
      toText(await client.callTool({ name, arguments: args }, undefined, options)),
    read: async (uri) => toRead(await client.readResource({ uri })),
    prompt: async (name) => toPrompt(await client.getPrompt({ name })),
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    listen: (uri) => client.subscribeResource({ uri }),
    unlisten: (uri) => client.unsubscribeResource({ uri }),
    [Symbol.asyncDispose]: () => leave(to, () => client.close()),
  };
}

/** The official client of the second SDK. */
export async function openV2(to: Reached, mode: "legacy" | "auto", answering: Answering = {}): Promise<Front> {
  const { can = everything } = answering;
  const client = new Client(identity, { capabilities: can, versionNegotiation: { mode } });
  const asked: string[] = [];
  const heard: string[] = [];
  const logs: unknown[] = [];
  const answers = toAnswers(answering, asked);
  if (can.elicitation !== undefined) {
    client.setRequestHandler("elicitation/create", ({ params }) => answers.elicit(params));
  }
  if (can.sampling !== undefined) client.setRequestHandler("sampling/createMessage", () => answers.sample());
  if (can.roots !== undefined) client.setRequestHandler("roots/list", () => answers.roots());
  for (const list of ["tools", "prompts", "resources"] as const) {
    client.setNotificationHandler(`notifications/${list}/list_changed`, () => void heard.push(list));
  }
  client.setNotificationHandler("notifications/resources/updated", ({ params }) => void heard.push(params.uri));
  client.setNotificationHandler("notifications/message", ({ params }) => void logs.push(params));
  await client.connect(toTransportV2(to));
  const isOld = mode === "legacy";
  if (isOld) await client.setLoggingLevel("info");
  const meta = isOld ? {} : { "io.modelcontextprotocol/logLevel": "info" as const };
  const lists = { toolsListChanged: true, promptsListChanged: true, resourcesListChanged: true };
  let listening: { close(): Promise<void> } | undefined;
  return {
    ...{ asked, heard, logs },
    call: async (name, args = {}, options = {}) =>
      toText(await client.callTool({ name, arguments: args, _meta: meta }, options)),
    read: async (uri) => toRead(await client.readResource({ uri })),
    prompt: async (name) => toPrompt(await client.getPrompt({ name })),
    tools: async () => (await client.listTools()).tools.map(({ name }) => name),
    listen: async (uri) =>
      isOld
        ? await client.subscribeResource({ uri })
        : (listening = await client.listen({ ...lists, resourceSubscriptions: [uri] })),
    unlisten: async (uri) => (isOld ? await client.unsubscribeResource({ uri }) : await listening?.close()),
    [Symbol.asyncDispose]: () => leave(to, () => client.close()),
  };
}

async function leave(to: Reached, close: () => Promise<void>): Promise<void> {
  await close();
  if (to.type === "pipes") to.toServer.end();
}

function toTransportV1(to: Reached): Parameters<ClientV1["connect"]>[0] {
  if (to.type === "pipes") return new PipesV1(to.fromServer, to.toServer);
  const requestInit = { headers: { authorization: `Bearer ${to.token}` } };
  if (to.type === "http") return new HttpV1(new URL(`${to.url}/mcp`), { requestInit });
  const eventSourceInit = {
    fetch: (at: string | URL, init?: RequestInit) => fetch(at, { ...init, headers: requestInit.headers }),
  };
  return new SSEClientTransport(new URL(`${to.url}/sse`), { requestInit, eventSourceInit });
}

function toTransportV2(to: Reached): Parameters<Client["connect"]>[0] {
  if (to.type === "pipes") return new Pipes(to.fromServer, to.toServer);
  const requestInit = { headers: { authorization: `Bearer ${to.token}` } };
  return new StreamableHTTPClientTransport(new URL(`${to.url}/mcp`), { requestInit });
}
