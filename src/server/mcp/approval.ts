import { z } from "zod";
import type { HeldCall, InputRequest } from "../../tools/tool.ts";
import type { ApprovableCall, Permissions } from "../../permissions/permissions.ts";
import type { Door } from "../../tools/call.ts";
import type { JsonObject } from "../../core/json.ts";
import { type Asking, refused } from "./questions.ts";

/** What is longer than this can't be shown to a person whole, so it can't be approved here. */
const maxShown = 8_000;

/** What is sealed with the question whether a call may run. */
export const ApprovalState = z.strictObject({ type: z.literal("approval"), callId: z.string(), hash: z.string() });
type ApprovalState = z.infer<typeof ApprovalState>;

const answerKey = "approval";
const answerSchema = {
  type: "object",
  properties: { approve: { type: "boolean", title: "Approve", description: "Lets exactly this call run, once." } },
  required: ["approve"],
};
const Response = z.object({
  [answerKey]: z.object({ action: z.literal("accept"), content: z.object({ approve: z.boolean() }) }),
});

interface Services {
  readonly permissions: Permissions;
  readonly door: Door;
}

/**
 * The question whether a person lets one call run; null where the holder may not approve it, or where the call can't be shown whole.
 * Only the holder of the `approve` right for the tool can be asked, so that an answer releases what the grant marks `ask` or taint holds
 * back, and adds no right.
 */
export function toApprovalQuestion(
  services: Services,
  asking: Asking,
  callId: string,
  why: string,
): { readonly request: InputRequest; readonly state: ApprovalState } | null {
  const { grant, name } = asking;
  const call = toApprovable(services, asking, callId);
  if (call === null || !grant.rights.approve.includes(name)) return null;
  const shown = toShown(call);
  if (shown.length > maxShown) return null;
  return {
    request: { id: answerKey, type: "form", message: `${why}\n\n${shown}`, schema: answerSchema },
    state: { type: "approval", callId, hash: services.permissions.approvals.hash(call) },
  };
}

/** The approval that an answer gives. Throws `permission.approval_refused` for all but a yes to this very call. */
export async function takeApproval(
  services: Services,
  asking: Asking,
  { callId, hash }: ApprovalState,
  responses: JsonObject,
): Promise<string> {
  const parsed = Response.safeParse(responses);
  if (!parsed.success || !parsed.data[answerKey].content.approve) throw refused("The person did not approve it.");
  const call = toApprovable(services, asking, callId);
  const { approvals } = services.permissions;
  if (call === null || approvals.hash(call) !== hash) throw refused("It is not the call that the person was shown.");
  return await approvals.approve(asking.grant, call);
}

/** Asks about a call while what it belongs to stays open: the id of the approval, or null where it can't be asked about. */
export async function approveNow(
  services: Services,
  { callId, why, ...held }: HeldCall,
  ask: (request: InputRequest) => Promise<JsonObject>,
): Promise<string | null> {
  const asking: Asking = { ...held, method: "tools/call" };
  const question = toApprovalQuestion(services, asking, callId, why);
  if (question === null) return null;
  return await takeApproval(services, asking, question.state, await ask(question.request));
}

/** The answer of a person who was asked in another way than by MCP. */
export const toApprovalAnswer = (approve: boolean): JsonObject => ({
  [answerKey]: { action: "accept", content: { approve } },
});

function toApprovable({ door }: Services, { grant, name, args }: Asking, callId: string): ApprovableCall | null {
  const tool = door.list(grant).find((listed) => listed.name === name);
  if (tool === undefined) return null;
  const { principal, scope } = grant;
  return { principal, scope, callId, name, pin: tool.pin, args: tool.bind(args).args };
}

/** The exact call. Characters that show nothing or turn text around are written as escapes, so that what is read is what runs. */
function toShown({ name, args }: ApprovableCall): string {
  const escape = (char: string): string =>
    char === " " || char === "\n" ? char : `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`;
  return `${name} ${JSON.stringify(args, null, 2).replace(/[\p{C}\p{Z}]/gu, escape)}`;
}
