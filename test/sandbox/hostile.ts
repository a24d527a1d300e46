import type { Engine, ExecLimits, ExecRequest, ExecResult, Language } from "../../src/sandbox/engine.ts";

const mebibyte = 1024 * 1024;

/** Limits of a run in tests, unless a case says otherwise. */
export const testLimits: ExecLimits = {
  wallMs: 30_000,
  cpuMs: 30_000,
  memoryBytes: 64 * mebibyte,
  outputBytes: 64 * 1024,
  resultBytes: 64 * 1024,
  artifactBytes: mebibyte,
  artifacts: 10,
  calls: 20,
};

/**
 * How much longer than its wall limit a run may take. The design says 250 ms; the rest is for a machine whose cores are shared, where a fork
 * bomb is one more who wants them. `CAPSTAN_KILL_MS` tightens it; CI sets 2000.
 */
export const killMs = Number(process.env["CAPSTAN_KILL_MS"] ?? 10_000);

/** Runs one piece of code in a sandbox of its own. */
export async function runIn(
  engine: Engine,
  language: Language,
  code: string,
  over: Partial<Omit<ExecRequest, "limits">> & {
    readonly limits?: Partial<ExecLimits>;
    readonly signal?: AbortSignal;
  } = {},
): Promise<ExecResult> {
  const { limits, signal = new AbortController().signal, ...request } = over;
  await using sandbox = await engine.open({ language }, signal);
  return await sandbox.run({ language, code, files: [], ...request, limits: { ...testLimits, ...limits } }, signal);
}
