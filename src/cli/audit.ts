import { counted } from "../core/counted.ts";
import type { ExitCode, Session } from "./command.ts";
import { toJsonText } from "./json.ts";

/** `capstan audit verify`: walks every chain and every signed head; names the first bad row, exit code 1. */
export async function verifyAuditLog(session: Session, options: { json?: boolean }): Promise<ExitCode> {
  session.demandOperator();
  const { app, print } = session;
  const verdict = await app.permissions.verifyAudit();
  if (options.json === true) print(toJsonText(verdict));
  else if (verdict.ok)
    print(`The audit log is whole: ${counted(verdict.rows, "row")}, ${counted(verdict.heads, "signed head")}.`);
  else print(`The audit log was changed: ${verdict.problem}`);
  return verdict.ok ? 0 : 1;
}
