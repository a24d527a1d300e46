import { z } from "zod";
import type { Clock } from "../../src/core/clock.ts";
import { derive } from "../../src/permissions/derive.ts";
import type { Grant } from "../../src/permissions/grant.ts";
import type { Engine } from "../../src/sandbox/engine.ts";
import type { CallRequest, Caller } from "../../src/tools/call.ts";
import { executeCodeTool } from "../../src/tools/execute-code.ts";
import { sessionTools } from "../../src/tools/session.ts";
import type { SessionsOptions } from "../../src/tools/sessions.ts";
import type { Outcome, Tool } from "../../src/tools/tool.ts";
import { testLimits } from "../sandbox/hostile.ts";
import type { openTestArtifacts } from "../support/artifacts.ts";
import { openTestDoor, sameAs, testTool, valueOf } from "../support/door.ts";
import { openTestSessions } from "../support/sessions.ts";

interface Options {
  readonly engines: readonly Engine[];
  /** What all processes of a home share. */
  readonly home: Awaited<ReturnType<typeof openTestArtifacts>>;
  readonly clock?: Clock;
  readonly limits?: Partial<SessionsOptions["limits"]>;
  readonly others?: readonly Tool[];
}

const Answer = z.looseObject({
  status: z.string(),
  result: z.unknown(),
  error: z.string().optional(),
  artifacts: z.array(z.looseObject({ path: z.string(), text: z.string().optional() })),
  session: z.object({ isNew: z.boolean(), isOver: z.boolean(), note: z.string().optional() }).optional(),
});

/** One process of Capstan as far as sessions go: a door over `execute_code` and the tools of sessions. */
export async function openSessionDoor({ engines, home, clock, limits, others = [] }: Options) {
  await using opened = new AsyncDisposableStack();
  const sessions = opened.use(openTestSessions(home.store, clock, limits));
  const { artifacts } = home;
  const tools: Tool[] = [...others, ...sessionTools(sessions)];
  tools.push(executeCodeTool({ engines, limits: testLimits, listed: () => tools, artifacts, sessions }));
  const door = opened.use(await openTestDoor(tools, clock));
  const rights = { ...door.grant.rights, sessions: ["*"] };
  const operator: Grant = { ...door.grant, expiresAt: door.grant.issuedAt + 30 * 86_400_000, rights };
  const owned = opened.move();
  type Over = Partial<CallRequest> & { readonly by?: Partial<Caller> };
  const call = (name: string, args: unknown, { by, ...over }: Over = {}) =>
    door.call(name, args, { ...over, by: { grant: operator, ...by } });
  return {
    ...door,
    operator,
    /** A token beside others: derived from the operator's grant, with an end of its own. */
    token: (id: string, over: Partial<Grant["rights"]> = {}, from = operator, expiresAt = from.expiresAt): Grant =>
      derive(
        from,
        { ...sameAs(from), expiresAt, rights: { ...from.rights, ...over } },
        { id, now: door.permissions.now() },
      ),
    call,
    /** Runs JavaScript in a session, unless `args` say otherwise. */
    async run(session: string, code: string, over: Over & { readonly args?: object } = {}) {
      const { args, ...request } = over;
      const { outcome, taint } = await call(
        "execute_code",
        { language: "javascript", code, session, ...args },
        request,
      );
      return { ...toAnswer(outcome), taint };
    },
    async list(over: Over = {}) {
      const { outcome } = await call("session_list", {}, over);
      const { sessions: found } = z
        .object({ sessions: z.array(z.looseObject({ id: z.string(), name: z.string(), variables: z.string() })) })
        .parse(valueOf(outcome));
      return found;
    },
    end: async (session: string, over: Over = {}): Promise<Outcome> =>
      (await call("session_end", { session }, over)).outcome,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** A tool that says when it was called, and answers when it is let: `await tools.gate({})`. */
export function openGate() {
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  const pass = async (): Promise<void> => {
    reached.resolve();
    await opened.promise;
  };
  const tool = testTool("gate", {
    async run() {
      await pass();
      return { type: "done", value: null };
    },
  });
  return { tool, pass, reached: reached.promise, open: () => opened.resolve() };
}

/** An engine that says when the next sandbox is to be opened, and opens it when it is let; all others at once. */
export function holdOpening(engine: Engine) {
  const gate = openGate();
  let isHeld = true;
  const held: Engine = {
    ...engine,
    async open(spec, signal) {
      if (isHeld) {
        isHeld = false;
        await gate.pass();
      }
      return await engine.open(spec, signal);
    },
  };
  return { engine: held, reached: gate.reached, open: gate.open };
}

/** The answer of `execute_code`, or the code of its failure as the status. */
function toAnswer(outcome: Outcome): z.infer<typeof Answer> {
  const value = valueOf(outcome);
  if (value !== undefined) return Answer.parse(value);
  const status = outcome.type === "done" ? (outcome.code ?? "") : outcome.type;
  return { status, result: null, artifacts: [], error: JSON.stringify(outcome) };
}
