/** What a code means outside the process: HTTP status, exit code of the command line, and whether the same call may succeed later. */
interface CodeMeaning {
  readonly http: number;
  readonly exit: number;
  readonly retryable: boolean;
}

const of = (http: number, exit: number, retryable = false): CodeMeaning => ({ http, exit, retryable });

/** Every code of Capstan, `room.reason`. Callers switch on the code, never on the text. Exit codes are fixed in docs/cli.md. */
export const errorCodes = {
  "core.bad_json": of(400, 2),
  "core.internal": of(500, 1),
  "core.interrupted": of(499, 130),
  "usage.bad_option": of(400, 2),
  "config.missing": of(500, 3),
  "config.malformed": of(500, 3),
  "config.unknown_key": of(500, 3),
  "config.bad_value": of(500, 3),
  "config.unsafe_home": of(500, 3),
  "token.malformed": of(401, 3),
  "token.unreadable": of(401, 3),
  "token.bad_header": of(401, 3),
  "token.bad_signature": of(401, 3),
  "token.bad_audience": of(401, 3),
  "token.expired": of(401, 3),
  "token.not_yet_valid": of(401, 3),
  "token.revoked": of(401, 3),
  "token.other_run": of(403, 6),
  "token.other_scope": of(404, 6),
  "token.unknown_name": of(401, 3),
  "permission.no_right": of(403, 6),
  "permission.argument_refused": of(403, 6),
  "permission.argument_not_granted": of(403, 6),
  "permission.approval_needed": of(403, 75),
  "permission.approval_refused": of(403, 6),
  "permission.state_refused": of(400, 6),
  "permission.widen": of(403, 6),
  "permission.unknown_constraint": of(403, 6),
  "permission.revocations_stale": of(503, 3, true),
  "budget.calls": of(429, 5),
  "budget.tokens": of(429, 5),
  "budget.cost": of(429, 5),
  "budget.cpu": of(429, 5),
  "budget.wall": of(429, 5),
  "budget.bytes": of(429, 5),
  "budget.depth": of(429, 5),
  "budget.parallel": of(429, 5, true),
  "budget.bad_amount": of(500, 1),
  "store.conflict": of(409, 1, true),
  "store.unavailable": of(503, 1, true),
  "store.full": of(507, 1),
  "store.corrupt": of(500, 1),
  "store.newer": of(500, 1),
  "store.not_found": of(404, 1),
  "audit.broken": of(500, 1),
  "tool.unknown": of(404, 2),
  "tool.input_needed": of(409, 1),
  "resource.unknown": of(404, 2),
  "resource.too_large": of(413, 1),
  "resource.too_many": of(429, 5),
  "prompt.unknown": of(404, 2),
  "prompt.too_large": of(413, 1),
  "tool.bad_arguments": of(400, 2),
  "tool.bad_output": of(500, 1),
  "tool.bad_definition": of(500, 3),
  "tool.timeout": of(504, 1, true),
  "tool.cancelled": of(499, 130),
  "tool.failed": of(500, 1),
  "tool.too_large": of(413, 1),
  "sandbox.unavailable": of(503, 1),
  "sandbox.bad_request": of(400, 2),
  "sandbox.network_refused": of(403, 6),
  "sandbox.unreachable": of(502, 1, true),
  "session.busy": of(409, 1, true),
  "session.too_many": of(429, 5, true),
  "session.unknown": of(404, 1),
  "files.bad_path": of(400, 1),
  "files.outside_root": of(403, 6),
  "files.symlink": of(403, 6),
  "files.special_file": of(403, 1),
  "files.too_large": of(413, 1),
  "files.not_found": of(404, 1),
  "files.exists": of(409, 1),
  "files.no_access": of(403, 1),
  "files.changed": of(409, 1, true),
  "files.failed": of(500, 1, true),
  "knowledge.bad_fact": of(400, 1),
  "knowledge.bad_query": of(400, 1),
  "knowledge.not_found": of(404, 1),
  "knowledge.unavailable": of(503, 1),
  "task.unknown": of(404, 2),
  "task.needed": of(400, 2),
  "task.too_many": of(429, 5, true),
  "todo.not_found": of(404, 1),
  "mcp.start_failed": of(502, 1, true),
  "mcp.server_gone": of(502, 1, true),
  "mcp.timeout": of(504, 1, true),
  "mcp.slow_client": of(503, 1),
  "mcp.protocol": of(502, 1),
  "mcp.server_error": of(502, 1),
  "mcp.call_gone": of(409, 1),
  "mcp.changed": of(403, 6),
  "mcp.variable_missing": of(500, 3),
  "mcp.url_refused": of(502, 6),
  "mcp.sign_in_failed": of(502, 3),
  "mcp.sign_in_needed": of(502, 3),
  "calculator.syntax": of(400, 1),
  "calculator.domain": of(400, 1),
  "calculator.too_large": of(400, 1),
  "provider.unknown": of(400, 3),
  "provider.sign_in": of(502, 3),
  "provider.rate_limited": of(502, 4, true),
  "provider.unavailable": of(502, 4, true),
  "provider.bad_request": of(502, 4),
  "provider.bad_answer": of(502, 4),
  "provider.timeout": of(504, 4, true),
  "provider.declined": of(502, 1),
  "provider.circuit_open": of(503, 4, true),
  "provider.busy": of(503, 4, true),
  "guardrail.input": of(403, 6),
  "guardrail.output": of(403, 6),
  "agent.unknown": of(404, 2),
  "run.not_found": of(404, 2),
  "run.not_waiting": of(409, 2),
  "run.finished": of(409, 2),
  "run.not_over": of(409, 2),
  "run.imported": of(409, 2),
  "run.bad_file": of(400, 1),
  "run.too_long": of(413, 5),
  "run.turns": of(429, 5),
  "run.cut_off": of(502, 5),
  "run.bad_answer": of(502, 1),
  "run.time": of(429, 5),
  "run.corrupt": of(500, 1),
} as const satisfies Record<string, CodeMeaning>;

export type ErrorCode = keyof typeof errorCodes;

const meanings = new Map<string, CodeMeaning>(Object.entries(errorCodes));

/** What a code that was recorded or came from outside means; undefined for one that this version does not know. */
export function meaningOf(code: string): CodeMeaning | undefined {
  return meanings.get(code);
}

/**
 * The one error class. `message` is a sentence for the user: what failed, what was expected, what came, what to do next.
 * It never holds a secret, a token or a stack. `details` is data for programs and obeys the same rule.
 */
export class CapstanError extends Error {
  override readonly name = "CapstanError";
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: ErrorCode,
    message: string,
    options: { cause?: unknown; details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** Any thrown value as a CapstanError: itself, or `core.internal` with the original as cause and a text that shows none of it. */
export function toCapstanError(thrown: unknown): CapstanError {
  if (thrown instanceof CapstanError) return thrown;
  return new CapstanError("core.internal", "Something failed inside Capstan. Run again with --verbose to see where.", {
    cause: thrown,
  });
}

/** `code: sentence`, the form in which a model or a client reads a failure. */
export function toText(error: CapstanError): string {
  return `${error.code}: ${error.message}`;
}
