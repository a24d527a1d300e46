import { inputRequired, type InputRequiredResult, isSpecType } from "@modelcontextprotocol/server";
import { z } from "zod";
import { CapstanError } from "../../core/error.ts";
import { newId } from "../../core/id.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { canonicalJson, sha256 } from "../../core/json.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Permissions } from "../../permissions/permissions.ts";
import { questionIdKey } from "../../host/mcp/connection/questions.ts";
import type { InputRequest } from "../../tools/tool.ts";
import type { Exchange } from "./exchange.ts";

/** How long a question may stay unanswered. */
const questionMs = 10 * 60 * 1000;

const Sealed = z.strictObject({ id: z.string(), hash: z.string(), expiresAt: z.int(), state: z.json() });

/** One request that may ask before it answers: a call, a reading, a prompt. */
export interface Asking {
  readonly grant: Grant;
  readonly method: "tools/call" | "resources/read" | "prompts/get";
  /** The tool, the URI or the prompt. */
  readonly name: string;
  readonly args: Json;
}

/** What came back: what we had sealed, and the client's answers by the ids of the questions. */
export interface Answered {
  readonly state: Json;
  readonly responses: JsonObject;
}

/** Questions that travel to the client with our state, and come back with its answers. */
export interface Questions {
  ask(asking: Asking, requests: readonly InputRequest[], state: Json): InputRequiredResult;
  /**
   * null where the request answers nothing. Throws `permission.state_refused` for a state that is not ours or not of this grant and
   * name, and `permission.approval_refused` for one of other arguments, too old, or used before; whatever the answers are, the state is
   * used up by them.
   */
  answer(asking: Asking, exchange: Exchange): Promise<Answered | null>;
}

/**
 * Opens the questions of a server (2026-07-28, basic/patterns/mrtr; for older clients the SDK pushes the same questions while the call
 * stays open). The state that the client keeps meanwhile is sealed, bound to the grant, the method and the exact arguments, good for
 * ten minutes and, in all processes of the home together, for one answer.
 */
export function openQuestions(permissions: Permissions): Questions {
  const toBinding = ({ grant, method, name }: Asking): string => `mcp ${method} ${grant.id} ${name}`;
  const toHash = ({ args }: Asking): string => sha256(canonicalJson(args));

  return {
    ask(asking, requests, state) {
      const sealed = { id: newId("question"), hash: toHash(asking), expiresAt: permissions.now() + questionMs, state };
      return inputRequired({
        requestState: permissions.seal(sealed, toBinding(asking)),
        inputRequests: toWireRequests(requests),
      });
    },

    async answer(asking, { requestState: text, inputResponses }) {
      if (text === undefined) return null;
      const { id, hash, expiresAt, state } = open(text, toBinding(asking));
      if (expiresAt < permissions.now()) throw refused("The question is older than ten minutes.");
      if (hash !== toHash(asking)) throw refused("It is not the call that the question was about.");
      if (!(await permissions.useUp(id))) throw refused("This question was answered before.");
      return {
        state,
        responses: z
          .record(z.string(), z.json())
          .catch({})
          .parse(inputResponses ?? {}),
      };
    },
  };

  function open(sealed: unknown, binding: string): z.infer<typeof Sealed> {
    try {
      return Sealed.parse(permissions.open(z.string().parse(sealed), binding));
    } catch (cause) {
      const text = "The requestState is not the one that came with the question. Make the call again to ask again.";
      throw new CapstanError("permission.state_refused", text, { cause });
    }
  }
}

/** An answer that does not count. */
export function refused(why: string): CapstanError {
  const message = `The answer does not count. ${why} Make the call again to ask again.`;
  return new CapstanError("permission.approval_refused", message);
}

type WireRequest = NonNullable<InputRequiredResult["inputRequests"]>[string];

/** The requests as MCP writes them, by their ids. Throws what `toWireRequest` throws. */
export function toWireRequests(requests: readonly InputRequest[]): Readonly<Record<string, WireRequest>> {
  return Object.fromEntries(requests.map((request) => [request.id, toWireRequest(request)]));
}

/** The request as MCP writes it. Throws `tool.bad_output` for a form or parameters that MCP does not know. */
export function toWireRequest(request: InputRequest): WireRequest {
  const wire = toJson(request);
  const { ElicitRequest, CreateMessageRequest, ListRootsRequest } = isSpecType;
  if (ElicitRequest(wire) || CreateMessageRequest(wire) || ListRootsRequest(wire)) return wire;
  throw new CapstanError("tool.bad_output", `The question ${JSON.stringify(request.id)} is of no form that MCP knows.`);
}

function toJson(request: InputRequest): JsonObject {
  // An older client is asked by a request that has an id of its own.
  const meta = { _meta: { [questionIdKey]: request.id } };
  switch (request.type) {
    case "form": {
      const { message, schema } = request;
      return {
        method: "elicitation/create",
        params: { mode: "form", message, requestedSchema: { type: "object", ...schema }, ...meta },
      };
    }
    case "url": {
      const { message, url, elicitationId = newId("elicitation") } = request;
      return { method: "elicitation/create", params: { mode: "url", message, url, elicitationId, ...meta } };
    }
    case "sampling":
      return { method: "sampling/createMessage", params: { ...request.params, ...meta } };
    default:
      return { method: "roots/list", params: meta };
  }
}
