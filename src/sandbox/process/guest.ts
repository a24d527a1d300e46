import type { Readable, Writable } from "node:stream";
import type { ExecRequest } from "../engine.ts";
import type { Reading } from "./meter.ts";

/** A guest in a process of its own, started and ready for an order. Prints and frames never share a stream. */
export interface Guest {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Frames from the guest, as wire.ts has them. */
  readonly frames: Readable;
  /** Orders, and the answers to calls that the guest blocks for. */
  readonly orders: Writable;
  /** The answers to all other calls. */
  readonly answers: Writable;
  /** What it has used so far, as the machine counts; null where nothing counts, or when it has ended. */
  meter(): Reading | null;
  /** What its runtime said on its own account, as when its memory was gone; never for users, since it shows paths. */
  diagnostics(): string;
  /** Gets ready for a run, and answers what is held to its limits from here. Missing: there is nothing to do. Throws `sandbox.unavailable`. */
  prepare?(request: ExecRequest): Promise<ExecRequest>;
  /** Whether the event loop stays alive for it. At first not: a guest in waiting holds nobody up. */
  hold(held: boolean): void;
  /**
   * Stops it and all that it started, so that nothing in it moves, or lets it go on: between the runs of a session. May be called again,
   * and once it has ended.
   */
  freeze(isFrozen: boolean): void;
  /** Kills it and all that it started, frozen or not. May be called again. */
  kill(): void;
  /** Resolves when nothing of it is left; never rejects. */
  readonly gone: Promise<void>;
}
