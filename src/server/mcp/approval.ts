import {
  acceptedContent,
  inputRequired,
  type InputRequiredResult,
  type ServerContext,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { CapstanError, toCapstanError } from "../../core/error.ts";
import { newId } from "../../core/id.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { ApprovableCall, Permissions } from "../../permissions/permissions.ts";
import type { Door } from "../../tools/call.ts";
import type { RecordRefusal } from "./refusal.ts";

/** How long a question may stay unanswered; an approval lives no longer either. */
const questionMs = 10 * 60 * 1000;
/** So many answered questions are remembered until they would be too old anyway; no person gets there. */
const maxAnswered = 1_000;
/** What is longer than this can't be shown to a person whole, so it can't be approved here. */
const maxShown = 8_000;

const State = z.strictObject({ callId: z.string(), hash: z.string(), expiresAt: z.int() });
const Answer = z.object({
  approve: z.boolean().meta({ title: "Approve", description: "Lets exactly this call run, once." }),
});
const answerKey = "approval";

type Responses = ServerContext["mcpReq"]["inputResponses"];

/** One call as it stands in a tools/call request. */
export interface AskedCall {
  readonly grant: Grant;
  readonly name: string;
  readonly args: unknown;
}

/** A call that a person has approved, under the id that it was asked with. */
interface ApprovedCall {
  readonly callId: string;
  readonly approvalId: string;
}

/** Asking the person behind a client whether one call may run. Lives as long as its connection: its questions die with it. */
interface Approvals {
  /** The question that goes to the client as the call's result; null where this holder may not approve, or the call can't be shown. */
  ask(asked: AskedCall & { readonly callId: string; readonly why: string }): InputRequiredResult | null;
  /** What the client came back with; null where the request answers nothing. Throws `permission.approval_refused` for all but a yes. */
  answer(asked: AskedCall, request: ServerContext["mcpReq"]): Promise<ApprovedCall | null>;
}

/**
 * Opens the approvals of one connection (2026-07-28, basic/patterns/mrtr; the SDK turns the same result into a pushed
 * elicitation/create for older clients). Only the holder of the `approve` right for the tool can be asked, so that an answer releases
 * what the grant marks `ask` or taint holds back, and adds no right. The state that the client keeps meanwhile is sealed, bound to
 * the grant, the connection and the exact call, and good for one answer.
 */
export function openApprovals(services: {
  readonly permissions: Permissions;
  readonly door: Door;
  readonly recordRefusal: RecordRefusal;
}): Approvals {
  const { permissions, door, recordRefusal } = services;
  const connection = newId("conn");
  const answered = new Map<string, number>();
  const toBinding = (grant: Grant): string => `mcp tools/call ${connection} ${grant.id}`;

  function toApprovable({ grant, name, args }: AskedCall, callId: string): ApprovableCall | null {
    const tool = door.list(grant).find((listed) => listed.name === name);
    if (tool === undefined) return null;
    const { principal, scope } = grant;
    return { principal, scope, callId, name, pin: tool.pin, args: tool.bind(args).args };
  }

  return {
    ask(asked) {
      const { grant, name, callId, why } = asked;
      const call = toApprovable(asked, callId);
      if (call === null || !grant.rights.approve.includes(name)) return null;
      const shown = toShown(call);
      if (shown.length > maxShown) return null;
      const state = { callId, hash: permissions.approvals.hash(call), expiresAt: permissions.now() + questionMs };
      return inputRequired({
        requestState: permissions.seal(state, toBinding(grant)),
        inputRequests: {
          [answerKey]: inputRequired.elicit({ message: `${why}\n\n${shown}`, requestedSchema: Answer }),
        },
      });
    },

    async answer(asked, request) {
      const sealed = request.requestState();
      if (sealed === undefined) return null;
      try {
        return await accept(asked, sealed, request.inputResponses);
      } catch (thrown) {
        const { grant, name } = asked;
        await recordRefusal({ action: "tools/call", name, grant, code: toCapstanError(thrown).code });
        throw thrown;
      }
    },
  };

  async function accept(asked: AskedCall, sealed: unknown, responses: Responses): Promise<ApprovedCall> {
    const now = permissions.now();
    const { callId, hash, expiresAt } = openState(sealed, toBinding(asked.grant));
    if (answered.size >= maxAnswered) for (const [id, until] of answered) if (until < now) answered.delete(id);
    if (answered.size >= maxAnswered) throw refused("No person answers so many questions in ten minutes.");
    if (expiresAt < now) throw refused("The question is older than ten minutes.");
    if (answered.has(callId)) throw refused("This question was answered before.");
    answered.set(callId, expiresAt);
    if (acceptedContent(responses, answerKey, Answer)?.approve !== true) {
      throw refused("The person did not approve it.");
    }
    const call = toApprovable(asked, callId);
    if (call === null || permissions.approvals.hash(call) !== hash) {
      throw refused("It is not the call that the person was shown.");
    }
    return { callId, approvalId: await permissions.approvals.approve(asked.grant, call) };
  }

  function openState(sealed: unknown, binding: string): z.infer<typeof State> {
    if (typeof sealed !== "string") throw refused("Its requestState is not the one that came with the question.");
    try {
      return State.parse(permissions.open(sealed, binding));
    } catch (cause) {
      throw refused("Its requestState is not the one that came with the question.", cause);
    }
  }
}

/** The exact call. Characters that show nothing or turn text around are written as escapes, so that what is read is what runs. */
function toShown({ name, args }: ApprovableCall): string {
  const escape = (char: string): string =>
    char === " " || char === "\n" ? char : `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
  return `${name} ${JSON.stringify(args, null, 2).replace(/[\p{C}\p{Z}]/gu, escape)}`;
}

function refused(why: string, cause?: unknown): CapstanError {
  const message = `The call was not approved. ${why} Make the call again to ask again.`;
  return new CapstanError("permission.approval_refused", message, { cause });
}
