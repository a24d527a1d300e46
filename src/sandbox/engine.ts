import { z } from "zod";
import type { IsolationLevel } from "../core/isolation.ts";
import { CapstanError, type ErrorCode } from "../core/error.ts";
import type { Json } from "../core/json.ts";

/** What code is written in. */
export const Language = z.enum(["javascript", "typescript", "python", "bash"]);
export type Language = z.infer<typeof Language>;

/** Hard limits of one run, enforced from outside the guest. */
export interface ExecLimits {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly memoryBytes: number;
  /** Of stdout and stderr together; what is beyond is cut and flagged. */
  readonly outputBytes: number;
  /** Of the result as JSON text. */
  readonly resultBytes: number;
  /** Of all artifacts together, and how many. */
  readonly artifactBytes: number;
  readonly artifacts: number;
  /** Calls to the host through `onCall`. */
  readonly calls: number;
}

/** A file for the guest, at a relative path below its input folder, or one that came out of its output folder. */
export interface SandboxFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

export interface ExecRequest {
  readonly language: Language;
  readonly code: string;
  readonly files: readonly SandboxFile[];
  /** What is to stand in the output folder before the code runs: what a session had there that was opened before. */
  readonly outFiles?: readonly SandboxFile[];
  readonly limits: ExecLimits;
  /**
   * Code mode: a call from the guest to the host. Missing: the guest has no way to call. `signal` aborts when the run ends. `pause` stops
   * the run's wall clock until it is disposed of, for as long as somebody is asked; processor time goes on counting.
   */
  readonly onCall?: (name: string, args: Json, signal: AbortSignal, pause: () => Disposable) => Promise<Json>;
  /** Where this run may connect to, in a sandbox that was opened for it. Missing: nowhere. */
  readonly allowConnect?: AllowConnect;
  /** Told of each connection that the run asked for, for the record; must not throw. Missing: nobody is told. */
  readonly onConnect?: (event: ConnectEvent) => void;
}

export type ExecStatus = "ok" | "error" | "timeout" | "memory" | "output" | "crashed" | "denied" | "cancelled";

/** Whether a session goes on after a run that ended so; after any other nothing is left of it. */
export const goesOn = (status: ExecStatus): boolean => status === "ok" || status === "error" || status === "output";

/** How a run ended, always a value: timeout, memory and crash are statuses, never exceptions. */
export interface ExecResult {
  readonly status: ExecStatus;
  readonly stdout: string;
  readonly stderr: string;
  readonly outputCut: boolean;
  /** The value of the last expression or of `result`, as JSON; null when there is none. `resultNote` says what JSON could not hold. */
  readonly result: Json;
  readonly resultNote?: string;
  /** For a status other than ok: a sentence, and for an exception in the guest its type and trace in guest terms. */
  readonly error?: string;
  readonly artifacts: readonly SandboxFile[];
  /** Something stayed in the output folder, beyond the limits or no regular file; `resultNote` says what. */
  readonly artifactsCut?: true;
  readonly usage: { readonly wallMs: number; readonly cpuMs: number; readonly memoryBytes: number };
  readonly isolation: Isolation;
  /** Of a session: nothing is left of it. */
  readonly isOver?: true;
}

/** Which engine ran the code, at which level, and what denied it the network. */
export interface Isolation {
  readonly engine: string;
  readonly level: IsolationLevel;
  readonly network: string;
}

/** Why an engine can't run here, and what to install or do. */
export interface Unavailable {
  readonly reason: string;
  readonly remedy: string;
}

/** Where a guest wants to connect to: `host` as URLs spell it, lower case, IPv6 in brackets. `https` stands for anything inside TLS. */
export interface ConnectTarget {
  readonly scheme: "http" | "https";
  readonly host: string;
  readonly port: number;
}

/**
 * Where a guest may connect to: answers the addresses that the name stands for now and that are allowed, one at least. Throws
 * `permission.*` for what is not granted, `sandbox.unreachable` for a name that has no address.
 */
export type AllowConnect = (target: ConnectTarget) => Promise<readonly string[]>;

/** What became of a connection that a guest asked for. `code` and `why`, where it was refused or did not come about. */
export interface ConnectEvent {
  /** `scheme://host:port`; where it was asked for in another form, that, quoted and cut. */
  readonly to: string;
  readonly outcome: "connected" | "refused" | "failed";
  readonly code?: ErrorCode;
  readonly why?: string;
}

/** What a sandbox is opened for. */
export interface SandboxSpec {
  readonly language: Language;
  /**
   * A session: it takes one run after the other, and variables, imports and files live on between them, while nothing in it moves. Else
   * it takes one run.
   */
  readonly isSession?: boolean;
  /** There is a way out, on which each run decides. Missing: there is no network. */
  readonly isNetworked?: boolean;
}

/** A sandbox for one run, or for those of one session. Disposing kills whatever is left of it; no other run ever uses it. */
export interface Sandbox extends AsyncDisposable {
  /**
   * Never throws for what the guest does. Aborting `signal` kills the guest: status `cancelled`. The artifacts of a session's run are all
   * that stands in its output folder. A run after the last, or while another runs, throws `sandbox.bad_request`; of a session, the last is
   * the one that answers `isOver`, as after each status but `ok`, `error` and `output`.
   */
  run(request: ExecRequest, signal: AbortSignal): Promise<ExecResult>;
}

/** One kind of sandbox. `AsyncDisposable`: closing drains its pool and leaves no process behind. */
export interface Engine extends AsyncDisposable {
  readonly name: string;
  readonly level: IsolationLevel;
  readonly languages: readonly Language[];
  /** What code can import beside the standard library, as `NAME VERSION` or in words; missing: nothing that is known of. */
  readonly packages?: readonly string[];
  /** What it can do beside single runs without a network. */
  readonly can: { readonly sessions: boolean; readonly network: boolean };
  /** Whether what it needs is installed, as far as can be told at once; missing: it is. Whether it works, `probe` says. */
  readonly isInstalled?: () => boolean;
  /** null: the engine works here. */
  probe(signal: AbortSignal): Promise<Unavailable | null>;
  /** Throws `sandbox.unavailable` when it can't be opened, `sandbox.bad_request` for what it can't do. */
  open(spec: SandboxSpec, signal: AbortSignal): Promise<Sandbox>;
}

/** Throws `sandbox.bad_request` for a language that the engine does not speak, and for a session or a network that it does not have. */
export function demandAble({ name, languages, can }: Engine, { language, isSession, isNetworked }: SandboxSpec): void {
  const missing = [
    ...(languages.includes(language) ? [] : [language]),
    ...(isSession === true && !can.sessions ? ["sessions"] : []),
    ...(isNetworked === true && !can.network ? ["a network"] : []),
  ];
  if (missing.length === 0) return;
  throw new CapstanError("sandbox.bad_request", `The engine ${name} has no ${missing.join(" and no ")}.`);
}
