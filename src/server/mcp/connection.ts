import type { Taint } from "../../core/taint.ts";
import { mergeTaint } from "../../core/taint.ts";
import type { Grant } from "../../permissions/grant.ts";
import type { Permissions } from "../../permissions/permissions.ts";
import type { Door } from "../../tools/call.ts";
import type { Exchange } from "./exchange.ts";
import { type GrantFor, grantKey } from "./grants.ts";
import type { Offering } from "./offering.ts";
import type { Notices } from "./notices.ts";
import { openProgress, type ProgressReport } from "./progress.ts";
import type { Questions } from "./questions.ts";
import type { RecordRefusal } from "./refusal.ts";
import type { Tasks } from "./tasks/tasks.ts";

export interface DispatchServices {
  readonly door: Door;
  readonly permissions: Permissions;
  readonly grantFor: GrantFor;
  readonly recordRefusal: RecordRefusal;
  readonly notices: Notices;
  readonly tasks: Tasks;
  readonly questions: Questions;
  /** Capstan's version, as clients see it. */
  readonly version: string;
  /** Missing: every tool is listed, and a result that is too large for an answer says so and is lost. */
  readonly offering?: Offering | undefined;
}

/** What the methods of one connection share. */
export interface Connection extends DispatchServices {
  /** What came in on this connection, under whichever token, is still there when the next is presented. */
  readonly seen: {
    taint: Taint;
    /** The grant of the latest request; undefined before there was one. */
    grant?: Grant;
  };
}

/** The grant of a request. */
export async function toGrant(
  { grantFor, seen }: Connection,
  { meta, bearer }: Exchange,
  action: string,
  name = "",
): Promise<Grant> {
  seen.grant = await grantFor(meta?.[grantKey], { action, name }, bearer);
  return seen.grant;
}

/** What the client of this request has seen so far. */
export async function taintOf({ permissions, seen }: Connection, grant: Grant): Promise<Taint> {
  return mergeTaint(seen.taint, await permissions.taints.of(grant));
}

/** Before the answer goes out: the client's next request may come of it. */
export async function addTaint({ permissions, seen }: Connection, grant: Grant, taint: Taint): Promise<void> {
  if (taint.length === 0) return;
  seen.taint = mergeTaint(seen.taint, taint);
  await permissions.taints.add(grant, taint);
}

/** Where a request reports its progress: to the client that asked for it, else nowhere. */
export function toProgress({ meta, notify }: Exchange): ProgressReport {
  const progressToken = meta?.["progressToken"];
  return openProgress(({ done, total, message }) => {
    if (progressToken === undefined) return;
    notify("notifications/progress", {
      progressToken,
      progress: done,
      ...(total === undefined ? {} : { total }),
      ...(message === undefined ? {} : { message }),
    });
  });
}
