import { serveStdio } from "../server/mcp/stdio.ts";
import { version } from "../version.ts";
import type { ExitCode, GrantFlags, Session } from "./command.ts";

/** `capstan serve`: MCP on stdin and stdout until stdin closes or Ctrl-C. */
export async function serve(session: Session, flags: GrantFlags): Promise<ExitCode> {
  const { app, signal, tell } = session;
  await serveStdio({
    door: app.door,
    permissions: app.permissions,
    store: app.store,
    grant: await session.grant(flags),
    isExplicit: session.isGrantNamed(flags),
    version,
    input: process.stdin,
    output: process.stdout,
    log: tell,
    signal,
  });
  return 0;
}
