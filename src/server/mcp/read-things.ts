import {
  type CompleteRequest,
  type CompleteResult,
  type GetPromptResult,
  type InputRequiredResult,
  ProtocolError,
  ProtocolErrorCode,
  type ReadResourceResult,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { newId } from "../../core/id.ts";
import { type Taint, trusted } from "../../core/taint.ts";
import type { Prompt } from "../../tools/prompt.ts";
import type { ReadingRequest } from "../../tools/reading.ts";
import type { Resource, ResourceTemplate } from "../../tools/resource.ts";
import type { Outcome } from "../../tools/tool.ts";
import { addTaint, type Connection, taintOf, toGrant, toProgress } from "./connection.ts";
import { demandAnswerable } from "./envelope.ts";
import { type Exchange, toAnswerer } from "./exchange.ts";
import { demandReadable, demandSendable } from "./large-reading.ts";
import type { Asking } from "./questions.ts";
import { toContent, toProtocolError } from "./result.ts";

const pageSize = 100;
const State = z.strictObject({ callId: z.string(), state: z.json() });

/** One page of a list and where the next begins: the list is the same for the same grant, so a number says it. */
export function toPage<T>(items: readonly T[], cursor: string | undefined): { items: T[]; nextCursor?: string } {
  const start = cursor === undefined ? 0 : Number(cursor);
  if (cursor !== undefined && !(/^[1-9]\d{0,8}$/.test(cursor) && start < items.length)) {
    throw new ProtocolError(ProtocolErrorCode.InvalidParams, "The cursor is not the nextCursor of an earlier page.");
  }
  const end = start + pageSize;
  return { items: items.slice(start, end), ...(end < items.length ? { nextCursor: String(end) } : {}) };
}

/** resources/list, resources/templates/list and prompts/list: what the request's grant allows. */
export async function listThings<T>(
  connection: Connection,
  method: string,
  exchange: Exchange,
  list: (request: ReadingRequest) => Promise<readonly T[]>,
): Promise<readonly T[]> {
  try {
    return await list(await toRequest(connection, exchange, method, ""));
  } catch (thrown) {
    throw toProtocolError(thrown);
  }
}

/** resources/read: what the resource holds, or questions that must be answered first. */
export async function readResource(
  connection: Connection,
  uri: string,
  exchange: Exchange,
): Promise<ReadResourceResult | InputRequiredResult> {
  return await read(connection, { method: "resources/read", name: uri, args: null }, exchange, async (request) => {
    const { outcome, taint } = await connection.door.readResource({ ...request, uri });
    if (outcome.type === "waiting") return outcome;
    const { caller, callId } = request;
    await demandReadable(outcome.contents, { uri, grant: caller.grant, callId, taint }, connection.offering);
    return { type: "done", taint, result: { contents: outcome.contents.map((part) => ({ ...part })) } };
  });
}

/** prompts/get: messages for a model, or questions that must be answered first. */
export async function getPrompt(
  connection: Connection,
  { name, args }: { readonly name: string; readonly args: Readonly<Record<string, string>> },
  exchange: Exchange,
): Promise<GetPromptResult | InputRequiredResult> {
  return await read(connection, { method: "prompts/get", name, args }, exchange, async (request) => {
    const { outcome, taint } = await connection.door.getPrompt({ ...request, name, args });
    if (outcome.type === "waiting") return outcome;
    const { description, messages } = outcome;
    const result = {
      ...(description === undefined ? {} : { description }),
      messages: messages.map(({ role, content }) => ({ role, content: toContent(content) })),
    };
    demandSendable(name, result);
    return { type: "done", taint, result };
  });
}

/** completion/complete: values for one argument of a prompt or of a resource template. */
export async function complete(
  connection: Connection,
  { ref, argument, context: given }: CompleteRequest["params"],
  exchange: Exchange,
): Promise<CompleteResult> {
  const of = ref.type === "ref/prompt" ? { prompt: ref.name } : { uriTemplate: ref.uri };
  const name = ref.type === "ref/prompt" ? ref.name : ref.uri;
  try {
    const request = await toRequest(connection, exchange, "completion/complete", name);
    const completion = { argument, filled: given?.arguments ?? {} };
    const values = await connection.door.complete({ ...request, of, completion });
    return { completion: { values: [...values], total: values.length, hasMore: false } };
  } catch (thrown) {
    throw toProtocolError(thrown);
  }
}

type Read<R> =
  | { readonly type: "done"; readonly taint: Taint; readonly result: R }
  | Extract<Outcome, { type: "waiting" }>;

async function read<R>(
  connection: Connection,
  asked: Omit<Asking, "grant">,
  exchange: Exchange,
  perform: (request: ReadingRequest) => Promise<Read<R>>,
): Promise<R | InputRequiredResult> {
  const { method, name } = asked;
  const progress = toProgress(exchange);
  try {
    const fresh = await toRequest(connection, exchange, method, name);
    const { grant } = fresh.caller;
    const asking = { ...asked, grant };
    const answered = await connection.questions.answer(asking, exchange);
    const sealed = answered === null ? null : State.parse(answered.state);
    const callId = sealed?.callId ?? fresh.callId;
    const outcome = await perform({
      ...fresh,
      callId,
      progress: (reached) => progress.report(reached),
      ...(sealed === null ? {} : { resumed: { responses: answered?.responses ?? {}, state: sealed.state } }),
    });
    await addTaint(connection, grant, outcome.taint ?? trusted);
    if (outcome.type === "done") return outcome.result;
    demandAnswerable(outcome.requests, exchange);
    return connection.questions.ask(asking, outcome.requests, { callId, state: outcome.state });
  } catch (thrown) {
    throw toProtocolError(thrown, method === "resources/read" ? { uri: name } : {});
  } finally {
    progress.end();
  }
}

/** A request at the door, under its grant, of a client that has seen what it has seen. */
export async function toRequest(
  connection: Connection,
  exchange: Exchange,
  method: string,
  name: string,
): Promise<ReadingRequest> {
  const grant = await toGrant(connection, exchange, method, name);
  const { principal, scope } = grant;
  const caller = { principal, scope, grant, taint: await taintOf(connection, grant), depth: 0 };
  const { signal, log } = exchange;
  return { caller, callId: newId("call"), signal, log, answerer: toAnswerer(exchange) };
}

/** A resource or a template as MCP lists it. */
export function toWireResource<R extends Resource | ResourceTemplate>(
  resource: R,
): Omit<R, "bytes"> & { size?: number } {
  if (!("bytes" in resource)) return { ...resource };
  const { bytes, ...rest } = resource;
  return { ...rest, ...(typeof bytes === "number" ? { size: bytes } : {}) };
}

/** A prompt as MCP lists it. */
export function toWirePrompt({ arguments: args, ...prompt }: Prompt) {
  return { ...prompt, arguments: args.map((argument) => ({ ...argument })) };
}
