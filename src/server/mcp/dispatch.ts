import {
  type CallToolResult,
  type InputRequiredResult,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type ServerContext,
  type Tool as WireTool,
} from "@modelcontextprotocol/server";
import { z } from "zod";
import { toCapstanError } from "../../core/error.ts";
import { newId } from "../../core/id.ts";
import { mergeTaint, trusted } from "../../core/taint.ts";
import type { Permissions } from "../../permissions/permissions.ts";
import type { CallResult, Door } from "../../tools/call.ts";
import { type AskedCall, openApprovals } from "./approval.ts";
import { canShowForms, demandRevision } from "./envelope.ts";
import { type GrantFor, grantKey } from "./grants.ts";
import { openProgress, type ProgressReport } from "./progress.ts";
import type { RecordRefusal } from "./refusal.ts";
import { toCallResult, toFailedCall, toProtocolError } from "./result.ts";
import { toWireTool } from "./wire-tool.ts";

export interface DispatchServices {
  readonly door: Door;
  readonly permissions: Permissions;
  readonly grantFor: GrantFor;
  readonly recordRefusal: RecordRefusal;
  /** Capstan's version, as clients see it. */
  readonly version: string;
}

/** What one connection asks of us, answered at the door. */
export interface Dispatch {
  /** A new SDK server with our handlers; one serves one connection of one era. */
  toServer(): Server;
  /** Resolves when no call runs any more. */
  settled(): Promise<void>;
}

const instructions =
  "Every call is checked against a grant: tools/list shows what this one allows. A refusal names its code and what would allow it.";

/** Lists change only when a grant is revoked or runs out, and a stale one grants nothing. They are never shared between users. */
const cacheHint = { ttlMs: 60_000, cacheScope: "private" } as const;

const ListParams = z.looseObject({ cursor: z.string().optional() });

/** Opens the dispatch of one connection. Each request is decided by its own grant; the connection itself holds no right. */
export function openDispatch(services: DispatchServices): Dispatch {
  const { door, permissions, grantFor, version } = services;
  const approvals = openApprovals(services);
  const running = new Set<Promise<unknown>>();
  // One connection is one context: what came in under one token is still there when the next is presented.
  let seen = trusted;

  function toServer(): Server {
    const server = new Server(
      { name: "capstan", title: "Capstan", version },
      {
        capabilities: { tools: {} },
        instructions,
        cacheHints: { "tools/list": cacheHint, "server/discover": cacheHint },
      },
    );
    server.setRequestHandler("tools/list", { params: ListParams }, async ({ cursor }, context) => {
      demandRevision(context.mcpReq.envelope);
      if (cursor !== undefined) {
        throw new ProtocolError(ProtocolErrorCode.InvalidParams, "The list has one page. Leave the cursor out.");
      }
      return { tools: await listTools(context) };
    });
    server.setRequestHandler("tools/call", async ({ params }, context) => {
      const { envelope } = context.mcpReq;
      demandRevision(envelope);
      const mayAsk = (): boolean => canShowForms(envelope, server.getClientCapabilities());
      const call = callTool(params.name, params.arguments ?? {}, context, mayAsk);
      running.add(call);
      return await call.finally(() => running.delete(call));
    });
    return server;
  }

  async function listTools({ mcpReq: { _meta: meta } }: ServerContext): Promise<WireTool[]> {
    try {
      const grant = await grantFor(meta?.[grantKey], { action: "tools/list", name: "" });
      return door.list(grant).map(toWireTool);
    } catch (error) {
      throw toProtocolError(error);
    }
  }

  async function callTool(
    name: string,
    args: object,
    { mcpReq }: ServerContext,
    mayAsk: () => boolean,
  ): Promise<CallToolResult | InputRequiredResult> {
    const progress = toProgress(mcpReq);
    const { _meta: meta } = mcpReq;
    try {
      const grant = await grantFor(meta?.[grantKey], { action: "tools/call", name });
      return await callUnder({ grant, name, args }, mcpReq, progress, mayAsk);
    } catch (thrown) {
      return toFailedCall(thrown);
    } finally {
      progress.end();
    }
  }

  async function callUnder(
    asked: AskedCall,
    mcpReq: ServerContext["mcpReq"],
    progress: ProgressReport,
    mayAsk: () => boolean,
  ): Promise<CallToolResult | InputRequiredResult> {
    const { grant, name, args } = asked;
    const { principal, scope } = grant;
    const approved = await approvals.answer(asked, mcpReq);
    const callId = approved?.callId ?? newId("call");
    const taint = mergeTaint(seen, await permissions.taints.of(grant));
    let result: CallResult;
    try {
      result = await door.call({
        caller: { principal, scope, grant, taint, depth: 0 },
        name,
        args,
        callId,
        ...(approved === null ? {} : { approvalId: approved.approvalId }),
        signal: mcpReq.signal,
        progress: (reached) => progress.report(reached),
      });
    } catch (thrown) {
      const { code, message } = toCapstanError(thrown);
      const asks = code === "permission.approval_needed" && mayAsk();
      const question = asks ? approvals.ask({ ...asked, callId, why: message }) : null;
      if (question === null) throw thrown;
      return question;
    }
    // Before the answer goes out: the client's next call may come of it.
    if (result.taint.length > 0) {
      seen = mergeTaint(seen, result.taint);
      await permissions.taints.add(grant, result.taint);
    }
    return toCallResult(result.outcome);
  }

  return {
    toServer,
    async settled() {
      await Promise.allSettled(running);
    },
  };
}

/** Where a call reports its progress: to the client that asked for it, else nowhere. */
function toProgress({ _meta: meta, notify }: ServerContext["mcpReq"]): ProgressReport {
  const progressToken = meta?.progressToken;
  return openProgress(({ done, total, message }) => {
    if (progressToken === undefined) return;
    const params = {
      progressToken,
      progress: done,
      ...(total === undefined ? {} : { total }),
      ...(message === undefined ? {} : { message }),
    };
    notify({ method: "notifications/progress", params }).catch(() => {}); // The client is gone; the call is being cancelled.
  });
}
