import { z } from "zod";
import { CapstanError } from "../core/error.ts";
import { mergeTaint } from "../core/taint.ts";
import { fromZod } from "./schema.ts";
import type { SessionInfo, Sessions } from "./sessions.ts";
import type { Tool } from "./tool.ts";
import { defineTool } from "./tool.ts";

const Session = z.strictObject({
  id: z.string(),
  name: z.string(),
  language: z.string(),
  variables: z
    .enum(["here", "elsewhere", "gone"])
    .describe("elsewhere: in another process of Capstan; gone: only its files are left"),
  why: z.string().optional().describe("Why its variables are gone."),
  files: z.int(),
  bytes: z.int().describe("Of its files together."),
  usedAt: z.string(),
});

/** `session_list` and `session_end`: the sessions of `execute_code`, as far as the caller's grant sees them. */
export function sessionTools(sessions: Sessions): readonly Tool[] {
  return [sessionList(sessions), sessionEnd(sessions)];
}

function sessionList(sessions: Sessions): Tool {
  return defineTool({
    name: "session_list",
    title: "List sessions",
    description:
      "Lists the sessions of execute_code: whether their variables are still there, and how many files they hold.",
    input: fromZod(z.strictObject({})),
    output: fromZod(z.strictObject({ sessions: z.array(Session) })),
    hints: { readOnly: true, destructive: false, idempotent: true, openWorld: false },
    effect: "read",
    needs: () => [],
    async run(_args, context) {
      const found = await sessions.list(context);
      // A name is the word of whoever began the session.
      const taint = mergeTaint(...found.map((session) => session.taint));
      return { type: "done", value: { sessions: found.map(toShown) }, taint };
    },
  });
}

function sessionEnd(sessions: Sessions): Tool {
  return defineTool({
    name: "session_end",
    title: "End a session",
    description:
      "Ends a session of execute_code: its variables and its files are gone for good. Artifacts of its runs stay.",
    input: fromZod(
      z.strictObject({ session: z.string().min(1).max(128).describe("Its name, or its id as session_list gives it.") }),
    ),
    output: fromZod(z.strictObject({ ended: Session })),
    hints: { readOnly: false, destructive: true, idempotent: true, openWorld: false },
    effect: "idempotent",
    needs: () => [],
    async run({ session }, context) {
      const ended = await sessions.end(context, session);
      if (ended !== null) return { type: "done", value: { ended: toShown(ended) }, taint: ended.taint };
      throw new CapstanError(
        "session.unknown",
        `There is no session ${session}. See session_list for those there are.`,
      );
    },
  });
}

function toShown({ id, name, language, variables, why, files, bytes, usedAt }: SessionInfo): z.infer<typeof Session> {
  const shown = { id, name, language, variables, files, bytes, usedAt: new Date(usedAt).toISOString() };
  return why === undefined ? shown : { ...shown, why };
}
