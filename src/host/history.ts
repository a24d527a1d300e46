import { CapstanError } from "../core/error.ts";
import type { Grant, Need } from "../permissions/grant.ts";
import type { ForkChanges } from "./fork.ts";
import { prepareFork } from "./fork.ts";
import type { HostServices, ResumeRequest } from "./host.ts";
import type { RunOutcome } from "./outcome.ts";
import { lineage } from "./lineage.ts";
import type { PreparedRun } from "./prepare.ts";
import { demandSeen } from "./run-grant.ts";
import type { ReplayVerdict } from "./replay.ts";
import { replayRun } from "./replay.ts";
import { parseRunFile } from "./run-file.ts";
import { exportRun, importRun } from "./transfer.ts";
import type { RunVerdict } from "./verify.ts";
import { compareFile, verifyRun } from "./verify.ts";

export interface ForkRequest extends ResumeRequest, ForkChanges {
  /** false: the new run is begun and not driven. Missing: it is. */
  readonly drives?: boolean;
}

/** What can be done with the log of a run, beside going on with it. The run of somebody else is not there: `run.not_found`. */
export interface History {
  /**
   * Goes on from an event of a run as another run, with what `ForkChanges` changes, under what the present grant and that of the run both
   * allow. Nothing that was approved stays approved. Throws `run.not_found` where the grant does not see the run (`maySee`),
   * `usage.bad_option`, `permission.*`, `token.*`, `provider.unknown`.
   */
  fork(runId: string, request: ForkRequest): Promise<RunOutcome>;
  /**
   * Checks the chain of a run, and of those that it goes on from, and the seal of its end; with the lines of a file, also whether it was
   * exported from that log. Throws `run.bad_file`.
   */
  verify(runId: string, lines?: AsyncIterable<string | null>): Promise<RunVerdict>;
  /** Decides a run anew by today's code, performing nothing, and compares its log with what comes out. */
  replay(runId: string): Promise<ReplayVerdict>;
  /** A run as lines of JSON, from which `importRun` makes it again. It holds no grant and no approval that counts elsewhere. */
  exportRun(runId: string): AsyncIterable<string>;
  /**
   * Takes a run from the lines of a file (null: one that is too long), under a new id, which it returns. It is tainted `import:NAME`, can be
   * looked at, checked, forked and continued, and does not go on itself. Throws `run.bad_file`, `usage.bad_option`, `permission.*`.
   */
  importRun(
    lines: AsyncIterable<string | null>,
    request: { readonly name: string; readonly grant: Grant },
  ): Promise<string>;
}

interface Parts {
  readonly services: HostServices;
  /** The grant that a run was started with. Throws `run.not_found` for the run of somebody else. */
  readonly recordedOf: (runId: string) => Promise<Grant>;
  readonly demandRights: (grant: Grant, needs: readonly Need[]) => Promise<void>;
  readonly begin: (prepared: PreparedRun, request: ResumeRequest, drives: boolean) => Promise<RunOutcome>;
}

export function openHistory({ services, recordedOf, demandRights, begin }: Parts): History {
  const { store, scope, permissions } = services;
  return {
    async fork(runId, request) {
      const { grant, drives = true } = request;
      await demandRights(grant, [
        { type: "run", action: "create" },
        { type: "run", action: "read", runId },
      ]);
      const recorded = await recordedOf(runId);
      demandSeen(grant, recorded, runId);
      const original = { runId, events: await Array.fromAsync(lineage(store, scope, runId, 1)), recorded };
      return await begin(await prepareFork(original, request, grant, services), request, drives);
    },
    async verify(runId, lines) {
      await recordedOf(runId);
      const verdict = await verifyRun(runId, services);
      if (lines === undefined || !verdict.ok) return verdict;
      return await compareFile(verdict, (await parseRunFile(lines, permissions.now())).header, services);
    },
    async replay(runId) {
      await recordedOf(runId);
      return await replayRun(runId, { store, scope });
    },
    async *exportRun(runId) {
      await recordedOf(runId);
      yield* exportRun(runId, services);
    },
    async importRun(lines, { name, grant }) {
      if (!/^[\w-][\w.-]{0,63}$/.test(name)) {
        throw new CapstanError(
          "usage.bad_option",
          `An import is named by letters, digits, ".", "_" and "-", not ${name}.`,
        );
      }
      await demandRights(grant, [{ type: "run", action: "create" }]);
      return await importRun(await parseRunFile(lines, permissions.now()), name, grant, services);
    },
  };
}
