import type { ExecLimits, ExecStatus, Language, SandboxFile } from "../engine.ts";
import type { BoundedModule } from "./module.ts";
import type { OutputBuffer } from "./output.ts";

/** Gives a worker a module for all runs that name its maximum: each passing makes another one, which costs as much memory as the code has. */
export interface ModuleMessage extends BoundedModule {
  readonly type: "module";
}

/**
 * The main thread starts a run. `run` numbers the runs of a worker; messages of another run are dropped on both sides. After one of a
 * session the worker keeps the interpreter, and the next goes on in it: that worker is the session's alone.
 */
export interface RunMessage {
  readonly type: "run";
  readonly run: number;
  readonly maxBytes: number;
  readonly language: Language;
  readonly code: string;
  readonly files: readonly SandboxFile[];
  readonly outFiles: readonly SandboxFile[];
  readonly isSession: boolean;
  readonly limits: ExecLimits;
  readonly mayCall: boolean;
  readonly output: OutputBuffer;
}

/** The answer to a call: JSON text, or `code: sentence` when it was refused. */
export interface AnswerMessage {
  readonly type: "answer";
  readonly run: number;
  readonly id: number;
  readonly ok: boolean;
  readonly text: string;
}

export type ToWorker = ModuleMessage | RunMessage | AnswerMessage;

/** The guest calls the host; `args` is JSON text. */
export interface CallMessage {
  readonly type: "call";
  readonly run: number;
  readonly id: number;
  readonly name: string;
  readonly args: string;
}

/**
 * How the guest ended. `result` is JSON text. `isReusable`: nothing happened that could have harmed the worker or, in a session, the
 * interpreter.
 */
export interface DoneMessage {
  readonly type: "done";
  readonly run: number;
  readonly status: ExecStatus;
  readonly result: string;
  readonly resultNote?: string;
  readonly error?: string;
  readonly artifacts: readonly SandboxFile[];
  readonly cpuMs: number;
  readonly memoryBytes: number;
  readonly isReusable: boolean;
}

export type FromWorker = CallMessage | DoneMessage;
